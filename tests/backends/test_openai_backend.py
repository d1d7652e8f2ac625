"""Servers by their URL: keys, headers, trust, proxies, models that aren't listed, servers that aren't there."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from pathlib import Path

import pytest
from server_doubles import Answer, Asked, Double, free_port, make_certificate, streamed

from pytest_flperf.backends.admin_api import Control, ControlError
from pytest_flperf.backends.base import BackendConfig, BackendError
from pytest_flperf.backends.openai import OpenAiBackend
from pytest_flperf.measurement.runner import Bench, NotReadyError
from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.suite.loader import scenario_of
from pytest_flperf.suite.matrix import expand
from pytest_flperf.suite.model import Case, Suite
from pytest_flperf.wire.endpoint import Endpoint
from pytest_flperf.wire.tls import TlsOptions

SECRET = "s3cret-value-0123456789"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """For 127.0.0.1."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


def a_case(model: str = "m") -> Case:
    """A case of a few requests."""
    scenario = scenario_of({"name": "one", "prompt": "Hello", "iterations": 3, "warmup": 1})
    suite = Suite("library", "library", Path(), "", "", (scenario,), (model,))
    return expand(suite, [model])[0]


def served_notes(config: BackendConfig, model: str = "m") -> tuple[str, ...]:
    """What ``ensure`` notes."""
    return OpenAiBackend(config).ensure(model, lambda what, percent: None).notes


def problem_of(config: BackendConfig) -> str:
    """What ``ensure`` complains of."""
    with pytest.raises(BackendError) as caught:
        served_notes(config)
    return str(caught.value)


def test_measured_requests_carry_key_and_headers() -> None:
    """Control requests and measured ones alike; a header replaces the default of its name, however capitalised."""
    headers = {"X-Route": SECRET, "user-agent": "mine", "X-Colour": "grün"}
    with Double() as server:
        config = BackendConfig(base_url=f"{server.root}/v1", api_key="the-key-0123456789", headers=headers)
        with Bench(OpenAiBackend(config)) as bench:
            assert bench.run(a_case()).result.requests.ok == 3
        measured = [each for each in server.asked if each.method == "POST"]
        assert len(measured) == 1 + 1 + 3
        for each in server.asked:
            assert each.headers["x-route"] == SECRET
            assert each.headers["user-agent"] == "mine"
            assert each.headers["authorization"] == "Bearer the-key-0123456789"
        assert measured[0].headers["x-colour"].encode("latin-1") == "grün".encode("latin-1")
    assert SECRET not in repr(config)


def test_a_header_may_replace_the_key() -> None:
    """Gateways want other schemes than Bearer: the header wins, and there is one Authorization only."""
    with Double() as server:
        config = BackendConfig(base_url=f"{server.root}/v1", api_key="k" * 9, headers={"authorization": "Basic abcdef"})
        with Bench(OpenAiBackend(config)) as bench:
            bench.run(a_case())
        assert {each.headers["authorization"] for each in server.asked} == {"Basic abcdef"}


def test_two_keys_for_one_url_are_told_apart() -> None:
    """Requests of a backend whose keys change are not built with the former one's."""
    with Double() as server:
        backend = OpenAiBackend(BackendConfig(base_url=f"{server.root}/v1", headers={"X-Tenant": "one"}))
        with Bench(backend) as bench:
            bench.run(a_case())
            other = OpenAiBackend(BackendConfig(base_url=f"{server.root}/v1", headers={"X-Tenant": "two"}))
            bench._models.backend = other
            bench.run(a_case())
        tenants = [each.headers["x-tenant"] for each in server.asked if each.method == "POST"]
        assert tenants.count("one") == 5
        assert tenants.count("two") == 4  # the model was seen to answer already


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-A": f"{SECRET}\r\nX-B: 1"}, "X-A"),
        ({"X-A": f" {SECRET}"}, "X-A"),
        ({"X-A": f"{SECRET}Ā"}, "X-A"),
        ({f"X-A: {SECRET}": "1"}, "X-A"),
        ({"": SECRET}, "name of a header"),
        ({"Content-Length": SECRET}, "framed"),
        ({"transfer-encoding": SECRET}, "framed"),
        ({"X-A": 5}, "found a int"),
    ],
)
def test_headers_that_no_request_can_hold(headers: dict[str, str], expected: str) -> None:
    """Refused before anything is sent, and the value is not shown."""
    with pytest.raises(BackendError) as caught:
        OpenAiBackend(BackendConfig(base_url="http://127.0.0.1:9/v1", headers=headers))
    assert expected in str(caught.value)
    assert SECRET not in str(caught.value)
    with pytest.raises(ValueError, match="header"):
        Control(Endpoint.parse("http://127.0.0.1:9"), headers=headers)


