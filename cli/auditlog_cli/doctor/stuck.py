"""Why a partition does not move, from what was seen. Asks nobody."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from auditlog_cli.doctor.diagnosis import Diagnosis
from auditlog_cli.doctor.look import PartitionLook
from auditlog_consumer.group_state import GroupState
from auditlog_schemas.inert import inert
from auditlog_schemas.record import time_of

OVERDUE_SECONDS: Final = 60.0

_READ_THE_LOG: Final = (
    "read its log, the lines `waiting` say what for; if it says nothing, restart it, nothing is lost"
)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What holds for all partitions.

    Attributes:
        group: the consumer group's name.
        state: who is in it.
        now: ClickHouse's time, or this machine's when ClickHouse is away; aware UTC.
        watched_seconds: how long nothing moved.
        session_seconds: after which a silent member is none.
        trouble: names of the diagnoses above that keep a consumer from working; the first is the likeliest.
    """

    group: str
    state: GroupState
    now: datetime
    watched_seconds: float
    session_seconds: float
    trouble: tuple[str, ...] = ()


def explain(look: PartitionLook, oldest: datetime | None, around: Circumstances) -> Diagnosis:
    """Say what is known of a partition with lag that does not move, and what to do.

    Args:
        look: the last one.
        oldest: when Kafka received the first message that waits.
        around: what holds for all partitions.
    """
    owner = around.state.owner(look.number)
    since = f", the first since {ago(around.now, oldest)}" if oldest else ""
    stopped = f"; it is stopped: {inert(look.trouble)}" if look.trouble else ""
    held = f"; a transaction that is open holds them, from offset {look.position} on" if look.is_held else ""
    found = (
        f"{messages_wait(look.lag)} from offset {look.position} on{since}; "
        f"nothing was done in {around.watched_seconds:.0f} s; "
        f"{f'{owner} has it' if owner else 'nobody has it'}; {announced(look, around.now)}{held}{stopped}"
    )
    return Diagnosis(f"partition {look.number}", "wrong", found, _what_to_do(look, around))


def announced(look: PartitionLook, now: datetime) -> str:
    """Say what the last owner announced beyond the ledger, and until when its insert may begin."""
    intent = look.committed.intent if look.committed else None
    if intent is None or intent.last < look.position:
        return "nothing is announced"
    deadline = time_of(intent.deadline_millis)
    until = f"could begin until {ago(now, deadline)}" if deadline < now else "may begin now"
    return f"offsets {intent.first}-{intent.last} are announced, their insert {until}"


def messages_wait(count: int) -> str:
    """Return how many wait."""
    return f"{count:,} {'message waits' if count == 1 else 'messages wait'}"


def ago(now: datetime, moment: datetime) -> str:
    """Return a time as an age, in the largest fitting unit."""
    seconds = max((now - moment).total_seconds(), 0)
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def _what_to_do(look: PartitionLook, around: Circumstances) -> str:
    owner, state = around.state.owner(look.number), around.state
    if look.is_held:
        return (
            "its publisher has to end it, or Kafka does after the publisher's transaction.timeout.ms; "
            f"if neither happens, abort it at offset {look.position}: "
            "see docs/operations.md, 'a transaction left open'"
        )
    if around.trouble:
        then = "the consumers go on by themselves" if state.members else "then start one: `auditlog consume`"
        return f"mend what is said above about {around.trouble[0]}; {then}"
    if not state.members:
        return f"no consumer runs in group {around.group!r}: start one, `auditlog consume`"
    if owner is None and state.is_changing:
        return (
            f"the group divides its partitions anew: look again in {around.session_seconds:.0f} s; if it "
            "stays so, a member does not answer: restart the consumers one by one"
        )
    if owner is None:
        return (
            "the group's members read another topic, or do not know this partition yet: restart one; "
            "see docs/operations.md, 'partitions added'"
        )
    if look.trouble:
        return (
            "fix what stopped it, see docs/operations.md, 'partition stopped'; the consumer tries again by "
            "itself, at least every two minutes"
        )
    intent = look.committed.intent if look.committed else None
    if intent is not None and intent.last >= look.position:
        deadline = time_of(intent.deadline_millis)
        if (around.now - deadline).total_seconds() > OVERDUE_SECONDS:
            return (
                f"{owner.client_id} announced the batch long ago and neither stores it nor announces it "
                f"anew: {_READ_THE_LOG}"
            )
        return (
            f"{owner.client_id} tries to store the batch: the lines `waiting` of its log say what keeps it, "
            "and so may `inserts` above"
        )
    return (
        f"{owner.client_id} does not come to announce a batch: it recovers, waits for the schema registry or "
        f"Kafka, or stands still: {_READ_THE_LOG}"
    )
