"""The doctor's steps, on backends that fail at each of them; what they serve comes from the reference server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from pytest_flperf.backends.base import About, Backend, BackendConfig, BackendError, ListedModel
from pytest_flperf.backends.openai import OpenAiBackend
from pytest_flperf.backends.registry import BackendType
from pytest_flperf.backends.router import Place
from pytest_flperf.measurement.doctor import Finding, examine
from pytest_flperf.reference_server import Fault, FaultKind, ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.telemetry.readings import ServerProcesses


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    """A quick reference server."""
    with ReferenceServer(ReferenceConfig(Schedule(ttft_ms=1, itl_ms=0.5, tokens=4)), in_thread=True) as running:
        yield running


class Sick(OpenAiBackend):
    """Answers as a test says."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config)
        self.listed: Sequence[ListedModel] | None = None
        self.nobody = False
        self.lists = True
        self.closed = 0

    def about(self) -> About:
        """Something, or nobody."""
        if self.nobody:
            raise BackendError("nobody is there")
        return About("Double", "1", "http://127.0.0.1:1/v1")

    def discover(self) -> tuple[ListedModel, ...]:
        """As told, or an error."""
        if not self.lists:
            raise BackendError("it lists nothing")
        return super().discover() if self.listed is None else tuple(self.listed)

    def close(self) -> None:
        """Count it."""
        self.closed += 1


def examined(backend: Sick, model: str | None = None) -> tuple[Finding, list[str]]:
    """What comes of it, and what was told meanwhile; the backend is closed after it."""
    steps: list[str] = []
    kind = BackendType("sick", lambda _: backend, "a double")
    found = examine(Place(kind, BackendConfig(), "any"), model, steps.append)
    assert backend.closed == 1
    assert found.backend == "sick"
    return found, steps


@pytest.fixture
def backend(server: ReferenceServer) -> Sick:
    """One that is well."""
    return Sick(BackendConfig(base_url=server.base_url))


def test_all_is_well(backend: Sick) -> None:
    """Three steps, a time, and what stamped it."""
    found, steps = examined(backend, "reference")
    assert found.works
    assert found.problem == ""
    assert steps == ["runtime", "models", "one token of reference", "waiting for the first token of reference"]
    assert [step.name for step in found.steps] == ["runtime", "models", "one token"]
    assert found.ttft_ms is not None
    assert 1 <= found.ttft_ms < 60_000
    assert found.clock_source
    assert found.steps[0].words == "Double 1 http://127.0.0.1:1/v1"


@pytest.mark.parametrize(("fault", "words", "tried"), [("nobody", "nobody is there", 1), ("lists", "it lists noth", 2)])
def test_where_it_ends(backend: Sick, fault: str, words: str, tried: int) -> None:
    """At the first step that fails; later ones are not tried."""
    setattr(backend, fault, fault == "nobody")
    found, _ = examined(backend)
    assert not found.works
    assert words in found.problem
    assert [step.ok for step in found.steps] == [True] * (tried - 1) + [False]


@pytest.mark.parametrize("error", [BackendError("options.x is 'y'"), ValueError("a key with a line break")])
def test_a_configuration_that_cannot_be(error: Exception) -> None:
    """What can't even be made is told as the first step; nothing is there to close."""

    def make(_: BackendConfig) -> Backend:
        raise error

    found = examine(Place(BackendType("sick", make, "no"), BackendConfig(), "any"), None, lambda _: None)
    assert not found.works
    assert found.problem == str(error)


def a_model(name: str, **values: object) -> ListedModel:
    """A model of a server, unless a test says otherwise."""
    return ListedModel(name, name, **{"source": "server", **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("listed", "asked"),
    [
        ([], None),
        ([a_model("x", cached=False, loaded=False)], None),
        ([a_model("x", cached=True, loaded=False, size_mb=9_000)], None),
        ([a_model("x", cached=True, loaded=False)], None),
        ([a_model("reference")], "reference"),
        ([a_model("x", cached=True, size_mb=9), a_model("reference", loaded=True)], "reference"),
        ([a_model("x", cached=True, size_mb=9), a_model("reference", source="embedded", loaded=False)], "reference"),
        ([a_model("x", cached=True, size_mb=90), a_model("reference", cached=True, size_mb=80)], "reference"),
        ([a_model("x", cached=False, size_mb=1), a_model("reference", cached=True, size_mb=4_096)], "reference"),
    ],
)
def test_which_model_is_asked(backend: Sick, listed: list[ListedModel], asked: str | None) -> None:
    """A loaded one, else an embedded one, else the smallest that is small; nothing large is loaded unasked."""
    backend.listed = listed
    found, _ = examined(backend)
    assert found.model == asked
    assert found.works is (asked is not None)
    assert found.models == len(listed)
    if asked is None:
        assert found.steps[-1].ok is None
        assert found.problem == "no model is loaded here, and none is small enough to try; name one: --model=NAME"


def test_a_model_that_gives_no_token(backend: Sick) -> None:
    """It was there, and what it answered is told."""
    found, _ = examined(backend, "nonsense")
    assert [step.ok for step in found.steps] == [True, True, False]
    assert "nonsense" in found.problem
    assert found.ttft_ms is None


def test_a_server_that_fails_later() -> None:
    """One token came, and the requests after it failed: no time is told, but what they failed with."""
    quick = Schedule(ttft_ms=1, itl_ms=0.5, tokens=4)
    fault = Fault(FaultKind.HTTP_ERROR, status=500)
    with ReferenceServer(ReferenceConfig(quick), in_thread=True) as server:

        class Failing(Sick):
            """Fails once it is ready."""

            def processes(self, model: str) -> ServerProcesses:
                """Asked for when the model has answered."""
                server.reconfigure(ReferenceConfig(quick, fault))
                return super().processes(model)

        found, _ = examined(Failing(BackendConfig(base_url=server.base_url)), "reference")
    assert [step.ok for step in found.steps] == [True, True, False]
    assert found.problem.startswith("reference: HTTP 500")
    assert found.ttft_ms is None
