"""The check: does what is stored and dead-lettered account for every offset that the ledger covers?

An independent reader: it shares no counting with the consumer. It takes the ledger's ends first and looks
only at what lies below them, so it may run while consumers work and raises no false alarm.
"""

from __future__ import annotations

from auditlog_consumer.check.report import Finding, Kind, Report, Severity
from auditlog_consumer.check.whole import check

__all__ = ["Finding", "Kind", "Report", "Severity", "check"]
