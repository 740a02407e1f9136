"""The repair of what `auditlog check` finds, as far as Kafka and the engine still hold what is needed.

It touches only offsets below the ledger's ends, which no consumer writes, and never the ledger.
"""

from __future__ import annotations

from auditlog_consumer.repair.plan import Plan, Step, make_plan
from auditlog_consumer.repair.work import Done, repair

__all__ = ["Done", "Plan", "Step", "make_plan", "repair"]
