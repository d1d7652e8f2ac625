"""CI systems: the branch, pull request or tag of a build."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Final, Literal, TypeAlias

__all__ = ["CI_SYSTEMS", "VARIABLES", "Build", "BuildKind", "CiSystem"]

BuildKind: TypeAlias = Literal["branch", "pull request", "tag", "event", "ref", "unknown"]

_NOT_SET: Final = frozenset({"", "false"})
"""Travis, Buildkite and AppVeyor say ``false`` where a build has no pull request or tag."""
_NO_REF: Final = frozenset({"", "HEAD", "detached"})
"""Jenkins and Buildkite say so where a commit and no branch is checked out."""
_HEADS: Final = "refs/heads/"
_NUMBER: Final = re.compile(r"(?:https?://.+/(?:pull|pulls|pull-requests|merge_requests)/)?([0-9]+)")
_REQUEST: Final = re.compile(r"(?:refs/)?(?:pull|pull-requests|merge-requests)/(\d+)(?:/.*)?")
"""What GitHub, Bitbucket and GitLab call the refs of pull requests."""
_NO_BRANCH: Final = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|\A[-/.]|[/.]\Z|\Arefs/")
"""What no branch name matches: variables may also hold forks (``owner:branch``), other refs and placeholders."""


@dataclass(frozen=True, slots=True)
class CiSystem:
    """CI system: how to read its environment variables.

    Tuples name variables; the first that is set is read.
    """

    name: str
    source: str
    """Where its variables are documented."""
    marks: tuple[str, ...]
    """Any of these variables says that the system runs; ``NAME=VALUE`` where it must have a value."""
    branch: tuple[str, ...]
    """Names or refs.  In a build of a pull request they hold its source or target, and are never read."""
    pull_request: tuple[str, ...] = ()
    """Any that is set says that a pull request is built."""
    tag: tuple[str, ...] = ()
    commit: tuple[str, ...] = ()
    event: tuple[str, ...] = ()
    events: frozenset[str] = frozenset()
    """Events that build the branch itself.  In others the branch is a pull request's base, or the default branch."""
    request_name: re.Pattern[str] = _REQUEST
    """What stands in place of a branch's name, or of a commit, for a pull request."""
    tag_name: re.Pattern[str] = re.compile(r"refs/tags/(.+)")
    prefixes: tuple[tuple[str, str], ...] = ()
    """A variable, and what stands in it before a branch's name other than ``refs/heads/``."""
    ref_type: str = ""
    """It is ``tag`` where a tag is built."""
    job: tuple[str, ...] = ()
    """Together the name of the job; all, not the first."""
    url: str = ""
    other_ref: tuple[str, ...] = ()
    """Set for every build: where these are set and no branch is, no branch is built."""

    @property
    def variables(self) -> frozenset[str]:
        """The names of all environment variables that are read."""
        marks = tuple(mark.partition("=")[0] for mark in self.marks)
        first = (marks, self.branch, self.pull_request, self.tag, self.commit, self.event, self.other_ref)
        return frozenset(name for name in (*chain(*first), *self.job, self.ref_type, self.url) if name)

    def runs_in(self, environment: Mapping[str, str]) -> bool:
        """Whether the variables belong to a build of this system."""
        for mark in self.marks:
            name, _, value = mark.partition("=")
            if environment.get(name) and value in ("", environment[name]):
                return True
        return False

    def build(self, environment: Mapping[str, str]) -> Build:
        """The build: of a pull request, tag, event or branch.

        Pull requests and tags are looked for first, so that neither is ever taken for a branch.
        """
        commit = _first(environment, self.commit)
        refs = [(name, environment[name]) for name in self.branch if environment.get(name, "") not in _NO_REF]
        number = self._request_number(environment, [ref for _, ref in refs])
        if number is not None:
            return Build("pull request", number, commit)
        tag = self._tag(environment, [ref for _, ref in refs])
        if tag is not None:
            return Build("tag", tag, commit)
        event = _first(environment, self.event)
        if event is not None and self.events and event not in self.events:
            return Build("event", event, commit)
        found = self._branch_name(*refs[0]) if refs else None
        if found is not None:
            return Build("branch", found, commit)
        other = _first(environment, (*self.branch, *self.other_ref))
        return Build("unknown", commit=commit) if other is None else Build("ref", other, commit)

    def _request_number(self, environment: Mapping[str, str], refs: list[str]) -> str | None:
        """The number of the pull request, empty where unknown; None without one."""
        commits = [environment[name] for name in self.commit if environment.get(name)]
        matches = [match for text in (*refs, *commits) if (match := self.request_name.fullmatch(text))]
        said = [environment[name] for name in self.pull_request if environment.get(name, "") not in _NOT_SET]
        if not matches and not said:
            return None
        numbers = [match[1] for match in (*matches, *map(_NUMBER.fullmatch, said)) if match is not None]
        return numbers[0] if numbers else ""

    def _tag(self, environment: Mapping[str, str], refs: list[str]) -> str | None:
        """The name of the tag; None where none is built."""
        said = [environment[name] for name in self.tag if environment.get(name, "") not in _NOT_SET]
        matches = [match[1] for ref in refs if (match := self.tag_name.fullmatch(ref))]
        if not said and not matches and self.ref_type and environment.get(self.ref_type) == "tag":
            said = refs or [""]
        return next(iter((*said, *matches)), None)

    def _branch_name(self, variable: str, ref: str) -> str | None:
        """The branch that a variable names; None where it names no branch."""
        name = ref
        if ref.startswith(_HEADS):
            name = ref.removeprefix(_HEADS)
        else:
            for of, prefix in self.prefixes:
                name = name.removeprefix(prefix) if of == variable else name
        return name if name and _NO_BRANCH.search(name) is None else None


