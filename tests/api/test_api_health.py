"""What an operator's machinery asks."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from auditlog_api import metrics
from auditlog_api.health import KafkaState
from auditlog_schemas.catalog import Catalog
from auditlog_schemas.errors import BrokerUnavailable
from kit.served_api import ServedApi, serving

pytestmark = pytest.mark.integration


def test_a_process_lives_and_is_ready(api: ServedApi) -> None:
    assert (api.get("/livez").status_code, api.get("/livez").text) == (200, "ok\n")
    ready = api.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["ready"] is True
    assert ready.json()["clickhouse"] == {"ok": True}
    assert ready.json()["kafka"] is None


def test_kafka_is_asked_by_whoever_may_know_it(database_url: str, catalog: Catalog) -> None:
    asked = []

    def probe() -> KafkaState:
        asked.append(1)
        return KafkaState(12, datetime(2026, 11, 1, 9, 30, tzinfo=UTC))

    with serving(database_url, catalog, kafka=probe) as served:
        for _ in range(5):
            state = served.get("/readyz").json()
            assert state["kafka"] == {"ok": True, "lag_offsets": 12}
            assert state["log"] == {"complete_up_to": "2026-11-01T09:30:00Z"}
    assert len(asked) == 1, "anybody may ask, so Kafka is asked once in a while"


def test_without_kafka_events_can_still_be_read(database_url: str, catalog: Catalog) -> None:
    def probe() -> KafkaState:
        raise BrokerUnavailable("Kafka at kafka.internal:9092 does not answer")

    with serving(database_url, catalog, kafka=probe) as served:
        answer = served.get("/readyz")
    assert (answer.status_code, answer.json()["kafka"]) == (200, {"ok": False})
    assert "kafka.internal" not in answer.text


def test_requests_are_counted_by_route_and_never_by_what_was_asked(api: ServedApi) -> None:
    token = api.token("acc_metrics")
    for path in ("acc_metrics/events?actor=usr_metrics", "acc_metrics/items/license/lic_metrics/events"):
        api.get(f"/v1/accounts/{path}", token)
    api.get(f"/nowhere/{token}", token)
    text = api.get("/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    requests = families["auditlog_api_requests"].samples
    [counted] = [
        sample
        for sample in requests
        if sample.name.endswith("_total")
        and sample.labels["route"] == "/v1/accounts/{account}/events"
        and sample.labels["status"] == "200"
    ]
    assert counted.value >= 1
    assert "auditlog_api_request_seconds" in families
    assert not re.search("acc_metrics|usr_metrics|lic_metrics|nowhere|alt_", text)


def test_every_metric_is_explained_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs/monitoring.md").read_text("utf-8")
    names = [family.name for family in metrics.REGISTRY.collect() if family.name.startswith(metrics.PREFIX)]
    assert len(names) >= 9
    for name in names:
        assert f"`{name.removeprefix(metrics.PREFIX)}" in page, f"docs/monitoring.md does not explain {name}"
    for limit in metrics.REFUSALS:
        assert f"`{limit}`" in page
    for why in metrics.TAIL_ENDS:
        assert f"`{why}`" in page
