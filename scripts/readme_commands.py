"""README commands that install: the first run, or the project's tests.

``.ci/run`` runs both as they stand, so that what the README says is what is checked.  Needs nothing but Python.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
NAMES = ("first-run", "tests")
"""What the commands do, in the README's order."""


def install_commands(text: str) -> list[str]:
    """Return the commands of a README's console blocks that install something with pip, in their order."""
    blocks: list[str] = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines() if "pip install" in line]


def main() -> int:
    """Print the command that is named on the command line."""
    commands = install_commands(README.read_text(encoding="utf-8"))
    if len(commands) != len(NAMES):
        print(f"README.md: found {len(commands)} commands with 'pip install' in console blocks, expected one for each "
              f"of {', '.join(NAMES)}", file=sys.stderr)  # fmt: skip
        return 1
    if sys.argv[1:] not in [[name] for name in NAMES]:
        print(f"usage: python {Path(sys.argv[0]).name} {'|'.join(NAMES)}", file=sys.stderr)
        return 2
    print(commands[NAMES.index(sys.argv[1])])
    return 0


if __name__ == "__main__":
    sys.exit(main())
