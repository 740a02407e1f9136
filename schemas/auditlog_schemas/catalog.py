"""The action catalog: which actions exist, what each needs, and how each reads as a sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from auditlog_schemas.errors import InvalidEvent, UnknownAction
from auditlog_schemas.record import Record

if TYPE_CHECKING:
    from auditlog_schemas.event import Actor, AuditEvent, Entity

REDACTED: Final = '"[redacted]"'
"""JSON text that stands for a sensitive value."""

PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class EntityType:
    """A kind of item: its name in events and partitions, and how a page calls it."""

    name: str
    title: str


@dataclass(frozen=True, slots=True)
class Action:
    """One action of the catalog.

    Attributes:
        name: as in an event's ``action``.
        kind: what happened in one word: created, updated, deleted, …
        sentence: template with {actor}, {entity}, {related.TYPE} and {metadata.KEY}.
        version: the newest ``action_version``; events may carry any from 1 up to it.
        changes_required: an event must list at least one change.
        required_metadata: metadata keys an event must have.
        required_related: entity types of which an event must name a related entity.
        sensitive: change fields and metadata keys whose values are redacted in the publishing service.
    """

    name: str
    group: str
    entity_type: str
    kind: str
    sentence: str
    version: int = 1
    changes_required: bool = False
    required_metadata: tuple[str, ...] = ()
    required_related: tuple[str, ...] = ()
    sensitive: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Catalog:
    """All known actions and entity types; immutable. Made by `load_catalog`."""

    actions: Mapping[str, Action]
    entity_types: Mapping[str, EntityType]

    @cached_property
    def version(self) -> str:
        """Twelve hex digits that change whenever any action or entity type changes."""
        actions = [asdict(self.actions[name]) for name in sorted(self.actions)]
        for action in actions:
            action["sensitive"] = sorted(action["sensitive"])
        entity_types = [asdict(self.entity_types[name]) for name in sorted(self.entity_types)]
        return sha256(json.dumps([actions, entity_types]).encode()).hexdigest()[:12]

    def check(self, record: Record) -> None:
        """Check a record's action against the catalog; the first broken rule wins.

        Raises:
            UnknownAction: rules ``unknown_action``, ``unknown_action_version``.
            InvalidEvent: rules ``wrong_entity_type``, ``changes_missing``, ``metadata_missing``,
                ``related_missing``, ``unknown_related_type``.
        """
        action = self.actions.get(record["action"])
        if action is None:
            known = f"is not among the {len(self.actions)} actions of catalog {self.version}"
            raise UnknownAction("unknown_action", "action", f"{record['action']!r:.80} {known}")
        if record["action_version"] > action.version:
            found = f"is {record['action_version']}, the catalog knows {action.name} up to {action.version}"
            raise UnknownAction("unknown_action_version", "action_version", found)
        if record["entity"]["type"] != action.entity_type:
            found = f"is {record['entity']['type']!r:.80}, {action.name} acts on {action.entity_type!r}"
            raise InvalidEvent("wrong_entity_type", "entity.type", found)
        if action.changes_required and not record["changes"]:
            raise InvalidEvent("changes_missing", "changes", f"{action.name} needs at least one change")
        for key in action.required_metadata:
            if key not in record["metadata"]:
                raise InvalidEvent("metadata_missing", f"metadata[{key!r}]", f"{action.name} needs this key")
        related = {item["type"] for item in record["related"]}
        for entity_type in action.required_related:
            if entity_type not in related:
                raise InvalidEvent("related_missing", "related", f"{action.name} needs a {entity_type}")
        for index, item in enumerate(record["related"]):
            if item["type"] not in self.entity_types:
                found = f"{item['type']!r:.80} is not an entity type of catalog {self.version}"
                raise InvalidEvent("unknown_related_type", f"related[{index}].type", found)

    def redact(self, record: Record) -> Record:
        """Return the record with the values of its action's sensitive fields replaced.

        Absent values stay absent, so the log still shows that a field was set, changed or removed.
        """
        action = self.actions.get(record["action"])
        if action is None or not action.sensitive:
            return record
        hidden = action.sensitive
        return record | {
            "changes": [_redact_change(c) if c["field"] in hidden else c for c in record["changes"]],
            "metadata": {k: "[redacted]" if k in hidden else v for k, v in record["metadata"].items()},
        }

    def sentence(self, event: AuditEvent) -> str:
        """Return the event as one sentence, for example ``Ada reset license Pro seat``.

        An action that has left the catalog is described by its name.
        """
        action = self.actions.get(event.action)
        template = action.sentence if action else "{actor} did " + event.action + " on {entity}"
        return PLACEHOLDER.sub(lambda found: _fill(found[1], event), template)


def _redact_change(change: dict[str, Any]) -> dict[str, Any]:
    hidden = {side: None if change[side] is None else REDACTED for side in ("before", "after")}
    return change | hidden


def _label(item: Actor | Entity) -> str:
    return item.name or item.id


def _fill(placeholder: str, event: AuditEvent) -> str:
    head, _, rest = placeholder.partition(".")
    if head == "metadata":
        return event.metadata.get(rest, "?")
    if head == "related":
        return next((_label(item) for item in event.related if item.type == rest), "?")
    return _label(event.actor if head == "actor" else event.entity)
