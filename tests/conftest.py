"""What every test gets."""

from __future__ import annotations

import contextlib

# `pytest --flperf-suite=…` in a checkout reads this file, too, and has not installed what only the tests need.
with contextlib.suppress(ImportError):
    from hypothesis import settings

    settings.register_profile("flperf", deadline=None)  # two shared cores: an example may take its time
    settings.load_profile("flperf")
