"""Another process that takes a core now and then, as neighbours on shared machines do; until standard input ends."""

from __future__ import annotations

import os
import random
import sys
import threading
import time

__all__ = ["main"]

_BUSY_S = (0.1, 1.5)
_AWAY_S = (0.3, 3.0)


def main() -> None:
    """Compute for 0.1 to 1.5 s, be away for 0.3 to 3 s, and so on."""
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    chance = random.Random(1)
    while True:
        until = time.monotonic() + chance.uniform(*_BUSY_S)
        while time.monotonic() < until:
            pass
        time.sleep(chance.uniform(*_AWAY_S))


if __name__ == "__main__":
    main()
