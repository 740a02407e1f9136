"""Every bound on an event, in one place. Bytes are UTF-8 bytes."""

from __future__ import annotations

from typing import Final

ID_BYTES_MAX: Final = 256
TEXT_BYTES_MAX: Final = 1_024
RELATED_MAX: Final = 20
CHANGES_MAX: Final = 200
CHANGE_VALUE_BYTES_MAX: Final = 32 * 1024
METADATA_KEYS_MAX: Final = 50
METADATA_KEY_BYTES_MAX: Final = 40
METADATA_VALUE_BYTES_MAX: Final = 500
MESSAGE_BYTES_MAX: Final = 256 * 1024
OCCURRED_AT_MIN_MICROS: Final = 946_684_800_000_000
"""2000-01-01T00:00:00Z."""
CLOCK_AHEAD_MAX_MICROS: Final = 5 * 60 * 1_000_000
"""How far `occurred_at` may lie after the message's Kafka timestamp."""
ENTITY_TYPES_MAX: Final = 48
"""Entity types are in the partition key: 8 account buckets times these stays below 400 partitions."""