def test_a_key_that_no_header_can_hold() -> None:
    """Control requests would show it in their complaint."""
    with pytest.raises(BackendError) as caught:
        OpenAiBackend(BackendConfig(base_url="http://127.0.0.1:9/v1", api_key=f"{SECRET}\n"))
    assert SECRET not in str(caught.value)


def test_a_certificate_authority_of_ones_own(certificate: tuple[str, str]) -> None:
    """A real TLS server is measured when its certificate's file is named, and refused without."""
    cert, key = certificate
    with ReferenceServer(ReferenceConfig(schedule=Schedule(ttft_ms=2, tokens=3), cert_file=cert, key_file=key)) as one:
        assert one.base_url.startswith("https://")
        said = problem_of(BackendConfig(base_url=one.base_url))
        assert "ca_file" in said
        assert "verify" in said
        backend = OpenAiBackend(BackendConfig(base_url=one.base_url, tls=TlsOptions(ca_file=cert)))
        with Bench(backend) as bench:
            result = bench.run(a_case("reference")).result
        assert result.requests.ok == 3
        assert not [note for note in result.notes if "TLS" in note]


def test_a_certificate_that_is_not_checked_is_said(certificate: tuple[str, str]) -> None:
    """``verify: false`` works, and each case says so."""
    cert, key = certificate
    with ReferenceServer(ReferenceConfig(schedule=Schedule(ttft_ms=2, tokens=3), cert_file=cert, key_file=key)) as one:
        backend = OpenAiBackend(BackendConfig(base_url=one.base_url, tls=TlsOptions(verify=False)))
        with Bench(backend) as bench:
            first, second = (bench.run(a_case("reference")).result for _ in range(2))
        for result in (first, second):
            assert result.requests.ok == 3
            assert [note for note in result.notes if "TLS certificate not checked" in note]


def test_trust_is_not_shared_between_targets(certificate: tuple[str, str]) -> None:
    """One load process, two plans: what the first one trusts, the second one doesn't."""
    from dataclasses import replace

    from pytest_flperf.loadgen.plan import Deadlines, Entry, RequestPlan
    from pytest_flperf.loadgen.worker_client import LoadSession
    from pytest_flperf.measurement.request_plans import target_of
    from pytest_flperf.wire.exchange import Ending, Exchange, Phase

    cert, _ = certificate
    request = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
    with Double(tls=certificate) as server, LoadSession() as session:
        endpoint = Endpoint.parse(server.root)
        endings = []
        for tls in (TlsOptions(ca_file=cert), TlsOptions(verify=False), TlsOptions()):
            seen: list[Exchange] = []
            entries = (Entry(0, Phase.VERIFY, 0, stream=False, request=request),)
            plan = RequestPlan((target_of(endpoint, tls),), Deadlines(0, 0, 0, 0, 5_000_000_000), 1, 1, entries)
            session.play(replace(plan), seen.append)
            endings.append(seen[0].ending)
    assert endings == [Ending.COMPLETE, Ending.COMPLETE, Ending.CONNECT_REFUSED]


