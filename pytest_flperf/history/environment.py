"""Environment of a run: machine, git commit and CI job.

Read from files and environment variables.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_flperf.history.ci_systems import CI_SYSTEMS, Build, CiSystem
from pytest_flperf.history.ci_systems import VARIABLES as CI_VARIABLES
from pytest_flperf.results.records import HostInfo

__all__ = [
    "VARIABLES",
    "CiJob",
    "Commit",
    "Surroundings",
    "find_build",
    "find_commit",
    "find_job",
    "fingerprint",
    "label_of",
    "surroundings",
]

_FINGERPRINT_DIGITS: Final = 16
_MB_PER_GB: Final = 1024
_READ_MOST: Final = 1 << 22
_GIT_TIMEOUT_S: Final = 2.0
_HASH: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_HEADS: Final = "refs/heads/"
_DEEPEST_LINK: Final = 5
_LONGEST: Final = 500
_LONGEST_LABEL: Final = 100
_NO_BRACKETS: Final = str.maketrans("()", "[]")
_GITHUB_ADDRESS: Final = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY")
VARIABLES: Final = CI_VARIABLES.union(_GITHUB_ADDRESS)
"""All environment variables that are read here."""
_LABEL: Final = re.compile(r"(?:\A| )\(((?:pull request|tag|event|ref)\b[^()]*)\)\Z")


@dataclass(frozen=True, slots=True)
class Commit:
    """Git commit and branch that were checked out."""

    id: str | None = None
    branch: str | None = None
    """None where a commit and no branch is checked out."""


@dataclass(frozen=True, slots=True)
class CiJob:
    """CI job that measured the run."""

    system: str
    """``github``, ``gitlab``, ``jenkins`` …"""
    id: str
    url: str | None = None
    label: str = ""
    """What the job builds, where that is no branch: ``pull request 12``, ``tag v1``."""

    @property
    def text(self) -> str:
        """Id and label: ``77 (pull request 12)``."""
        return f"{self.id} ({self.label})".strip() if self.label else self.id


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Commit, CI job and folder that are stored with a run."""

    commit: Commit = Commit()
    job: CiJob | None = None
    folder: str | None = None
    """The run's folder, absolute."""


def surroundings(here: Path, environment: Mapping[str, str], folder: Path | None) -> Surroundings:
    """Commit, CI job and folder of a run, as far as known.

    Unknown values are None, and nothing raises.

    In CI the branch is taken from the CI variables, not from git: for a pull request many systems check out a branch
    with the name of its source or target.  On a person's machine it is the branch that is checked out.
    """
    found = find_commit(here)
    build = find_build(environment)
    commit = Commit(found.id or (build.commit if build is not None else None), _branch(found, build))
    return Surroundings(commit, find_job(environment), None if folder is None else str(folder))


def find_build(environment: Mapping[str, str]) -> Build | None:
    """The build of the current CI system; None outside of CI.

    Where the variables of two systems are set, a pull request or a tag of either one wins.
    """
    builds = _builds(environment)
    first = [build for _, build in builds if build.kind in ("pull request", "tag")]
    known = [build for _, build in builds if build.kind != "unknown"]
    return next((build for build in (*first, *known, *(build for _, build in builds))), None)


def _builds(environment: Mapping[str, str]) -> list[tuple[CiSystem, Build]]:
    bounded = {name: value[:_LONGEST] for name, value in environment.items() if name in VARIABLES}
    return [(system, system.build(bounded)) for system in CI_SYSTEMS if system.runs_in(bounded)]


def _branch(found: Commit, build: Build | None) -> str | None:
    if build is None or build.kind == "unknown":
        return found.branch
    moved = build.commit is not None and _HASH.match(build.commit) and found.id not in (None, build.commit)
    return found.branch if build.kind == "branch" and moved else build.branch


