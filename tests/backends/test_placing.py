"""Targets of the command line and of suites, and the places that come of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.backends.base import BackendConfig, BackendError
from pytest_flperf.backends.registry import BUILT_IN, installed, registry
from pytest_flperf.backends.resolver import Defaults, Placing, PlacingError, secrets_of
from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.loader import parse_target
from pytest_flperf.suite.targets import TargetSpec, backend_options, distinct

URL = "http://127.0.0.1:8080/v1"
KEY = "planted-0123456789abcdef"

# A backslash right before a comma, or last, can't be told from the one that keeps a comma in its value.
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="\\"), min_size=1, max_size=20
)
NAMES = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=10)
SCALARS = st.one_of(st.booleans(), st.integers(-(10**9), 10**9), st.floats(-1e9, 1e9))


def written(key: str, value: object) -> str:
    """A part of a target as a person writes it."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"{key}={text.replace(',', chr(92) + ',')}"


@given(
    st.dictionaries(st.sampled_from(["backend", "name", "base_url", "api_key_env", "model_cache"]), TEXTS),
    TEXTS,
    st.dictionaries(NAMES, TEXTS, max_size=3),
    st.dictionaries(NAMES, SCALARS, max_size=3),
)
def test_a_target_round_trip(
    fields: dict[str, str], model: str, headers: dict[str, str], options: dict[str, Any]
) -> None:
    """What is written comes back as it was meant: commas and equals signs in values, numbers and flags in options."""
    parts = [written(key, value) for key, value in {"model": model, **fields}.items()]
    parts += [written(f"headers.{key}", value) for key, value in headers.items()]
    parts += [written(f"options.{key}", value) for key, value in options.items()]
    found = parse_target(",".join(parts), "here")
    assert found == TargetSpec(model=model, headers=headers, options=options, **fields)
    assert {key: type(value) for key, value in found.options.items()} == {
        key: type(value) for key, value in options.items()
    }


@given(st.text(max_size=60))
def test_any_text_is_a_target_or_refused(text: str) -> None:
    """Nothing but a SuiteError comes of nonsense, and it says where."""
    try:
        said = parse_target(text, "--flperf-target").model
    except SuiteError as error:
        where, _, said = str(error).partition(": ")
        assert where == "--flperf-target"
    assert said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model=m,tls.verify=false,tls.ca_file=ca.pem", TargetSpec("m", verify=False, ca_file="ca.pem")),
        (r"model=C:\models\m , device=cpu,", TargetSpec(r"C:\models\m", device="cpu")),
        (r"model=a\,b=c", TargetSpec("a,b=c")),
        ("model=0.5,options.start_s=90", TargetSpec("0.5", options={"start_s": 90})),
        ("model=true,headers.X-N=1", TargetSpec("true", headers={"X-N": "1"})),
        ("model=m,headers_env.X-Key=TEAM", TargetSpec("m", headers_env={"X-Key": "TEAM"})),
    ],
)
def test_targets_by_example(text: str, expected: TargetSpec) -> None:
    """Paths of Windows, blanks, an empty end; only options and flags are more than text."""
    assert parse_target(text, "here") == expected


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("m", "here: found 'm', expected KEY=VALUE, such as model=NAME"),
        ("=m", "expected KEY=VALUE"),
        ("model=a,model=b", "found model twice, expected it once"),
        ("model=a,options=1,options.x=1", "found options.x twice"),
        ("", "model: missing"),
        ("model=a,tls.verify=perhaps", "tls.verify: found 'perhaps'"),
        ("model=a,divice=gpu", "divice: unknown key; did you mean 'device'?"),
        ("model=a,headers.X=1,headers.X=2", "found headers.X twice"),
    ],
)
def test_what_is_no_target(text: str, fault: str) -> None:
    """One sentence with what was found and what was expected."""
    with pytest.raises(SuiteError) as error:
        parse_target(text, "here")
    assert fault in str(error.value)


