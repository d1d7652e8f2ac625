"""Constraints for pip: every dependency at the lowest version pyproject.toml allows.

``pip install -c`` with it installs what a user with old packages has; ``.ci/run`` runs unit tests there, so that a
floor in pyproject.toml is a version that works.  Needs packaging.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def floor_of(requirement: Requirement) -> Version | None:
    """Return the lowest version of those that a requirement is meant for; None where it names none.

    That is what ``>=`` or ``~=`` names; where lines of versions above it are left out (``!=2.1.*``), the first version
    after them (2.2): what is below is for machines that have nothing newer.
    """
    floors = [Version(each.version) for each in requirement.specifier if each.operator in (">=", "~=")]
    if not floors:
        return None
    left_out = [each.version for each in requirement.specifier if each.operator == "!=" and each.version.endswith(".*")]
    floor = max(floors + [_after(line) for line in left_out])
    if not requirement.specifier.contains(floor, prereleases=True):
        raise SystemExit(f"pyproject.toml: {requirement}: the floor {floor} is not allowed by the rest of it")
    return floor


def _after(line: str) -> Version:
    """Return the first version after a line of them: 2.2 after ``2.1.*``."""
    *head, last = line.removesuffix(".*").split(".")
    return Version(".".join([*head, str(int(last) + 1)]))


def constraints(requirements: Iterable[str], extra: str) -> dict[str, Version]:
    """Return the floors of *requirements* whose markers hold on this Python; of two for a package, the higher one."""
    found: dict[str, Version] = {}
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        floor, name = floor_of(requirement), canonicalize_name(requirement.name)
        if floor is not None:
            found[name] = max(floor, found.get(name, floor))
    return found


def main() -> None:
    """Print the constraints of the package and of the extra ``dev``."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    for name, floor in sorted(constraints(wanted, "dev").items()):
        print(f"{name}=={floor}")


if __name__ == "__main__":
    sys.exit(main())