def fingerprint(host: HostInfo | None) -> str:
    """Fingerprint of a machine, the same for machines of one kind.

    16 hexadecimal digits of a hash; empty where nothing is known of the machine.  The hash is of processor, logical
    cores, memory in whole GB, system without its kernel, architecture and accelerators; not of the machine's name,
    and not of what changes with an update of the kernel.
    """
    if host is None:
        return ""
    system = host.os.partition(", kernel ")[0]
    ram_gb = round(host.ram_mb / _MB_PER_GB)
    parts = [host.cpu, host.cores, ram_gb, system, host.machine, sorted(host.gpus)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:_FINGERPRINT_DIGITS]


def find_job(environment: Mapping[str, str]) -> CiJob | None:
    """The current CI job, from the CI variables; None outside of CI."""
    builds = _builds(environment)
    build = find_build(environment)
    if not builds or build is None:
        return None
    system = builds[0][0]
    parts = [environment[name] for name in system.job if environment.get(name)]
    address = environment.get(system.url) if system.url else None
    if system.name == "github" and environment.get("GITHUB_REPOSITORY") and environment.get("GITHUB_RUN_ID"):
        server = environment.get("GITHUB_SERVER_URL", "https://github.com")
        address = f"{server}/{environment['GITHUB_REPOSITORY']}/actions/runs/{environment['GITHUB_RUN_ID']}"
    label = build.label.translate(_NO_BRACKETS)[:_LONGEST_LABEL]
    return CiJob(system.name, "/".join(parts)[:_LONGEST], address[:_LONGEST] if address else None, label)


def label_of(ci_job: str | None) -> str | None:
    """Label of a stored CI job; None for a branch (see ``CiJob.text``)."""
    found = _LABEL.search(ci_job or "")
    return None if found is None else found[1]


def find_commit(here: Path) -> Commit:
    """Commit and branch checked out at ``here``.

    Read from git's files; git itself is run only where they don't say.
    """
    try:
        git_dir = _git_dir(here)
        if git_dir is None:
            return Commit()
        head = _read(git_dir / "HEAD").strip()
    except (OSError, ValueError):
        return Commit()
    if _HASH.match(head):
        return Commit(head)
    ref = head.removeprefix("ref:").strip()
    if not head.startswith("ref:") or ref.startswith("refs/heads/.invalid"):  # reftable keeps its refs elsewhere
        return _asked(here)
    branch = ref.removeprefix(_HEADS) if ref.startswith(_HEADS) else None
    try:
        return Commit(_resolved(git_dir, ref), branch)
    except (OSError, ValueError):
        return Commit(None, branch)


def _git_dir(here: Path) -> Path | None:
    """The git folder: ``.git``, or where the file ``.git`` points.

    Worktrees and submodules have such a file.
    """
    for folder in (here, *here.parents):
        found = folder / ".git"
        if found.is_dir():
            return found
        if found.is_file():
            target = _read(found).strip().removeprefix("gitdir:").strip()
            return folder / target
    return None


def _resolved(git_dir: Path, ref: str) -> str | None:
    """The commit of a ref; None where it has none yet."""
    common = git_dir / "commondir"
    shared = git_dir / _read(common).strip() if common.is_file() else git_dir
    for _ in range(_DEEPEST_LINK):
        if ".." in Path(ref).parts:
            return None
        loose = next((path for path in (git_dir / ref, shared / ref) if path.is_file()), None)
        if loose is None:
            return _packed(shared / "packed-refs", ref)
        text = _read(loose).strip()
        if not text.startswith("ref:"):
            return text if _HASH.match(text) else None
        ref = text.removeprefix("ref:").strip()
    return None


def _packed(path: Path, ref: str) -> str | None:
    if not path.is_file():
        return None
    for line in _read(path).splitlines():
        commit, _, name = line.partition(" ")
        if name == ref and _HASH.match(commit):
            return commit
    return None


def _asked(here: Path) -> Commit:
    commit = _git(here, "rev-parse", "HEAD")
    branch = _git(here, "rev-parse", "--abbrev-ref", "HEAD")
    return Commit(commit if _HASH.match(commit) else None, branch if branch not in ("", "HEAD") else None)


def _git(here: Path, *words: str) -> str:
    command = ["git", "-C", str(here), *words]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.SubprocessError, ValueError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _read(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(_READ_MOST)