@dataclass(frozen=True, slots=True)
class Build:
    """A CI build: of a branch, pull request, tag or event."""

    kind: BuildKind
    name: str = ""
    """Of the branch, number of the pull request, name of the tag or event; empty: not known."""
    commit: str | None = None

    @property
    def branch(self) -> str | None:
        """The branch of the build; None where no branch is built."""
        return self.name if self.kind == "branch" else None

    @property
    def label(self) -> str:
        """Label: ``pull request 12``, ``tag v1``, ``event issue_comment``; empty for branches."""
        return "" if self.kind in ("branch", "unknown") else f"{self.kind} {self.name}".strip()


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((environment[name] for name in names if environment.get(name)), None)


_ACTIONS_EVENTS: Final = frozenset({"push", "schedule", "workflow_dispatch"})


def _actions(name: str, source: str, *marks: str) -> CiSystem:
    """GitHub Actions and the systems that took over its variables.

    ``pull_request_target``, ``issue_comment`` and ``workflow_run`` have the ref of the base or of the default branch,
    although they work on a pull request.
    """
    return CiSystem(
        name, source, marks,
        branch=("GITHUB_REF", "GITHUB_REF_NAME"),
        pull_request=("GITHUB_HEAD_REF", "GITHUB_BASE_REF"),
        commit=("GITHUB_SHA",),
        event=("GITHUB_EVENT_NAME",), events=_ACTIONS_EVENTS, ref_type="GITHUB_REF_TYPE",
        request_name=re.compile(r"(?:refs/)?(?:pull/)?(\d+)/(?:merge|head)"),
        job=("GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT", "GITHUB_JOB"),
    )  # fmt: skip