def test_options_of_kinds() -> None:
    """By kind and key, typed; the last of two says it; a value may hold dots and equals signs."""
    texts = ["llamacpp.a.b=x=y", "ollama.pull=true", "ollama.pull=false", "ollama.load_timeout_s= 1.5"]
    assert backend_options(texts, "here") == {
        "llamacpp": {"a.b": "x=y"},
        "ollama": {"pull": False, "load_timeout_s": 1.5},
    }


@pytest.mark.parametrize("text", ["", "x", "x=1", ".k=1", "kind.=1", "kind.key"])
def test_what_is_no_option(text: str) -> None:
    """An example says how it is done."""
    with pytest.raises(SuiteError, match=r"here: found .*expected KIND\.KEY=VALUE, such as llamacpp\.models_dir=mo"):
        backend_options([text], "here")


def test_labels() -> None:
    """The name, else backend and model; equal targets once, different ones of one label not at all."""
    plain, named = TargetSpec("m", backend="ollama"), TargetSpec("m", name="mine")
    assert (TargetSpec("m").label, plain.label, named.label) == ("m", "ollama:m", "mine")
    assert distinct([plain, named, plain], "here") == (plain, named)
    with pytest.raises(SuiteError, match="here: found two targets called 'mine', expected a different name for each"):
        distinct([named, replace(named, device="cpu")], "here")


# ---- places


def placing(**values: Any) -> Placing:
    """Of a run that says this."""
    return Placing(Defaults(**values), BUILT_IN)


def config(target: TargetSpec, **values: Any) -> BackendConfig:
    """The configuration of a target's place."""
    return placing(**values).place(target).config


@pytest.mark.parametrize(
    ("target", "run", "kind"),
    [
        ({}, {}, "foundry"),
        ({"base_url": URL}, {}, "openai"),
        ({}, {"base_url": URL}, "openai"),
        ({}, {"backend": "ollama"}, "ollama"),
        ({}, {"backend": "ollama", "base_url": URL}, "ollama"),
        ({"base_url": URL}, {"backend": "llamacpp"}, "llamacpp"),
        ({"backend": "lmstudio"}, {"backend": "ollama", "base_url": URL}, "lmstudio"),
        ({"backend": "foundry"}, {"base_url": URL}, "foundry"),
    ],
)
def test_kinds(target: dict[str, str], run: dict[str, str], kind: str) -> None:
    """A target's own, else the run's, else any server where there is a URL, else Foundry Local."""
    place = placing(**run).place(TargetSpec("m", **target))
    assert (place.kind.name, place.model) == (kind, "m")


def test_the_url_of_a_run() -> None:
    """For targets that say neither URL nor another kind; never for those of another kind."""
    run = {"backend": "ollama", "base_url": URL}
    assert config(TargetSpec("m"), **run).base_url == URL
    assert config(TargetSpec("m", backend="ollama"), **run).base_url == URL
    assert config(TargetSpec("m", backend="lmstudio"), **run).base_url is None
    assert config(TargetSpec("m", base_url="http://127.0.0.1:9/v1"), **run).base_url == "http://127.0.0.1:9/v1"
    assert config(TargetSpec("m", backend="openai"), base_url=URL).base_url is None


def test_keys_and_headers_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target's own key, else the run's where the target is of the run's kind; nothing of it in any repr."""
    monkeypatch.setenv("RUN_KEY", "run-key-0123456789")
    monkeypatch.setenv("OWN_KEY", KEY)
    run = {"backend": "openai", "base_url": URL, "api_key_env": "RUN_KEY"}
    assert config(TargetSpec("m"), **run).api_key == "run-key-0123456789"
    own = TargetSpec("m", api_key_env="OWN_KEY", headers={"X-A": "a"}, headers_env={"X-Key": "OWN_KEY"})
    found = config(own, **run)
    assert found.api_key == KEY
    assert found.headers == {"X-A": "a", "X-Key": KEY}
    assert KEY not in repr(found)
    assert config(TargetSpec("m", backend="ollama"), **run).api_key is None
    elsewhere = TargetSpec("m", base_url="http://127.0.0.1:9/v1")
    assert config(elsewhere, **run).api_key is None, "the run's key is for the run's server"
    assert config(TargetSpec("m", backend="openai", base_url=URL), **run).api_key == "run-key-0123456789"
    assert set(secrets_of("RUN_KEY", [own])) >= {"run-key-0123456789", KEY}


