"""Fleet probe: runs on a machine before it measures.

Execnet sends the source of this module alone, to a Python that may have nothing of ours.
"""

from __future__ import annotations

from typing import Any

__all__ = ["describe"]


def describe(channel: Any) -> None:  # pragma: no cover - its source runs on another machine
    """Describe this machine: name, identity, versions, digests of suites.

    The identity is a digest of the system's start, so that containers of one machine have the same, unless
    ``FLPERF_HOST`` names them.
    """
    import hashlib
    import os
    import platform
    import uuid

    names = channel.receive()
    declared = os.environ.get("FLPERF_HOST", "").strip()
    known = [declared]
    if not declared:
        try:
            with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123 - a bare Python
                known.append(file.read().strip())
        except OSError:
            known += [platform.node(), str(uuid.getnode())]
    found: dict[str, Any] = {
        "host": declared or platform.node(),
        "identity": hashlib.sha256("|".join(known).encode()).hexdigest(),
    }
    try:
        from pathlib import Path

        from pytest_flperf.results.host import host_info, versions
        from pytest_flperf.suite.digest import suite_digest
        from pytest_flperf.suite.discovery import find_suite
        from pytest_flperf.suite.loader import load_suite

        found.update(info=host_info().to_dict(), versions=versions(), suites={})
        here = Path.cwd()
        for name in names:
            found["suites"][name] = suite_digest(load_suite(*find_suite(name, here, here)))
    except ImportError as error:
        import sys

        found["problem"] = f"pytest-flperf can't be imported by {sys.executable}: {error}"
    except Exception as error:  # noqa: BLE001 - whatever is wrong there is told here
        found["problem"] = str(error) or type(error).__name__
    channel.send(found)


if __name__ == "__channelexec__":  # execnet's name for it, with a channel to who sent it
    describe(channel)  # type: ignore[name-defined]  # noqa: F821