def test_a_certificate_of_our_own(certificate: tuple[str, str], tmp_path: Path) -> None:
    """A server that asks who we are lets in whoever shows the certificate, in control and measured requests."""
    cert, key = certificate
    both = tmp_path / "both.pem"
    both.write_text(Path(key).read_text() + Path(cert).read_text())
    with Double(tls=certificate) as server:
        assert server.tls_context is not None
        server.tls_context.load_verify_locations(cert)
        server.tls_context.verify_mode = ssl.CERT_REQUIRED
        url = f"{server.root}/v1"
        mine = TlsOptions(ca_file=cert, client_cert=str(both))
        with Bench(OpenAiBackend(BackendConfig(base_url=url, tls=mine))) as bench:
            assert bench.run(a_case()).result.requests.ok == 3
        stranger = OpenAiBackend(BackendConfig(base_url=url, tls=TlsOptions(ca_file=cert)))
        with Bench(stranger) as bench, pytest.raises(NotReadyError):
            bench.run(a_case())


def test_certificate_files_of_no_use(tmp_path: Path) -> None:
    """Named with what is wrong, before anything connects; an encrypted key asks nobody for a password."""
    bad = tmp_path / "no.pem"
    bad.write_text("nothing")
    locked, key = make_certificate(tmp_path, "-passout", "pass:abcdef")
    both = tmp_path / "both.pem"
    both.write_text(Path(key).read_text() + Path(locked).read_text())
    for tls, expected in (
        (TlsOptions(ca_file=str(tmp_path / "absent.pem")), "absent.pem"),
        (TlsOptions(ca_file=str(bad)), "no.pem"),
        (TlsOptions(client_cert=str(both)), "encrypted"),
    ):
        with pytest.raises(BackendError, match=expected):
            OpenAiBackend(BackendConfig(base_url="https://127.0.0.1:9/v1", tls=tls))


def test_a_model_that_is_not_listed_is_noted() -> None:
    """Lists lie: the model is measured all the same, and the nearest name is said."""
    with Double() as server:
        config = BackendConfig(base_url=f"{server.root}/v1")
        assert served_notes(config) == ()
        (note,) = served_notes(config, "mm")
        assert "mm" in note
        assert "nearest: m" in note
        assert served_notes(config, "\x1b[31mred") == (
            "warning: the server's list of models does not have [31mred, it has m",
        )


class Listless(Double):
    """Has did not answer with a list of models, or one that can't be read."""

    status = 404
    body: object = None

    def answer(self, asked: Asked) -> Answer:
        """No list, but answers."""
        if asked.path.endswith("/chat/completions"):
            return streamed()
        return Answer(self.body, self.status)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, None, "answered 404"),
        (405, "no", "answered 405"),
        (401, "who are you?", "answered 401"),
        (200, {"weird": 1}, "did not answer with a list of models"),
        (200, None, "did not answer with a list of models"),
        (200, {"detail": {"message": "no"}}, "did not answer with a list of models"),
        (200, "<html><title>Open WebUI</title>", "HTML page ('Open WebUI')"),
        (200, '{"model": "a"}\n{"model": "b"}\n', "NDJSON"),
        (200, {"data": []}, "is empty"),
        (200, {"object": "list", "data": None}, "is empty"),
        (500, "boom", "answered 500: boom"),
    ],
)
def test_a_server_without_a_list(status: int, body: object, said: str) -> None:
    """No error but a warning: requests may be served all the same."""
    with Listless() as server:
        server.status, server.body = status, body
        (note,) = served_notes(BackendConfig(base_url=f"{server.root}/v1"))
        assert note.startswith("warning: ")
        assert said in note
        with Bench(OpenAiBackend.at(f"{server.root}/v1")) as bench:
            assert bench.run(a_case()).result.requests.ok == 3


