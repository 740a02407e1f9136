"""Changing a topic's settings on a real Kafka."""

from __future__ import annotations

import time
from typing import Any, Final

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType

from kit.pipeline import Pipeline

SECONDS_MAX: Final = 60.0


def alter(pipeline: Pipeline, topic: str, setting: str, value: str) -> None:
    """Set what a topic has, and return once Kafka shows it."""
    entry = ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": pipeline.settings.kafka})
    admin.incremental_alter_configs([resource])[resource].result(SECONDS_MAX)
    asked = ConfigResource(ResourceType.TOPIC, topic)
    deadline = time.monotonic() + SECONDS_MAX
    while True:
        found: Any = admin.describe_configs([asked])[asked].result(SECONDS_MAX)
        if found[setting].value == value:
            return
        assert time.monotonic() < deadline
        time.sleep(0.05)
