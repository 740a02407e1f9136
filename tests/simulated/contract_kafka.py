"""Kafka as the contract tests see it: the model and a real broker, behind the same few names."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from auditlog_consumer.acknowledged import AcknowledgedWriter
from auditlog_consumer.fetch.inbox import Polled
from auditlog_consumer.group import GroupMember
from auditlog_consumer.runtime import Runtime
from auditlog_consumer.topics import Topics

T = TypeVar("T")
PARTITIONS: Final = 2
SECONDS_MAX: Final = 120.0


class Broker(Protocol):
    """What a test does to Kafka beside what the consumer does."""

    def publish(self, partition: int, values: list[bytes]) -> None:
        """Append messages with the key ``key``."""

    def abort(self, partition: int, values: list[bytes]) -> None:
        """Append messages of a transaction that is aborted."""

    def delete_before(self, partition: int, offset: int) -> None:
        """Delete the beginning of a partition."""

    def commit_as_stranger(self, partition: int, offset: int) -> bool:
        """Commit for the group without being a member; tell whether it was taken."""

    def commit_as_operator(self, partition: int, offset: int) -> bool:
        """Set the group's offset; tell whether that is allowed now."""

    def letters(self) -> list[tuple[bytes | None, bytes | None]]:
        """Return (key, value) of all dead letters."""


@dataclass(slots=True)
class Played:
    """A member of the group, what it was told, and what it read, by partition."""

    member: GroupMember
    told: list[str]
    given: set[int] = field(default_factory=set)
    offsets: dict[int, list[int]] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    out_of_range: set[int] = field(default_factory=set)

    def take(self, polled: Polled) -> None:
        """Note what a poll brought."""
        for partition, messages in polled.messages.items():
            self.offsets.setdefault(partition, []).extend(messages.offsets.tolist())
        self.ends |= polled.ends
        self.out_of_range |= polled.out_of_range


@dataclass(slots=True)
class Stage:
    """A topic of two partitions, a group, and members that are polled in turns."""

    broker: Broker
    topic: str
    topics: Topics
    writer: AcknowledgedWriter
    make_member: Callable[[], GroupMember]
    runtime: Runtime
    players: list[Played] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def join(self) -> Played:
        """Let one more member join; what it and the others are told is noted in order."""
        name, member = "abc"[len(self.players)], self.make_member()
        played = Played(member, self.told)

        def assigned(partitions: list[int]) -> None:
            played.given |= set(partitions)
            self.told.extend(f"{name} gets {partition}" for partition in sorted(partitions))

        def revoked(partitions: list[int]) -> None:
            played.given -= set(partitions)
            self.told.extend(f"{name} loses {partition}" for partition in sorted(partitions))

        member.join(assigned, revoked, revoked)
        self.players.append(played)
        return played

    def poll_until(self, ready: Callable[[], bool]) -> None:
        """Poll all members in turns until something holds."""
        deadline = self.runtime.monotonic() + SECONDS_MAX
        while not ready():
            assert self.runtime.monotonic() < deadline, f"nothing comes; told: {self.told}"
            for played in self.players:
                played.take(played.member.poll(1_000, 0.05))

    def ask(self, question: Callable[..., T], *args: Any) -> T:
        """Ask something in another thread while members are polled, and return the answer."""
        answer: Future[T] = self.runtime.pool(1, "asking").submit(question, *args)
        self.poll_until(answer.done)
        return answer.result()
