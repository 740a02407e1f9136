"""What an operator does about the findings that no program should mend by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from auditlog_consumer.check import Kind

_GONE: Final = "gone from Kafka before they were read; see docs/operations.md, 'retention overtook us'"

ADVICE: Final[Mapping[Kind, str]] = {
    "surplus_rows": "rows are stored that the ledger does not count; see docs/operations.md, 'stored rows "
    "contradict Kafka'",
    "uncovered_rows": "rows are stored that no range covers; see docs/operations.md, 'gap in the ledger'",
    "ledger_gap": "ranges of the ledger are missing; see docs/operations.md, 'gap in the ledger'",
    "ledger_overlap": "two ranges claim the same offsets; see docs/operations.md, 'gap in the ledger'",
    "ledger_sums": "a ledger row was changed by hand; see docs/operations.md, 'gap in the ledger'",
    "surplus_letters": "dead letters that no range counts do no harm; see docs/operations.md, 'dead letters "
    "beyond the ledger'",
    "ledger_groups": "see docs/operations.md, 'another consumer group'",
    "lost": _GONE,
    "retention_overtook": _GONE,
    "log_behind_ledger": "see docs/operations.md, 'log behind ledger'",
}
"""By kind of finding."""

OTHER_TOPIC: Final = (
    "Kafka no longer has the topic that these were read from; see docs/operations.md, 'topic recreated'"
)
DIFFERING_COPIES: Final = (
    "rows at one offset differ from each other; see docs/operations.md, 'stored rows contradict Kafka'"
)
