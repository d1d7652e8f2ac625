"""The garbage collector is kept from what was there, and gets it back."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import suppress

import pytest

from pytest_flperf.measurement.gc_control import Collector, no_collections

FEW = 1_000
"""More than Python 3.12 has set aside when it starts, and fewer than any session of pytest has."""


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    assert gc.get_freeze_count() < FEW
    yield
    gc.unfreeze()
    gc.enable()


class Ring:
    """Garbage that only the collector finds."""

    found = 0

    def __init__(self) -> None:
        self.ring = self

    def __del__(self) -> None:
        Ring.found += 1


def test_what_was_set_aside_comes_back() -> None:
    """Garbage among it is not looked for meanwhile, what is new is, and in the end all of it is."""
    Ring.found = 0
    collector = Collector()
    gc.disable()
    Ring()
    collector.set_aside()
    collector.set_aside()
    assert gc.get_freeze_count() > FEW
    Ring()
    gc.collect()
    assert Ring.found == 1
    collector.give_back()
    collector.give_back()
    assert gc.get_freeze_count() < FEW
    gc.collect()
    assert Ring.found == 2


def test_what_others_set_aside_stays() -> None:
    """Somebody who has frozen what is theirs (a forking server) keeps it so."""
    gc.freeze()
    before = gc.get_freeze_count()
    collector = Collector()
    collector.set_aside()
    collector.give_back()
    # what is no longer used leaves the frozen as well: an object or two, whenever something else lets them go
    assert before - FEW < gc.get_freeze_count() <= before


@pytest.mark.parametrize("on", [True, False])
def test_no_collections(on: bool) -> None:
    """The collector is as it was afterwards, whatever happens."""
    if not on:
        gc.disable()
    with suppress(KeyError), no_collections():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled() is on
