"""Machine, commit and job that stand beside a stored run."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from history_doubles import HOST

from pytest_flperf.history import environment as module
from pytest_flperf.history.environment import CiJob, Commit, find_commit, find_job, fingerprint, surroundings


def git(folder: Path, *words: str) -> str:
    """What git says; it knows nothing of who runs the tests."""
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit on the branch ``topic/x``; git may not be started to read it."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "topic/x")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    monkeypatch.setattr(module, "_git", lambda *_: pytest.fail("git was started"))
    return folder


def test_branch(repository: Path) -> None:
    """From a folder within, and when refs are packed."""
    found = Commit(git(repository, "rev-parse", "HEAD"), "topic/x")
    (repository / "deep" / "er").mkdir(parents=True)
    assert find_commit(repository / "deep" / "er") == found
    git(repository, "pack-refs", "--all")
    assert find_commit(repository) == found


def test_detached(repository: Path) -> None:
    """As CI checks out: a commit, and the branch from the CI's variables."""
    commit = git(repository, "rev-parse", "HEAD")
    variables = {"GITHUB_ACTIONS": "true", "GITHUB_REF": "refs/heads/theirs", "GITHUB_SHA": commit}
    git(repository, "checkout", "-q", "--detach")
    assert find_commit(repository) == Commit(commit)
    assert surroundings(repository, {}, None).commit == Commit(commit)
    assert surroundings(repository, variables, None).commit == Commit(commit, "theirs")


def test_a_machine_of_a_person(repository: Path) -> None:
    """Outside of CI variables with such names mean nothing."""
    variables = {"BRANCH_NAME": "theirs", "GIT_BRANCH": "origin/main", "CI_COMMIT_BRANCH": "main", "CHANGE_ID": "1"}
    assert surroundings(repository, variables, None).commit.branch == "topic/x"
    assert surroundings(repository, variables, None).job is None


def test_a_pull_request_on_a_branch_that_is_checked_out(repository: Path) -> None:
    """Drone checks out the target, clones of forks their own main: git's branch counts for no pull request or tag."""
    for variables in (
        {"DRONE": "true", "DRONE_BUILD_EVENT": "pull_request", "DRONE_PULL_REQUEST": "12", "DRONE_BRANCH": "topic/x"},
        {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "issue_comment", "GITHUB_REF": "refs/heads/topic/x"},
        {"BUILDKITE": "true", "BUILDKITE_PULL_REQUEST": "false", "BUILDKITE_BRANCH": "someone:topic/x"},
        {"CIRCLECI": "true", "CIRCLE_TAG": "v1", "CIRCLE_BRANCH": ""},
    ):
        assert surroundings(repository, variables, None).commit.branch is None, variables


def test_another_commit_than_that_of_the_build(repository: Path) -> None:
    """Where a job has checked out something else, the build's branch isn't it: git's is, where it has one."""
    variables = {"GITLAB_CI": "true", "CI_COMMIT_BRANCH": "main", "CI_COMMIT_SHA": "b" * 40}
    assert surroundings(repository, variables, None).commit.branch == "topic/x"
    git(repository, "checkout", "-q", "--detach")
    assert surroundings(repository, variables, None).commit.branch is None
    assert surroundings(repository, {**variables, "CI_COMMIT_SHA": "main"}, None).commit.branch == "main"


def test_no_word_of_the_build(repository: Path) -> None:
    """A CI system whose variables name nothing, as TeamCity's do: the branch is git's."""
    for variables in ({"TEAMCITY_VERSION": "2026.1"}, {"JENKINS_URL": "https://ci.example"}, {"CI_JOB_ID": "7"}):
        assert surroundings(repository, variables, None).commit.branch == "topic/x"


def test_worktree(repository: Path) -> None:
    """A worktree has a branch of its own, and its refs where the repository has them."""
    git(repository, "worktree", "add", "-q", "-b", "beside", str(repository.parent / "beside"))
    assert find_commit(repository.parent / "beside") == Commit(git(repository, "rev-parse", "HEAD"), "beside")


def test_no_commit_yet(tmp_path: Path) -> None:
    """A branch without a commit."""
    git(tmp_path, "init", "-q", "-b", "new")
    assert find_commit(tmp_path) == Commit(None, "new")


def test_refs_elsewhere(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where git's files don't tell (reftable), git is asked; where it doesn't know, nothing is known."""
    monkeypatch.undo()
    (repository / ".git" / "HEAD").write_text("ref: refs/heads/.invalid\n")
    assert find_commit(repository) == Commit()
    answers = {("rev-parse", "HEAD"): "c" * 40, ("rev-parse", "--abbrev-ref", "HEAD"): "topic/x"}
    monkeypatch.setattr(module, "_git", lambda _, *words: answers[words])
    assert find_commit(repository) == Commit("c" * 40, "topic/x")


@pytest.mark.parametrize("text", ["", "ref: ../../etc/passwd", "gitdir: nowhere", "\xff\0"])
def test_broken(tmp_path: Path, text: str) -> None:
    """Whatever stands there, nothing raises."""
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text(text, encoding="latin-1")
    assert find_commit(tmp_path).id is None
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ".git").write_text(text, encoding="latin-1")
    assert find_commit(tmp_path / "sub").id is None


@pytest.mark.parametrize(
    ("variables", "job"),
    [
        ({}, None),
        (
            {"GITHUB_RUN_ID": "7", "GITHUB_RUN_ATTEMPT": "2", "GITHUB_JOB": "test", "GITHUB_REPOSITORY": "o/r"},
            CiJob("github", "7/2/test", "https://github.com/o/r/actions/runs/7"),
        ),
        ({"CI_JOB_ID": "8", "CI_JOB_URL": "https://x/8"}, CiJob("gitlab", "8", "https://x/8")),
        ({"BUILD_TAG": "jenkins-job-9"}, CiJob("jenkins", "jenkins-job-9")),
    ],
)
def test_job(variables: dict[str, str], job: CiJob | None) -> None:
    """GitHub, GitLab, Jenkins; none elsewhere."""
    assert find_job(variables) == job


def test_fingerprint() -> None:
    """The same for another name, kernel, order of GPUs and a few MB; another for what moves numbers."""
    same = replace(HOST, name="other", os="Debian 12, kernel 6.1.0-99", gpus=("GPU A", "GPU B"), ram_mb=32_100)
    assert fingerprint(same) == fingerprint(HOST)
    assert len(fingerprint(HOST)) == 16
    others = [
        replace(HOST, cpu="x"), replace(HOST, cores=4), replace(HOST, ram_mb=64_000), replace(HOST, os="Debian 13"),
        replace(HOST, machine="aarch64"), replace(HOST, gpus=()),
    ]  # fmt: skip
    assert len({fingerprint(each) for each in (HOST, *others)}) == 7
    assert fingerprint(None) == ""
