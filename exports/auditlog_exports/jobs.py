"""Making, finding, cancelling and deleting jobs. The work itself is done by workers."""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias

from auditlog_exports.errors import Conflict, TooManyExports
from auditlog_exports.job import Job, Shape
from auditlog_exports.object_store import ObjectStore
from auditlog_exports.part import Part
from auditlog_exports.places import MANIFEST, OPEN, Place, account_name, is_job_id
from auditlog_exports.progress import Progress
from auditlog_exports.settings import ExportSettings
from auditlog_schemas.errors import BadFilter, NotFound
from auditlog_schemas.event import new_event_id
from auditlog_storage.connection import Connection
from auditlog_storage.event_stream import EventStream
from auditlog_storage.filters import EventFilter, check_account
from auditlog_storage.moments import rfc3339

State: TypeAlias = Literal["queued", "running", "cancelling", "finished", "failed", "cancelled"]

KEY_CHARACTERS_MAX: Final = 255
PARTS_LISTED_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Ending:
    """How a job ended.

    Attributes:
        state: finished, failed or cancelled.
        ended_at, expires_at: aware UTC; from `expires_at` on it may be deleted.
        rows, bytes, parts: what was exported; 0 unless it is finished.
        error: why it failed, or empty.
    """

    state: State
    ended_at: datetime
    expires_at: datetime
    rows: int = 0
    bytes: int = 0
    parts: int = 0
    error: str = ""

    def to_json(self, job: Job) -> dict[str, Any]:
        """Return it as JSON-like data, with whose it is."""
        return {
            "account_id": job.account_id,
            "job_id": job.job_id,
            "state": self.state,
            "ended_at": rfc3339(self.ended_at),
            "expires_at": rfc3339(self.expires_at),
            "rows": self.rows,
            "bytes": self.bytes,
            "parts": self.parts,
            "error": self.error,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Ending:
        """Return what `to_json` made."""
        return cls(
            data["state"],
            datetime.fromisoformat(data["ended_at"]),
            datetime.fromisoformat(data["expires_at"]),
            data["rows"],
            data["bytes"],
            data["parts"],
            data["error"],
        )


@dataclass(frozen=True, slots=True)
class Status:
    """A job and how it stands."""

    job: Job
    state: State
    progress: Progress
    ending: Ending | None


class Jobs:
    """The jobs in an object store, for any number of threads.

    Methods raise StoreUnavailable, and NotFound for a job that is not this account's.

    Args:
        settings: limits.
        store: where the jobs are.
        connection: to ClickHouse, asked by `create` alone.
    """

    def __init__(self, settings: ExportSettings, store: ObjectStore, connection: Connection | None) -> None:
        self.settings = settings
        self.store = store
        self._events = EventStream(connection) if connection is not None else None

    def create(
        self,
        account_id: str,
        filter: EventFilter,
        shape: Shape,
        created_by: str,
        idempotency_key: str | None = None,
    ) -> tuple[Job, bool]:
        """Make a job of what the ledger has recorded by now; return it, and whether it is new.

        Args:
            account_id: whose events.
            filter: which of them.
            shape: in which form.
            created_by: who asks.
            idempotency_key: the same request with the same key makes no second job.

        Raises:
            BadFilter: a wrong account or key.
            Conflict: the key was used for another request.
            TooManyExports: the account has too many.
            StorageUnavailable: as in `Connection`.
        """
        check_account(account_id)
        assert self._events is not None, "made without a connection"
        job_id = _new_job_id() if idempotency_key is None else _keyed_job_id(account_id, idempotency_key)
        place = Place(account_id, job_id)
        known = self.store.find(place / "job.json")
        if known is None:
            self._refuse_too_many(account_id)
        now = datetime.now(UTC)
        limits = self.settings
        job = Job(
            job_id,
            account_id,
            filter,
            shape,
            self._events.snapshot(),
            now.replace(microsecond=now.microsecond // 1000 * 1000),
            created_by,
            limits.part_rows_max,
            limits.part_bytes_max,
        )
        if known is None:
            self.store.overwrite(
                place.open_mark, {"account_id": account_id, "job_id": job_id, "at": rfc3339(now)}
            )
            if self.store.create(place / "job.json", job.to_json()):
                return job, True
            known = self.store.read(place / "job.json")
        first = Job.from_json(known)
        if _request(first) != _request(job):
            raise Conflict("Idempotency-Key: was used for another export; use a new one")
        return first, False

    def job(self, account_id: str, job_id: str) -> Job:
        """Return a job."""
        place = self._place(account_id, job_id)
        found = self.store.find(place / "job.json")
        if found is None or found["account_id"] != account_id or self.store.find(place / "deleted.json"):
            raise NotFound(f"account {account_id} has no export {job_id}")
        return Job.from_json(found)

    def status(self, account_id: str, job_id: str) -> Status:
        """Return how a job stands."""
        job = self.job(account_id, job_id)
        place = Place(account_id, job_id)
        ended = self.store.find(place.ended_mark)
        found = self.store.find(place / "progress.json")
        progress = Progress.from_json(found) if found else Progress()
        if ended is not None:
            ending = Ending.from_json(ended)
            return Status(job, ending.state, progress, ending)
        if self.store.find(place / "cancel.json"):
            return Status(job, "cancelling", progress, None)
        return Status(job, "running" if found else "queued", progress, None)

    def of_account(self, account_id: str) -> list[Status]:
        """Return the account's jobs, the newest first."""
        check_account(account_id)
        found = []
        for job_id in self.store.folders(f"exports/{account_name(account_id)}"):
            try:
                found.append(self.status(account_id, job_id))
            except NotFound:
                continue
        return sorted(found, key=lambda status: status.job.created_at, reverse=True)

    def parts(self, account_id: str, job_id: str, after: int = 0, limit: int = 100) -> list[Part]:
        """Return finished parts by number: up to `limit` (1 to 1,000) of those behind `after`."""
        if not 1 <= limit <= PARTS_LISTED_MAX or after < 0:
            raise BadFilter(f"limit: must be 1 to {PARTS_LISTED_MAX:,}")
        self.job(account_id, job_id)
        place = Place(account_id, job_id)
        found: list[Part] = []
        for number in range(after + 1, after + limit + 1):
            record = self.store.find(place.record(number))
            if record is None:
                break
            found.append(Part.from_json(record))
        return found

    def part(self, account_id: str, job_id: str, number: int) -> Part:
        """Return one part of a finished job.

        Raises:
            NotFound: also when the job is not finished.
        """
        self.finished(account_id, job_id)
        return Part.from_json(self.store.read(Place(account_id, job_id).record(number)))

    def manifest(self, account_id: str, job_id: str) -> dict[str, Any]:
        """Return the manifest of a finished job.

        Raises:
            Conflict: the job is not finished.
        """
        self.finished(account_id, job_id)
        return self.store.read(Place(account_id, job_id) / MANIFEST)

    def finished(self, account_id: str, job_id: str) -> Job:
        """Return a job that is finished.

        Raises:
            Conflict: it is not.
        """
        status = self.status(account_id, job_id)
        if status.state != "finished":
            raise Conflict(f"export {job_id} is {status.state}: there is nothing to download")
        return status.job

    def cancel(self, account_id: str, job_id: str) -> Status:
        """Cancel a job; its worker deletes what is there.

        Raises:
            Conflict: it has ended.
        """
        status = self.status(account_id, job_id)
        if status.ending is not None and status.state != "cancelled":
            raise Conflict(f"export {job_id} is {status.state} already; delete it to be rid of its files")
        place = Place(account_id, job_id)
        self.store.create(place / "cancel.json", {"at": rfc3339(datetime.now(UTC))})
        if self.store.create(place.lease(1), {"worker": "cancelled", "count": 0, "released": True}):
            # Nobody has begun, and nobody may be there to.
            self.end(status.job, "cancelled")
        return self.status(account_id, job_id)

    def delete(self, account_id: str, job_id: str) -> None:
        """Delete a job that has ended, with its files.

        Raises:
            Conflict: it has not ended.
        """
        status = self.status(account_id, job_id)
        if status.ending is None:
            raise Conflict(f"export {job_id} is {status.state}: cancel it first")
        self.remove(Place(account_id, job_id))

    def remove(self, place: Place) -> None:
        """Delete everything of a job; doing it again finishes what was begun."""
        self.store.create(place / "deleted.json", {"at": rfc3339(datetime.now(UTC))})
        # First of all, so that what remains in between does not look whole.
        self.store.delete(place / MANIFEST)
        self.store.delete_folder(place.folder)
        self.store.delete(place.open_mark, place.ended_mark)

    def end(
        self, job: Job, state: State, error: str = "", rows: int = 0, bytes: int = 0, parts: int = 0
    ) -> None:
        """Say once and for all how a job ended."""
        now = datetime.now(UTC)
        ending = Ending(
            state, now, now + timedelta(seconds=self.settings.keep_seconds), rows, bytes, parts, error
        )
        place = Place(job.account_id, job.job_id)
        self.store.create(place.ended_mark, ending.to_json(job))
        self.store.delete(place.open_mark)

    def open_places(self) -> Iterator[Place]:
        """Yield the jobs that are to be worked on."""
        for stored in self.store.objects(OPEN):
            found = self.store.find(stored.path)
            if found is not None:
                yield Place(found["account_id"], found["job_id"])

    def _place(self, account_id: str, job_id: str) -> Place:
        check_account(account_id)
        if not is_job_id(job_id):
            raise NotFound(f"account {account_id} has no export {job_id!r:.60}")
        return Place(account_id, job_id)

    def _refuse_too_many(self, account_id: str) -> None:
        name, limits = account_name(account_id), self.settings
        open_now = sum(1 for _ in self.store.objects(f"{OPEN}/{name}"))
        if open_now >= limits.account_open_max:
            raise TooManyExports(
                f"account {account_id} has {open_now} exports under way, the most it may have; "
                "wait or cancel one"
            )
        kept = len(self.store.folders(f"exports/{name}"))
        if kept >= limits.account_jobs_max:
            raise TooManyExports(
                f"account {account_id} has {kept} exports, the most that are kept; delete some"
            )


def _new_job_id() -> str:
    return _job_id(new_event_id().bytes)


def _keyed_job_id(account_id: str, key: str) -> str:
    if not 1 <= len(key) <= KEY_CHARACTERS_MAX or not key.isascii() or not key.isprintable():
        raise BadFilter(f"Idempotency-Key: must be 1 to {KEY_CHARACTERS_MAX} printable ASCII characters")
    return _job_id(sha256(f"{account_id}\0{key}".encode()).digest()[:16])


def _job_id(name: bytes) -> str:
    return f"exp_{b32encode(name).decode().lower().rstrip('=')}"


def _request(job: Job) -> object:
    asked = job.filter.question()
    return job.account_id, asked, job.shape
