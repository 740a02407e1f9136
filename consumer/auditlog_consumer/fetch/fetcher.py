"""The fetcher: threads that ask the partitions' leaders for record batches.

One thread finds out who leads which partition, and one for each leader has one request at a time on its way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from functools import partial
from typing import Final

from auditlog_consumer.fetch import wire
from auditlog_consumer.fetch.batches import record_batches, take_apart, without_aborted
from auditlog_consumer.fetch.bootstrap import addresses
from auditlog_consumer.fetch.inbox import QUEUED_BYTES_MAX, Inbox, Position
from auditlog_consumer.fetch.link import Link
from auditlog_consumer.fetch.security import security
from auditlog_schemas.errors import AuditError, BrokerUnavailable, ConfigError, TerminalError, TransientError

PARTITION_BYTES_MAX: Final = 1 << 20
ANSWER_BYTES_MAX: Final = 8 << 20
WAIT_MILLIS: Final = 100
PAUSE_SECONDS_MIN: Final = 0.1
PAUSE_SECONDS_MAX: Final = 2.0
_SEE_CUT: Final = "it lost acknowledged messages; see docs/operations.md, 'log behind ledger'"


class Fetcher(Inbox):
    """Reads partitions of one topic from given offsets on. Thread-safe.

    Memory is bounded whatever was published: `QUEUED_BYTES_MAX`, and for each broker an answer and one batch
    that is being taken apart (see `batches`).

    Args:
        kafka: bootstrap servers.
        config: librdkafka's settings, of which those of TLS and SASL are read.
        topic: its name.
        client_id: by which brokers know these connections.
        isolation: `wire.READ_UNCOMMITTED` also reads what transactions that are open have written.

    Raises:
        ConfigError: an address, or a setting of TLS or SASL, is wrong.
    """

    def __init__(
        self,
        kafka: str,
        config: Mapping[str, str],
        topic: str,
        client_id: str,
        isolation: int = wire.READ_COMMITTED,
    ) -> None:
        super().__init__()
        self._bootstrap = addresses(kafka)
        self._security = security(config)
        self._topic = topic
        self._client_id = client_id
        self._isolation = isolation
        self._leaders: Mapping[int, wire.Address] = {}
        self._leaders_asked = False
        self._readers: dict[wire.Address, threading.Thread] = {}
        self._scout: threading.Thread | None = None

    def start(self, partition: int, offset: int) -> None:
        """Read a partition from an offset on, whatever was read of it before."""
        with self._changed:
            super().start(partition, offset)
            if self._scout is None:
                self._scout = self._thread("leaders", self._find_leaders)

    def _thread(self, name: str, run: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                run()
            except Exception as error:
                failure = TerminalError(f"fetching {self._topic}: {type(error).__name__}: {error}")
                failure.__cause__ = error
                self._end_with(failure)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread

    # Who leads which partition.

    def _find_leaders(self) -> None:
        """Ask who leads each partition, whenever that is not known, from one broker after the other."""
        pause = PAUSE_SECONDS_MIN
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._leader_is_wanted())
                if self._closed:
                    return
                known = [*dict.fromkeys(self._leaders.values()), *self._bootstrap]
                self._leaders_asked = False
            found = self._ask_for_leaders(known)
            with self._changed:
                if found is not None:
                    self._leaders = found.leaders
                    self._tell_of(found)
                    self._start_readers()
                is_known = found is not None and not self._leader_is_wanted()
                self._changed.notify_all()
                # Also after a good answer: a broker that says "not me" must not be asked a thousand times.
                self._changed.wait_for(lambda: self._closed, PAUSE_SECONDS_MIN if is_known else pause)
            pause = PAUSE_SECONDS_MIN if is_known else min(2 * pause, PAUSE_SECONDS_MAX)

    def _without_leader(self) -> list[int]:
        wanted = (number for number, each in self._positions.items() if not each.stands)
        return [number for number in wanted if number not in self._leaders]

    def _leader_is_wanted(self) -> bool:
        return self._leaders_asked or bool(self._without_leader())

    def _ask_for_leaders(self, known: Iterable[wire.Address]) -> wire.Metadata | None:
        for address in known:
            try:
                with closing(Link(address, self._security, self._client_id)) as link:
                    body = link.ask(wire.METADATA, wire.metadata_request(self._topic))
                return wire.read_metadata(body)
            except AuditError as error:
                self._tell(error)
        return None

    def _tell_of(self, found: wire.Metadata) -> None:
        """Tell what is wrong with the topic."""
        if found.error == wire.UNKNOWN_TOPIC_OR_PARTITION:
            self._told.topic_is_unknown = True
        elif found.error == wire.TOPIC_AUTHORIZATION_FAILED:
            self._end_with(self._not_allowed())
        elif found.error:
            self._tell(BrokerUnavailable(f"Kafka, asked who leads {self._topic}: error {found.error}"))
        elif missing := self._without_leader():
            named = ", ".join(f"{self._topic}/{number}" for number in missing)
            self._tell(BrokerUnavailable(f"Kafka names no leader of {named}"))

    def _start_readers(self) -> None:
        for address in set(self._leaders.values()) - self._readers.keys():
            self._readers[address] = self._thread("fetching", partial(self._read, address))

    # What one broker leads.

    def _read(self, address: wire.Address) -> None:
        """Fetch what one broker leads, until it leads nothing any more."""
        link: Link | None = None
        pause, turn, alone = PAUSE_SECONDS_MIN, 0, 0
        while wanted := self._wanted(address):
            turn += 1
            # Whoever is first in the list is served first, so all are in turn.
            asked = wanted[turn % len(wanted) :] + wanted[: turn % len(wanted)]
            if alone:
                alone, asked = alone - 1, asked[:1]
            is_new = link is None
            try:
                link = link or Link(address, self._security, self._client_id)
                self._fetch(link, address, asked)
                pause = PAUSE_SECONDS_MIN
                continue
            except AuditError as error:
                failure = error
            if link is not None:
                link.close()
                link = None
            if isinstance(failure, TransientError) and not is_new:
                # Brokers close connections that were idle, or whose login is over: a new one will tell.
                continue
            if isinstance(failure, TransientError | ConfigError):
                self._tell(failure)
            elif len(asked) > 1:
                # The answer was too large; whose it is shows when they are asked for one by one.
                alone = len(wanted)
                continue
            else:
                self._stand(*asked[0], failure)
            with self._changed:
                self._leaders_asked = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._closed, pause)
            pause = min(2 * pause, PAUSE_SECONDS_MAX)
        if link is not None:
            link.close()

    def _wanted(self, address: wire.Address) -> list[tuple[int, Position]]:
        """Wait until there is room and something to be fetched from a broker; return nothing at the end."""
        with self._changed:
            while not self._closed and address in self._leaders.values():
                found = [
                    (number, position)
                    for number, position in self._positions.items()
                    if not (position.paused or position.stands) and self._leaders.get(number) == address
                ]
                if found and self._queued_bytes < QUEUED_BYTES_MAX:
                    return found
                self._changed.wait()
            del self._readers[address]
            return []

    def _fetch(self, link: Link, address: wire.Address, wanted: list[tuple[int, Position]]) -> None:
        """Ask for partitions once and take in what comes."""
        with self._changed:
            asked = {number: (each, each.offset, each.epoch) for number, each in wanted}
        request = wire.fetch_request(
            self._topic,
            [(number, offset, epoch) for number, (_, offset, epoch) in asked.items()],
            wait_millis=WAIT_MILLIS,
            bytes_max=ANSWER_BYTES_MAX,
            partition_bytes_max=PARTITION_BYTES_MAX,
            isolation=self._isolation,
        )
        error, fetched = wire.read_fetched(link.ask(wire.FETCH, request))
        if error:
            raise BrokerUnavailable(f"Kafka at {address[0]}:{address[1]}, fetching: error {error}")
        for one in fetched:
            if one.partition in asked:
                position, offset, _ = asked[one.partition]
                try:
                    self._take_in(one, position, offset)
                except Exception as failure:
                    # Whatever its bytes bring out: the others go on.
                    bug = f"{self._topic}/{one.partition} from {offset} on cannot be taken apart"
                    self._stand(one.partition, position, TerminalError(f"{bug}: {failure!r}"))

    def _take_in(self, fetched: wire.Fetched, position: Position, offset: int) -> None:
        number = fetched.partition
        if fetched.cut_at is not None:
            cut = f"{self._topic}/{number}: Kafka's log was cut at offset {fetched.cut_at}"
            self._stand(number, position, TerminalError(f"{cut}, {offset} was read; {_SEE_CUT}"))
            return
        batches = list(record_batches(fetched.records))
        if fetched.error or (fetched.records and not batches):
            self._tell_error(number, position, fetched.error)
            return
        self._note_epochs(number, position, offset, batches)
        for messages in take_apart(list(without_aborted(batches, fetched.aborted)), offset):
            if len(messages):
                if not self._put(number, position, offset, messages):
                    return
                offset = int(messages.offsets[-1]) + 1
        last = (batches[-1].last_offset, batches[-1].leader_epoch) if batches else None
        self._reach(number, position, offset, last, fetched.stable_end, fetched.end)

    def _tell_error(self, number: int, position: Position, error: int) -> None:
        with self._changed:
            if self._positions.get(number) is not position:
                return
            if error == wire.OFFSET_OUT_OF_RANGE:
                self._stand(number, position)
            elif error == wire.TOPIC_AUTHORIZATION_FAILED:
                self._end_with(self._not_allowed())
            else:
                # Not its leader, or not yet: who is will be asked.
                self._leaders_asked = True
                self._leaders = {
                    other: address for other, address in self._leaders.items() if other != number
                }
                what = f"error {error}" if error else "less than a whole batch came"
                self._tell(BrokerUnavailable(f"Kafka, fetching {self._topic}/{number}: {what}"))

    def _tell(self, error: AuditError) -> None:
        if isinstance(error, TransientError):
            self._tell_trouble(error)
        else:
            self._end_with(error)

    def _not_allowed(self) -> ConfigError:
        return ConfigError(f"Kafka does not let this user read topic {self._topic}: allow READ on it")
