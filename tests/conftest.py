"""What every test gets."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("flperf", deadline=None)  # two shared cores: an example may take its time
settings.load_profile("flperf")
