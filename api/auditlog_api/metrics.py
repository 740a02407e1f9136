"""What an API process counts: every metric of it. docs/monitoring.md says what each one means.

No label holds an account, a token or anything else that somebody sends.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

REGISTRY: Final = CollectorRegistry(auto_describe=True)
"""Of our own: what other libraries register for the whole process is not ours to publish."""

PREFIX: Final = "auditlog_api_"
SECONDS: Final = (0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.15, 0.25, 0.4, 1.0, 2.5, 5.0, 10.0, 30.0)
REFUSALS: Final = (
    "account_busy",
    "waited_too_long",
    "too_many_tails",
    "too_many_lookups",
    "too_many_guesses",
    "too_many_connections",
)
TAIL_ENDS: Final = ("left", "expired", "revoked", "stopping", "failed")
CONNECTION_ENDS: Final = ("head", "body", "rest", "unread", "gave_way")

ProcessCollector(registry=REGISTRY)


def _counter(name: str, help: str, *labels: str) -> Counter:
    return Counter(PREFIX + name, help, labels, registry=REGISTRY)


def _gauge(name: str, help: str, *labels: str) -> Gauge:
    return Gauge(PREFIX + name, help, labels, registry=REGISTRY)


INFO: Final = _gauge("info", "1; what this process is.", "version")
REQUESTS: Final = _counter("requests_total", "Requests answered.", "route", "method", "status")
REQUEST_SECONDS: Final = Histogram(
    PREFIX + "request_seconds",
    "From a request to the end of its answer, but for followed logs.",
    ("route",),
    registry=REGISTRY,
    buckets=SECONDS,
)
UNDER_WAY: Final = _gauge("requests_under_way", "Requests that are being answered, followed logs included.")
REFUSED: Final = _counter("refused_total", "Requests refused because of a limit, by which one.", "limit")
TAILS: Final = _gauge("tails", "Connections that follow a log.")
TAIL_EVENTS: Final = _counter("tail_events_total", "Events sent to connections that follow a log.")
TAILS_ENDED: Final = _counter("tails_ended_total", "Connections that followed a log, by their end.", "why")
CONNECTIONS_ENDED: Final = _counter(
    "connections_ended_total", "Connections that were ended because they let us wait, by what for.", "why"
)
TOKENS_BELIEVED: Final = _counter(
    "tokens_believed_total", "Requests with a token that was good and could not be looked up again in time."
)
OWN_EVENTS: Final = _counter("own_events_total", "Audit events of the API's own, by outcome.", "outcome")


def _begin_at_zero() -> None:
    # A counter that appears with its first event has no increase that an alert could see.
    for limit in REFUSALS:
        REFUSED.labels(limit)
    for why in TAIL_ENDS:
        TAILS_ENDED.labels(why)
    for why in CONNECTION_ENDS:
        CONNECTIONS_ENDED.labels(why)
    for outcome in ("accepted", "failed"):
        OWN_EVENTS.labels(outcome)


_begin_at_zero()