CI_SYSTEMS: Final = (
    _actions("forgejo", "https://forgejo.org/docs/latest/user/actions/reference/", "FORGEJO_ACTIONS"),
    _actions("gitea", "https://docs.gitea.com/usage/actions/actions-variables", "GITEA_ACTIONS"),
    _actions("github", "https://docs.github.com/actions/reference/workflows-and-actions/variables", "GITHUB_ACTIONS",
             "GITHUB_RUN_ID", "GITHUB_REF", "GITHUB_SHA"),
    CiSystem(
        "woodpecker", "https://woodpecker-ci.org/docs/usage/environment",
        ("CI=woodpecker", "CI_SYSTEM_NAME=woodpecker"),
        # of a pull request its target
        branch=("CI_COMMIT_REF", "CI_COMMIT_BRANCH"), pull_request=("CI_COMMIT_PULL_REQUEST",),
        tag=("CI_COMMIT_TAG",), commit=("CI_COMMIT_SHA",),
        event=("CI_PIPELINE_EVENT", "CI_BUILD_EVENT"), events=frozenset({"push", "cron", "manual"}),
        job=("CI_PIPELINE_NUMBER", "CI_WORKFLOW_NUMBER", "CI_STEP_NUMBER"), url="CI_PIPELINE_URL",
    ),
    CiSystem(
        "gitlab", "https://docs.gitlab.com/ci/variables/predefined_variables/", ("GITLAB_CI", "CI_JOB_ID"),
        # CI_COMMIT_REF_NAME is a tag of tags, and of merge requests the source, which a fork may call main
        branch=("CI_COMMIT_BRANCH",),
        pull_request=("CI_MERGE_REQUEST_IID", "CI_MERGE_REQUEST_ID", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME",
                      "CI_EXTERNAL_PULL_REQUEST_IID"),
        tag=("CI_COMMIT_TAG",), commit=("CI_COMMIT_SHA",), other_ref=("CI_COMMIT_REF_NAME",),
        job=("CI_JOB_ID",), url="CI_JOB_URL",
    ),
    CiSystem(
        "azure", "https://learn.microsoft.com/azure/devops/pipelines/build/variables",
        ("TF_BUILD", "BUILD_BUILDID", "BUILD_SOURCEBRANCH"),
        # BUILD_SOURCEBRANCHNAME is the last part only: main of refs/heads/users/me/main
        branch=("BUILD_SOURCEBRANCH",),
        pull_request=("SYSTEM_PULLREQUEST_PULLREQUESTNUMBER", "SYSTEM_PULLREQUEST_PULLREQUESTID",
                      "SYSTEM_PULLREQUEST_SOURCEBRANCH", "SYSTEM_PULLREQUEST_TARGETBRANCH"),
        commit=("BUILD_SOURCEVERSION",),
        event=("BUILD_REASON",),
        events=frozenset({"Manual", "IndividualCI", "BatchedCI", "Schedule", "BuildCompletion", "ResourceTrigger"}),
        job=("BUILD_BUILDID",),
    ),
    CiSystem(
        "circleci", "https://circleci.com/docs/reference/variables/", ("CIRCLECI", "CIRCLE_WORKFLOW_ID"),
        branch=("CIRCLE_BRANCH",),
        pull_request=("CIRCLE_PR_NUMBER", "CIRCLE_PULL_REQUEST", "CIRCLE_PULL_REQUESTS", "CIRCLE_PR_USERNAME"),
        tag=("CIRCLE_TAG",), commit=("CIRCLE_SHA1",),
        job=("CIRCLE_WORKFLOW_ID", "CIRCLE_BUILD_NUM"), url="CIRCLE_BUILD_URL",
    ),
    CiSystem(
        "buildkite", "https://buildkite.com/docs/pipelines/configure/environment-variables",
        ("BUILDKITE", "BUILDKITE_JOB_ID"),
        branch=("BUILDKITE_BRANCH",), pull_request=("BUILDKITE_PULL_REQUEST", "BUILDKITE_PULL_REQUEST_BASE_BRANCH"),
        tag=("BUILDKITE_TAG",), commit=("BUILDKITE_COMMIT",),
        job=("BUILDKITE_JOB_ID",), url="BUILDKITE_BUILD_URL",
    ),
    CiSystem(
        "bitbucket", "https://support.atlassian.com/bitbucket-cloud/docs/variables-and-secrets/",
        ("BITBUCKET_BUILD_NUMBER", "BITBUCKET_PIPELINE_UUID"),
        branch=("BITBUCKET_BRANCH",), pull_request=("BITBUCKET_PR_ID", "BITBUCKET_PR_DESTINATION_BRANCH"),
        tag=("BITBUCKET_TAG",), commit=("BITBUCKET_COMMIT",),
        job=("BITBUCKET_BUILD_NUMBER", "BITBUCKET_STEP_UUID"),
    ),
    CiSystem(
        "travis", "https://docs.travis-ci.com/user/environment-variables/", ("TRAVIS",),
        # of a pull request its target, of a tag the tag
        branch=("TRAVIS_BRANCH",), pull_request=("TRAVIS_PULL_REQUEST", "TRAVIS_PULL_REQUEST_BRANCH"),
        tag=("TRAVIS_TAG",), commit=("TRAVIS_COMMIT",),
        event=("TRAVIS_EVENT_TYPE",), events=frozenset({"push", "cron", "api"}),
        job=("TRAVIS_JOB_ID",), url="TRAVIS_JOB_WEB_URL",
    ),
    CiSystem(
        "appveyor", "https://www.appveyor.com/docs/environment-variables/", ("APPVEYOR",),
        branch=("APPVEYOR_REPO_BRANCH",),
        pull_request=("APPVEYOR_PULL_REQUEST_NUMBER", "APPVEYOR_PULL_REQUEST_HEAD_REPO_BRANCH"),
        tag=("APPVEYOR_REPO_TAG_NAME", "APPVEYOR_REPO_TAG"), commit=("APPVEYOR_REPO_COMMIT",),
        job=("APPVEYOR_JOB_ID",),
    ),
    CiSystem(
        "drone", "https://docs.drone.io/pipeline/environment/reference/", ("DRONE",),
        # of a pull request its target, which is also the branch that git has checked out
        branch=("DRONE_COMMIT_REF", "DRONE_BRANCH", "DRONE_COMMIT_BRANCH"), pull_request=("DRONE_PULL_REQUEST",),
        tag=("DRONE_TAG",), commit=("DRONE_COMMIT_SHA", "DRONE_COMMIT"),
        event=("DRONE_BUILD_EVENT",), events=frozenset({"push", "cron", "custom"}),
        job=("DRONE_BUILD_NUMBER", "DRONE_STAGE_NUMBER", "DRONE_STEP_NUMBER"), url="DRONE_BUILD_LINK",
    ),
    CiSystem(
        "codebuild", "https://docs.aws.amazon.com/codebuild/latest/userguide/build-env-ref-env-vars.html",
        ("CODEBUILD_BUILD_ID",),
        # CODEBUILD_WEBHOOK_HEAD_REF of a pull request is its source, which a fork may call main
        branch=("CODEBUILD_WEBHOOK_TRIGGER", "CODEBUILD_WEBHOOK_HEAD_REF"),
        pull_request=("CODEBUILD_WEBHOOK_BASE_REF",),
        commit=("CODEBUILD_RESOLVED_SOURCE_VERSION", "CODEBUILD_SOURCE_VERSION"),
        event=("CODEBUILD_WEBHOOK_EVENT",), events=frozenset({"PUSH"}),
        request_name=re.compile(r"(?:refs/)?(?:pr|pull)/(\d+)(?:/.*)?"),
        tag_name=re.compile(r"(?:refs/tags|tag)/(.+)"), prefixes=(("CODEBUILD_WEBHOOK_TRIGGER", "branch/"),),
        job=("CODEBUILD_BUILD_ID",), url="CODEBUILD_PUBLIC_BUILD_URL",
    ),
    CiSystem(
        "semaphore", "https://docs.semaphore.io/reference/env-vars", ("SEMAPHORE",),
        # of a pull request its target
        branch=("SEMAPHORE_GIT_REF", "SEMAPHORE_GIT_BRANCH"), pull_request=("SEMAPHORE_GIT_PR_NUMBER",),
        tag=("SEMAPHORE_GIT_TAG_NAME",), commit=("SEMAPHORE_GIT_SHA",),
        event=("SEMAPHORE_GIT_REF_TYPE",), events=frozenset({"branch"}), ref_type="SEMAPHORE_GIT_REF_TYPE",
        job=("SEMAPHORE_JOB_ID",),
    ),
    CiSystem(
        "cirrus", "https://cirrus-ci.org/guide/writing-tasks/#environment-variables", ("CIRRUS_CI",),
        branch=("CIRRUS_BRANCH",), pull_request=("CIRRUS_PR", "CIRRUS_BASE_BRANCH"),
        tag=("CIRRUS_TAG",), commit=("CIRRUS_CHANGE_IN_REPO",),
        job=("CIRRUS_TASK_ID",),
    ),
    CiSystem(
        "teamcity", "https://www.jetbrains.com/help/teamcity/predefined-build-parameters.html",
        ("TEAMCITY_VERSION",),
        branch=(), pull_request=("TEAMCITY_PULLREQUEST_NUMBER",), commit=("BUILD_VCS_NUMBER",),
        job=("TEAMCITY_PROJECT_NAME", "TEAMCITY_BUILDCONF_NAME", "BUILD_NUMBER"),
    ),
    CiSystem(
        "jenkins", "https://www.jenkins.io/doc/book/pipeline/jenkinsfile/#using-environment-variables",
        ("JENKINS_URL", "BUILD_TAG"),
        # BRANCH_NAME of multibranch projects, GIT_BRANCH (origin/main) of the git plugin
        branch=("BRANCH_NAME", "GIT_LOCAL_BRANCH", "GIT_BRANCH"),
        pull_request=("CHANGE_ID", "CHANGE_TARGET", "CHANGE_BRANCH", "ghprbPullId", "gitlabMergeRequestIid",
                      "BITBUCKET_PULL_REQUEST_ID", "GERRIT_CHANGE_NUMBER"),
        tag=("TAG_NAME",), commit=("GIT_COMMIT",),
        request_name=re.compile(
            r"(?:refs/)?(?:remotes/)?(?:origin/)?(?:(?:PR|MR)-|(?:pr|pull|pull-requests|merge-requests)/)(\d+)"
            r"(?:[-/](?:head|merge|from))?"
        ),
        tag_name=re.compile(r"(?:refs/)?(?:remotes/)?(?:origin/)?tags/(.+)"),
        prefixes=(("GIT_BRANCH", "refs/remotes/"), ("GIT_BRANCH", "remotes/"), ("GIT_BRANCH", "origin/")),
        job=("BUILD_TAG",), url="BUILD_URL",
    ),
)  # fmt: skip
"""In this order: a system that also sets the variables of another stands before it."""

VARIABLES: Final = frozenset().union(*(each.variables for each in CI_SYSTEMS))
"""All environment variables that are read here."""
