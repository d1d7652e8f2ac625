"""One load for each model, whatever shuffles the items; tests of others stay where they are."""

from __future__ import annotations

import itertools

import pytest
from plugin_compat import WORKERS, invite
from tiny_runs import Done, Tiny

MODELS = "--flperf-model=flperf-nano,flperf-micro"
BY_MODEL = "--flperf-order=model"
FOUR = tuple({"name": name} for name in "abcd")


def _models(ids: list[str]) -> list[str]:
    return [each.rpartition("[")[2].rstrip("]") for each in ids]


def _changes(models: list[str]) -> int:
    return sum(one != other for one, other in itertools.pairwise(models))


def _loads(done: Done) -> int:
    """How many models were loaded: each load is followed by one cold request."""
    return sum(line["phase"] == "cold" for line in done.journal())


@pytest.mark.parametrize("workers", [(), ("-n1",)])
def test_loads_under_randomly(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]) -> None:
    """pytest-randomly shuffles the cases of a model, and each model is loaded once."""
    invite(monkeypatch, "randomly")
    tiny.suite(*FOUR)
    done = tiny.run("--flperf-suite=tiny.json", MODELS, "--randomly-seed=1", *workers)
    assert done.ret == 0, done.text
    assert "Using --randomly-seed=1" in done.text
    assert len(done.cases) == 8
    assert _loads(done) == 2


