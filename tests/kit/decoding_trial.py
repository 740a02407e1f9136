"""One trial of the columnar decoder on a random batch, mutated or not; everything follows from its seed."""

from __future__ import annotations

from random import Random
from typing import Any
from unittest.mock import patch

import numpy as np

from auditlog_schemas import columnar_chunk
from auditlog_schemas.columnar import ColumnarDecoder, Decoded
from auditlog_schemas.errors import DecodeError
from auditlog_schemas.plan import Node
from auditlog_schemas.resolution import resolve
from auditlog_schemas.strict import StrictDecoder
from auditlog_schemas.verdicts import VERDICTS
from kit.arrow_values import comparable, values_of
from kit.random_avro import RandomSchema, encode_random, later_version, mutated

HEADER = b"head"
SIZES = [0, 1, 1, 2, 3, 7, 8, 20, 60]


def decoding_trial(seed: int, mutations: int | None = None) -> None:
    """Decode one random batch and compare it with the strict decoder, message by message.

    Then change a few messages (`mutations`; by default none to three) and compare again, also with what the
    untouched neighbours gave before. Often the strict decoder has to take over sooner than it would.

    Raises:
        AssertionError: a value or verdict differs, or a neighbour changed.
    """
    random = Random(seed)
    with patch.object(columnar_chunk, "THIN_ROUNDS", random.choice([0, 1, 4, 32])):
        _trial(random, mutations)


def _trial(random: Random, mutations: int | None) -> None:
    writer = RandomSchema(random).record()
    plan = resolve(writer, later_version(random, writer) if random.random() < 0.4 else None)
    decoder, strict = ColumnarDecoder(plan), StrictDecoder(plan)
    messages = [HEADER + encode_random(random, writer) for _ in range(random.choice(SIZES))]
    before = decoder.decode(messages, len(HEADER))
    require_equal(plan, strict, messages, before)
    count = random.choice([0, 1, 1, 1, 2, 3]) if mutations is None else mutations
    if not count or not messages:
        return
    touched = {random.randrange(len(messages)) for _ in range(count)}
    changed = [HEADER + mutated(random, m[4:]) if i in touched else m for i, m in enumerate(messages)]
    after = decoder.decode(changed, len(HEADER))
    require_equal(plan, strict, changed, after)
    require_same_neighbours(plan, touched, before, after)


def require_equal(plan: Node, strict: StrictDecoder, messages: list[bytes], found: Decoded) -> None:
    """Compare a decoded batch with the one-by-one decoder."""
    found.values.validate(full=True)
    outcomes = [outcome(strict, message) for message in messages]
    rules = [VERDICTS[verdict].rule for verdict in found.verdict.tolist()]
    assert rules == [rule for rule, _ in outcomes]
    assert found.good.tolist() == [i for i, (rule, _) in enumerate(outcomes) if not rule]
    assert values_of(plan, found.values) == [comparable(value) for rule, value in outcomes if not rule]


def outcome(strict: StrictDecoder, message: bytes) -> tuple[str, Any]:
    """Return the broken rule and None, or "" and the value."""
    try:
        return "", strict.decode(message, len(HEADER))
    except DecodeError as error:
        return error.rule, None


def require_same_neighbours(plan: Node, touched: set[int], before: Decoded, after: Decoded) -> None:
    """Compare the rows and verdicts of the messages that were not touched."""
    kept = [i for i in range(len(before.verdict)) if i not in touched]
    assert np.array_equal(before.verdict[kept], after.verdict[kept])
    first, second = (
        decoded.values.take(np.flatnonzero(~np.isin(decoded.good, list(touched))))
        for decoded in (before, after)
    )
    assert values_of(plan, first) == values_of(plan, second)
