"""Signs of the table on a terminal whose encoding lacks them."""

from __future__ import annotations

import io
import sys

import pytest
from tiny_runs import Tiny

from pytest_flperf.integration.terminal import shown

ROW = "short-chat  50.1 → 56.3  ▲ +12.3 %  REGRESSED ≠"


@pytest.mark.parametrize(
    ("encoding", "row"),
    [
        ("utf-8", ROW),
        ("cp1252", "short-chat  50.1 > 56.3  ^ +12.3 %  REGRESSED !"),
        ("ascii", "short-chat  50.1 > 56.3  ^ +12.3 %  REGRESSED !"),
    ],
)
def test_signs(encoding: str, row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one can't be shown a plainer one of the same width stands in, so that columns stay columns."""
    monkeypatch.setattr(sys, "__stdout__", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert shown(ROW) == row
    assert len(row) == len(ROW)


def test_no_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a program without a console on Windows."""
    monkeypatch.setattr(sys, "__stdout__", None)
    assert shown(ROW) == ROW


def test_a_run_on_such_a_terminal(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is there."""
    monkeypatch.setattr(sys, "__stdout__", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    tiny.suite({"stream": False})
    done = tiny.measure()
    assert done.ret == 0
    assert any(line.startswith("one ") or " one " in line for line in done.lines)
