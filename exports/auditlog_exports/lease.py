"""Leases: who works on a job, settled by objects that can be created only once.

A lease is an object with a number. Whoever creates the one with the next number has the job. Its holder
overwrites it again and again with a growing count; others watch, by their own clock, whether it grows, and
create the next one when it has not for `lease_seconds` or when its holder gave it up. Nothing but creation
has to be atomic, which file systems and all clouds offer, and no two clocks are compared.

A holder that was stopped in the middle and wakes up later can do no harm: what it writes is the same, byte
for byte, and records are created only once.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Final

from auditlog_exports.errors import Stopped, StoreUnavailable
from auditlog_exports.object_store import ObjectStore
from auditlog_exports.places import Place
from auditlog_schemas.errors import NotFound

_RENEWALS_A_LEASE: Final = 4


@dataclass(frozen=True, slots=True)
class _Seen:
    number: int
    count: int
    since: float


class Leases:
    """Takes leases, and remembers what those of others looked like.

    Args:
        store: where they are.
        worker: a name that no other worker has.
        lease_seconds: see `ExportSettings`.
    """

    def __init__(self, store: ObjectStore, worker: str, lease_seconds: float) -> None:
        self._store = store
        self._worker = worker
        self._seconds = lease_seconds
        self._seen: dict[Place, _Seen] = {}

    def take(self, place: Place) -> Lease | None:
        """Return a lease of the job, or None while somebody else has it."""
        number = max(
            (_number(each.path) for each in self._store.objects(f"{place.folder}/leases")), default=0
        )
        if number and not self._has_ended(place, number):
            return None
        taken = number + 1
        if not self._store.create(place.lease(taken), _content(self._worker, 0)):
            return None
        self._seen.pop(place, None)
        return Lease(self._store, place, taken, self._worker, self._seconds)

    def forget(self, places: set[Place]) -> None:
        """Forget what was seen of all other jobs."""
        self._seen = {place: seen for place, seen in self._seen.items() if place in places}

    def _has_ended(self, place: Place, number: int) -> bool:
        try:
            content = self._store.read(place.lease(number))
        except (NotFound, ValueError):
            # Being written, or its job being deleted.
            content = {"count": -1, "released": False}
        if content["released"]:
            return True
        seen = self._seen.get(place)
        if seen is None or (seen.number, seen.count) != (number, content["count"]):
            self._seen[place] = _Seen(number, content["count"], time.monotonic())
            return False
        return time.monotonic() - seen.since > self._seconds


class Lease:
    """The right to work on a job, renewed by a thread of its own while inside."""

    def __init__(
        self, store: ObjectStore, place: Place, number: int, worker: str, lease_seconds: float
    ) -> None:
        self.place = place
        self.number = number
        self._store = store
        self._worker = worker
        self._pause = lease_seconds / _RENEWALS_A_LEASE
        self._count = 0
        self._why = ""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def check(self) -> None:
        """Raise Stopped when the job was cancelled, deleted or taken over."""
        if self._why:
            raise Stopped(self._why)

    def stop(self, why: str) -> None:
        """Make `check` raise."""
        self._why = self._why or why

    def __enter__(self) -> Lease:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._end.set()
        self._thread.join()
        try:
            if not self._store.find(self.place.lease(self.number + 1)):
                self._store.overwrite(
                    self.place.lease(self.number), _content(self._worker, self._count, released=True)
                )
        except StoreUnavailable:
            return  # It ends by itself.

    def wait(self, seconds: float) -> None:
        """Wait, but no longer than until `check` raises, and raise then."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.check()
            self._end.wait(min(left, self._pause))
        self.check()

    def _keep(self) -> None:
        while not self._end.wait(self._pause):
            try:
                self._look()
            except StoreUnavailable:
                continue  # The job will say so itself.

    def _look(self) -> None:
        place = self.place
        for path, why in (
            (place.lease(self.number + 1), "another worker has taken over"),
            (place / "cancel.json", "cancelled"),
            (place / "deleted.json", "deleted"),
        ):
            if self._store.find(path) is not None:
                self.stop(why)
                return
        self._count += 1
        self._store.overwrite(place.lease(self.number), _content(self._worker, self._count))


def _number(path: str) -> int:
    return int(path.rpartition("/")[2].removesuffix(".json"))


def _content(worker: str, count: int, *, released: bool = False) -> dict[str, object]:
    return {"worker": worker, "count": count, "released": released}
