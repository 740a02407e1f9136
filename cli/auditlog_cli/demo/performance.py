"""The demonstration from beginning to end."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from auditlog_cli.catalog_source import configured_catalog
from auditlog_cli.demo.bad_messages import Spoiler
from auditlog_cli.demo.day import Day
from auditlog_cli.demo.publication import Published, publish_day
from auditlog_cli.demo.report import write_busiest_actions, write_result, write_story
from auditlog_cli.demo.result import result_of, stored_events
from auditlog_cli.progress import progress_bar
from auditlog_consumer.lag import lag
from auditlog_schemas.errors import StorageUnavailable

if TYPE_CHECKING:
    from auditlog_cli.demo.vendor import Vendor
    from auditlog_cli.happenings import Happenings
    from auditlog_cli.local_pipeline import LocalPipeline

LAG_POLL_SECONDS: Final = 0.3
CATCH_UP_SECONDS_MAX: Final = 120.0


class Performance:
    """Publishes a day into a running pipeline, waits until it is stored, and writes what became of it."""

    def __init__(self, pipeline: LocalPipeline, happenings: Happenings, events: int) -> None:
        self._pipeline = pipeline
        self._happenings = happenings
        self._day = Day(datetime.now(UTC), events)
        self._spoiler = Spoiler(events)
        self._events = events

    @property
    def license_id(self) -> str:
        """Return the license whose day is told."""
        return self._day.story()[1]

    @property
    def vendor(self) -> Vendor:
        """Return the account of that license, as it stands at the end of the day."""
        return self._day.vendors[self._day.story()[0]]

    def play(self) -> bool:
        """Do it all; return whether the numbers add up.

        Raises:
            StorageUnavailable: the consumer did not catch up in time.
            ChildFailed: it, or another process, crashes again and again.
            KeyboardInterrupt: somebody has seen enough.
        """
        pipeline = self._pipeline
        stored_before = stored_events(pipeline.connection)
        since = datetime.now(UTC).replace(microsecond=0)
        began = time.monotonic()
        with progress_bar("publishing", self._events) as progress:
            published = publish_day(self._day, self._spoiler, pipeline.settings, progress)
        took = time.monotonic() - began
        self._happenings.notice("published", f"{published.messages:,} messages in {took:.1f} s")
        self._wait_until_stored(published)
        took = time.monotonic() - began
        self._happenings.notice("stored", f"everything is accounted for {took:.1f} s after the first message")
        result = result_of(published, pipeline.connection, pipeline.settings, stored_before, since)
        write_result(result)
        write_busiest_actions(pipeline.connection)
        write_story(pipeline.connection, configured_catalog(), self.license_id)
        return not result.faults()

    def _wait_until_stored(self, published: Published) -> None:
        deadline = time.monotonic() + CATCH_UP_SECONDS_MAX
        with progress_bar("storing", published.messages) as progress:
            while waiting := sum(
                partition.lag for partition in lag(self._pipeline.settings, self._pipeline.connection)
            ):
                progress(max(published.messages - waiting, 0))
                if time.monotonic() > deadline:
                    raise StorageUnavailable(
                        f"{waiting:,} messages are not stored after {CATCH_UP_SECONDS_MAX:.0f} s; read "
                        f"{self._pipeline.stack.data_dir / 'logs' / 'consumer-1.log'}"
                    )
                if self._pipeline.stack.wait(LAG_POLL_SECONDS):
                    raise KeyboardInterrupt
                self._pipeline.stack.require_all()
