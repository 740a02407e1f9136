"""Deliberate breakages of the protocol: the simulator is worth as much as it finds of these."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import pyarrow as pa
import pytest

from auditlog_consumer import consumer, recovery, store
from auditlog_consumer.batch import Collector
from auditlog_consumer.commits import Wish
from auditlog_consumer.dead_letters import DeadLetterSink
from auditlog_consumer.engine_clock import EngineClock
from auditlog_consumer.messages import BATCH_RULES, Messages
from auditlog_consumer.partition import Epoch, EpochEnded, Partition
from auditlog_consumer.read_back import ReadBack
from auditlog_consumer.recovery import Recovery
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.stopped import Stopped
from auditlog_consumer.store import BatchStore
from auditlog_consumer.window import Window
from auditlog_schemas.errors import TransientError
from auditlog_storage.claims import Claims
from auditlog_storage.ledger import Range
from simulated.clickhouse_clients import SimClaims, SimEventWriter, SimLedger
from simulated.kafka_member import SimGroupMember

Patch = pytest.MonkeyPatch
Insertion: Final[Any] = store._Insertion


@dataclass(frozen=True, slots=True)
class Breakage:
    """One way to break the protocol.

    Attributes:
        apply: breaks it until the patch is undone.
        focus: the weather under which it shows.
        seeds: among which it must be found; the first ones are left out where it is known to show late.
    """

    apply: Callable[[Patch], None]
    focus: str | None
    seeds: range = range(400)


def _returns(value: Any) -> Callable[..., Any]:
    def always(*args: Any, **kwargs: Any) -> Any:
        return value

    return always


def takes_ok_as_proof(patch: Patch) -> None:
    """After an insert that said OK nothing is read back."""
    attempt, read_back = Insertion.attempt, Insertion._read_back

    def trusting(self: Any) -> ReadBack:
        self.reads_before = self._maybe_stored
        back: ReadBack = attempt(self)
        return back

    def once(self: Any) -> ReadBack:
        if not self.reads_before:
            rows = self._batch.rows
            return ReadBack(rows.slice(0, 0), rows.num_rows, frozenset())
        self.reads_before = False
        back: ReadBack = read_back(self)
        return back

    patch.setattr(Insertion, "attempt", trusting)
    patch.setattr(Insertion, "_read_back", once)


def never_reads_before(patch: Patch) -> None:
    """Nothing is read before an insert, also when something may be stored."""
    patch.setattr(Insertion, "_maybe_stored", property(_returns(False), _returns(None)), raising=False)


def ignores_stored_rows(patch: Patch) -> None:
    """Recovery does not look for rows beyond the ledger."""
    patch.setattr(Recovery, "_stored_until", lambda self, partition, first: first)  # noqa: ARG005


def ignores_intents(patch: Patch) -> None:
    """What the last owner announced is not replayed."""
    patch.setattr(recovery, "_pending", _returns(None))


def announces_nothing(patch: Patch) -> None:
    """Nothing is announced before an insert."""
    patch.setattr(SimGroupMember, "announce", _returns(None))


def trusts_kafkas_offset(patch: Patch) -> None:
    """A partition starts where Kafka's committed offset says."""
    start = Recovery.start

    def trusting(self: Any, *args: Any) -> Any:
        found = start(self, *args)
        kafka = self._group._kafka
        committed = kafka.committed.get(args[0].number)
        if committed is None or committed[0] > kafka.logs[args[0].number].high:
            return found
        return replace(found, offset=committed[0], replay=None)

    patch.setattr(Recovery, "start", trusting)


def draws_tokens(patch: Patch) -> None:
    """Every insert has another token."""
    token = Insertion._token
    patch.setattr(Insertion, "_token", lambda self: f"{token(self)}/{random.random()}")


def steps_on_after_errors(patch: Patch) -> None:
    """The next token is taken after an error, not after a success only."""
    attempt = Insertion.attempt

    def hasty(self: Any) -> ReadBack:
        try:
            back: ReadBack = attempt(self)
            return back
        except TransientError:
            self._token_step = min(self._token_step + 1, 2)
            raise

    patch.setattr(Insertion, "attempt", hasty)


def forgets_deadlines(patch: Patch) -> None:
    """The engine is told no deadline for rows."""
    insert = SimEventWriter.insert

    def patient(self: SimEventWriter, batch: pa.RecordBatch, token: str, deadline: datetime | None) -> None:
        insert(self, batch, token, None)

    patch.setattr(SimEventWriter, "insert", patient)


