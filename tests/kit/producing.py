"""The types of what the producers' fixtures give."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from confluent_kafka import Message

from auditlog_producers import AuditEvent

MakeEvent: TypeAlias = Callable[..., AuditEvent]
"""Makes a valid event with some fields changed."""
Read: TypeAlias = Callable[[str, str, int], list[Message]]
"""Reads so many messages: (kafka, topic, count)."""
