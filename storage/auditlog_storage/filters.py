"""What a reader asks for, checked, and as conditions of a query whose values are all parameters."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final

from auditlog_schemas.errors import BadFilter
from auditlog_schemas.limits import ID_BYTES_MAX
from auditlog_schemas.record import micros_of
from auditlog_storage.search import Search
from auditlog_storage.search.conditions import conditions as term_conditions
from auditlog_storage.search.globs import Glob
from auditlog_storage.search.search import Term
from auditlog_storage.search.values import BadValue, read_address

VALUES_MAX: Final = 100
"""Actions, or groups, in one filter."""


@dataclass(frozen=True, slots=True)
class Item:
    """One license, order, customer, …: events belong to it as their entity or as a related entity."""

    type: str
    id: str

    def __post_init__(self) -> None:
        _check_text("item", self.type)
        _check_text("item", self.id)
        if "/" in self.type:
            raise BadFilter(f"item: an entity type has no '/', this one is {self.type!r}")

    @property
    def key(self) -> str:
        """Return the item as `audit_events.item_keys` holds it."""
        return f"{self.type}/{self.id}"


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events of an account; what is left out does not restrict.

    Attributes:
        actions: any of these actions, exactly.
        groups: any action of these groups of the catalog.
        actor_id: whose.
        entity_type: of the event's own entity.
        entity_id: of the event's own entity.
        item: events whose entity or related entity this is.
        since: at or after this time (aware).
        until: before this time (aware).
        ip: an address, a network (``10.0.0.0/8``) or text with stars, as in the search language.
        request_id: of this request.
        search: for which every term of this search holds too.

    Raises:
        BadFilter: a value is empty, too long or contradictory; the message starts with its name.
    """

    actions: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    actor_id: str | None = None
    entity_type: str | None = None
    entity_id: str | None = None
    item: Item | None = None
    since: datetime | None = None
    until: datetime | None = None
    ip: str | None = None
    request_id: str | None = None
    search: Search | None = None

    def __post_init__(self) -> None:
        for name, values in (("actions", self.actions), ("groups", self.groups)):
            if len(values) > VALUES_MAX:
                raise BadFilter(f"{name}: at most {VALUES_MAX} are allowed, these are {len(values)}")
            for value in values:
                _check_text(name, value)
        for name in ("actor_id", "entity_type", "entity_id", "ip", "request_id"):
            text: str | None = getattr(self, name)
            if text is not None:
                _check_text(name, text)
        for name in ("since", "until"):
            moment: datetime | None = getattr(self, name)
            if moment is not None and moment.tzinfo is None:
                raise BadFilter(f"{name}: needs a time zone, for example 2026-01-31T00:00:00Z")
        if self.ip is not None:
            _ip_term(self.ip)
        if self.since and self.until and self.since >= self.until:
            raise BadFilter(f"until: {self.until.isoformat()} is not after since {self.since.isoformat()}")

    def conditions(self) -> tuple[list[str], dict[str, object]]:
        """Return SQL conditions, to be joined by AND, and the values of their parameters."""
        conditions: list[str] = []
        values: dict[str, object] = {}
        for name, value, condition in (
            ("actions", list(self.actions), "action IN {actions:Array(String)}"),
            ("groups", list(self.groups), _IN_GROUPS),
            ("actor_id", self.actor_id, "actor_id = {actor_id:String}"),
            ("entity_type", self.entity_type, "entity_type = {entity_type:String}"),
            ("entity_id", self.entity_id, "entity_id = {entity_id:String}"),
            ("item", self.item and self.item.key, "has(item_keys, {item:String})"),
            ("request_id", self.request_id, "request_id = {request_id:String}"),
            ("since", self.since and micros_of(self.since), f"occurred_at >= {moment('since')}"),
            ("until", self.until and micros_of(self.until), f"occurred_at < {moment('until')}"),
        ):
            if value is not None and value != []:
                conditions.append(condition)
                values[name] = value
        terms = self.search.terms if self.search is not None else ()
        if self.ip is not None:
            terms = (*terms, _ip_term(self.ip))
        searched, wanted = term_conditions(terms)
        return conditions + searched, values | wanted

    def times(self) -> tuple[datetime | None, datetime | None]:
        """Return the range of time that the filter is limited to, as far as it is; None is open."""
        within = self.search.times() if self.search is not None else (None, None)
        since = max((time for time in (self.since, within[0]) if time), default=None)
        until = min((time for time in (self.until, within[1]) if time), default=None)
        return since, until

    def question(self) -> list[object]:
        """Return what is asked as JSON-like data; relative times as they were written.

        A search without terms asks for nothing, as no search does.
        """
        parts = [getattr(self, field.name) for field in fields(self)]
        return [part.text or None if isinstance(part, Search) else _plain(part) for part in parts]


_IN_GROUPS: Final = (
    "action IN (SELECT action FROM audit_actions WHERE action_group IN {groups:Array(String)})"
)


def moment(parameter: str) -> str:
    """Return the SQL expression of a time given as a parameter in microseconds since 1970."""
    return f"fromUnixTimestamp64Micro({{{parameter}:Int64}}, 'UTC')"


def _ip_term(text: str) -> Term:
    star = Glob(tuple(text.split("*")))
    try:
        return Term("ip", (read_address(star),))
    except BadValue as error:
        raise BadFilter(f"ip: {text!r:.80} is {error}; write {' or '.join(error.expected)}") from None


def _plain(part: object) -> object:
    if isinstance(part, Item):
        return part.key
    return micros_of(part) if isinstance(part, datetime) else part


def check_account(account_id: str) -> None:
    """Raise BadFilter unless `account_id` can be an account's id."""
    _check_text("account_id", account_id)


def _check_text(name: str, value: str) -> None:
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise BadFilter(f"{name}: {value!r:.80} is not valid Unicode") from None
    if not value:
        raise BadFilter(f"{name}: must not be empty")
    if size > ID_BYTES_MAX:
        raise BadFilter(f"{name}: at most {ID_BYTES_MAX} bytes are allowed, this has {size:,}")
