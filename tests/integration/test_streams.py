"""Standard streams that are closed, full or broken, and folders that may not be searched: a sentence, no traceback."""

from __future__ import annotations

import ctypes
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_runs import Tiny

pytestmark = [
    pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full"),
    pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX"),
    pytest.mark.slow,
]
RUN = "reports/latest"
COMMANDS = (
    ("--help",),
    ("show", RUN),
    ("show", RUN, "-vv"),
    ("report", RUN, "-o", "page.html"),
    ("report", RUN, "-o", "page.html", "--json"),
    ("history",),
    ("history", "--json"),
    ("compare", RUN, RUN),
    ("compare", RUN, RUN, "--json"),
    ("export", RUN),
    ("export", RUN, "--format=csv"),
    ("import", "reports"),
    ("baseline", "list"),
    ("budgets", "suggest", RUN),
    ("suites",),
    ("suites", "--json"),
    ("schema", "results"),
    ("prune", "--keep", "9"),
    ("models", "--base-url", "{url}"),
    ("doctor", "--base-url", "{url}"),
    ("serve-reference",),
    ("calibrate", "--concurrency", "1"),
)
PATHS = (
    "file/x",
    "file/x.json",
    "loop",
    "loop/x.json",
    "n" * 300 + ".json",
    "a/" * 3_000 + "x.json",
    "shut/x.json",
    "shut",
)
READS: tuple[tuple[str, ...], ...] = (
    ("show", "PATH"),
    ("report", "PATH"),
    ("report", "--recover", "PATH"),
    ("report", RUN, "-o", "PATH/x.html"),
    ("compare", "PATH", RUN),
    ("compare", RUN, RUN, "--markdown", "PATH"),
    ("export", RUN, "-o", "PATH"),
    ("import", "PATH"),
    ("history", "--report-dir", "PATH"),
    ("history", "--store", "PATH/history.db"),
    ("baseline", "set", "name", "PATH"),
    ("budgets", "suggest", "PATH"),
    ("suites", "--rootdir", "PATH"),
    ("calibrate", "PATH"),
    ("serve-reference", "--config", "PATH"),
    ("serve-reference", "--cert-file", "PATH"),
)


EACH = """
import contextlib, io, json, sys
from pytest_flperf import cli
found = []
for words in json.load(sys.stdin):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            status = cli.main(words)
        except SystemExit as error:
            status = error.code
    found.append((words, status, said.getvalue()))
print(json.dumps(found))
"""
"""Runs many commands in one process, because starting it takes longer than they do."""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a stored run."""
    folder = tmp_path_factory.mktemp("streams")
    one = {"name": "one", "prompt": "Hi", "max_tokens": 2, "iterations": 1, "warmup": 0}
    (folder / "tiny.json").write_text(json.dumps({"name": "tiny", "scenarios": [one]}), encoding="utf-8")
    options = ("--flperf-suite=tiny.json", "--flperf-model=flperf-nano", "-o", "flperf_store=")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options], cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder


def run(folder: Path, shell: str) -> tuple[int, str]:
    """Run a line of a shell; its status and what reached the file that it may write standard error to."""
    said = folder / "stderr.txt"
    said.write_text("")
    ended = subprocess.run(
        ["bash", "-c", shell], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, check=False, timeout=300,
    )  # fmt: skip
    return ended.returncode, said.read_text(errors="replace")


def check_quiet(text: str) -> None:
    """No word of Python's own."""
    for word in ("Traceback", "Exception", "Errno", "lost sys.stderr"):
        assert word not in text, text


@pytest.mark.parametrize(
    ("command", "ending"),
    [(command, ">/dev/full") for command in COMMANDS]
    + [(command, ending) for command in COMMANDS[:1] for ending in (">&-", "<&- >&-", "| (exec <&-; true)")],
)
def test_standard_output(done: Path, tiny: Tiny, command: tuple[str, ...], ending: str) -> None:
    """Every command says in a sentence that it could not print, and does not end with 0."""
    words = [sys.executable, "-m", "pytest_flperf", *(word.format(url=tiny.base_url) for word in command)]
    line = f"{shlex.join(words)} 2>stderr.txt"
    line = f"set -o pipefail; {line} {ending}" if "|" in ending else f"{line} {ending}"
    status, said = run(done, line)
    check_quiet(said)
    assert status == 4, (status, said)
    (sentence,) = [each for each in said.splitlines() if not each.startswith("taken: ")]
    assert "standard output can't be written: " in sentence or "can't say where it listens: " in sentence
    assert any(why in sentence for why in ("No space left on device", "it is closed", "Broken pipe"))


@pytest.mark.parametrize("ending", ["2>&-", "2>/dev/full", ">&- 2>&-", ">/dev/full 2>&1"])
@pytest.mark.parametrize("command", [("show", RUN), ("show", "nope"), ()], ids=" ".join)
def test_standard_error(done: Path, command: tuple[str, ...], ending: str) -> None:
    """Where no sentence can be said, the status says it: that of the command, as long as it could print."""
    both = ending.startswith(">")
    line = shlex.join([sys.executable, "-m", "pytest_flperf", *command])
    status, _ = run(done, f"{line} {ending}")
    fails = both or command[:1] in ((), ("nope",)) or command == ("show", "nope")
    assert status in ((4,) if fails else (0, 4)), status
    if not fails and ending == "2>&-":
        assert status == 0, "who closes standard error wants to hear nothing"


def test_files_get_no_number_of_a_closed_stream(done: Path) -> None:
    """What a command prints by mistake must not end up in a file that it has opened."""
    line = shlex.join([sys.executable, "-m", "pytest_flperf", "report", RUN, "-o", "page.html"])
    status, _ = run(done, f"{line} <&- >&- 2>&-")
    assert status == 4
    page = (done / "page.html").read_text(encoding="utf-8")
    assert page.startswith("<!")
    assert page.rstrip().endswith("</html>")


@pytest.mark.parametrize("option", ["--flperf-list-suites", "--flperf-suite=tiny.json --flperf-dry-run"])
def test_options_that_list(done: Path, option: str) -> None:
    """Pytest's own options that only print: exit 4 and a sentence."""
    status, said = run(done, f"{sys.executable} -m pytest {option} 2>stderr.txt >/dev/full")
    assert status == 4
    assert "ERROR: standard output can't be written: No space left on device" in said
    check_quiet(said)


def _may_not_pass_over_rights() -> None:
    """Take from the administrator what makes every folder open."""
    prctl, drop = ctypes.CDLL(None).prctl, 24
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        prctl(drop, capability, 0, 0, 0)


@pytest.fixture(scope="module")
def odd(done: Path) -> Path:
    """Beside the run: a link to itself, a file in the place of a folder, a folder that may not be searched."""
    if not sys.platform.startswith("linux"):
        pytest.skip("capabilities of Linux")
    (done / "loop").symlink_to("loop")
    (done / "file").write_text("x")
    (done / "shut").mkdir()
    (done / "shut").chmod(0)
    return done


def test_folders_that_may_not_be_searched(odd: Path) -> None:
    """A path that leads nowhere is told in a sentence, by every command, and the status is not 0."""
    calls = [[word.replace("PATH", path) for word in command] for command in READS for path in PATHS]
    ended = subprocess.run(
        [sys.executable, "-c", EACH], cwd=odd, input=json.dumps(calls), capture_output=True, text=True, check=False,
        timeout=600, preexec_fn=_may_not_pass_over_rights,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    for words, status, text in json.loads(ended.stdout):
        check_quiet(text)
        if words[0] != "suites":  # what is not there has no suites of its own
            assert status in (1, 4), (words, text)
            assert text.strip(), words