def records_without_deadline(patch: Patch) -> None:
    """The engine is told no deadline for ledger rows."""
    append = SimLedger.append

    def patient(self: SimLedger, range: Range, deadline: datetime | None = None) -> None:
        append(self, range, None)

    patch.setattr(SimLedger, "append", patient)


def outlasts_nothing(patch: Patch) -> None:
    """A start does not wait until an announced insert is over."""
    patch.setattr(Recovery, "_outlast", _returns(None))


def reads_the_clock_once(patch: Patch) -> None:
    """ClickHouse's clock is not looked at again when a deadline is over before its time."""
    read = EngineClock.read

    def once(self: Any) -> None:
        if self._shown == datetime.min:
            read(self)

    patch.setattr(EngineClock, "read", once)


def has_late_deadlines(patch: Patch) -> None:
    """An insert may begin long after its session."""
    late = property(lambda self: 3 * self.session_timeout_seconds)
    patch.setattr(ConsumerSettings, "insert_seconds_max", late)


def sends_several_blocks(patch: Patch) -> None:
    """An insert is one record batch or two, as it happens; a token names a block by its place in it."""
    insert = SimEventWriter.insert

    def framed(self: SimEventWriter, batch: pa.RecordBatch, token: str, deadline: datetime | None) -> None:
        middle = batch.num_rows // 2 if random.random() < 0.5 else batch.num_rows
        for place, part in enumerate((batch.slice(0, middle), batch.slice(middle))):
            insert(self, part, f"{token}#{place}", deadline)

    patch.setattr(SimEventWriter, "insert", framed)


def acts_in_dead_epochs(patch: Patch) -> None:
    """An epoch that has ended is not noticed."""
    patch.setattr(Epoch, "alive", property(_returns(True)))
    patch.setattr(Epoch, "require", _returns(None))
    pause = Epoch.pause

    def deaf(self: Epoch, seconds: float) -> None:
        try:
            pause(self, seconds)
        except EpochEnded:
            return

    patch.setattr(Epoch, "pause", deaf)


def records_before_reading_back(patch: Patch) -> None:
    """The ledger row comes before the insert."""
    attempt = Insertion.attempt

    def early(self: Any) -> ReadBack:
        batch = self._batch
        rejected = list(batch.verdicts.rejected)
        hoped = ReadBack(batch.rows.slice(0, 0), batch.rows.num_rows, frozenset())
        self._store._ledger.append(self._store._range(batch, rejected, hoped), None)
        back: ReadBack = attempt(self)
        return back

    patch.setattr(Insertion, "attempt", early)


def records_before_dead_letters(patch: Patch) -> None:
    """The ledger row comes before the dead letters."""
    append, write = SimLedger.append, DeadLetterSink.write
    held: dict[tuple[Any, int], tuple[Any, ...]] = {}

    def hold(self: Any, partition: Partition, rejected: Any) -> None:
        held[self._writer._process, partition.number] = (self, partition, rejected)

    def then_write(self: SimLedger, range: Range, deadline: datetime | None = None) -> None:
        append(self, range, deadline)
        if letters := held.pop((self._process, range.kafka_partition), None):
            write(*letters)

    patch.setattr(DeadLetterSink, "write", hold)
    patch.setattr(SimLedger, "append", then_write)


def takes_gaps_at_once(patch: Patch) -> None:
    """Offsets that were skipped once are taken to hold no message."""
    add = Collector.add

    def credulous(self: Collector, messages: Any, now_seconds: float) -> None:
        while add(self, messages, now_seconds) is not None:
            pass

    patch.setattr(Collector, "add", credulous)


def extends_no_window(patch: Patch) -> None:
    """The window is filled at the start and never extended."""
    patch.setattr(BatchStore, "_extend_window", _returns(None))


def fills_no_window(patch: Patch) -> None:
    """The window is empty after every start."""
    patch.setattr(Recovery, "_fill", _returns(None))


def looks_too_far_back(patch: Patch) -> None:
    """The window is one offset larger than it says."""
    duplicates = Window.duplicates

    def wide(self: Window, keys: Any, first_offset: int, offsets_max: int) -> Any:
        return duplicates(self, keys, first_offset, offsets_max + 1)

    patch.setattr(Window, "duplicates", wide)


def takes_one_for_all(patch: Patch) -> None:
    """What is terminal for one partition ends the process."""
    patch.setattr(consumer, "stops_all", _returns(True))


def never_tries_again(patch: Patch) -> None:
    """A partition that was stopped stays so."""
    patch.setattr(Stopped, "is_over", _returns(False))