@pytest.mark.parametrize("target", [{"api_key_env": "NOT_SET_HERE"}, {"headers_env": {"X": "NOT_SET_HERE"}}])
@pytest.mark.parametrize("value", [None, ""])
def test_a_key_that_is_not_there(monkeypatch: pytest.MonkeyPatch, target: dict[str, Any], value: str | None) -> None:
    """Not set, or empty: said when the target is placed."""
    if value is None:
        monkeypatch.delenv("NOT_SET_HERE", raising=False)
    else:
        monkeypatch.setenv("NOT_SET_HERE", value)
    with pytest.raises(BackendError, match="'NOT_SET_HERE' is not set; expected it to hold a key"):
        placing().place(TargetSpec("m", base_url=URL, **target))


def test_what_a_kind_takes_is_filled(tmp_path: Path) -> None:
    """Of the run where the target says nothing; the target's own wins; what a kind has no use for stays out."""
    run = {"device": "cpu", "isolation": "process", "transport": "native", "catalog_url": URL, "model_cache": "~/m"}
    found = Placing(Defaults(**run), BUILT_IN, tmp_path).place(TargetSpec("m", device="gpu")).config
    assert (found.device, found.isolation, found.transport) == ("gpu", "process", "native")
    assert found.catalog_url == URL
    assert found.model_cache_dir == Path("~/m").expanduser().absolute()
    assert found.logs_dir == tmp_path
    other = config(TargetSpec("m", backend="openai", base_url=URL), **run)
    assert other == BackendConfig(base_url=URL)


def test_tls() -> None:
    """As the target says."""
    found = config(TargetSpec("m", base_url="https://127.0.0.1/v1", ca_file="ca.pem", verify=False)).tls
    assert (found.ca_file, found.verify, found.client_cert) == ("ca.pem", False, None)


def test_options_of_the_run_and_the_target() -> None:
    """Both count, the target's first; those of other kinds don't."""
    run: dict[str, Any] = {"backend_options": {"ollama": {"pull": True, "load_timeout_s": 5}, "lmstudio": {"x": 1}}}
    target = TargetSpec("m", backend="ollama", options={"pull": False})
    assert config(target, **run).options == {"pull": False, "load_timeout_s": 5}
    assert config(TargetSpec("m", backend="openai", base_url=URL), **run).options == {}


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ({"backend": "openai", "device": "gpu"}, "found device, which the backend openai does not use"),
        ({"backend": "ollama", "transport": "native"}, "found transport, which the backend ollama does not use"),
        ({"backend": "ollama", "isolation": "process"}, "found isolation, which the backend"),
        ({"backend": "ollama", "model_cache": "x"}, "found model_cache, which the backend"),
        ({"backend": "ollama", "catalog_url": URL}, "found catalog_url, which the backend"),
        ({"backend": "foundry", "base_url": URL}, "found base_url, which the backend foundry does not use"),
        ({"backend": "foundry", "api_key_env": "PATH"}, "found api_key_env, which the backend"),
        ({"backend": "foundry", "headers": {"a": "b"}}, "found headers, which the backend"),
        ({"backend": "foundry", "headers_env": {"a": "PATH"}}, "found headers, which the backend"),
        ({"backend": "foundry", "verify": False}, "found tls, which the backend"),
        ({"backend": "foundry", "client_cert": "x"}, "found tls, which the backend"),
        ({"backend": "olama"}, "backend: found 'olama', expected one of foundry, "),
        ({"backend": "olama"}, "nearest: ollama"),
        ({"base_url": "nonsense"}, "base_url: 'nonsense' begins with neither"),
        ({"catalog_url": "nonsense"}, "catalog_url: 'nonsense' begins with neither"),
        ({"backend": "ollama", "options": {"pul": 1}}, "found 'pul', expected an option of ollama; did you mean 'pull"),
        ({"backend": "openai", "options": {"load_s": 1}}, "found 'load_s', expected an option of openai; did you mean"),
        ({"backend": "foundry", "options": {"x": 1}}, "found 'x', expected an option of foundry; it has none"),
    ],
)
def test_fields_that_a_kind_has_no_use_for(target: dict[str, Any], fault: str) -> None:
    """Refused, with the file and the target's name, so that nothing is measured otherwise than it was meant."""
    with pytest.raises(PlacingError) as error:
        placing().check([TargetSpec("m", name="mine", **target)], "suite.yaml")
    assert str(error.value).startswith("suite.yaml: target 'mine': ")
    assert fault in str(error.value)


