"""Several backends behind one face; the backends are doubles that keep what they were asked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from pytest_flperf.backends.base import (
    About,
    Backend,
    BackendConfig,
    BackendError,
    Capabilities,
    ListedModel,
    OnProgress,
    Served,
)
from pytest_flperf.backends.registry import BackendType
from pytest_flperf.backends.router import Place, SeveralBackends
from pytest_flperf.telemetry.readings import ServerProcesses
from pytest_flperf.wire.endpoint import Endpoint


@dataclass
class Recording:
    """A backend that loads whatever it is asked for, and can be told to lose it."""

    config: BackendConfig
    name: str = "recording"
    calls: list[str] = field(default_factory=list)
    loaded: dict[str, int] = field(default_factory=dict)
    loads: int = 0
    unwell: str = ""
    closes_badly: bool = False

    def prepare(self, models: tuple[str, ...]) -> None:
        """Remember it."""
        self.calls.append(f"prepare {' '.join(models)}")

    def about(self) -> About:
        """By its URL."""
        return About(f"Runtime {self.name}", "1", self.config.base_url or "")

    def discover(self) -> tuple[ListedModel, ...]:
        """What is loaded."""
        return tuple(ListedModel(name, name, "server") for name in self.loaded)

    def ensure(self, model: str, on_progress: OnProgress) -> Served:
        """Load what isn't loaded."""
        self.calls.append(f"ensure {model}")
        if model not in self.loaded:
            on_progress(f"loading {model}", None)
            self.loads += 1
            self.loaded[model] = self.loads
        return Served(self.name, model, f"{model}-id", self.endpoint(model), generation=self.loaded[model])

    def endpoint(self, model: str) -> Endpoint:
        """Of its URL, whatever the model."""
        self.calls.append(f"endpoint {model}")
        return Endpoint.parse(self.config.base_url or "http://127.0.0.1:1/v1")

    def capabilities(self, model: str) -> Capabilities:
        """One parameter, called like the model."""
        return Capabilities(parameters=frozenset({model}))

    def health(self) -> str:
        """As told."""
        return self.unwell

    def processes(self, model: str) -> ServerProcesses:
        """One process for each load."""
        return ServerProcesses((self.loaded[model],))

    def release(self, model: str) -> None:
        """Forget it."""
        self.calls.append(f"release {model}")
        self.loaded.pop(model, None)

    def close(self) -> None:
        """Remember it."""
        self.calls.append("close")
        if self.closes_badly:
            raise RuntimeError("a bug of theirs")


class Kinds:
    """Kinds of backends that keep what was made of them."""

    def __init__(self) -> None:
        self.made: list[Recording] = []

    def kind(self, name: str = "recording") -> BackendType:
        """One of that name."""

        def make(config: BackendConfig) -> Backend:
            self.made.append(Recording(config, name))
            return self.made[-1]

        return BackendType(name, make, "a double")

    def place(self, model: str, *, kind: str = "recording", **values: object) -> Place:
        """Where a model lives; equal values are equal places."""
        return Place(self.kind(kind), replace(BackendConfig(), **values), model)  # type: ignore[arg-type]


@pytest.fixture
def kinds() -> Kinds:
    """What backends are made with."""
    return Kinds()


def ignore(what: str, percent: float | None) -> None:
    """For where progress is not what the test is about."""
    del what, percent


def test_one_backend_for_equal_places(kinds: Kinds) -> None:
    """Models of one server share a backend, and are asked for by their own names there."""
    backend = SeveralBackends()
    backend.add("a", kinds.place("one", base_url="http://127.0.0.1:1/v1", options={"x": 1}))
    backend.add("b", kinds.place("two", base_url="http://127.0.0.1:1/v1", options={"x": 1}))
    assert kinds.made == []
    first, second = backend.ensure("a", ignore), backend.ensure("b", ignore)
    (made,) = kinds.made
    assert [call for call in made.calls if "ensure" in call] == ["ensure one", "ensure two"]
    assert (first.model, first.model_id) == ("a", "one-id")
    assert (second.model, second.model_id) == ("b", "two-id")
    assert backend.discover() == made.discover()


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"base_url": "http://127.0.0.1:1/v1"}, {"base_url": "http://127.0.0.1:2/v1"}),
        ({"api_key": "a"}, {"api_key": "b"}),
        ({"headers": {"X": "1"}}, {"headers": {"X": "2"}}),
        ({"options": {"x": 1}}, {"options": {"x": 2}}),
        ({"device": "cpu"}, {"device": "gpu"}),
        ({"kind": "recording"}, {"kind": "other"}),
    ],
)
def test_one_for_each_configuration(kinds: Kinds, left: dict[str, str], right: dict[str, str]) -> None:
    """What is reached or run differently is another backend, also where the model has the same name."""
    backend = SeveralBackends()
    backend.add("a", kinds.place("m", **left))
    backend.add("b", kinds.place("m", **right))
    for label in ("a", "b", "a"):
        backend.ensure(label, ignore)
    assert [each.loads for each in kinds.made] == [1, 1]


def test_generations_over_all_backends(kinds: Kinds) -> None:
    """Each load has a number of its own, whichever backend it happened in; without a load it stays."""
    backend = SeveralBackends()
    for label, port in (("a", 1), ("b", 2)):
        backend.add(label, kinds.place("m", base_url=f"http://127.0.0.1:{port}/v1"))
    numbers = [backend.ensure(label, ignore).generation for label in ("a", "b", "a", "b")]
    assert numbers == [1, 2, 1, 2]
    kinds.made[0].loaded.clear()
    assert [backend.ensure(label, ignore).generation for label in ("a", "b")] == [3, 2]


