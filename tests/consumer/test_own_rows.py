"""The audit log's own events in a batch: signed ones become rows without signatures, others are rejected."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest

from auditlog_consumer.batch import Batch
from auditlog_consumer.judge import Judge
from auditlog_consumer.messages import Messages
from auditlog_consumer.own_rows import own_rows, without_signatures
from auditlog_consumer.partition import Partition
from auditlog_schemas.catalog_file import load_catalog
from auditlog_schemas.codec import WriterSchemas, encode
from auditlog_schemas.own_actions import SIGNATURE, signed
from auditlog_schemas.record import Record
from kit.events import make_record
from kit.kafka_message import FakeMessage

KEY = b"k" * 32


def own_record(**changed: object) -> Record:
    entity = {"type": "audit_token", "id": "alt_1", "name": "CI"}
    return make_record(action="audit_token_revoked", entity=entity) | changed


def judged(records: list[Record]) -> tuple[list[Any], list[tuple[int, str, str]]]:
    """Return the metadata of the rows, and offset, rule and field of each rejection."""
    judge = Judge(WriterSchemas(), load_catalog(), KEY)
    now = int(time.time() * 1000)
    messages = [FakeMessage(offset, encode(record), now) for offset, record in enumerate(records)]
    batch = Batch(Partition("t", UUID(int=7), 0), 0, len(records) - 1, Messages.of(messages))
    verdicts = judge.judge(batch)
    rejected = [(each.offset, each.error.rule, each.error.field) for each in verdicts.rejected]
    return verdicts.rows.column("metadata").to_pylist(), rejected


def test_signed_ones_are_rows_without_the_signature_and_others_are_rejected() -> None:
    good = signed(own_record(metadata={"a": "1", "z": "2"}), KEY)
    others = make_record(metadata={SIGNATURE: "a service's own affair", "b": "3"})
    copied = good["metadata"]
    rows, rejected = judged(
        [others, good, own_record(), own_record(metadata=copied), make_record(metadata={}), good]
    )
    assert rows == [
        [(SIGNATURE, "a service's own affair"), ("b", "3")],
        [("a", "1"), ("z", "2")],
        [],
        [("a", "1"), ("z", "2")],
    ]
    wanted = ("own_action_unsigned", "action")
    assert rejected == [(2, *wanted), (3, *wanted)]


def test_another_rule_comes_before_the_signature() -> None:
    _, rejected = judged([own_record(action_version=99)])
    assert rejected == [(0, "unknown_action_version", "action_version")]


@pytest.mark.parametrize("first", [0, 1, 3])
def test_parts_of_a_batch_lose_the_same(first: int) -> None:
    actions = ["audit_log_read", "license_updated", "audit_", "audit_token_created", "xaudit_"]
    metadata = [[(SIGNATURE, str(i)), ("k", str(i))] for i in range(5)]
    type = pa.map_(pa.string(), pa.string())
    events = pa.RecordBatch.from_pydict({"action": actions, "metadata": pa.array(metadata, type)})[first:]
    assert own_rows(events).tolist() == [i - first for i in (0, 2, 3) if i >= first]
    shown = without_signatures(events, own_rows(events)).column("metadata").to_pylist()
    expected = [[("k", str(i))] if i in (0, 2, 3) else metadata[i] for i in range(first, 5)]
    assert shown == expected
    assert without_signatures(events, np.empty(0, np.int64)) is events
