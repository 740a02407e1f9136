"""The same random events for every bench: small (100 B), ordinary (300 B) and fat (2 KB with 20 changes)."""

from __future__ import annotations

from random import Random
from typing import Any
from uuid import UUID

from auditlog_schemas.codec import encode
from auditlog_schemas.record import Record

SIZES = ("small", "ordinary", "fat")
FIRST_MICROS = 1_760_000_000_000_000
ACTIONS = (
    ("license", "license_created"),
    ("license", "license_updated"),
    ("license", "license_disabled"),
    ("license", "license_user_assigned"),
    ("order", "order_created"),
    ("customer", "customer_updated"),
    ("product", "product_updated"),
    ("device", "device_reset"),
    ("platform_user", "platform_user_added"),
    ("license", "license_consumption_reset"),
)
USER_AGENT = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0 Safari/537.36"
)


def sample_messages(size: str, count: int, seed: int = 1) -> list[bytes]:
    """Return `count` messages in single-object encoding; equal arguments give equal messages."""
    random = Random(seed)
    accounts = [f"acc_{i:06d}" for i in range(2_000)]
    weights = [1 / (i + 1) for i in range(len(accounts))]
    chosen = random.choices(accounts, weights, k=count)
    make = {"small": _small, "ordinary": _ordinary, "fat": _fat}[size]
    return [encode(make(random, account, sequence)) for sequence, account in enumerate(chosen)]


def _base(random: Random, account: str, sequence: int) -> Record:
    entity_type, action = random.choice(ACTIONS)
    return {
        "event_id": str(UUID(int=random.getrandbits(128), version=4)),
        "account_id": account,
        "occurred_at": FIRST_MICROS + sequence * 1_000 + random.randrange(1_000),
        "action": action,
        "action_version": 1,
        "entity": {"type": entity_type, "id": f"{entity_type}_{random.randrange(20_000)}", "name": None},
        "related": [],
        "source": {
            "service": "licensing",
            "instance_id": f"pod-{random.randrange(16)}",
            "sequence": sequence,
        },
        "actor": {
            "type": "platform_user",
            "id": f"usr_{random.randrange(50)}",
            "name": None,
            "email": None,
            "impersonator_id": None,
        },
        "context": {"ip": None, "user_agent": None, "request_id": None},
        "changes": [],
        "metadata": {},
    }


def _small(random: Random, account: str, sequence: int) -> Record:
    record = _base(random, account, sequence)
    record["action"] = "order_created"
    record["entity"] = {"type": "order", "id": str(random.randrange(20_000)), "name": None}
    record["source"] |= {"service": "l", "instance_id": "1"}
    record["actor"] |= {"type": "system", "id": "s"}
    return record


def _ordinary(random: Random, account: str, sequence: int) -> Record:
    record = _base(random, account, sequence)
    user = record["actor"]["id"].removeprefix("usr_")
    record["actor"] |= {"name": f"User {user}", "email": f"user{user}@example.com"}
    record["context"] = {
        "ip": f"10.{random.randrange(256)}.{random.randrange(256)}.{random.randrange(256)}",
        "user_agent": USER_AGENT,
        "request_id": f"{random.getrandbits(64):016x}",
    }
    record["metadata"] = _required_metadata(record["action"])
    if record["action"] == "device_reset":
        record["related"] = [_license(random)]
    if record["action"].endswith("_updated"):
        record["changes"] = [{"field": "valid_until", "before": '"2026-01-01"', "after": '"2027-01-01"'}]
    return record


def _fat(random: Random, account: str, sequence: int) -> Record:
    record = _ordinary(random, account, sequence)
    record["changes"] = [_change(random, number) for number in range(20)]
    record["metadata"] |= {f"key_{number}": f"value {random.randrange(1_000)}" for number in range(4)}
    record["related"] = [_license(random), _license(random)]
    return record


def _license(random: Random) -> dict[str, Any]:
    return {"type": "license", "id": f"license_{random.randrange(20_000)}", "name": "Pro seat"}


def _change(random: Random, number: int) -> dict[str, Any]:
    before, after = (f'"{"x" * random.randrange(15, 45)}"' for _ in range(2))
    return {"field": f"field_{number}", "before": before, "after": None if number % 5 == 0 else after}


def _required_metadata(action: str) -> dict[str, str]:
    return {"user": "usr_7"} if action == "license_user_assigned" else {"source": "web"}
