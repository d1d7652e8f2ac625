"""Two shared cores: an example may take its time."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("flperf", deadline=None)
settings.load_profile("flperf")