@pytest.mark.parametrize(
    ("kind", "key"), [(each.name, key) for each in BUILT_IN.values() for key in sorted(each.programs)]
)
def test_programs_in_suites(kind: str, key: str) -> None:
    """A suite file, which may be anybody's, starts no program of its own choice; the command line may."""
    target = TargetSpec("m", backend=kind, options={key: "/bin/sh"})
    with pytest.raises(PlacingError) as error:
        placing().check([target], "suite.yaml")
    assert f"options.{key}: names a program or its arguments" in str(error.value)
    assert f"--flperf-backend-option={kind}.{key}=" in str(error.value)
    placing().check([target])
    assert config(TargetSpec("m", backend=kind), backend_options={kind: {key: "x"}}).options == {key: "x"}


def test_there_are_programs() -> None:
    """What the test before goes through isn't empty."""
    assert {each.name for each in BUILT_IN.values() if each.programs} == {"llamacpp", "litellm"}


@pytest.mark.parametrize(
    ("run", "fault"),
    [
        ({"backend": "openai", "device": "gpu"}, "--flperf-device: the backend openai does not use it"),
        ({"base_url": URL, "isolation": "process"}, "--flperf-isolation: the backend openai does not use it"),
        ({"base_url": URL, "transport": "native"}, "--flperf-transport: the backend openai does not use it"),
        ({"backend": "foundry", "base_url": URL}, "--flperf-base-url: the backend foundry does not use it"),
        ({"backend": "foundry", "api_key_env": "PATH"}, "--flperf-api-key-env: the backend foundry does not use it"),
        ({"backend": "x"}, "--flperf-backend: found 'x', expected one of"),
        ({"backend_options": {"x": {"a": 1}}}, "--flperf-backend-option: found 'x', expected one of"),
        ({"backend_options": {"ollama": {"a": 1}}}, "--flperf-backend-option: found 'a', expected an option of ollama"),
    ],
)
def test_options_of_a_run_that_do_nothing(run: dict[str, Any], fault: str) -> None:
    """Refused with the flag's name, where the run's own kind does not use it."""
    with pytest.raises(PlacingError) as error:
        placing(**run).check([TargetSpec("m")])
    assert fault in str(error.value)
    with pytest.raises(PlacingError, match="--x-"):
        placing(**run, flags="--x-").check([TargetSpec("m")])


def test_what_is_no_reason_to_refuse() -> None:
    """A target that names its kind does without what the run says; where models lie may be a machine's setting."""
    placing(device="gpu").check([TargetSpec("m"), TargetSpec("m", backend="openai", base_url=URL)])
    placing(base_url=URL, catalog_url=URL, model_cache="x").check([TargetSpec("m")])


def test_a_run_without_a_url() -> None:
    """Enough where every target has its own; a target that has none is refused, and not before it is measured."""
    run = placing(backend="openai")
    run.check_run()
    run.check([TargetSpec("m", base_url=URL)])
    with pytest.raises(PlacingError, match="target 'm': base_url is missing; openai needs the server's"):
        run.check([TargetSpec("m")])
    with pytest.raises(PlacingError, match="--flperf-device: the backend openai does not use it"):
        placing(backend="openai", device="gpu").check_run()


