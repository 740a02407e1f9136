"""What to do about dead letters that are rejected again, by the rule that they break today."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from auditlog_consumer.judge import Judge
from auditlog_schemas.errors import InvalidEvent
from auditlog_schemas.record import Record
from auditlog_schemas.schema_ids import Answer

_THEN: Final = "restart the consumers with it, then replay with it"
_EXTEND: Final = f"extend the catalog (AUDITLOG_CATALOG), {_THEN}"
_REQUIRED: Final = (
    "the catalog asks for more than these hold: mend the service that sent them; or, if a catalog file of "
    f"yours asks too much, change it (AUDITLOG_CATALOG), {_THEN}"
)
_SOURCE: Final = (
    "no setting helps: mend the service that sent them, and let it publish the events again; the letters stay"
)
_SECTION: Final = "see docs/wire-format.md, 'A schema of your own'"

ADVICE: Final[Mapping[str, str]] = {
    "unknown_action": _EXTEND,
    "unknown_action_version": _EXTEND,
    "unknown_related_type": _EXTEND,
    "wrong_entity_type": _REQUIRED,
    "changes_missing": _REQUIRED,
    "metadata_missing": _REQUIRED,
    "related_missing": _REQUIRED,
    "unknown_fingerprint": (
        f"give the consumers the schema that these were written with (AUDITLOG_SCHEMAS, {_SECTION}), {_THEN}"
    ),
    "unknown_schema_id": (
        "name the registry that has their schema (AUDITLOG_SCHEMA_REGISTRY_URL), or register it there under "
        f"this id; {_THEN}"
    ),
    "schema_incompatible": (
        "events cannot be read by the schema that is registered, which no setting changes: let the service "
        f"write by another one, {_SECTION}"
    ),
    "own_action_unsigned": (
        "actions audit_… are the audit log's own and signed by it: somebody else published these, or the "
        "API of another installation; find out who may write to the topic"
    ),
    "occurred_too_far_ahead": (
        "they say that they happen later than now: replay them when that time has come, and mend the clock "
        "of the service that sent them"
    ),
}
"""By rule; for every other one the message itself is wrong."""

_BATCHES: Final = (
    "these are whole record batches that could not be taken apart, and no single messages: let the service "
    "that sent them publish their events again, in smaller batches"
)


class NotingJudge(Judge):
    """Judges as another one does, and counts by rule what it rejects."""

    def __init__(self, judge: Judge) -> None:
        super().__init__(judge.schemas, judge.catalog, judge.own_key)
        self.rejected: Counter[str] = Counter()

    def read(
        self, value: bytes | None, received_millis: int, answer: Callable[[int], Answer] | None = None
    ) -> Record:
        """Return one message's valid record; as in `Judge.read`."""
        try:
            return super().read(value, received_millis, answer)
        except InvalidEvent as error:
            self.rejected[error.rule] += 1
            raise


def advice(rejected: Counter[str], batches: int) -> Iterator[str]:
    """Yield what to do, a line for all rules with the same advice, the most frequent first.

    Args:
        rejected: how many letters break which rule today.
        batches: how many letters hold no single message.
    """
    by_advice: dict[str, Counter[str]] = {}
    for rule, count in rejected.most_common():
        by_advice.setdefault(ADVICE.get(rule, _SOURCE), Counter())[rule] = count
    for what, rules in sorted(by_advice.items(), key=lambda each: -each[1].total()):
        yield f"{', '.join(f'{rule} {count:,}' for rule, count in rules.items())}: {what}"
    if batches:
        yield f"record batches {batches:,}: {_BATCHES}"
