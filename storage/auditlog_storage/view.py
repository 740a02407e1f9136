"""The view that analysts query: flat names that stay the same when the table behind it changes."""

from __future__ import annotations

from typing import Final

AUDIT_LOG_V1: Final = "audit_log_v1"

CREATE_AUDIT_LOG_V1: Final = """
CREATE OR REPLACE VIEW audit_log_v1 AS
SELECT
    event_id,
    account_id,
    occurred_at,
    received_at,
    action,
    action_version,
    entity_type,
    entity_id,
    entity_name,
    related.type AS related_types,
    related.id AS related_ids,
    related.name AS related_names,
    item_keys,
    actor_type,
    actor_id,
    actor_name,
    actor_email,
    actor_impersonator_id,
    source_service AS service,
    source_instance_id AS service_instance,
    source_sequence AS service_sequence,
    ip,
    user_agent,
    request_id,
    changes.field AS change_fields,
    changes.before AS changes_before,
    changes.after AS changes_after,
    metadata,
    topic_id,
    kafka_partition,
    kafka_offset
FROM audit_events
"""
"""Nothing is joined or computed, so filters reach the table's keys and indexes unchanged."""
