"""``python -m pytest_flperf``: the ``flperf`` command when PATH lacks it."""

from __future__ import annotations

import sys

from pytest_flperf.cli import main

if __name__ == "__main__":
    sys.exit(main(program="python -m pytest_flperf"))
