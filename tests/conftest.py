"""What every test gets."""

from __future__ import annotations

import contextlib
import signal

# `pytest --flperf-suite=…` in a checkout reads this file, too, and has not installed what only the tests need.
with contextlib.suppress(ImportError):
    from hypothesis import settings

    settings.register_profile("flperf", deadline=None)  # two shared cores: an example may take its time
    settings.load_profile("flperf")

# A shell that starts us in the background makes us, and every pytest that a test starts, deaf to Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
