"""Who does it and from where: the actor and the context of an event."""

from __future__ import annotations

import random

from auditlog_cli.demo import names
from auditlog_cli.demo.repertoire import Doers
from auditlog_cli.demo.vendor import Vendor
from auditlog_schemas.event import Actor, Context

IMPERSONATED_SHARE = 0.03


def choose_doer(vendor: Vendor, doers: Doers) -> tuple[Actor, Context]:
    """Return somebody of the account's who may do it, and where the request came from."""
    rng = vendor.rng
    place = rng.randrange(100)
    if place < doers.staff:
        return _staff(vendor), _browser(rng, f"203.0.113.{rng.randint(1, 40)}")
    if place < doers.staff + doers.integration:
        client = rng.choice(names.CLIENTS)
        name = client.partition("/")[0]
        actor = Actor(type="api_key", id=f"key_{vendor.account_id.removeprefix('acc_')}_{name}", name=name)
        address = f"198.51.100.{rng.randint(1, 12)}"
        return actor, Context(ip=address, user_agent=client, request_id=_request_id(rng))
    if place < doers.staff + doers.integration + doers.customer:
        customer = rng.choice(vendor.customers)
        actor = Actor(type="customer", id=customer.id, name=customer.name, email=customer.email)
        return actor, _browser(rng, f"2001:db8:{rng.getrandbits(16):x}::{rng.getrandbits(16):x}")
    return Actor(type="system", id="scheduler", name="Scheduler"), Context()


def _staff(vendor: Vendor) -> Actor:
    user = vendor.rng.choice(vendor.users)
    impersonated = vendor.rng.random() < IMPERSONATED_SHARE
    return Actor(
        type="platform_user",
        id=user.id,
        name=user.name,
        email=user.email,
        impersonator_id="usr_platform_support" if impersonated else None,
    )


def _browser(rng: random.Random, address: str) -> Context:
    return Context(ip=address, user_agent=rng.choice(names.BROWSERS), request_id=_request_id(rng))


def _request_id(rng: random.Random) -> str:
    return f"{rng.getrandbits(64):016x}"
