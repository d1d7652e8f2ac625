"""What a run belongs to: a machine, a commit, a job of a CI system.  Read from files and variables."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_flperf.results.records import HostInfo

__all__ = ["VARIABLES", "CiJob", "Commit", "Surroundings", "find_commit", "find_job", "fingerprint", "surroundings"]

_FINGERPRINT_DIGITS: Final = 16
_MB_PER_GB: Final = 1024
_READ_MOST: Final = 1 << 22
_GIT_TIMEOUT_S: Final = 2.0
_HASH: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_HEADS: Final = "refs/heads/"
_DEEPEST_LINK: Final = 5
_LONGEST: Final = 500
_JOBS: Final = (
    # system, variables that make up the job's name, variable of its address
    ("github", ("GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT", "GITHUB_JOB"), ""),
    ("gitlab", ("CI_JOB_ID",), "CI_JOB_URL"),
    ("jenkins", ("BUILD_TAG",), "BUILD_URL"),
    ("azure", ("BUILD_BUILDID",), ""),
    ("circleci", ("CIRCLE_WORKFLOW_ID", "CIRCLE_BUILD_NUM"), "CIRCLE_BUILD_URL"),
    ("buildkite", ("BUILDKITE_JOB_ID",), "BUILDKITE_BUILD_URL"),
)
_BRANCHES: Final = (
    "GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "CI_COMMIT_REF_NAME", "CHANGE_BRANCH",
    "BRANCH_NAME", "BUILD_SOURCEBRANCHNAME", "CIRCLE_BRANCH", "BUILDKITE_BRANCH",
)  # fmt: skip
"""Of CI systems, which check out a commit and no branch; of a pull request, the branch that it comes from."""
_COMMITS: Final = (
    "GITHUB_SHA", "CI_COMMIT_SHA", "GIT_COMMIT", "BUILD_SOURCEVERSION", "CIRCLE_SHA1", "BUILDKITE_COMMIT",
)  # fmt: skip
VARIABLES: Final = frozenset(
    (
        *(name for _, names, url in _JOBS for name in (*names, url) if name),
        *_BRANCHES,
        *_COMMITS,
        "GITHUB_REPOSITORY",
        "GITHUB_SERVER_URL",
    )
)
"""All that is looked at here."""


@dataclass(frozen=True, slots=True)
class Commit:
    """What git had checked out."""

    id: str | None = None
    branch: str | None = None
    """None where a commit and no branch is checked out."""


@dataclass(frozen=True, slots=True)
class CiJob:
    """The job of a CI system that measured."""

    system: str
    """``github``, ``gitlab``, ``jenkins`` …"""
    id: str
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stands beside a run in the store."""

    commit: Commit = Commit()
    job: CiJob | None = None
    folder: str | None = None
    """The run's folder, absolute."""


def surroundings(here: Path, environment: Mapping[str, str], folder: Path | None) -> Surroundings:
    """What can be found of a run that was started in a folder; what can't be is None, and nothing raises."""
    found = find_commit(here)
    commit = Commit(
        found.id or _first(environment, _COMMITS),
        # On a developer's machine such variables mean nothing: a branch that is checked out comes first.
        found.branch or _first(environment, _BRANCHES),
    )
    return Surroundings(commit, find_job(environment), None if folder is None else str(folder))


def fingerprint(host: HostInfo | None) -> str:
    """The same for machines that are alike: 16 hexadecimal digits of a hash; empty where nothing is known of it.

    Of processor, logical cores, memory in whole GB, system without its kernel, architecture and accelerators; not of
    the machine's name, and not of what changes with an update of the kernel.
    """
    if host is None:
        return ""
    system = host.os.partition(", kernel ")[0]
    ram_gb = round(host.ram_mb / _MB_PER_GB)
    parts = [host.cpu, host.cores, ram_gb, system, host.machine, sorted(host.gpus)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:_FINGERPRINT_DIGITS]


def find_job(environment: Mapping[str, str]) -> CiJob | None:
    """The job of the CI system whose variables are set."""
    for system, names, url in _JOBS:
        if not environment.get(names[0]):
            continue
        parts = [environment[name] for name in names if environment.get(name)]
        address = environment.get(url) if url else None
        if system == "github" and environment.get("GITHUB_REPOSITORY"):
            server = environment.get("GITHUB_SERVER_URL", "https://github.com")
            address = f"{server}/{environment['GITHUB_REPOSITORY']}/actions/runs/{parts[0]}"
        return CiJob(system, "/".join(parts)[:_LONGEST], address[:_LONGEST] if address else None)
    return None


def find_commit(here: Path) -> Commit:
    """What is checked out where ``here`` lies: from git's files, and from git itself where they don't tell."""
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
    """The folder of git's files: ``.git`` or, of a worktree or submodule, where the file ``.git`` points."""
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


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((environment[name][:_LONGEST] for name in names if environment.get(name)), None)
