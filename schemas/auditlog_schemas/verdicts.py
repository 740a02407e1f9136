"""Verdicts: the numbers by which whole batches of messages are told which rule each one breaks.

A verdict is an index into `VERDICTS`; 0 says that no rule is broken. The consumer's steps give them in this
order: header, structure, content, limits, catalog, clock, signature of own actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from auditlog_schemas.own_actions import UNSIGNED
from auditlog_schemas.rules import FIELD_RULES
from auditlog_schemas.strict import CONTENT_RULES, STRUCTURE_RULES

HEADER_RULES: Final = (
    "tombstone",
    "message_too_large",
    "empty_message",
    "unknown_framing",
    "unknown_fingerprint",
    "unknown_schema_id",
    "schema_incompatible",
)
CATALOG_RULES: Final = (
    ("unknown_action", "action"),
    ("unknown_action_version", "action_version"),
    ("wrong_entity_type", "entity.type"),
    ("changes_missing", "changes"),
    ("metadata_missing", "metadata"),
    ("related_missing", "related"),
    ("unknown_related_type", "related[].type"),
)
CLOCK_RULE: Final = ("occurred_too_far_ahead", "occurred_at")
SIGNATURE_RULE: Final = (UNSIGNED, "action")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A broken rule and the path of its field as `FIELD_RULES` writes it, "" when it has none."""

    rule: str
    field: str = ""


GOOD: Final = 0
VERDICTS: Final[tuple[Verdict, ...]] = (
    Verdict(""),
    *(Verdict(rule) for rule in (*HEADER_RULES, *STRUCTURE_RULES, *CONTENT_RULES)),
    *(Verdict(rule.name, rule.path) for rule in FIELD_RULES),
    *(Verdict(*rule) for rule in (*CATALOG_RULES, CLOCK_RULE, SIGNATURE_RULE)),
)

DECODE_VERDICTS: Final[dict[str, int]] = {
    verdict.rule: index for index, verdict in enumerate(VERDICTS) if index and not verdict.field
}
"""The verdicts of decoding by rule."""
FIELD_VERDICT_FIRST: Final = 1 + len(DECODE_VERDICTS)
"""The verdict of the first rule of `FIELD_RULES`; the others follow in their order."""
CATALOG_VERDICTS: Final[dict[str, int]] = {
    rule: FIELD_VERDICT_FIRST + len(FIELD_RULES) + index for index, (rule, _) in enumerate(CATALOG_RULES)
}
CLOCK_VERDICT: Final = len(VERDICTS) - 2
SIGNATURE_VERDICT: Final = len(VERDICTS) - 1
