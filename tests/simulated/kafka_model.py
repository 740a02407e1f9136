"""A model of Kafka: a topic's partitions, a group's coordinator, and the dead-letter topic.

What it takes from the real one, each a case of `test_contract_kafka` unless docs/simulation.md says why it
cannot be one:

- offsets need not be dense; retention deletes a partition's beginning; a position that is not there is out of
  range; the end of a partition is told each time it is reached;
- a commit is taken from any live member of the group, whoever owns the partition, with its metadata, forward
  or back; not from somebody who is no member;
- a commit shows that its member lives; those of one member arrive in the order in which they were sent;
- a partition goes to another member once its owner's callback has returned, or the owner has been silent for
  the session timeout; a member that was removed meanwhile finds out at its next poll.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from auditlog_consumer.acknowledged import Outgoing
from auditlog_consumer.messages import BATCH_TOO_LARGE, PassedOver
from auditlog_schemas.errors import BrokerUnavailable
from simulated.kernel import Kernel, Process
from simulated.network import Network, Server
from simulated.payloads import PASSED_BYTES
from simulated.scenario import Scenario
from simulated.sim_runtime import DAY_ONE


@dataclass(frozen=True, slots=True)
class LogMessage:
    """One message of a partition, with the methods of confluent_kafka's."""

    at: int
    key_bytes: bytes | None
    body: bytes | None
    millis: int
    passed: PassedOver | None = None

    def value(self) -> bytes | None:
        """Return the body."""
        return self.body

    def key(self) -> bytes | None:
        """Return the key."""
        return self.key_bytes

    def offset(self) -> int:
        """Return the offset."""
        return self.at

    def timestamp(self) -> tuple[int, int]:
        """Return Kafka's LogAppendTime (kind 2), in milliseconds since 1970."""
        return (2, self.millis)


@dataclass(slots=True)
class PartitionLog:
    """One partition: `low` is its first offset, `high` the one after its last."""

    messages: list[LogMessage] = field(default_factory=list)
    low: int = 0
    high: int = 0

    def between(self, first: int, count: int) -> list[LogMessage]:
        """Return up to so many messages from an offset on."""
        return [each for each in self.messages if each.at >= first][:count]

    def delete_before(self, offset: int) -> None:
        """Delete the beginning, as retention does."""
        self.low = max(self.low, min(offset, self.high))
        self.messages = [each for each in self.messages if each.at >= self.low]


@dataclass(eq=False, slots=True)
class Member:
    """A member of the group, as its coordinator knows it.

    Attributes:
        process: where it runs.
        alive: False once it left or was removed.
        heard_at: when the coordinator last heard of it.
        given: partitions that are its own now.
        to_assign: of these, those it has not been told of.
        to_revoke: of these, those it is to let go of.
        commits: the number of its latest commit of each partition.
    """

    process: Process
    number: int
    heard_at: float
    alive: bool = True
    given: set[int] = field(default_factory=set)
    to_assign: set[int] = field(default_factory=set)
    to_revoke: set[int] = field(default_factory=set)
    commits: dict[int, int] = field(default_factory=dict)


