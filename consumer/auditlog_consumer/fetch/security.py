"""TLS and SASL of our own connections to brokers, from the settings that librdkafka takes."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from auditlog_schemas.errors import ConfigError

SCRAM: Final = ("SCRAM-SHA-256", "SCRAM-SHA-512")
MECHANISMS: Final = ("PLAIN", *SCRAM)

_PROTOCOLS: Final = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
_NOT_READ: Final = ("ssl.keystore.location", "ssl.engine.location", "ssl.crl.location")


@dataclass(frozen=True, slots=True)
class Login:
    """A SASL login: one of `MECHANISMS`, user name and password."""

    mechanism: str
    username: str
    password: str


@dataclass(frozen=True, slots=True)
class Security:
    """How to secure a connection; None for no TLS, None for no login."""

    tls: ssl.SSLContext | None = None
    login: Login | None = None


def security(config: Mapping[str, str]) -> Security:
    """Return what librdkafka's settings say of TLS and SASL; settings of other things are passed over.

    Raises:
        ConfigError: a setting is wrong, or asks for something that our connections do not have.
    """
    protocol = config.get("security.protocol", "plaintext").lower()
    if protocol not in _PROTOCOLS:
        raise _wrong("security.protocol", f"is none of {', '.join(_PROTOCOLS)}")
    return Security(
        _tls(config) if protocol.endswith("ssl") else None,
        _login(config) if protocol.startswith("sasl") else None,
    )


def _login(config: Mapping[str, str]) -> Login:
    name = "sasl.mechanism" if "sasl.mechanism" in config else "sasl.mechanisms"
    mechanism = config.get(name, "").upper()
    if mechanism not in MECHANISMS:
        raise _wrong(name, f"the consumer logs in with {', '.join(MECHANISMS)}; found {mechanism or 'none'}")
    for needed in ("sasl.username", "sasl.password"):
        if not config.get(needed):
            raise _wrong(needed, f"is needed for {mechanism}")
    return Login(mechanism, config["sasl.username"], config["sasl.password"])


def _tls(config: Mapping[str, str]) -> ssl.SSLContext:
    for name in _NOT_READ:
        if name in config:
            raise _wrong(name, "is not read by the consumer; give certificate and key as PEM")
    context = ssl.create_default_context()
    if config.get("enable.ssl.certificate.verification", "true").lower() == "false":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if config.get("ssl.endpoint.identification.algorithm", "https").lower() == "none":
        context.check_hostname = False
    _trust(context, config)
    _identify(context, config)
    return context


def _trust(context: ssl.SSLContext, config: Mapping[str, str]) -> None:
    try:
        if pem := config.get("ssl.ca.pem"):
            context.load_verify_locations(cadata=pem)
        if place := config.get("ssl.ca.location"):
            context.load_verify_locations(cafile=place)
    except (OSError, ssl.SSLError, ValueError) as error:
        name = "ssl.ca.location" if config.get("ssl.ca.location") else "ssl.ca.pem"
        raise _wrong(name, f"no certificates in PEM can be read: {error}") from error


def _identify(context: ssl.SSLContext, config: Mapping[str, str]) -> None:
    """Load the client's own certificate. Python's ssl takes files only: PEM in settings goes through one."""
    password = config.get("ssl.key.password")
    certificate, key = config.get("ssl.certificate.location"), config.get("ssl.key.location")
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as held:
        if pem := config.get("ssl.certificate.pem"):
            held.write(f"{config.get('ssl.key.pem', '')}\n{pem}\n")
            held.flush()
            certificate, key = held.name, None if "ssl.key.pem" in config else key
        if certificate is None:
            return
        try:
            context.load_cert_chain(certificate, key, password)
        except (OSError, ssl.SSLError) as error:
            raise _wrong("ssl.certificate.location", f"cannot be used with its key: {error}") from error


def _wrong(name: str, what: str) -> ConfigError:
    return ConfigError(f"AUDITLOG_KAFKA_CONFIG: {name}: {what}")
