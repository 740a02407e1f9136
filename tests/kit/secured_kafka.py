"""A broker with a listener for each way to secure one, each with certificates and users of the test's own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._scram import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from auditlog_local.kafka import kafka_child, remembered_node
from auditlog_local.ports import free_ports
from kit.certificates import Authority, Certificate
from kit.servers import running

USER: Final = "ada"
PASSWORD: Final = "correct, horse=battery"
PLAIN_PASSWORD: Final = "plain horse"
"""Of the mechanism PLAIN: another one, so that no test passes by the wrong mechanism."""
ODD_USER, ODD_PASSWORD = "o=d,d", "\u00aa\u00ad, half"
"""SASLprep, which Kafka does not do, would make another password of it."""
REAUTHENTICATE_MILLIS: Final = 1_500

_LISTENERS: Final = {
    "login": "SASL_PLAINTEXT",
    "short": "SASL_PLAINTEXT",
    "tls": "SSL",
    "mutual": "SSL",
    "expired": "SSL",
    "tlslogin": "SASL_SSL",
    "six": "PLAINTEXT",
}


@dataclass(frozen=True)
class SecuredKafka:
    """Where each listener is, by its name in lower case, and what is needed to be let in.

    Listeners: plaintext; login and short (whose logins expire soon) for SASL; tls and mutual (which asks for
    a certificate); expired, whose certificate is; tlslogin for both. Certificates are for 127.0.0.1 alone.
    And six, on IPv6's loopback address, where the machine has one.
    """

    addresses: dict[str, str]
    authority: Authority
    client: Certificate

    def at(self, listener: str, host: str = "127.0.0.1") -> str:
        """Return a listener's bootstrap address."""
        return f"{host}:{self.addresses[listener].rpartition(':')[2]}"

    @property
    def tls(self) -> dict[str, str]:
        """Return librdkafka's settings for TLS."""
        return {"security.protocol": "ssl", "ssl.ca.pem": self.authority.pem}


def has_ipv6() -> bool:
    """Tell whether this machine has IPv6's loopback address."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def login(mechanism: str, password: str = "") -> dict[str, str]:
    """Return librdkafka's settings for a login without TLS, with the right password unless one is given."""
    right = PLAIN_PASSWORD if mechanism.upper() == "PLAIN" else PASSWORD
    return {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": mechanism,
        "sasl.username": USER,
        "sasl.password": password or right,
    }


@contextmanager
def secured_kafka(directory: Path) -> Iterator[SecuredKafka]:
    """Run a broker that everybody who trusts the authority, or has a password, may do everything on."""
    authority, node = Authority("the test's authority"), remembered_node(directory / "kafka")
    child = kafka_child(directory / "kafka", node)
    addresses = {"plaintext": node.bootstrap}
    for name, port in zip(_LISTENERS, free_ports(len(_LISTENERS)), strict=True):
        if name != "six":
            addresses[name] = f"127.0.0.1:{port}"
        elif has_ipv6():
            addresses[name] = f"[::1]:{port}"
    with (directory / "kafka" / "server.properties").open("a") as properties:
        properties.write(_properties(directory, authority, addresses, f"127.0.0.1:{node.controller_port}"))
    with running(child, directory):
        _add_users(node.bootstrap)
        yield SecuredKafka(addresses, authority, authority.sign("the test's client"))


def _properties(directory: Path, authority: Authority, addresses: dict[str, str], controller: str) -> str:
    trusted = directory / "authority.pem"
    trusted.write_text(authority.pem)
    listeners = ",".join(f"{name.upper()}://{at}" for name, at in addresses.items())
    protocols = "".join(f",{name.upper()}:{protocol}" for name, protocol in _LISTENERS.items())
    lines = {
        "listeners": f"{listeners},CONTROLLER://{controller}",
        "advertised.listeners": f"{listeners},CONTROLLER://{controller}",
        "listener.security.protocol.map": f"PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}",
        "listener.name.short.connections.max.reauth.ms": str(REAUTHENTICATE_MILLIS),
    }
    for name, protocol in _LISTENERS.items():
        prefix = f"listener.name.{name}"
        if "SASL" in protocol:
            mechanisms = ("plain", "scram-sha-256") if name == "tlslogin" else _MODULES
            lines[f"{prefix}.sasl.enabled.mechanisms"] = ",".join(mechanisms).upper()
            for mechanism in mechanisms:
                lines[f"{prefix}.{mechanism}.sasl.jaas.config"] = _MODULES[mechanism]
        if "SSL" in protocol:
            certificate = authority.sign("broker", "127.0.0.1", days=-1 if name == "expired" else 1)
            kept = directory / f"{name}.pem"
            kept.write_text(certificate.key + certificate.pem)
            lines |= {
                f"{prefix}.ssl.keystore.type": "PEM",
                f"{prefix}.ssl.keystore.location": str(kept),
                f"{prefix}.ssl.truststore.type": "PEM",
                f"{prefix}.ssl.truststore.location": str(trusted),
                f"{prefix}.ssl.client.auth": "required" if name == "mutual" else "none",
            }
    return "".join(f"{key}={value}\n" for key, value in lines.items())


_SCRAM_MODULE: Final = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
_MODULES: Final = {
    "plain": (
        f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PLAIN_PASSWORD}";'
    ),
    "scram-sha-256": _SCRAM_MODULE,
    "scram-sha-512": _SCRAM_MODULE,
}


def _add_users(kafka: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka})
    for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
        for name, password in ((USER, PASSWORD), (ODD_USER, ODD_PASSWORD)):
            info = ScramCredentialInfo(mechanism, 8_192)
            wanted = UserScramCredentialUpsertion(name, info, password.encode())
            for future in admin.alter_user_scram_credentials([wanted]).values():
                future.result(60)