class KafkaModel(Server):
    """One broker with one topic, one group and the dead letters.

    Args:
        kernel: the scheduler.
        network: tells who is cut off.
        topic_id: the topic's.
        scenario: tells how many partitions there are, and the session timeout.

    Attributes:
        logs: the topic's partitions.
        committed: the group's offsets and their metadata, by partition.
        letters: the dead-letter topic.
        disturbed: partitions whose committed metadata was overwritten by somebody who did not own it.
        faults: what a member of the group must never do.
    """

    def __init__(self, kernel: Kernel, network: Network, topic_id: UUID, scenario: Scenario) -> None:
        super().__init__("Kafka", BrokerUnavailable)
        self.topic_id = topic_id
        self.logs = [PartitionLog() for _ in range(scenario.partitions)]
        self.committed: dict[int, tuple[int, str]] = {}
        self.letters: list[Outgoing] = []
        self.refused: set[int] = {0} if scenario.refused else set()
        self.disturbed: set[int] = set()
        self.faults: list[str] = []
        self.members: list[Member] = []
        self._kernel = kernel
        self._network = network
        self._scenario = scenario
        self._joined = 0
        kernel.at(scenario.heartbeat_seconds, self._beat)

    def other_group(self) -> KafkaModel:
        """Return the same broker as a second group of consumers sees it."""
        other = KafkaModel(self._kernel, self._network, self.topic_id, self._scenario)
        other.logs, other.letters, other.refused = self.logs, self.letters, self.refused
        other.disturbed, other.faults = self.disturbed, self.faults
        return other

    def append(self, partition: int, key: bytes | None, value: bytes | None) -> int:
        """Append a message and return its offset."""
        log = self.logs[partition]
        log.messages.append(LogMessage(log.high, key, value, self._millis()))
        log.high += 1
        self._notify()
        return log.high - 1

    def _millis(self) -> int:
        return int((DAY_ONE + timedelta(seconds=self._kernel.now)).timestamp() * 1000)

    def append_passed(self, partition: int, offsets: int) -> int:
        """Append a batch of so many messages that cannot be taken apart; return its first offset."""
        log, millis = self.logs[partition], self._millis()
        first, last = log.high, log.high + offsets - 1
        passed = PassedOver(first, last, millis, BATCH_TOO_LARGE, "a bomb", PASSED_BYTES)
        log.messages.append(LogMessage(last, None, None, millis, passed))
        log.high += offsets
        self._notify()
        return first

    def append_gap(self, partition: int, offsets: int) -> None:
        """Append offsets that hold no message: an aborted transaction, control records."""
        self.logs[partition].high += offsets
        self._notify()

    def join(self, process: Process) -> Member:
        """Take a new member into the group."""
        self._joined += 1
        member = Member(process, self._joined, self._kernel.now)
        self.members.append(member)
        self._kernel.trace("Kafka", f"member {member.number} joins ({process.name})")
        self._balance_soon()
        return member

    def remove(self, member: Member, why: str) -> None:
        """Take a member out of the group: its partitions are free."""
        if member.alive:
            self._kernel.trace("Kafka", f"member {member.number} ({member.process.name}) {why}")
            member.alive = False
            self.members.remove(member)
            member.process.notify()
            self._balance_soon()

    def release(self, member: Member, partitions: set[int]) -> None:
        """Note that a member's callback returned: these partitions are free."""
        member.given -= partitions
        member.to_revoke -= partitions
        self._balance_soon()

    def take_commit(
        self, member: Member, partition: int, offset: int, metadata: str, number: int = 0
    ) -> bool:
        """Take a commit from a live member, and say whether it was taken.

        Args:
            member: who sent it.
            partition, offset, metadata: what is committed.
            number: how many commits the member had sent before: an older one never overwrites a newer one.
        """
        if not member.alive or number < member.commits.get(partition, 0):
            return False
        member.commits[partition] = number
        member.heard_at = self._kernel.now
        self.committed[partition] = (offset, metadata)
        if partition not in member.given:
            self._kernel.trace("Kafka", f"commit from a member that does not own {partition}")
            self.disturbed.add(partition)
        return True

    def reset_group(
        self, offset: int | None, metadata: str = "", partitions: Iterable[int] | None = None
    ) -> bool:
        """Delete the group's offsets or set them; Kafka allows that only while the group is empty."""
        if self.members:
            return False
        for partition in range(len(self.logs)) if partitions is None else partitions:
            self.disturbed.add(partition)
            if offset is None:
                self.committed.pop(partition, None)
            else:
                self.committed[partition] = (offset, metadata)
        return True

    def come_up(self) -> None:
        """Serve again; a coordinator that has just started gives every member a whole session."""
        super().come_up()
        for member in self.members:
            member.heard_at = self._kernel.now
        self._balance_soon()
        self._notify()

    def _beat(self) -> None:
        self._kernel.at(self._scenario.heartbeat_seconds, self._beat)
        if not self.up:
            return
        now = self._kernel.now
        for member in list(self.members):
            process = member.process
            if process.alive and process.paused_until <= now and not self._network.is_cut(process):
                member.heard_at = now
            elif now - member.heard_at >= self._scenario.session_seconds:
                self.remove(member, "removed: silent for the session timeout")

    def _notify(self) -> None:
        for member in self.members:
            member.process.notify()

    def _balance_soon(self) -> None:
        self._kernel.at(self._kernel.random.random() * 0.3, self._balance)

    def _balance(self) -> None:
        """Give free partitions away; take some from members that have too many."""
        if not self.members or not self.up:
            return
        owned = {partition for member in self.members for partition in member.given}
        for partition in range(len(self.logs)):
            if partition not in owned:
                member = min(self.members, key=lambda one: (len(one.given) - len(one.to_revoke), one.number))
                member.given.add(partition)
                member.to_assign.add(partition)
        least = min(self.members, key=lambda one: len(one.given))
        most = max(self.members, key=lambda one: len(one.given) - len(one.to_revoke))
        kept = most.given - most.to_revoke
        if len(kept) > len(least.given) + 1:
            partition = self._kernel.random.choice(sorted(kept))
            most.to_revoke.add(partition)
        self._notify()
