"""What may stand behind a field's colon: kinds of values, each with its canonical text."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network

from auditlog_storage.moments import Moment, read_moment
from auditlog_storage.search.globs import Glob, written


@dataclass(frozen=True, slots=True)
class ItemGlob:
    """An item as ``type/id``, both with stars; only a type stands for all of its items."""

    type: Glob
    id: Glob | None

    @property
    def text(self) -> str:
        """Return it as the language writes it."""
        return self.type.text if self.id is None else f"{self.type.text}/{self.id.text}"


@dataclass(frozen=True, slots=True)
class Network:
    """IP addresses from `first` to `last`, both included; an IPv4 address is the IPv6 one that maps it."""

    text: str
    first: IPv6Address
    last: IPv6Address


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From `since` up to, and not including, `until`; None is open.

    Attributes:
        form: as it was written, for example ``>=3d``.
        is_relative: it depends on when it was read.
    """

    form: str
    since: datetime | None
    until: datetime | None
    is_relative: bool

    @property
    def text(self) -> str:
        """Return it as the language writes it."""
        return written(self.form)


Value = Glob | ItemGlob | Network | TimeRange


class BadValue(ValueError):
    """A value that its field cannot have.

    Attributes:
        expected: what it can have.
    """

    def __init__(self, problem: str, *expected: str) -> None:
        super().__init__(problem)
        self.expected = expected


def read_item(glob: Glob) -> ItemGlob:
    """Return the item of ``type/id`` or ``type``.

    Raises:
        BadValue: the type or the id is empty.
    """
    type, id = glob.divided("/")
    if type.exact == "" or (id is not None and id.exact == ""):
        raise BadValue("an incomplete item", "TYPE/ID, for example license/lic_42", "TYPE")
    return ItemGlob(type, id)


def read_address(glob: Glob) -> Network | Glob:
    """Return the addresses of an address or a network; with stars, a text to compare with.

    Raises:
        BadValue: it is none of these.
    """
    if glob.exact is None:
        return glob
    try:
        network = ip_network(glob.exact, strict=False)
        if "%" in glob.exact:
            raise ValueError("a zone")
    except ValueError:
        raise BadValue(
            "not an IP address",
            "an address, for example 10.0.0.1",
            "a network, for example 10.0.0.0/8",
            "text with *",
        ) from None
    text = str(network) if network.num_addresses > 1 else str(network.network_address)
    return Network(text, *_mapped(network))


def read_times(text: str, now: datetime) -> TimeRange:
    """Return the times of ``2026-11-01``, ``>=yesterday``, ``<3d`` or ``2026-11-01..2026-11-08``.

    Raises:
        BadValue: it is none of these, or ends before it begins.
    """
    for sign in (">=", "<=", ">", "<"):
        if text.startswith(sign):
            rest = text[len(sign) :]
            moment = _moment(rest, now)
            since = {">=": moment.start, ">": moment.end}.get(sign)
            until = {"<=": moment.end, "<": moment.start}.get(sign)
            return TimeRange(sign + rest.strip(), since, until, moment.is_relative)
    first, dots, last = text.partition("..")
    if not dots:
        moment = _moment(text, now)
        until = None if moment.is_point else moment.end
        return TimeRange(text.strip(), moment.start, until, moment.is_relative)
    if not first and not last:
        raise BadValue("a range without a time", *_TIMES)
    start = _moment(first, now) if first else None
    end = _moment(last, now) if last else None
    if start and end and start.start >= end.end:
        raise BadValue("a range that ends before it begins", "the earlier time first")
    return TimeRange(
        f"{first.strip()}..{last.strip()}",
        start.start if start else None,
        end.end if end else None,
        any(moment.is_relative for moment in (start, end) if moment),
    )


_TIMES = (
    "a time (2026-11-01, 2026-11-01T09:30Z, yesterday, 3d, now-2h)",
    "a range (2026-11-01..2026-11-08)",
    ">=, >, <= or < and a time",
)


def _moment(text: str, now: datetime) -> Moment:
    try:
        return read_moment(text, now)
    except ValueError:
        raise BadValue("not a time", *_TIMES) from None


def _mapped(network: IPv4Network | IPv6Network) -> tuple[IPv6Address, IPv6Address]:
    first, last = network.network_address, network.broadcast_address
    if network.version == 4:
        return IPv6Address(f"::ffff:{first}"), IPv6Address(f"::ffff:{last}")
    return IPv6Address(int(first)), IPv6Address(int(last))
