"""Acceptances: runs whose failed and undecided cases a person accepted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import delete, insert, select

from pytest_flperf.history.database import Database, StoreError
from pytest_flperf.history.tables import ACCEPTED, CASES, RUNS

__all__ = ["Acceptance", "Acceptances"]

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A run that a person accepted."""

    run_id: str
    accepted_at: str
    """ISO 8601, UTC."""


class Acceptances(Database):
    """Acceptances in the store."""

    def accept(self, run_id: str) -> int:
        """Accept a run: every case that it measured may be a baseline.

        Returns how many of its cases could not be a baseline before.

        Raises StoreError where the run isn't there, or measured nothing to its end.
        """
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        of_run = select(CASES.c.standing).join(RUNS, RUNS.c.run_key == CASES.c.run_key).where(RUNS.c.id == run_id)
        with self._told(), self._writing():
            self._require_removing(ACCEPTED, "accept a run")
            standings = list(self._connection.execute(of_run).scalars())
            if all(each == "unmeasured" for each in standings):
                raise StoreError(f"run {run_id} has no fully measured case: it can't be a baseline")
            self._connection.execute(delete(ACCEPTED).where(ACCEPTED.c.run_id == run_id))
            self._connection.execute(insert(ACCEPTED), {"run_id": run_id, "accepted_at": moment})
        return sum(each not in ("accepted", "unmeasured") for each in standings)

    def unaccept(self, run_id: str) -> bool:
        """Take an acceptance back; False where there is none."""
        with self._told(), self._writing():
            self._require_removing(ACCEPTED, "take an acceptance back")
            return self._connection.execute(delete(ACCEPTED).where(ACCEPTED.c.run_id == run_id)).rowcount > 0

    def acceptances(self) -> list[Acceptance]:
        """All acceptances, newest first."""
        wanted = select(ACCEPTED).order_by(ACCEPTED.c.accepted_at.desc(), ACCEPTED.c.run_id)
        with self._told():
            return [Acceptance(**row) for row in self._connection.execute(wanted).mappings()]

    def forget_acceptances(self, *, but: Collection[str]) -> None:
        """Remove the acceptances of deleted runs, within the caller's transaction."""
        gone = [each for each in self._connection.execute(select(ACCEPTED.c.run_id)).scalars() if each not in but]
        for start in range(0, len(gone), _AT_ONCE):
            some = gone[start : start + _AT_ONCE]
            self._connection.execute(delete(ACCEPTED).where(ACCEPTED.c.run_id.in_(some)))
