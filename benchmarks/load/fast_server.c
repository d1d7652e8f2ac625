/* Streams answers as fast as one core can: the other side of throughput.py.

   One thread, epoll, no allocation per request.  A request's "max_tokens" says how many chunks its answer has; each
   chunk is a write of its own.  Arguments: microseconds between the chunks of a stream (0: one in each turn of the
   loop).  Prints its port, and ends when standard input is closed. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 4096, REQUEST = 16384, EVENTS = 256 };

static const char HEAD[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
static const char EVENT[] = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"fast\","
                            "\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"},\"finish_reason\":null}]}\n\n";
static const char LAST[] = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"fast\","
                           "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

struct stream {
    char request[REQUEST + 1];
    int got, left, active, at;
    long long due_ns;
};

static struct stream *streams[MOST];
static int active[MOST], active_count;
static char token[1024], first[2048], last[1024], whole[4096];
static int token_size, first_size, last_size, whole_size;

static long long now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int chunk(char *to, const char *text) { return sprintf(to, "%zx\r\n%s\r\n", strlen(text), text); }

static void drop(int fd) {
    struct stream *each = streams[fd];
    if (each->active) {
        active[each->at] = active[--active_count];
        streams[active[each->at]]->at = each->at;
    }
    free(each);
    streams[fd] = NULL;
    close(fd);
}

static void put(int fd, const char *text, int size) {
    /* The socket's buffer holds seconds of tokens; a reader that is further behind is no benchmark any more. */
    if (write(fd, text, size) != size) drop(fd);
}

static void begin(int fd, long long gap_ns) {
    struct stream *each = streams[fd];
    if (each->left <= 1) {
        put(fd, whole, whole_size);
        return;
    }
    each->left--;
    each->active = 1;
    each->due_ns = now_ns() + gap_ns;
    each->at = active_count;
    active[active_count++] = fd;
    put(fd, first, first_size);
}

static void receive(int fd, long long gap_ns) {
    struct stream *each = streams[fd];
    int count = read(fd, each->request + each->got, REQUEST - each->got);
    if (count <= 0) {
        drop(fd);
        return;
    }
    each->got += count;
    each->request[each->got] = 0;
    char *end = strstr(each->request, "\r\n\r\n"), *length = strcasestr(each->request, "content-length:");
    if (!end || !length || each->got < end + 4 - each->request + atoi(length + 15)) return;
    char *tokens = strstr(end, "\"max_tokens\":");
    each->left = tokens ? atoi(tokens + 13) : 1;
    each->got = 0;
    begin(fd, gap_ns);
}

static void advance(long long gap_ns) {
    long long now = now_ns();
    for (int n = active_count - 1; n >= 0; n--) {
        int fd = active[n];
        struct stream *each = streams[fd];
        if (each->due_ns > now) continue;
        each->due_ns += gap_ns;
        if (--each->left >= 0) {
            put(fd, token, token_size);
        } else {
            each->active = 0;
            active[n] = active[--active_count];
            streams[active[n]]->at = n;
            put(fd, last, last_size);
        }
    }
}

int main(int count, char **words) {
    long long gap_ns = count > 1 ? atoll(words[1]) * 1000 : 0;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poller = epoll_create1(0), yes = 1;
    signal(SIGPIPE, SIG_IGN);
    token_size = chunk(token, EVENT);
    first_size = sprintf(first, "%s%s", HEAD, token);
    last_size = chunk(last, LAST);
    last_size += sprintf(last + last_size, "0\r\n\r\n");
    whole_size = sprintf(whole, "%s%s", first, last);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, MOST)) return 1;
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    event.data.fd = 0;
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &event);
    for (;;) {
        int ready = epoll_wait(poller, events, EVENTS, active_count ? gap_ns >= 2000000 ? 1 : 0 : -1);
        for (int n = 0; n < ready; n++) {
            int fd = events[n].data.fd;
            if (fd == 0) return 0;
            if (fd != listener) {
                if (streams[fd]) receive(fd, gap_ns);
                continue;
            }
            while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                if (fd >= MOST || !(streams[fd] = calloc(1, sizeof **streams))) return 1;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                event.data.fd = fd;
                epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
            }
        }
        advance(gap_ns);
    }
}