def test_nobody_there() -> None:
    """Says what was tried and what to do, for a refused connection and for a name without an address."""
    said = problem_of(BackendConfig(base_url=f"http://127.0.0.1:{free_port()}/v1"))
    assert "GET http://127.0.0.1:" in said
    assert "Is the server running" in said
    assert "nowhere.invalid" in problem_of(BackendConfig(base_url="http://nowhere.invalid/v1"))


def test_a_list_that_never_comes() -> None:
    """A server that accepts connections is there: that its list takes forever is a note, not an error."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        backend = OpenAiBackend.at(f"http://127.0.0.1:{silent.getsockname()[1]}/v1")
        backend._server.control._patience_s = 0.2
        (note,) = backend.ensure("m", lambda what, percent: None).notes
        assert "no answer within 0.2 s" in note


@pytest.mark.parametrize(
    ("url", "environment", "noted"),
    [
        ("https://models.example/v1", {"HTTPS_PROXY": "http://p:1"}, True),
        ("http://models.example/v1", {"HTTPS_PROXY": "http://p:1"}, False),
        ("http://models.example/v1", {"all_proxy": "http://p:1"}, True),
        ("http://models.example/v1", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "other.example"}, True),
        ("http://models.example/v1", {"HTTP_PROXY": "http://p:1", "NO_PROXY": ".example"}, False),
        ("http://127.0.0.1:9/v1", {"HTTP_PROXY": "http://p:1"}, False),
        ("http://models.example/v1", {}, False),
    ],
)
def test_a_proxy_that_is_not_used(
    url: str, environment: dict[str, str], noted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said where other clients on this machine would have gone through it."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    notes = OpenAiBackend(BackendConfig(base_url=url))._server.notes
    assert bool([note for note in notes if "proxy" in note]) is noted


def test_about_tells_what_runs() -> None:
    """The version by ``/version`` as vLLM has it, else the Server header; the runtime by the owner of its models."""

    class Vllm(Double):
        version: object = {"version": "0.11.0"}

        def answer(self, asked: Asked) -> Answer:
            return Answer(self.version) if asked.path == "/version" else super().answer(asked)

    with Vllm() as server:
        about = OpenAiBackend.at(f"{server.root}/v1").about()
        assert (about.runtime, about.version, about.address) == ("vLLM", "0.11.0", f"{server.root}/v1")
        server.version = ["?"]
        assert OpenAiBackend.at(f"{server.root}/v1").about().version.startswith("Double/1")
    with Listless() as server:
        assert OpenAiBackend.at(f"{server.root}/v1").about().runtime == "OpenAI-compatible server"
    with pytest.raises(BackendError, match="Is the server running"):
        OpenAiBackend.at(f"http://127.0.0.1:{free_port()}/v1").about()


class _Trickling:
    """A server that sends a byte of its answer every 50 ms, without an end and without a length."""

    def __init__(self, head: bytes) -> None:
        self._head = head
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def _serve(self) -> None:
        with self._listener, self._listener.accept()[0] as connection, contextlib.suppress(OSError):
            connection.sendall(self._head)
            while not self._over.wait(0.05):
                connection.sendall(b"x")

    def close(self) -> None:
        """End it."""
        self._over.set()
        self._thread.join(5)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"])
def test_an_answer_that_trickles(head: bytes) -> None:
    """Patience is for a whole answer: a byte now and then, in its head or its body, does not begin it anew."""
    server = _Trickling(head)
    try:
        with pytest.raises(ControlError, match=r"no whole answer within 0.5 s"):
            Control(Endpoint.parse(server.url), patience_s=0.5).get("models")
    finally:
        server.close()


def test_a_list_beyond_all_bounds() -> None:
    """More than four MiB are not read, and said as such: not as JSON that is none."""

    class Endless(Double):
        def answer(self, asked: Asked) -> Answer:
            del asked
            return Answer({"data": [{"id": "x" * 1000}] * 5000})

    with Endless() as server, pytest.raises(ControlError, match="answered with more than 4 MiB"):
        Control(Endpoint.parse(server.root)).get("models")
