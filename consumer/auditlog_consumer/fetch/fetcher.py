"""The fetcher: threads that ask the partitions' leaders for record batches, and a bounded queue of messages.

One thread finds out who leads which partition, and one for each leader has one request at a time on its way.
"""

from __future__ import annotations

import struct
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from auditlog_consumer.fetch import wire
from auditlog_consumer.fetch.batches import record_batches, take_apart, without_aborted
from auditlog_consumer.fetch.link import Link
from auditlog_consumer.fetch.security import security
from auditlog_consumer.messages import Messages
from auditlog_schemas.errors import (
    AuditError,
    BrokerUnavailable,
    ConfigError,
    TerminalError,
    TransientError,
)

PARTITION_BYTES_MAX: Final = 1 << 20
ANSWER_BYTES_MAX: Final = 8 << 20
QUEUED_BYTES_MAX: Final = 32 << 20
"""Messages that wait to be taken, of all partitions, about; one slice of a batch may come on top."""
WAIT_MILLIS: Final = 100
_SEE_CUT: Final = "it lost acknowledged messages; see docs/operations.md, 'log behind ledger'"
PAUSE_SECONDS_MIN: Final = 0.1
PAUSE_SECONDS_MAX: Final = 2.0


@dataclass(slots=True)
class Polled:
    """What has come since the last time.

    Attributes:
        messages: by partition, in the order of their offsets.
        ends: where a partition's log ended when its end was reached.
        out_of_range: partitions whose position Kafka does not have.
        topic_is_unknown: Kafka does not know the topic.
        failures: partitions that cannot be read on, and why.
        trouble: errors that will pass, such as a broker that is away.
    """

    messages: dict[int, Messages] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    out_of_range: set[int] = field(default_factory=set)
    topic_is_unknown: bool = False
    failures: dict[int, AuditError] = field(default_factory=dict)
    trouble: list[TransientError] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Position:
    """Where a partition is read; another object for each `start`, so that older answers are known.

    `epoch` is that of the leader that appended what was read last; -1 before anything was.
    """

    offset: int
    epoch: int = -1
    paused: bool = False
    end_told: int = -1
    stands: bool = False


