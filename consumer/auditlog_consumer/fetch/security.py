"""TLS and SASL of our own connections to brokers, from the settings that librdkafka takes."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auditlog_consumer.fetch import scram
from auditlog_schemas.errors import ConfigError

MECHANISMS: Final = ("PLAIN", *scram.MECHANISMS)

_PROTOCOLS: Final = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
_NOT_READ: Final = ("ssl.keystore.location", "ssl.engine.location", "ssl.crl.location", "ssl.providers")
_FALSE: Final = ("false", "f", "0")


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
    protocol = config.get("security.protocol", "plaintext").strip().lower()
    if protocol not in _PROTOCOLS:
        raise wrong("security.protocol", f"is none of {', '.join(_PROTOCOLS)}")
    return Security(
        _tls(config) if protocol.endswith("ssl") else None,
        _login(config) if protocol.startswith("sasl") else None,
    )


def wrong(name: str, what: str) -> ConfigError:
    """Return the error that names one of librdkafka's settings, or several."""
    return ConfigError(f"AUDITLOG_KAFKA_CONFIG: {name}: {what}")


def _login(config: Mapping[str, str]) -> Login:
    # Two names of the same setting: the last one counts.
    given = [name for name in config if name in ("sasl.mechanism", "sasl.mechanisms")]
    name = given[-1] if given else "sasl.mechanism"
    mechanism = config.get(name, "").strip()
    if mechanism not in MECHANISMS:
        found = f"not with {mechanism!r}" if mechanism else "choose one"
        raise wrong(name, f"the consumer logs in with {', '.join(MECHANISMS)}, in capitals; {found}")
    for needed in ("sasl.username", "sasl.password"):
        if not config.get(needed):
            raise wrong(needed, f"is needed for {mechanism}")
    return Login(mechanism, config["sasl.username"], config["sasl.password"])


def _tls(config: Mapping[str, str]) -> ssl.SSLContext:
    for name in _NOT_READ:
        if config.get(name):
            raise wrong(name, "is not read by the consumer; give certificates and keys as PEM, see ssl.*.pem")
    # Not `create_default_context`, which trusts the system's authorities beside the given ones, and from
    # Python 3.13 on asks for more of certificates than librdkafka does.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    algorithm = config.get("ssl.endpoint.identification.algorithm", "https").strip().lower()
    if algorithm not in ("https", "none"):
        raise wrong("ssl.endpoint.identification.algorithm", "is neither https nor none")
    context.check_hostname = algorithm == "https"
    if config.get("enable.ssl.certificate.verification", "true").strip().lower() in _FALSE:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if ciphers := config.get("ssl.cipher.suites"):
        with _naming("ssl.cipher.suites"):
            context.set_ciphers(ciphers)
    _trust(context, config)
    _identify(context, config)
    return context


def _trust(context: ssl.SSLContext, config: Mapping[str, str]) -> None:
    """Load the authorities that are trusted: the given ones, or else the system's."""
    pem, place = config.get("ssl.ca.pem"), config.get("ssl.ca.location", "probe")
    if pem:
        with _naming("ssl.ca.pem"):
            # A comment between the certificates may be in any language.
            context.load_verify_locations(cadata=pem.encode("ascii", "ignore").decode())
    if place not in ("", "probe"):
        with _naming(f"ssl.ca.location: {place}"):
            if Path(place).is_dir():
                context.load_verify_locations(capath=place)
            else:
                context.load_verify_locations(cafile=place)
    elif not pem:
        context.load_default_certs()


def _identify(context: ssl.SSLContext, config: Mapping[str, str]) -> None:
    """Load the client's own certificate."""
    with ExitStack() as held:
        certificate, certificate_name = _file(config, "ssl.certificate", held)
        key, key_name = _file(config, "ssl.key", held)
        if certificate is None and key is None:
            return
        if certificate is None:
            raise wrong("ssl.certificate.location", f"is needed beside {key_name}")
        with _naming(f"{certificate_name}, {key_name}, ssl.key.password"):
            # Without any password, Python would ask for one on the terminal.
            context.load_cert_chain(certificate, key, config.get("ssl.key.password", ""))


def _file(config: Mapping[str, str], name: str, held: ExitStack) -> tuple[str | None, str]:
    """Return the path of a PEM and its setting; Python's ssl takes a client's own PEM from files only."""
    if not (pem := config.get(f"{name}.pem")):
        place = config.get(f"{name}.location") or None
        if place is not None:
            # What Python says of a file that is not there does not tell which of the two it is.
            with _naming(f"{name}.location: {place}"):
                Path(place).read_bytes()
        return place, f"{name}.location"
    in_memory = os.memfd_create(name)
    held.callback(os.close, in_memory)
    os.write(in_memory, pem.encode())
    return f"/proc/self/fd/{in_memory}", f"{name}.pem"


@contextmanager
def _naming(setting: str) -> Iterator[None]:
    """Turn what Python's ssl raises into an error that names the setting."""
    try:
        yield
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise wrong(setting, f"cannot be used: {said}") from error
