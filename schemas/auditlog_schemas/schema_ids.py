"""What schema ids stand for: a registry's answers, each kept for as long as it holds."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Final, Protocol, TypeAlias

from auditlog_schemas.errors import SchemaIncompatible
from auditlog_schemas.inert import inert, shortened
from auditlog_schemas.plan import Node
from auditlog_schemas.resolution import Schema, resolve

UNKNOWN_ID_SECONDS: Final = 1.0
"""How long an id that the registry does not know is taken as unknown without asking again."""
UNUSABLE_IDS_MAX: Final = 10_000
"""How many ids without a usable schema are remembered, in 5 MB; the oldest give way."""
PLANS_MAX: Final = 256
"""How many plans are remembered; the oldest give way. With its decoder one takes about 110 kB."""
WHY_CHARACTERS_MAX: Final = 300


class SchemaLookup(Protocol):
    """Finds a writer's schema by its id; `auditlog_schemas.registry` has the real one."""

    def schema_by_id(self, schema_id: int) -> Schema | None:
        """Return the schema, or None when the registry knows no such id.

        Raises:
            RegistryUnavailable: the registry did not answer.
        """


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why messages with a schema id cannot be read: the rule that they break, and what was found."""

    rule: str
    why: str


NO_REGISTRY: Final = Unusable("unknown_schema_id", "no schema registry is configured")
UNKNOWN: Final = Unusable("unknown_schema_id", "the registry knows no schema with this id")

Answer: TypeAlias = Node | Unusable
"""What an id stands for: the plan of its schema, or why there is none."""
Answers: TypeAlias = Mapping[int, Answer]
"""Answers by schema id."""


class SchemaIds:
    """The schema ids that messages may name, each resolved to the reader's schema. Thread-safe.

    An id never changes its meaning, so a plan and an unusable schema are kept as long as there is room. That
    the registry does not know an id holds for `UNKNOWN_ID_SECONDS` only: it may be registered any moment.

    Args:
        lookup: the registry; without one every id is unusable.
        reader: the schema as which all are read.
    """

    def __init__(self, lookup: SchemaLookup | None, reader: Schema) -> None:
        self._lookup = lookup
        self._reader = reader
        self._plans: OrderedDict[int, Node] = OrderedDict()
        self._unusable: OrderedDict[int, tuple[Unusable, float]] = OrderedDict()
        self._adding = threading.Lock()

    def known(self, schema_id: int) -> Answer | None:
        """Return the answer that still holds, None when there is none. Asks nobody."""
        if self._lookup is None:
            return NO_REGISTRY
        plan = self._plans.get(schema_id)
        if plan is not None:
            return plan
        unusable, until = self._unusable.get(schema_id, (None, -inf))
        return unusable if time.monotonic() < until else None

    def ask(self, schema_id: int) -> Answer:
        """Return the answer, from the registry when no other holds.

        Raises:
            RegistryUnavailable: the registry has to be asked and is away.
        """
        found = self.known(schema_id)
        if found is not None:
            return found
        assert self._lookup is not None  # Otherwise the answer is known.
        schema = self._lookup.schema_by_id(schema_id)
        if schema is None:
            self._add_unusable(schema_id, UNKNOWN, time.monotonic() + UNKNOWN_ID_SECONDS)
            return UNKNOWN
        try:
            plan = resolve(schema, self._reader)
        except SchemaIncompatible as error:
            # Names in a schema come from anybody, and may be of any length.
            why = inert(shortened(str(error), WHY_CHARACTERS_MAX))
            incompatible = Unusable("schema_incompatible", why)
            self._add_unusable(schema_id, incompatible, inf)
            return incompatible
        with self._adding:
            self._plans[schema_id] = plan
            if len(self._plans) > PLANS_MAX:
                self._plans.popitem(last=False)
        return plan

    def _add_unusable(self, schema_id: int, unusable: Unusable, until: float) -> None:
        with self._adding:
            self._unusable.pop(schema_id, None)
            self._unusable[schema_id] = (unusable, until)
            if len(self._unusable) > UNUSABLE_IDS_MAX:
                self._unusable.popitem(last=False)