def records_one_offset_too_few(patch: Patch) -> None:
    """What was passed over is taken for one message."""
    patch.setattr(Messages, "covered", property(len))


def has_no_letter_but_the_first(patch: Patch) -> None:
    """Of a batch that was passed over only the first offset has a letter."""
    write = DeadLetterSink.write

    def first_only(self: DeadLetterSink, partition: Partition, rejected: Any) -> None:
        write(
            self, partition, [each for each in rejected if each.value or each.error.rule not in BATCH_RULES]
        )

    patch.setattr(DeadLetterSink, "write", first_only)


def commits_for_dead_epochs(patch: Patch) -> None:
    """A wish for a commit outlives its epoch."""
    patch.setattr(Wish, "is_void", property(_returns(False)))
    patch.setattr(Epoch, "require_open", _returns(None))


def records_losses_at_once(patch: Patch) -> None:
    """A loss is recorded without an announcement, a deadline or a second look at the ledger."""

    def hasty(self: Any, partition: Partition, epoch: Epoch, clock: Any, found: Any) -> None:
        del epoch, clock
        self._ledger.append(self._lost(partition, found.offset, found.low - 1))

    patch.setattr(Recovery, "_record_loss", hasty)


def skips_losses(patch: Patch) -> None:
    """What retention deleted is not recorded."""
    look = Recovery._look

    def careless(self: Any, *args: Any) -> Any:
        found = look(self, *args)
        return replace(found, offset=max(found.offset, found.low))

    patch.setattr(Recovery, "_look", careless)


def claims_nothing(patch: Patch) -> None:
    """A group does not ask whether another one records the topic."""
    patch.setattr(Claims, "claim", lambda self, topic_id, group, takes_over, now: group)  # noqa: ARG005


def claims_without_tokens(patch: Patch) -> None:
    """Two groups that claim a topic at once both do so."""
    insert = SimClaims.insert_batch

    def drawn(self: SimClaims, table: str, batch: pa.RecordBatch, token: str) -> None:
        insert(self, table, batch, f"{token}/{random.random()}")

    patch.setattr(SimClaims, "insert_batch", drawn)


BREAKAGES: Final[dict[str, Breakage]] = {
    "takes OK as proof": Breakage(takes_ok_as_proof, "engine"),
    "never reads before an insert": Breakage(never_reads_before, "operator"),
    "ignores stored rows at the start": Breakage(ignores_stored_rows, "operator"),
    "ignores intents": Breakage(ignores_intents, "handover", range(40, 400)),
    "announces nothing": Breakage(announces_nothing, "handover", range(40, 400)),
    "trusts Kafka's offset": Breakage(trusts_kafkas_offset, "operator"),
    "draws tokens": Breakage(draws_tokens, "handover"),
    "steps on after errors": Breakage(steps_on_after_errors, "handover"),
    "forgets deadlines": Breakage(forgets_deadlines, "stopped before inserts"),
    "has late deadlines": Breakage(has_late_deadlines, "stopped before inserts"),
    "records without deadline": Breakage(records_without_deadline, "stopped before records", range(110, 400)),
    "outlasts nothing": Breakage(outlasts_nothing, "ended during inserts"),
    "reads the clock once": Breakage(reads_the_clock_once, "clocks"),
    "sends several blocks": Breakage(sends_several_blocks, "engine"),
    "acts in dead epochs": Breakage(acts_in_dead_epochs, "zombies", range(45, 400)),
    "records before reading back": Breakage(records_before_reading_back, "engine"),
    "records before dead letters": Breakage(records_before_dead_letters, "broker"),
    "commits for dead epochs": Breakage(commits_for_dead_epochs, "zombies"),
    "records losses at once": Breakage(records_losses_at_once, "stopped before losses"),
    "skips losses": Breakage(skips_losses, "stopped while starting"),
    "claims nothing": Breakage(claims_nothing, "two groups"),
    "claims without tokens": Breakage(claims_without_tokens, "two groups"),
    "takes gaps at once": Breakage(takes_gaps_at_once, None),
    "extends no window": Breakage(extends_no_window, None),
    "fills no window": Breakage(fills_no_window, "handover"),
    "looks too far back": Breakage(looks_too_far_back, None),
    "takes one partition's error for all": Breakage(takes_one_for_all, None),
    "never tries a stopped partition again": Breakage(never_tries_again, None),
    "takes a batch that was passed over for a message": Breakage(records_one_offset_too_few, None),
    "writes one letter for a batch that was passed over": Breakage(has_no_letter_but_the_first, None),
}
