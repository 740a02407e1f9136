"""Carries the planned faults out, and watches how long the ledger takes to recover from each."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import fault_proxy
from chaos_faults import ABOUT, ENGINE, Fault, Kind
from chaos_stack import ChaosStack
from small_disk import SmallDisk

from auditlog_schemas.errors import AuditError
from auditlog_storage.connection import Connection

_LOOK_SECONDS: Final = 0.5
_LEDGER: Final = """
    SELECT kafka_partition, max(last_offset) + 1 FROM audit_ranges
    WHERE topic_id = {topic_id:UUID} GROUP BY kafka_partition
"""


@dataclass
class Happened:
    """A fault that is under way or over; times are monotonic.

    Attributes:
        struck: it hit something: a request that it waited for came, a process was there.
        ended_at: None while it is under way.
        needed: by partition, what the ledger must reach: all that was in Kafka when the fault ended.
        recovered_at: when the ledger had reached it.
    """

    fault: Fault
    struck: bool = False
    ended_at: float | None = None
    needed: Mapping[int, int] = field(default_factory=dict)
    recovered_at: float | None = None
    note: str = ""


class FaultRun:
    """Carries out one list of faults against one stack.

    Args:
        acknowledged: by partition, the offset after the last message that Kafka has; grows meanwhile.
        direct: a connection that does not go through the proxy.
    """

    def __init__(
        self,
        stack: ChaosStack,
        disk: SmallDisk | None,
        direct: Connection,
        topic_id: UUID,
        acknowledged: Counter[int],
    ) -> None:
        self.happened: list[Happened] = []
        self._stack = stack
        self._disk = disk
        self._direct = direct
        self._topic_id = topic_id
        self._acknowledged = acknowledged
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        # A fault may last longer than planned; the next one of the same target waits for it.
        self._held = defaultdict[str, threading.Lock](threading.Lock)
        self._watcher = threading.Thread(target=self._watch, name="progress", daemon=True)

    @property
    def longest_recovery_seconds(self) -> float:
        """Return the longest time from a fault's end until all that Kafka had by then was recorded."""
        times = [
            one.recovered_at - one.ended_at
            for one in self.happened
            if one.recovered_at is not None and one.ended_at is not None
        ]
        return max(times, default=0.0)

    def begin(self, faults: list[Fault], begun: float) -> None:
        """Let each fault happen at its time after `begun`, in a thread of its own."""
        self._watcher.start()
        self._threads = [
            threading.Thread(target=self._happen, args=(fault, begun), name=str(fault), daemon=True)
            for fault in faults
        ]
        for thread in self._threads:
            thread.start()

    def wait_until_over(self, deadline: float) -> None:
        """Return when every fault is over, or when it is too late."""
        while self._goes_on(deadline) and any(thread.is_alive() for thread in self._threads):
            time.sleep(_LOOK_SECONDS)

    def wait_until_recorded(self, deadline: float) -> int:
        """Return how many messages of Kafka the ledger does not have at the end: 0 is as it should be."""
        while (left := self._behind(self._recorded(), self._acknowledged)) and self._goes_on(deadline):
            time.sleep(_LOOK_SECONDS)
        return left

    def _goes_on(self, deadline: float) -> bool:
        return time.monotonic() < deadline and not self._stack.given_up

    def close(self) -> None:
        """Begin no further fault, and end those that wait for something."""
        self._stop.set()
        for thread in [*self._threads, self._watcher]:
            if thread.is_alive():
                thread.join(30)

    def _happen(self, fault: Fault, begun: float) -> None:
        if self._stop.wait(max(0.0, begun + fault.at_seconds - time.monotonic())):
            return
        happening = Happened(fault)
        self.happened.append(happening)
        try:
            if isinstance(fault.kind, fault_proxy.Kind):
                self._hit_a_request(fault.kind, happening)
            else:
                with self._held[fault.target]:
                    self._hit_the_stack(fault.kind, happening)
        except Exception as error:
            happening.note = f"{type(error).__name__}: {error}"
        happening.needed = dict(self._acknowledged)
        happening.ended_at = time.monotonic()

    def _hit_a_request(self, kind: fault_proxy.Kind, happening: Happened) -> None:
        fault = happening.fault
        trouble = fault_proxy.Trouble(kind, ABOUT[fault.target], seconds=fault.lasting_seconds)
        self._stack.proxy.arm(trouble)
        while trouble.done_at is None and not self._stop.wait(0.05):
            pass
        happening.struck, happening.note = trouble.struck_at is not None, trouble.outcome

    def _move_an_insert(self, kind: Kind, happening: Happened) -> None:
        """End a consumer while an insert of it is on the way."""
        target = happening.fault.target
        late = fault_proxy.Kind.LATE_REQUEST
        trouble = fault_proxy.Trouble(late, ABOUT["insert"], target, happening.fault.lasting_seconds)
        self._stack.proxy.arm(trouble)
        while trouble.struck_at is None and not self._stop.wait(0.002):
            pass
        happening.struck = trouble.struck_at is not None
        with self._stack.without(target) as child:
            if kind is Kind.ORPHAN_INSERT:
                child.kill()
            else:
                child.stop()
                happening.note = f"ended with {child.exit_code()}; "
        while trouble.done_at is None and not self._stop.wait(0.05):
            pass
        happening.note += trouble.outcome

    def _hit_the_stack(self, kind: Kind, happening: Happened) -> None:
        stack, target, seconds = self._stack, happening.fault.target, happening.fault.lasting_seconds
        happening.struck = True
        match kind:
            case Kind.KILL_CONSUMER | Kind.KILL_ENGINE | Kind.KILL_BROKER:
                with stack.without(target) as child:
                    child.kill()
                    self._stop.wait(seconds)
            case Kind.RESTART_CONSUMER:
                with stack.without(target) as child:
                    child.stop()
                    happening.note = f"ended with {child.exit_code()}"
                    self._stop.wait(seconds)
            case Kind.STOP_CONSUMER | Kind.PAUSE_ENGINE | Kind.PAUSE_BROKER:
                with stack.paused(target):
                    self._stop.wait(seconds)
            case Kind.ORPHAN_INSERT | Kind.HAND_OVER_INSERT:
                self._move_an_insert(kind, happening)
            case Kind.JOIN_CONSUMER:
                stack.want(target)
                self._stop.wait(seconds)
                stack.release(target)
            case Kind.FILL_DISK:
                assert self._disk is not None
                with stack.excused(ENGINE), self._disk.full():
                    self._stop.wait(seconds)

    def _watch(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            recorded = self._recorded()
            now = time.monotonic()
            for one in list(self.happened):
                if one.ended_at and one.recovered_at is None and not self._behind(recorded, one.needed):
                    one.recovered_at = now

    def _recorded(self) -> dict[int, int]:
        with suppress(AuditError):
            return dict(self._direct.query_rows(_LEDGER, {"topic_id": self._topic_id}))
        return {}

    @staticmethod
    def _behind(recorded: Mapping[int, int], needed: Mapping[int, int]) -> int:
        return sum(max(0, offset - recorded.get(partition, 0)) for partition, offset in dict(needed).items())
