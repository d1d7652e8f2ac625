"""Which branch a build of each CI system is of: a row for each system and event."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_tests import examples

from pytest_flperf.history.ci_systems import CI_SYSTEMS, CiSystem
from pytest_flperf.history.environment import VARIABLES, CiJob, find_build, find_job, label_of, surroundings

COMMIT = "c" * 40
GITHUB = {"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_SHA": COMMIT}
GITEA = {**GITHUB, "GITEA_ACTIONS": "true"}
FORGEJO = {**GITEA, "FORGEJO_ACTIONS": "true"}
GITLAB = {"CI": "true", "GITLAB_CI": "true", "CI_COMMIT_SHA": COMMIT}
MERGE = {"CI_PIPELINE_SOURCE": "merge_request_event", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main"}
AZURE = {"TF_BUILD": "True", "BUILD_BUILDID": "5", "BUILD_SOURCEVERSION": COMMIT}
CIRCLE = {"CI": "true", "CIRCLECI": "true", "CIRCLE_SHA1": COMMIT}
BUILDKITE = {"CI": "true", "BUILDKITE": "true", "BUILDKITE_COMMIT": COMMIT, "BUILDKITE_TAG": ""}
BITBUCKET = {"CI": "true", "BITBUCKET_BUILD_NUMBER": "3", "BITBUCKET_COMMIT": COMMIT}
TRAVIS = {"CI": "true", "TRAVIS": "true", "TRAVIS_COMMIT": COMMIT, "TRAVIS_TAG": ""}
APPVEYOR = {"CI": "True", "APPVEYOR": "True", "APPVEYOR_REPO_COMMIT": COMMIT}
DRONE = {"CI": "true", "DRONE": "true", "DRONE_COMMIT_SHA": COMMIT}
WOODPECKER = {"CI": "woodpecker", "CI_COMMIT_SHA": COMMIT, "CI_SYSTEM_NAME": "woodpecker"}
CODEBUILD = {"CI": "true", "CODEBUILD_BUILD_ID": "p:1", "CODEBUILD_RESOLVED_SOURCE_VERSION": COMMIT}
SEMAPHORE = {"CI": "true", "SEMAPHORE": "true", "SEMAPHORE_GIT_SHA": COMMIT}
CIRRUS = {"CI": "true", "CIRRUS_CI": "true", "CIRRUS_CHANGE_IN_REPO": COMMIT}
TEAMCITY = {"TEAMCITY_VERSION": "2026.1", "BUILD_NUMBER": "8", "BUILD_VCS_NUMBER": COMMIT}
JENKINS = {"JENKINS_URL": "https://ci.example/", "BUILD_TAG": "jenkins-bench-4", "GIT_COMMIT": COMMIT}

Row = tuple[dict[str, str], dict[str, str], str | None, str]
ROWS: tuple[Row, ...] = (
    # ---- GitHub Actions: what always stands there, what stands there for the event, branch, label
    (GITHUB, {"GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/main", "GITHUB_REF_NAME": "main"}, "main", ""),
    (GITHUB, {"GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/feature/x"}, "feature/x", ""),
    (GITHUB, {"GITHUB_EVENT_NAME": "schedule", "GITHUB_REF": "refs/heads/main"}, "main", ""),
    (GITHUB, {"GITHUB_EVENT_NAME": "workflow_dispatch", "GITHUB_REF": "refs/heads/topic"}, "topic", ""),
    (GITHUB, {"GITHUB_REF_NAME": "main", "GITHUB_REF_TYPE": "branch"}, "main", ""),
    (GITHUB, {"GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/tags/main", "GITHUB_REF_NAME": "main",
              "GITHUB_REF_TYPE": "tag"}, None, "tag main"),
    (GITHUB, {"GITHUB_REF_NAME": "main", "GITHUB_REF_TYPE": "tag"}, None, "tag main"),
    (GITHUB, {"GITHUB_EVENT_NAME": "release", "GITHUB_REF": "refs/tags/v1"}, None, "tag v1"),
    (GITHUB, {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_REF": "refs/pull/12/merge", "GITHUB_REF_NAME": "12/merge",
              "GITHUB_HEAD_REF": "main", "GITHUB_BASE_REF": "main"}, None, "pull request 12"),
    (GITHUB, {"GITHUB_EVENT_NAME": "pull_request_target", "GITHUB_REF": "refs/heads/main", "GITHUB_REF_NAME": "main",
              "GITHUB_HEAD_REF": "main", "GITHUB_BASE_REF": "main"}, None, "pull request"),
    (GITHUB, {"GITHUB_EVENT_NAME": "pull_request_target", "GITHUB_REF": "refs/heads/main"}, None,
     "event pull_request_target"),
    (GITHUB, {"GITHUB_EVENT_NAME": "pull_request_review", "GITHUB_REF_NAME": "12/merge"}, None, "pull request 12"),
    (GITHUB, {"GITHUB_EVENT_NAME": "merge_group", "GITHUB_REF": "refs/heads/gh-readonly-queue/main/pr-12-abc"}, None,
     "event merge_group"),
    (GITHUB, {"GITHUB_EVENT_NAME": "issue_comment", "GITHUB_REF": "refs/heads/main"}, None, "event issue_comment"),
    (GITHUB, {"GITHUB_EVENT_NAME": "workflow_run", "GITHUB_REF": "refs/heads/main"}, None, "event workflow_run"),
    # ---- Gitea and Forgejo: 1.20 says the whole ref as its name
    (GITEA, {"GITHUB_EVENT_NAME": "push", "GITHUB_REF_NAME": "refs/heads/main"}, "main", ""),
    (GITEA, {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_REF": "refs/pull/3/head", "GITHUB_HEAD_REF": "main"}, None,
     "pull request 3"),
    (GITEA, {"GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/tags/v1"}, None, "tag v1"),
    (FORGEJO, {"GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/main"}, "main", ""),
    (FORGEJO, {"GITHUB_EVENT_NAME": "pull_request_sync", "GITHUB_REF": "refs/pull/3/head"}, None, "pull request 3"),
    (FORGEJO, {"GITHUB_EVENT_NAME": "push", "GITHUB_REF_NAME": "refs/tags/v1"}, None, "tag v1"),
    # ---- GitLab
    (GITLAB, {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main", "CI_COMMIT_REF_NAME": "main"}, "main", ""),
    (GITLAB, {"CI_COMMIT_BRANCH": "feature/x", "CI_OPEN_MERGE_REQUESTS": "g/p!5"}, "feature/x", ""),
    (GITLAB, {**MERGE, "CI_COMMIT_REF_NAME": "main", "CI_MERGE_REQUEST_IID": "5",
              "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "main"}, None, "pull request 5"),
    (GITLAB, {**MERGE, "CI_COMMIT_REF_NAME": "main", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "main"}, None,
     "pull request"),
    (GITLAB, {"CI_PIPELINE_SOURCE": "parent_pipeline", "CI_COMMIT_REF_NAME": "main"}, None, "ref main"),
    (GITLAB, {"CI_EXTERNAL_PULL_REQUEST_IID": "9", "CI_COMMIT_BRANCH": "main"}, None, "pull request 9"),
    (GITLAB, {"CI_COMMIT_TAG": "main", "CI_COMMIT_REF_NAME": "main"}, None, "tag main"),
    # ---- Azure Pipelines
    (AZURE, {"BUILD_REASON": "IndividualCI", "BUILD_SOURCEBRANCH": "refs/heads/main"}, "main", ""),
    (AZURE, {"BUILD_SOURCEBRANCH": "refs/heads/users/me/main", "BUILD_SOURCEBRANCHNAME": "main"}, "users/me/main", ""),
    (AZURE, {"BUILD_SOURCEBRANCH": "refs/tags/releases/main", "BUILD_SOURCEBRANCHNAME": "main"}, None,
     "tag releases/main"),
    (AZURE, {"BUILD_REASON": "PullRequest", "BUILD_SOURCEBRANCH": "refs/pull/7/merge", "BUILD_SOURCEBRANCHNAME":
             "merge", "SYSTEM_PULLREQUEST_SOURCEBRANCH": "refs/heads/main"}, None, "pull request 7"),
    (AZURE, {"BUILD_REASON": "Manual", "BUILD_SOURCEBRANCH": "refs/pull/7/merge"}, None, "pull request 7"),
    (AZURE, {"BUILD_REASON": "PullRequest", "BUILD_SOURCEBRANCH": "refs/heads/main"}, None, "event PullRequest"),
    # ---- CircleCI
    (CIRCLE, {"CIRCLE_BRANCH": "feature/x"}, "feature/x", ""),
    (CIRCLE, {"CIRCLE_BRANCH": "pull/12"}, None, "pull request 12"),
    (CIRCLE, {"CIRCLE_BRANCH": "main", "CIRCLE_PR_NUMBER": "12"}, None, "pull request 12"),
    (CIRCLE, {"CIRCLE_BRANCH": "main", "CIRCLE_PULL_REQUEST": "https://github.com/o/r/pull/12"}, None,
     "pull request 12"),
    (CIRCLE, {"CIRCLE_TAG": "main"}, None, "tag main"),
    # ---- Buildkite
    (BUILDKITE, {"BUILDKITE_BRANCH": "main", "BUILDKITE_PULL_REQUEST": "false"}, "main", ""),
    (BUILDKITE, {"BUILDKITE_BRANCH": "main", "BUILDKITE_PULL_REQUEST": "12"}, None, "pull request 12"),
    (BUILDKITE, {"BUILDKITE_BRANCH": "someone:main", "BUILDKITE_PULL_REQUEST": "false"}, None, "ref someone:main"),
    (BUILDKITE, {"BUILDKITE_BRANCH": "main", "BUILDKITE_PULL_REQUEST": "false", "BUILDKITE_TAG": "main"}, None,
     "tag main"),
    # ---- Bitbucket
    (BITBUCKET, {"BITBUCKET_BRANCH": "feature/x"}, "feature/x", ""),
    (BITBUCKET, {"BITBUCKET_BRANCH": "main", "BITBUCKET_PR_ID": "4", "BITBUCKET_PR_DESTINATION_BRANCH": "main"}, None,
     "pull request 4"),
    (BITBUCKET, {"BITBUCKET_TAG": "v1"}, None, "tag v1"),
    # ---- Travis
    (TRAVIS, {"TRAVIS_BRANCH": "main", "TRAVIS_PULL_REQUEST": "false", "TRAVIS_EVENT_TYPE": "push"}, "main", ""),
    (TRAVIS, {"TRAVIS_BRANCH": "main", "TRAVIS_PULL_REQUEST": "12", "TRAVIS_PULL_REQUEST_BRANCH": "main"}, None,
     "pull request 12"),
    (TRAVIS, {"TRAVIS_BRANCH": "main", "TRAVIS_PULL_REQUEST": "false", "TRAVIS_TAG": "main"}, None, "tag main"),
    # ---- AppVeyor
    (APPVEYOR, {"APPVEYOR_REPO_BRANCH": "main", "APPVEYOR_REPO_TAG": "false"}, "main", ""),
    (APPVEYOR, {"APPVEYOR_REPO_BRANCH": "main", "APPVEYOR_PULL_REQUEST_NUMBER": "12"}, None, "pull request 12"),
    (APPVEYOR, {"APPVEYOR_REPO_BRANCH": "main", "APPVEYOR_REPO_TAG": "true", "APPVEYOR_REPO_TAG_NAME": "v1"}, None,
     "tag v1"),
    # ---- Drone
    (DRONE, {"DRONE_BUILD_EVENT": "push", "DRONE_BRANCH": "main", "DRONE_COMMIT_REF": "refs/heads/main"}, "main", ""),
    (DRONE, {"DRONE_BUILD_EVENT": "cron", "DRONE_BRANCH": "main"}, "main", ""),
    (DRONE, {"DRONE_BUILD_EVENT": "pull_request", "DRONE_BRANCH": "main", "DRONE_PULL_REQUEST": "12",
             "DRONE_SOURCE_BRANCH": "main", "DRONE_TARGET_BRANCH": "main"}, None, "pull request 12"),
    (DRONE, {"DRONE_BUILD_EVENT": "pull_request", "DRONE_BRANCH": "main", "DRONE_COMMIT_REF": "refs/pull/12/head"},
     None, "pull request 12"),
    (DRONE, {"DRONE_BUILD_EVENT": "tag", "DRONE_BRANCH": "main", "DRONE_COMMIT_REF": "refs/tags/v1"}, None, "tag v1"),
    (DRONE, {"DRONE_BUILD_EVENT": "rollback", "DRONE_BRANCH": "main"}, None, "event rollback"),
    # ---- Woodpecker
    (WOODPECKER, {"CI_PIPELINE_EVENT": "push", "CI_COMMIT_BRANCH": "main", "CI_COMMIT_REF": "refs/heads/main"}, "main",
     ""),
    (WOODPECKER, {"CI_PIPELINE_EVENT": "pull_request", "CI_COMMIT_BRANCH": "main", "CI_COMMIT_PULL_REQUEST": "12"},
     None, "pull request 12"),
    (WOODPECKER, {"CI_PIPELINE_EVENT": "tag", "CI_COMMIT_TAG": "v1", "CI_COMMIT_BRANCH": "main"}, None, "tag v1"),
    # ---- AWS CodeBuild
    (CODEBUILD, {"CODEBUILD_WEBHOOK_EVENT": "PUSH", "CODEBUILD_WEBHOOK_TRIGGER": "branch/feature/x",
                 "CODEBUILD_WEBHOOK_HEAD_REF": "refs/heads/feature/x"}, "feature/x", ""),
    (CODEBUILD, {"CODEBUILD_WEBHOOK_EVENT": "PULL_REQUEST_UPDATED", "CODEBUILD_WEBHOOK_TRIGGER": "pr/12",
                 "CODEBUILD_WEBHOOK_HEAD_REF": "refs/heads/main", "CODEBUILD_WEBHOOK_BASE_REF": "refs/heads/main"},
     None, "pull request 12"),
    (CODEBUILD, {"CODEBUILD_SOURCE_VERSION": "pr/12", "CODEBUILD_WEBHOOK_HEAD_REF": "refs/heads/main"}, None,
     "pull request 12"),
    (CODEBUILD, {"CODEBUILD_WEBHOOK_EVENT": "PUSH", "CODEBUILD_WEBHOOK_TRIGGER": "tag/main"}, None, "tag main"),
    (CODEBUILD, {"CODEBUILD_SOURCE_VERSION": COMMIT}, None, ""),
    # ---- Semaphore and Cirrus
    (SEMAPHORE, {"SEMAPHORE_GIT_REF_TYPE": "branch", "SEMAPHORE_GIT_BRANCH": "main"}, "main", ""),
    (SEMAPHORE, {"SEMAPHORE_GIT_REF_TYPE": "pull-request", "SEMAPHORE_GIT_BRANCH": "main", "SEMAPHORE_GIT_PR_NUMBER":
                 "12"}, None, "pull request 12"),
    (SEMAPHORE, {"SEMAPHORE_GIT_REF_TYPE": "tag", "SEMAPHORE_GIT_TAG_NAME": "v1", "SEMAPHORE_GIT_BRANCH": "main"},
     None, "tag v1"),
    (CIRRUS, {"CIRRUS_BRANCH": "main"}, "main", ""),
    (CIRRUS, {"CIRRUS_BRANCH": "pull/12", "CIRRUS_PR": "12", "CIRRUS_BASE_BRANCH": "main"}, None, "pull request 12"),
    (CIRRUS, {"CIRRUS_BRANCH": "main", "CIRRUS_TAG": "v1"}, None, "tag v1"),
    # ---- TeamCity says nothing
    (TEAMCITY, {}, None, ""),
    (TEAMCITY, {"TEAMCITY_PULLREQUEST_NUMBER": "12"}, None, "pull request 12"),
    # ---- Jenkins: multibranch, and the git plugin alone
    (JENKINS, {"BRANCH_NAME": "feature/x", "GIT_BRANCH": "feature/x"}, "feature/x", ""),
    (JENKINS, {"BRANCH_NAME": "origin/main"}, "origin/main", ""),
    (JENKINS, {"BRANCH_NAME": "PR-12", "CHANGE_ID": "12", "CHANGE_TARGET": "main", "CHANGE_BRANCH": "main",
               "GIT_BRANCH": "PR-12"}, None, "pull request 12"),
    (JENKINS, {"BRANCH_NAME": "MR-12-merge"}, None, "pull request 12"),
    (JENKINS, {"BRANCH_NAME": "main", "CHANGE_TARGET": "main"}, None, "pull request"),
    (JENKINS, {"BRANCH_NAME": "main", "TAG_NAME": "main"}, None, "tag main"),
    (JENKINS, {"GIT_BRANCH": "origin/main", "GIT_LOCAL_BRANCH": "detached"}, "main", ""),
    (JENKINS, {"GIT_BRANCH": "refs/remotes/origin/feature/x"}, "feature/x", ""),
    (JENKINS, {"GIT_BRANCH": "upstream/main", "GIT_LOCAL_BRANCH": "main"}, "main", ""),
    (JENKINS, {"GIT_BRANCH": "upstream/main"}, "upstream/main", ""),
    (JENKINS, {"GIT_BRANCH": "origin/pr/12/merge", "ghprbPullId": "12"}, None, "pull request 12"),
    (JENKINS, {"GIT_BRANCH": "origin/tags/v1"}, None, "tag v1"),
    (JENKINS, {"GIT_BRANCH": "detached"}, None, "ref detached"),
)  # fmt: skip


def _name(row: Row) -> str:
    always, event, _, _ = row
    system = next((name for name in always if name != "CI"), "")
    return f"{system}-{'-'.join(event.values())[:60]}"


@pytest.mark.parametrize("row", ROWS, ids=_name)
def test_branch(row: Row, tmp_path: Path) -> None:
    """A branch is that which was built; a pull request, a tag or another event has none, and says what it is."""
    always, event, branch, label = row
    about = surroundings(tmp_path, {**always, **event}, None)
    assert about.commit.branch == branch
    assert about.commit.id == COMMIT
    assert about.job is not None
    assert about.job.label == label
    assert label_of(about.job.text) == (label or None)


def test_every_system_has_its_rows() -> None:
    """No system without a row of a branch, a pull request and a tag, other than TeamCity, which says none."""
    seen: dict[str, set[str]] = {}
    for always, event, _, _ in ROWS:
        environment = {**always, **event}
        job, build = find_job(environment), find_build(environment)
        assert job is not None
        assert build is not None
        seen.setdefault(job.system, set()).add(build.kind)
    assert set(seen) == {each.name for each in CI_SYSTEMS}
    without = {name: {"branch", "pull request", "tag"} - kinds for name, kinds in seen.items()}
    assert {name: lacking for name, lacking in without.items() if lacking} == {"teamcity": {"branch", "tag"}}


def test_two_systems() -> None:
    """Runners of one system within another: a pull request of either is one; else the first says what is built."""
    within = {**CODEBUILD, "CODEBUILD_WEBHOOK_EVENT": "WORKFLOW_JOB_QUEUED", **GITHUB, "GITHUB_REF": "refs/heads/main"}
    build = find_build(within)
    assert build is not None
    assert build.branch == "main"
    build = find_build({**within, "CODEBUILD_SOURCE_VERSION": "pr/12"})
    assert build is not None
    assert build.branch is None


_TEXTS = st.text(max_size=40) | st.sampled_from(["main", "refs/heads/main", "origin/main", "false", "12", "", "push"])


@pytest.mark.parametrize("system", CI_SYSTEMS, ids=lambda each: each.name)
@settings(max_examples=examples(30))  # of each of 17 systems
@given(data=st.data())
def test_no_pull_request_is_a_branch(system: CiSystem, data: st.DataObject) -> None:
    """Whatever stands in all other variables, one that says pull request or tag is enough."""
    environment = data.draw(st.dictionaries(st.sampled_from(sorted(VARIABLES)), _TEXTS))
    environment[system.marks[0].partition("=")[0]] = system.marks[0].partition("=")[2] or "true"
    said = data.draw(st.sampled_from([*system.pull_request, *system.tag]))
    environment[said] = data.draw(_TEXTS.filter(lambda text: text not in ("", "false")))
    build = find_build(environment)
    assert build is not None
    assert build.branch is None


@given(st.dictionaries(st.sampled_from(sorted(VARIABLES)), st.text(max_size=2_000)))
def test_hostile_variables(environment: dict[str, str]) -> None:
    """Nothing raises; what is kept is bounded, and no branch has a name that git refuses."""
    job, build = find_job(environment), find_build(environment)
    assert (job is None) == (build is None)
    if job is not None and build is not None:
        assert len(job.text) <= 700
        assert label_of(job.text) == (job.label or None)
        branch = build.branch or "ok"
        assert len(branch) <= 500
        assert not set(branch) & set(" ~^:?*[\\\0\n\x1b")
        assert not branch.startswith(("-", "/", "refs/"))


def test_a_name_that_git_refuses() -> None:
    """It is no branch, and is told as what it is."""
    for name in ("a b", "a..b", "x\x1b[31m", "-x", "a:b", "refs/notes/x", "/x", "x/", "a\nmain"):
        build = find_build({"CIRCLECI": "true", "CIRCLE_BRANCH": name})
        assert build is not None
        assert (build.kind, build.branch) == ("ref", None)


def test_a_job_says_what_it_builds() -> None:
    """In its text, from which it is read again; brackets of a name can't pretend to be another."""
    assert CiJob("gitlab", "77").text == "77"
    assert CiJob("gitlab", "77", label="pull request 12").text == "77 (pull request 12)"
    assert label_of("77 (pull request 12)") == "pull request 12"
    assert label_of("(tag v1)") == "tag v1"
    for plain in (None, "", "77", "jenkins-job (windows)-9", "7/1/build (3.11)"):
        assert label_of(plain) is None
    job = find_job({"CIRCLECI": "true", "CIRCLE_TAG": "v1) (pull request 12"})
    assert job is not None
    assert label_of(job.text) == "tag v1] [pull request 12"
