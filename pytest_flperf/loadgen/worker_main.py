"""Main function of the load process.

:class:`pytest_flperf.loadgen.worker_client.LoadSession` starts it.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import socket
import sys

from pytest_flperf.clock import enable_kernel_stamps
from pytest_flperf.loadgen.channel import ChannelClosedError, FrameReader, FrameWriter, buffer_generously
from pytest_flperf.loadgen.worker import Player

__all__ = ["main"]


def _channel_socket(argument: str) -> socket.socket:
    if sys.platform == "win32":
        return socket.fromshare(sys.stdin.buffer.read())
    return socket.socket(fileno=int(argument))


def _allow_many_sockets() -> None:
    if sys.platform == "win32":
        return
    import resource

    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, 10_240):  # macOS says "no limit" and takes no more than this
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return


def main(arguments: list[str]) -> int:
    """Run plans until the measuring process is gone.

    The argument is the number of the channel's socket.

    (On Windows the socket comes over standard input.)
    """
    # Ctrl-C is the measuring process's to handle; it says "cancel" or closes the channel.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _allow_many_sockets()
    channel = _channel_socket(arguments[0])
    buffer_generously(channel)
    channel.setblocking(False)
    # The kernel begins to stamp a moment after the first socket asks for it: this one asks before any request does.
    stamping = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    enable_kernel_stamps(stamping)
    gc.collect()
    gc.freeze()
    gc.disable()
    player = Player(FrameReader(channel), FrameWriter(channel), channel.fileno())
    try:
        with contextlib.suppress(ChannelClosedError), stamping, channel, contextlib.closing(player):
            player.run()
    except MemoryError:
        del player
        sys.exit("this machine has no memory left for it: lower the concurrency or max_answer_mb")
    return 0
