"""One event as a page shows it: a row of the table, or everything that is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from markupsafe import Markup, escape

from auditlog_api.pages.diff import ChangesInShort, FieldDiff, field_diffs, in_short
from auditlog_api.pages.view import View, item_path
from auditlog_schemas.catalog import Catalog
from auditlog_schemas.event import Actor, Context, Entity, Source
from auditlog_schemas.inert import inert_json, shortened
from auditlog_storage.event_json import event_json
from auditlog_storage.stored_event import StoredEvent

REQUEST_ID_CHARACTERS: Final = 8
CELL_CHARACTERS_MAX: Final = 120
SENTENCE_CHARACTERS_MAX: Final = 300

ACTOR_TYPES: Final = {
    "platform_user": "User",
    "api_key": "API key",
    "customer": "Customer",
    "system": "System",
}

_TONES: Final = {
    "created": "good",
    "enabled": "good",
    "restored": "good",
    "deleted": "bad",
    "disabled": "bad",
    "archived": "bad",
}
"""Kinds that bring something, and kinds that take something away; all others have the neutral tone."""


@dataclass(frozen=True, slots=True)
class ItemLink:
    """An item that an event names; `title` is its type in words."""

    type: str
    id: str
    name: str | None
    title: str
    href: str

    @property
    def key(self) -> str:
        """Return the item as ``type/id``."""
        return f"{self.type}/{self.id}"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table."""

    event_id: UUID
    href: str
    drawer_href: str
    occurred_at: datetime
    action: str
    tone: str
    entity: ItemLink
    changes: ChangesInShort
    actor: str
    actor_id: str
    actor_type: str
    request_id: str | None
    request_short: str


@dataclass(frozen=True, slots=True)
class Shown:
    """Everything of one event.

    Attributes:
        href: its permalink.
        kind, group: of the catalog; empty for an action that has left it.
        raw: the event as indented JSON without unsafe characters, but for the ends of its lines.
    """

    event_id: UUID
    href: str
    occurred_at: datetime
    received_at: datetime
    action: str
    action_version: int
    kind: str
    tone: str
    group: str
    sentence: str
    changes: ChangesInShort
    diffs: list[FieldDiff]
    actor: Actor
    actor_type: str
    entity: ItemLink
    related: list[ItemLink]
    context: Context
    metadata: list[tuple[str, str]]
    source: Source
    topic_id: UUID
    kafka_partition: int
    kafka_offset: int
    raw: Markup


class EventViews:
    """Makes what a page shows of events.

    Args:
        catalog: renders sentences and names kinds and entity types.
        view: of the page; links keep its state.
    """

    def __init__(self, catalog: Catalog, view: View) -> None:
        self._catalog = catalog
        self._view = view

    def row(self, stored: StoredEvent) -> Row:
        """Return the event as a row."""
        event = stored.event
        request_id = event.context.request_id
        return Row(
            event_id=event.event_id,
            href=self._view.event_path(event.event_id),
            drawer_href=self._view.href(cursor=self._view.cursor, event=str(event.event_id)),
            occurred_at=event.occurred_at,
            action=event.action,
            tone=self._tone(event.action),
            entity=self.item(event.entity, CELL_CHARACTERS_MAX),
            changes=in_short(event.changes),
            actor=shortened(event.actor.name or event.actor.id, CELL_CHARACTERS_MAX),
            actor_id=event.actor.id,
            actor_type=ACTOR_TYPES.get(event.actor.type, event.actor.type),
            request_id=request_id,
            request_short=(request_id or "")[:REQUEST_ID_CHARACTERS],
        )

    def whole(self, stored: StoredEvent) -> Shown:
        """Return everything of the event."""
        event = stored.event
        action = self._catalog.actions.get(event.action)
        return Shown(
            event_id=event.event_id,
            href=self._view.event_path(event.event_id),
            occurred_at=event.occurred_at,
            received_at=stored.received_at,
            action=event.action,
            action_version=event.action_version,
            kind=action.kind if action else "",
            tone=self._tone(event.action),
            group=action.group if action else "",
            sentence=shortened(self._catalog.sentence(event), SENTENCE_CHARACTERS_MAX),
            changes=in_short(event.changes),
            diffs=field_diffs(event.changes),
            actor=event.actor,
            actor_type=ACTOR_TYPES.get(event.actor.type, event.actor.type),
            entity=self.item(event.entity),
            related=[self.item(entity) for entity in event.related],
            context=event.context,
            metadata=sorted(event.metadata.items()),
            source=event.source,
            topic_id=stored.topic_id,
            kafka_partition=stored.kafka_partition,
            kafka_offset=stored.kafka_offset,
            raw=escape(inert_json(event_json(stored), indent=2)),
        )

    def item(self, entity: Entity, characters_max: int = 1_000) -> ItemLink:
        """Return a link to an item's page."""
        known = self._catalog.entity_types.get(entity.type)
        return ItemLink(
            entity.type,
            entity.id,
            None if entity.name is None else shortened(entity.name, characters_max),
            known.title if known else entity.type,
            item_path(self._view.place.account_id, entity.type, entity.id),
        )

    def _tone(self, action: str) -> str:
        known = self._catalog.actions.get(action)
        return _TONES.get(known.kind, "plain") if known else "plain"
