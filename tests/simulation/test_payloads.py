"""The quick judge says what the real one says."""

from __future__ import annotations

import random
from uuid import UUID

import numpy as np
import pytest

from auditlog_consumer.batch import Batch
from auditlog_consumer.messages import Messages
from auditlog_consumer.partition import Partition
from simulated.payloads import KEPT, RECEIVED_MILLIS, QuickJudge, judge, payloads


def drawn_batch(seed: int) -> Batch:
    draw = random.Random(seed)
    everything = payloads("good") + payloads("bad") + payloads("new")
    chosen = draw.choices(everything, k=draw.randint(0, 12))
    offsets = np.array(sorted(draw.sample(range(100, 140), len(chosen))), np.int64)
    millis = np.full(len(chosen), RECEIVED_MILLIS + seed, np.int64)
    keys: list[bytes | None] = [payload.account_id.encode() for payload in chosen]
    messages = Messages.by_column([payload.value for payload in chosen], keys, offsets, millis)
    return Batch(Partition("audit.events", UUID(int=5), 2), 100, 139, messages)


@pytest.mark.parametrize("longer", [False, True])
def test_the_quick_judge_agrees_with_the_real_one(longer: bool) -> None:
    quick = QuickJudge(longer)
    for seed in range(60):
        batch = drawn_batch(seed)
        one, other = quick.judge(batch), judge(longer).judge(batch)
        assert one.rows.to_pylist() == other.rows.select(list(KEPT)).to_pylist()
        assert (one.first_offset, one.last_offset, one.absent) == (100, 139, other.absent)
        found, wanted = ([(*vars_of(each),) for each in verdicts.rejected] for verdicts in (one, other))
        assert found == wanted


def vars_of(rejection: object) -> list[object]:
    fields = [getattr(rejection, name) for name in ("offset", "received_millis", "key", "value")]
    error = getattr(rejection, "error", None)
    return [*fields, type(error), getattr(error, "rule", None), getattr(error, "field", None)]


def test_every_message_is_of_its_kind() -> None:
    quick = {longer: QuickJudge(longer)._known for longer in (False, True)}
    for kind, short, long in (("good", True, True), ("bad", False, False), ("new", False, True)):
        for payload in payloads(kind):
            accepted = [isinstance(quick[longer][payload.value], type(payload)) for longer in (False, True)]
            assert accepted == [short, long]
