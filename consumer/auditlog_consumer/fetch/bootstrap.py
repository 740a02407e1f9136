"""The first brokers to ask: their addresses, and whether one of them lets us in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import closing
from typing import Final

from auditlog_consumer.fetch.link import Link
from auditlog_consumer.fetch.security import security
from auditlog_consumer.fetch.wire import METADATA, Address, metadata_request
from auditlog_schemas.errors import BrokerUnavailable, ConfigError

_PORT: Final = 9092
_ADDRESS: Final = re.compile(
    r"(\w+://)?((?P<host>[^\s:/\[\]]+)|\[(?P<ipv6>[0-9a-fA-F:.%\w]+)\])(:(?P<port>[0-9]{1,5}))?"
)


def addresses(kafka: str) -> list[Address]:
    """Return the addresses in a list of bootstrap servers, of which there is at least one.

    Raises:
        ConfigError: one is not host:port.
    """
    found = [_address(each.strip()) for each in kafka.split(",") if each.strip()]
    if not found:
        raise ConfigError(f"AUDITLOG_KAFKA: {kafka!r} names no broker")
    return found


def require_entry(kafka: str, config: Mapping[str, str]) -> None:
    """Return if a broker lets us in and answers.

    librdkafka says of a wrong password, certificate or name only that nobody answered in time.

    Args:
        kafka: bootstrap servers.
        config: librdkafka's settings, of which those of TLS and SASL are read.

    Raises:
        ConfigError: a setting of TLS or SASL is wrong, or a broker refuses us by it.
        BrokerUnavailable: no broker answers.
    """
    secure, trouble = security(config), ""
    for address in addresses(kafka):
        try:
            with closing(Link(address, secure, "auditlog.entry")) as link:
                link.ask(METADATA, metadata_request())
                return
        except BrokerUnavailable as error:
            trouble = str(error)
    raise BrokerUnavailable(trouble)


def _address(text: str) -> Address:
    found = _ADDRESS.fullmatch(text)
    port = int(found["port"] or _PORT) if found else 0
    if found is None or not 0 < port < 65_536:
        raise ConfigError(f"AUDITLOG_KAFKA: {text!r} is not host:port; IPv6 is written as [::1]:9092")
    return found["host"] or found["ipv6"], port