def test_randomly_shuffles(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order within a model is the shuffler's own: it differs from the suite's, and from seed to seed."""
    invite(monkeypatch, "randomly")
    tiny.suite(*FOUR)
    orders = set()
    for seed in range(4):
        done = tiny.run("--flperf-suite=tiny.json", MODELS, BY_MODEL, "--co", "-q", f"--randomly-seed={seed}")
        assert sorted(_models(done.ids)) == ["flperf-micro"] * 4 + ["flperf-nano"] * 4
        assert _changes(_models(done.ids)) == 1
        orders.add(tuple(done.ids))
    assert len(orders) > 1


@pytest.mark.parametrize("bucket", ["global", "module", "none"])
def test_random_order(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, bucket: str) -> None:
    """pytest-random-order shuffles after pytest has grouped: they are together again."""
    invite(monkeypatch, "random_order")
    tiny.suite(*FOUR)
    for seed in ("1", "2", "3"):
        options = (f"--random-order-bucket={bucket}", f"--random-order-seed={seed}")
        done = tiny.run("--flperf-suite=tiny.json", MODELS, BY_MODEL, "--co", "-q", *options)
        assert sorted(_models(done.ids)) == ["flperf-micro"] * 4 + ["flperf-nano"] * 4, done.text
        assert _changes(_models(done.ids)) == 1


def test_loads_under_random_order(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each model is loaded once there, too, and tests between the cases are run."""
    invite(monkeypatch, "random_order")
    tiny.suite(*FOUR)
    tiny.pytester.makepyfile(test_mine="import pytest\n@pytest.mark.parametrize('n', range(6))\ndef test_me(n): pass")
    options = ("--random-order-bucket=global", "--random-order-seed=7", "test_mine.py")
    done = tiny.run("--flperf-suite=tiny.json", MODELS, *options)
    assert done.ret == 0, done.text
    assert "14 passed" in done.counts
    assert _loads(done) == 2


SHUFFLE = """
    def pytest_collection_modifyitems(items):
        items[:] = items[::2] + items[1::2][::-1]
"""


@pytest.mark.parametrize("workers", WORKERS)
def test_any_shuffler(tiny: Tiny, workers: tuple[str, ...]) -> None:
    """A conftest that shuffles is a shuffler like any other."""
    tiny.suite(*FOUR, models=["flperf-nano", "flperf-micro"])
    tiny.pytester.makeconftest(SHUFFLE)
    done = tiny.run(*workers, "--flperf-suite=tiny.json", BY_MODEL)
    assert done.ret == 0, done.text
    assert [case["model"] for case in done.cases] == ["flperf-nano"] * 4 + ["flperf-micro"] * 4
    assert _loads(done) == 2


def test_turns_under_any_shuffler(tiny: Tiny) -> None:
    """Models that take turns do so in shuffled scenarios, too: the next model is first in each."""
    tiny.suite(*FOUR, models=["flperf-nano", "flperf-micro"])
    tiny.pytester.makeconftest(SHUFFLE)
    models = _models(tiny.run("--flperf-suite=tiny.json", "--co", "-q").ids)
    assert models == [models[0], models[1], models[1], models[0]] * 2


def test_other_tests_stay(tiny: Tiny) -> None:
    """Cases move up to the first one of their model; other tests keep their order and their neighbours."""
    tiny.suite({"name": "a"}, {"name": "b"})
    tiny.pytester.makepyfile(test_mine="def test_one(): pass\ndef test_two(): pass\ndef test_three(): pass")
    tiny.pytester.makeconftest(
        """
        def pytest_collection_modifyitems(items):
            order = ["test_one", "a[x]", "test_two", "b[y]", "a[y]", "test_three", "b[x]"]
            items.sort(key=lambda item: order.index(item.name))
        """
    )
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-model=x,y", "test_mine.py", "--co", "-q")
    names = [each.rpartition("::")[2] for each in done.ids]
    assert names == ["test_one", "a[x]", "b[x]", "test_two", "b[y]", "a[y]", "test_three"]


MINE = """
    import pytest
    NANO, MICRO = (pytest.mark.flperf(model=name) for name in ("flperf-nano", "flperf-micro"))
    SMALL = dict(prompt="Hi", iterations=1, warmup=0, max_tokens=2)
    @pytest.fixture(scope="module", autouse=True)
    def once():
        print("module set up")
    @NANO
    def test_a(flperf): flperf.run(**SMALL)
    def test_between(): pass
    @MICRO
    def test_b(flperf): flperf.run(**SMALL)
    @NANO
    def test_c(flperf): flperf.run(**SMALL)
    @MICRO
    def test_d(flperf): flperf.run(**SMALL)
"""


def test_tests_with_the_fixture(tiny: Tiny) -> None:
    """In a module, tests that name the same model stand together, and each model is loaded once."""
    tiny.pytester.makepyfile(test_mine=MINE, test_next="def test_last(): pass")
    done = tiny.run("test_mine.py", "test_next.py", "-v")
    assert done.ret == 0, done.text
    ran = [line.split()[0].rpartition("::")[2] for line in done.lines if " PASSED " in line]
    assert ran == ["test_a", "test_c", "test_between", "test_b", "test_d", "test_last"]
    assert _loads(done) == 2


def test_modules_are_not_torn_apart(tiny: Tiny) -> None:
    """Tests with the fixture stay in their module and class, whose fixtures are set up once."""
    tiny.pytester.makepyfile(test_mine=MINE, test_yours=MINE)
    done = tiny.run("test_mine.py", "test_yours.py", "--co", "-q")
    assert [each.partition("::")[0] for each in done.ids] == ["test_mine.py"] * 5 + ["test_yours.py"] * 5


def test_strange_marks(tiny: Tiny) -> None:
    """A mark that is refused later neither moves its test nor ends the collection."""
    tiny.pytester.makepyfile(
        test_mine="""
        import pytest
        @pytest.mark.flperf(model=["x"])
        def test_a(flperf): pass
        @pytest.mark.flperf("y")
        def test_b(flperf): pass
        def test_c(flperf): pass
        """
    )
    done = tiny.run("--co", "-q", "test_mine.py")
    assert [each.rpartition("::")[2] for each in done.ids] == ["test_a", "test_b", "test_c"]


def test_failed_first_is_first(tiny: Tiny) -> None:
    """``--ff`` is asked for: failed cases of every model run before the others, at the price of a load."""
    tiny.suite({"name": "a"}, {"name": "b", "budgets": ["ttft_ms.max <= 0.001"]})
    assert tiny.run("--flperf-suite=tiny.json", MODELS).ret == pytest.ExitCode.TESTS_FAILED
    done = tiny.run("--flperf-suite=tiny.json", MODELS, "--ff", "--co", "-q")
    assert [each.partition("::")[2].partition("[")[0] for each in done.ids] == ["b", "b", "a", "a"]