def test_a_url_at_which_nothing_is_measured() -> None:
    """Refused where all targets say where they live."""
    run = placing(base_url=URL)
    run.check_used([TargetSpec("m"), TargetSpec("m", backend="ollama")])
    with pytest.raises(PlacingError, match="--flperf-base-url: every target names its own server"):
        run.check_used([TargetSpec("m", backend="ollama"), TargetSpec("m", base_url=URL)])


def test_the_key_of_the_run_stays_with_its_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target with a URL of its own, which a suite of anybody's may name, does not get it."""
    monkeypatch.setenv("RUN_KEY", "run-key-0123456789")
    run = {"base_url": URL, "api_key_env": "RUN_KEY"}
    assert config(TargetSpec("m"), **run).api_key == "run-key-0123456789"
    assert config(TargetSpec("m", base_url="http://127.0.0.1:9/v1"), **run).api_key is None


@pytest.mark.parametrize(
    ("run", "fault"),
    [
        ({"base_url": "nonsense"}, "--flperf-base-url: 'nonsense' begins with neither http:// nor https://"),
        ({"catalog_url": "ftp://x"}, "--flperf-catalog-url: "),
        ({"base_url": URL, "api_key_env": "NOT_SET_HERE"}, "'NOT_SET_HERE' is not set; expected it to hold a key"),
        (
            {"api_key_env": "PATH"},
            "--flperf-api-key-env is for --flperf-base-url or --flperf-backend, which are",
        ),
    ],
)
def test_defaults_that_cannot_be(run: dict[str, str], fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is measured."""
    monkeypatch.delenv("NOT_SET_HERE", raising=False)
    with pytest.raises(PlacingError) as error:
        placing(**run).check_defaults()
    assert fault in str(error.value)


def test_the_keys_of_a_run_stay_with_its_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target of a suite that names another URL doesn't get the command line's key."""
    monkeypatch.setenv("RUN_KEY", KEY)
    placing = Placing(Defaults(base_url=URL, api_key_env="RUN_KEY"), BUILT_IN)
    assert placing.place(TargetSpec("m")).config.api_key == KEY
    assert placing.place(TargetSpec("m", base_url="https://elsewhere.example/v1")).config.api_key is None


def test_a_url_that_is_needed() -> None:
    """Refused before anything begins, with what was expected."""
    with pytest.raises(PlacingError, match="base_url is missing; openai needs the server's"):
        Placing(Defaults(), BUILT_IN).check([TargetSpec("m", backend="openai")])
    Placing(Defaults(base_url=URL), BUILT_IN).check([TargetSpec("m")])


def test_options_that_nothing_has_a_use_for() -> None:
    """A device for servers that are reached by their URL, whatever the targets say themselves, would do nothing."""
    target = TargetSpec("m", backend="openai", base_url=URL)
    with pytest.raises(PlacingError, match=r"--flperf-device: no measured target uses it \(openai\)"):
        Placing(Defaults(device="gpu"), BUILT_IN).check_used([target])
    Placing(Defaults(device="gpu"), BUILT_IN).check_used([target, TargetSpec("n")])


class _Entry:
    """An entry point of an installed package."""

    value = "package:KIND"

    def __init__(self, found: object) -> None:
        self._found = found

    def load(self) -> object:
        """What is there, or what importing it raises."""
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


def test_kinds_of_installed_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point is a kind; anything else is named with where it came from."""
    kind = replace(BUILT_IN["openai"], name="theirs")
    found: list[object] = [kind]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [_Entry(each) for each in found])
    assert registry(installed())["theirs"] is kind
    found[:] = [ImportError("no such thing")]
    with pytest.raises(ValueError, match="package:KIND: ImportError: no such thing"):
        installed()
    found[:] = ["a text"]
    with pytest.raises(ValueError, match="package:KIND: found str, expected a BackendType"):
        installed()
