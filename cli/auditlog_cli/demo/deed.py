"""What happened, before anybody says who did it and when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from auditlog_cli.demo.vendor import Vendor
from auditlog_schemas.event import Change, Entity


@dataclass(frozen=True, slots=True)
class Deed:
    """The part of an event that depends on its action."""

    entity: Entity
    related: tuple[Entity, ...] = ()
    changes: tuple[Change, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()


Act: TypeAlias = Callable[[Vendor], Deed | None]
"""Does one action in an account; None when the account has nothing to do it to."""