def test_a_load_of_each_model_is_new(kinds: Kinds) -> None:
    """Two models of one backend, of which neither has been loaded with the other."""
    backend = SeveralBackends()
    backend.add("a", kinds.place("one"))
    backend.add("b", kinds.place("two"))
    assert backend.ensure("a", ignore).generation != backend.ensure("b", ignore).generation


def test_prepare_by_backend(kinds: Kinds) -> None:
    """Each backend hears of its models, once; a label that nobody knows and a place that can't be are passed over."""
    backend = SeveralBackends()
    backend.add("a", kinds.place("one"))
    backend.add("b", kinds.place("two", device="gpu"))
    backend.add("c", kinds.place("three"))
    backend.add("broken", Place(BackendType("broken", _refuse, "no"), BackendConfig(), "m"))
    backend.prepare(("a", "b", "c", "broken", "unknown"))
    assert [each.calls for each in kinds.made] == [["prepare one three"], ["prepare two"]]


@pytest.mark.parametrize("keep", [False, True])
def test_release(kinds: Kinds, keep: bool) -> None:
    """At the backend, by the model's name there; not at all where models are to be kept."""
    backend = SeveralBackends(keep_loaded=keep)
    backend.add("a", kinds.place("one"))
    backend.ensure("a", ignore)
    backend.release("a")
    backend.release("unknown")
    assert ("release one" in kinds.made[0].calls) is not keep
    assert bool(kinds.made[0].loaded) is keep


def test_a_release_of_one_that_was_never_made(kinds: Kinds) -> None:
    """Nothing is made only to be told to let go, least of all what can't be made."""
    several = SeveralBackends()
    several.add("one", kinds.place("a"))
    several.release("one")
    assert not kinds.made


def test_close(kinds: Kinds) -> None:
    """Every backend, once; what is asked for afterwards is made anew."""
    backend = SeveralBackends(keep_loaded=True)
    backend.add("a", kinds.place("one"))
    backend.add("b", kinds.place("two", device="gpu"))
    backend.ensure("a", ignore)
    backend.ensure("b", ignore)
    backend.close()
    backend.close()
    assert [each.calls.count("close") for each in kinds.made] == [1, 1]
    backend.ensure("a", ignore)
    assert len(kinds.made) == 3


def test_one_that_closes_badly(kinds: Kinds) -> None:
    """A backend of others that raises where none may does not leave the rest running."""
    backend = SeveralBackends()
    for label, device in (("a", "cpu"), ("b", "gpu"), ("c", "npu")):
        backend.add(label, kinds.place("m", device=device))
        backend.ensure(label, ignore)
    kinds.made[0].closes_badly = kinds.made[2].closes_badly = True
    backend.close()
    assert [each.calls[-1] for each in kinds.made] == ["close"] * 3


def test_an_unknown_label() -> None:
    """A sentence where something may be raised, else an answer that says nothing."""
    backend = SeveralBackends()
    for ask in (lambda: backend.ensure("x", ignore), lambda: backend.endpoint("x")):
        with pytest.raises(BackendError, match="x: no backend is known for this model"):
            ask()
    assert backend.capabilities("x") == Capabilities()
    assert "no backend is known" in backend.processes("x").absent
    assert backend.health() == ""
    assert backend.discover() == ()
    with pytest.raises(BackendError, match="no backend is known"):
        backend.about()


def _refuse(config: BackendConfig) -> Backend:
    del config
    raise ValueError("options.x is 'y', expected a number")


def test_a_place_that_cannot_be() -> None:
    """What a kind refuses is a BackendError that names the kind, each time that it is asked for."""
    backend = SeveralBackends()
    backend.add("a", Place(BackendType("broken", _refuse, "no"), BackendConfig(), "m"))
    for _ in range(2):
        with pytest.raises(BackendError, match=r"broken: options.x is 'y', expected a number"):
            backend.ensure("a", ignore)
    backend.close()


def test_each_where_it_lives(kinds: Kinds) -> None:
    """Endpoint, capabilities and processes are those of a model's own backend; health and about are everybody's."""
    backend = SeveralBackends()
    backend.add("a", kinds.place("one", base_url="http://127.0.0.1:1/v1"))
    backend.add("b", kinds.place("two", base_url="http://127.0.0.1:2/v1", kind="other"))
    backend.ensure("a", ignore)
    backend.ensure("b", ignore)
    assert backend.endpoint("b").base_url == "http://127.0.0.1:2/v1"
    assert backend.capabilities("b").parameters == {"two"}
    kinds.made[1].loaded["two"] = 77
    assert backend.processes("b").pids == (77,)
    assert backend.health() == ""
    kinds.made[0].unwell, kinds.made[1].unwell = "it died", "it hangs"
    assert backend.health() == "it died\nit hangs"
    assert backend.about() == About(
        "Runtime recording, Runtime other", address="http://127.0.0.1:1/v1, http://127.0.0.1:2/v1"
    )


def test_a_backend_that_breaks() -> None:
    """Whatever somebody else's code raises is an error in words, by which only its own cases end."""

    class Broken(Recording):
        def ensure(self, model: str, on_progress: OnProgress) -> Served:
            raise KeyError(model)

    several = SeveralBackends()
    several.add("label", Place(BackendType("broken", Broken, "breaks"), BackendConfig(), "model"))
    with pytest.raises(BackendError, match="label: the backend failed: KeyError: 'model'"):
        several.ensure("label", lambda what, percent: None)
    assert several.kind_of("label") == "broken"
    assert several.kind_of("unknown") == ""
