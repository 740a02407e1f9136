"""A worker: looks for jobs, works on them one at a time, and clears away what has expired."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from auditlog_exports.errors import Stopped
from auditlog_exports.jobs import Jobs
from auditlog_exports.lease import Lease, Leases
from auditlog_exports.object_store import ObjectStore
from auditlog_exports.places import ENDED, Place
from auditlog_exports.run import JobRun
from auditlog_exports.settings import ExportSettings
from auditlog_schemas.errors import AuditError, TransientError
from auditlog_storage.connection import Connection
from auditlog_storage.event_stream import EventStream

CLEAR_SECONDS: Final = 60.0
ORPHAN_AGE: Final = timedelta(hours=1)

_log = structlog.get_logger("auditlog.exports")


class Worker:
    """Works on the jobs of one store until it is told to stop; run as many as you like, anywhere.

    Args:
        settings: leases and limits.
        connection: to ClickHouse.
        clear_seconds: how often it looks for what has expired.
    """

    def __init__(
        self, settings: ExportSettings, connection: Connection, clear_seconds: float = CLEAR_SECONDS
    ) -> None:
        self.name = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        self._settings = settings
        self._store = ObjectStore(settings.url)
        self._jobs = Jobs(settings, self._store, connection)
        self._events = EventStream(connection)
        self._leases = Leases(self._store, self.name, settings.lease_seconds)
        self._clear_seconds = clear_seconds
        self._cleared = float("-inf")
        self._stop = threading.Event()
        self._lease: Lease | None = None

    def stop(self) -> None:
        """End soon: what is under way is given back, to be resumed by another worker."""
        self._stop.set()
        if self._lease is not None:
            self._lease.stop("the worker stops")

    def run(self) -> None:
        """Work until `stop`; an object store or a ClickHouse that is away is waited for."""
        while not self._stop.is_set():
            try:
                worked = self.work_once()
            except TransientError as error:
                _log.warning("waiting", error=str(error))
                worked = False
            if not worked:
                self._stop.wait(self._settings.poll_seconds)

    def work_once(self) -> bool:
        """Work on one job that nobody has, and clear away; return whether there was a job.

        Raises:
            StoreUnavailable: there is no reaching the store.
        """
        if time.monotonic() - self._cleared > self._clear_seconds:
            self.clear_away()
            self._cleared = time.monotonic()
        places = sorted(self._jobs.open_places(), key=lambda place: place.job_id)
        self._leases.forget(set(places))
        for place in places:
            if self._stop.is_set():
                return False
            if self._work_on(place):
                return True
        return False

    def clear_away(self) -> None:
        """Delete what has expired, and marks of jobs that were never made."""
        now = datetime.now(UTC)
        for stored in list(self._store.objects(ENDED)):
            found = self._store.find(stored.path)
            if found is not None and datetime.fromisoformat(found["expires_at"]) <= now:
                self._jobs.remove(Place(found["account_id"], found["job_id"]))
                _log.info("expired", account=found["account_id"], job=found["job_id"])

    def _work_on(self, place: Place) -> bool:
        if self._store.find(place / "job.json") is None:
            self._forget_orphan(place)
            return False
        if self._store.find(place.ended_mark) is not None:
            self._store.delete(place.open_mark)
            return False
        lease = self._leases.take(place)
        if lease is None:
            return False
        log = _log.bind(account=place.account_id, job=place.job_id, lease=lease.number)
        log.info("taken")
        self._lease = lease
        try:
            with lease:
                job = self._jobs.job(place.account_id, place.job_id)
                if self._stop.is_set():
                    lease.stop("the worker stops")
                JobRun(self._jobs, self._events, job, lease, self.name).run()
            log.info("done")
        except Stopped as stopped:
            log.info("stopped", why=str(stopped))
        except AuditError as error:
            # Nobody is helped by trying again at once.
            log.error("failed", error=str(error))
            return False
        finally:
            self._lease = None
        return True

    def _forget_orphan(self, place: Place) -> None:
        found = self._store.find(place.open_mark)
        if found and datetime.now(UTC) - datetime.fromisoformat(found["at"]) > ORPHAN_AGE:
            self._store.delete(place.open_mark)