class Fetcher:
    """Reads partitions of one topic from given offsets on. Thread-safe.

    Memory is bounded whatever was published: `QUEUED_BYTES_MAX`, an answer, and one batch that is being taken
    apart (see `batches`).

    Args:
        kafka: bootstrap servers.
        config: librdkafka's settings, of which those of TLS and SASL are read.
        topic: its name.
        client_id: by which brokers know these connections.

    Raises:
        ConfigError: a setting of TLS or SASL is wrong.
    """

    def __init__(self, kafka: str, config: Mapping[str, str], topic: str, client_id: str) -> None:
        self._bootstrap = [_address(each) for each in kafka.split(",") if each.strip()]
        self._security = security(config)
        self._topic = topic
        self._client_id = client_id
        self._changed = threading.Condition()
        self._positions: dict[int, _Position] = {}
        self._leaders: Mapping[int, wire.Address] = {}
        self._leaders_asked = False
        self._readers: dict[wire.Address, threading.Thread] = {}
        self._queue: deque[tuple[int, _Position, Messages]] = deque()
        self._queued_bytes = 0
        self._told = Polled()
        self._fatal: AuditError | None = None
        self._closed = self._woken = False
        self._scout: threading.Thread | None = None

    def start(self, partition: int, offset: int) -> None:
        """Read a partition from an offset on, whatever was read of it before."""
        with self._changed:
            self._forget(partition)
            self._positions[partition] = _Position(offset)
            if self._scout is None:
                self._scout = threading.Thread(target=self._find_leaders, name="leaders", daemon=True)
                self._scout.start()
            self._changed.notify_all()

    def stop(self, partition: int) -> None:
        """Read a partition no longer; nothing more comes of it until the next `start`."""
        with self._changed:
            self._forget(partition)
            self._changed.notify_all()

    def pause(self, partitions: Iterable[int], *, paused: bool = True) -> None:
        """Ask for no more of these partitions, or for more again; what has come already is still taken."""
        with self._changed:
            for partition in partitions:
                if (position := self._positions.get(partition)) is not None:
                    position.paused = paused
            self._changed.notify_all()

    def take(self, messages_max: int) -> Polled:
        """Return what has come since the last time, at most about `messages_max` messages.

        Raises:
            ConfigError: a broker refuses us for good.
        """
        with self._changed:
            if self._fatal is not None:
                raise self._fatal
            polled, self._told = self._told, Polled()
            parts: dict[int, list[Messages]] = {}
            left = messages_max
            while self._queue and left > 0:
                number, position, messages = self._queue.popleft()
                if self._positions.get(number) is not position:
                    continue
                self._queued_bytes -= messages.held_bytes
                if len(messages) > left:
                    rest = messages.between(left, len(messages))
                    self._queue.appendleft((number, position, rest))
                    self._queued_bytes += rest.held_bytes
                    messages = messages.between(0, left)
                left -= len(messages)
                parts.setdefault(number, []).append(messages)
            waiting = {number for number, _, _ in self._queue}
            # An end is told behind the messages before it.
            self._told.ends = {number: polled.ends.pop(number) for number in waiting & polled.ends.keys()}
            self._changed.notify_all()
        polled.messages = {number: Messages.joined(some) for number, some in parts.items()}
        return polled

    def wait(self, seconds: float) -> None:
        """Return when something is there to be taken, or somebody called `wake`, or after so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._woken or self.has_news, seconds)
            self._woken = False

    def wake(self) -> None:
        """Let `wait` return."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        """Stop reading; the threads end by themselves."""
        with self._changed:
            self._closed = True
            self._positions.clear()
            self._changed.notify_all()

    @property
    def has_news(self) -> bool:
        """Tell whether `take` has something to return."""
        told = self._told
        return bool(
            self._queue
            or told.ends
            or told.out_of_range
            or told.topic_is_unknown
            or told.failures
            or told.trouble
            or self._fatal
        )

    def _forget(self, partition: int) -> None:
        self._positions.pop(partition, None)
        kept = [each for each in self._queue if each[0] != partition]
        self._queue = deque(kept)
        self._queued_bytes = sum(messages.held_bytes for _, _, messages in kept)
        self._told.ends.pop(partition, None)
        self._told.out_of_range.discard(partition)
        self._told.failures.pop(partition, None)

    # What the threads do.

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
                    self._told.topic_is_unknown |= found.error == wire.UNKNOWN_TOPIC_OR_PARTITION
                    if found.error == wire.TOPIC_AUTHORIZATION_FAILED:
                        self._fatal = self._not_allowed()
                    self._leaders = found.leaders
                    self._start_readers()
                is_known = found is not None and not found.error and not self._leader_is_wanted()
                self._changed.notify_all()
                # Also after a good answer: a broker that says "not me" must not be asked a thousand times.
                self._changed.wait_for(lambda: self._closed, PAUSE_SECONDS_MIN if is_known else pause)
            pause = PAUSE_SECONDS_MIN if is_known else min(2 * pause, PAUSE_SECONDS_MAX)

    def _leader_is_wanted(self) -> bool:
        wanted = (number for number, each in self._positions.items() if not each.stands)
        return self._leaders_asked or any(number not in self._leaders for number in wanted)

    def _ask_for_leaders(self, addresses: Iterable[wire.Address]) -> wire.Metadata | None:
        for address in addresses:
            try:
                link = Link(address, self._security, self._client_id)
                try:
                    body = link.ask(wire.METADATA, wire.metadata_request(self._topic))
                    return wire.read_metadata(body)
                finally:
                    link.close()
            except (AuditError, struct.error, IndexError) as error:
                self._tell_trouble(error)
        return None

    def _start_readers(self) -> None:
        for address in set(self._leaders.values()):
            reader = self._readers.get(address)
            if reader is None or not reader.is_alive():
                reader = threading.Thread(target=self._read, args=(address,), name="fetching", daemon=True)
                self._readers[address] = reader
                reader.start()

    def _read(self, address: wire.Address) -> None:
        """Fetch what one broker leads, until it leads nothing any more."""
        link: Link | None = None
        pause, turn, at_once = PAUSE_SECONDS_MIN, 0, 1 << 30
        while wanted := self._wanted(address):
            turn += 1
            # Whoever is first in the list is served first, so all are in turn.
            asked = (wanted[turn % len(wanted) :] + wanted[: turn % len(wanted)])[:at_once]
            try:
                link = link or Link(address, self._security, self._client_id)
                error, fetched = wire.read_fetched(link.ask(wire.FETCH, self._request(asked)))
                if error:
                    raise BrokerUnavailable(f"Kafka at {address[0]}:{address[1]}: error {error}")
            except (AuditError, struct.error, IndexError) as failure:
                if link is not None:
                    link.close()
                link = None
                if isinstance(failure, TransientError | ConfigError | struct.error | IndexError):
                    self._tell_trouble(failure)
                elif len(asked) > 1:
                    # The answer was too large; whose it is shows when they are asked for one by one.
                    at_once = 1
                    continue
                else:
                    self._fail(*asked[0], failure)
                with self._changed:
                    self._leaders_asked = True
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._closed, pause)
                pause = min(2 * pause, PAUSE_SECONDS_MAX)
                continue
            pause = PAUSE_SECONDS_MIN
            positions = dict(asked)
            for one in fetched:
                if (position := positions.get(one.partition)) is not None:
                    self._take_in(one, position)
        if link is not None:
            link.close()

    def _wanted(self, address: wire.Address) -> list[tuple[int, _Position]]:
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

    def _request(self, asked: list[tuple[int, _Position]]) -> bytes:
        return wire.fetch_request(
            self._topic,
            [(number, position.offset, position.epoch) for number, position in asked],
            wait_millis=WAIT_MILLIS,
            bytes_max=ANSWER_BYTES_MAX,
            partition_bytes_max=PARTITION_BYTES_MAX,
        )

    def _take_in(self, fetched: wire.Fetched, position: _Position) -> None:
        number = fetched.partition
        if fetched.error:
            self._tell_error(fetched, position)
            return
        if fetched.cut_at is not None:
            cut = f"{self._topic}/{number}: Kafka's log was cut at offset {fetched.cut_at}"
            self._fail(number, position, TerminalError(f"{cut}, {position.offset} was read; {_SEE_CUT}"))
            return
        batches = list(record_batches(fetched.records))
        for messages in take_apart(list(without_aborted(batches, fetched.aborted)), position.offset):
            if len(messages) and not self._put(number, position, messages):
                return
        with self._changed:
            if self._positions.get(number) is not position:
                return
            if batches:
                position.offset = max(position.offset, batches[-1].last_offset + 1)
                position.epoch = batches[-1].leader_epoch
            if position.offset >= fetched.stable_end and position.end_told != position.offset:
                position.end_told = position.offset
                self._told.ends[number] = position.offset
                self._changed.notify_all()

    def _put(self, number: int, position: _Position, messages: Messages) -> bool:
        """Queue messages once there is room; False when the partition is not read from there any more."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._queued_bytes < QUEUED_BYTES_MAX
                    or self._positions.get(number) is not position
                    or self._closed
                )
            )
            if self._closed or self._positions.get(number) is not position:
                return False
            self._queue.append((number, position, messages))
            self._queued_bytes += messages.held_bytes
            self._changed.notify_all()
            return True

    def _tell_error(self, fetched: wire.Fetched, position: _Position) -> None:
        number, error = fetched.partition, fetched.error
        with self._changed:
            if self._positions.get(number) is not position:
                return
            if error == wire.OFFSET_OUT_OF_RANGE:
                position.stands = True
                self._told.out_of_range.add(number)
            elif error == wire.TOPIC_AUTHORIZATION_FAILED:
                self._fatal = self._not_allowed()
            else:
                # Not its leader, or not yet: who is will be asked.
                self._leaders_asked = True
                self._leaders = {
                    other: address for other, address in self._leaders.items() if other != number
                }
                found = f"Kafka, fetching {self._topic}/{number}: error {error}"
                self._told.trouble.append(BrokerUnavailable(found))
            self._changed.notify_all()

    def _tell_trouble(self, error: Exception) -> None:
        with self._changed:
            if isinstance(error, ConfigError):
                self._fatal = error
            elif isinstance(error, TransientError):
                self._told.trouble.append(error)
            else:
                self._told.trouble.append(BrokerUnavailable(f"Kafka sent an answer that ends early: {error}"))
            del self._told.trouble[:-10]
            self._changed.notify_all()

    def _not_allowed(self) -> ConfigError:
        return ConfigError(f"Kafka does not let this user read topic {self._topic}")

    def _fail(self, number: int, position: _Position, error: AuditError) -> None:
        with self._changed:
            if self._positions.get(number) is position:
                position.stands = True
                self._told.failures[number] = error
                self._changed.notify_all()


def _address(text: str) -> wire.Address:
    host, _, port = text.strip().rpartition("://")[2].rpartition(":")
    if not host:
        return text.strip(), 9092
    if not port.isdecimal():
        raise ConfigError(f"AUDITLOG_KAFKA: {text.strip()!r} is not host:port")
    return host.strip("[]"), int(port)
