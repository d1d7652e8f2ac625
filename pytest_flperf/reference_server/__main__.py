"""Command ``python -m pytest_flperf.reference_server``."""

from __future__ import annotations

import argparse
import sys

from pytest_flperf.reference_server.command import add_arguments, run


def main() -> int:
    """Run the server."""
    parser = argparse.ArgumentParser(
        prog="python -m pytest_flperf.reference_server", description="Serve on a known schedule"
    )
    add_arguments(parser)
    try:
        return run(parser.parse_args())
    except OSError as error:
        sys.stdout = None  # Python would try once more to write what it holds
        sys.exit(f"serve-reference: {error}")


if __name__ == "__main__":
    sys.exit(main())
