"""Tables of the terminal: names that are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.report.terminal.tables import cut_names, width_of


def test_different_names_stay_different() -> None:
    """Two tiers of one scenario differ at the end, where names are cut otherwise."""
    names = ["summarise-a-long-report [context_tokens=4096]", "summarise-a-long-report [context_tokens=8192]"]
    assert cut_names(names, 30) == ["summarise-a-lo…xt_tokens=4096]", "summarise-a-lo…xt_tokens=8192]"]
    assert cut_names(["summarise-a-long-report-of-ours", "another"], 20) == ["summarise…rt-of-ours", "another"]


@given(st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=0x4FFF, categories=("L", "N")), max_size=60)),
       st.integers(12, 40))  # fmt: skip
def test_no_name_is_longer(names: list[str], longest: int) -> None:
    """Whatever the names, in cells."""
    cuts = cut_names(names, longest)
    assert len(cuts) == len(names)
    assert all(width_of(each) <= longest for each in cuts)
    assert all(each == name for each, name in zip(cuts, names, strict=True) if width_of(name) <= longest)
