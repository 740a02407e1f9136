"""SCRAM logins, RFC 5802 and RFC 7677, as Kafka has them: no channel binding, and passwords as they are.

Libraries prepare passwords by SASLprep, as the RFC says. Kafka and librdkafka do not: a password with a
character that it changes would be another one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Final

MECHANISMS: Final = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
"""By name the hash function."""

_ITERATIONS_MIN: Final = 4_096
"""What Kafka asks for at least. Fewer would tell who only pretends to be the broker too much."""
_ITERATIONS_MAX: Final = 1_000_000
_HEAD: Final = "n,,"


class ScramRefused(Exception):
    """The other side is not who it says, or does not speak SCRAM; the message says what was wrong."""


class Scram:
    """One login: `first` is sent, `final` answers what comes, `require_server` looks at the end of it."""

    def __init__(self, mechanism: str, username: str, password: str, nonce: str | None = None) -> None:
        self._hash = MECHANISMS[mechanism]
        self._password = password.encode()
        self._nonce = nonce or secrets.token_hex(24)
        name = username.replace("=", "=3D").replace(",", "=2C")
        self._bare = f"n={name},r={self._nonce}"
        self._server_signature = b""

    def first(self) -> str:
        """Return the client's first message."""
        return _HEAD + self._bare

    def final(self, server_first: str) -> str:
        """Return the client's final message, which proves that it knows the password.

        Raises:
            ScramRefused: the server's first message is not as it must be.
        """
        said = _attributes(server_first)
        nonce, iterations = said.get("r", ""), said.get("i", "")
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise ScramRefused("the server's nonce is not made from ours")
        is_number = iterations.isascii() and iterations.isdecimal() and len(iterations) < 9
        if not is_number or not _ITERATIONS_MIN <= int(iterations) <= _ITERATIONS_MAX:
            wanted = f"{_ITERATIONS_MIN:,} to {_ITERATIONS_MAX:,}"
            raise ScramRefused(f"the server asks for {iterations[:20]!r} iterations, not {wanted}")
        salted = hashlib.pbkdf2_hmac(self._hash, self._password, _decoded(said, "s"), int(iterations))
        without_proof = f"c={_encoded(_HEAD.encode())},r={nonce}"
        both = f"{self._bare},{server_first},{without_proof}".encode()
        client_key = self._hmac(salted, b"Client Key")
        signature = self._hmac(hashlib.new(self._hash, client_key).digest(), both)
        self._server_signature = self._hmac(self._hmac(salted, b"Server Key"), both)
        proof = bytes(ours ^ theirs for ours, theirs in zip(client_key, signature, strict=True))
        return f"{without_proof},p={_encoded(proof)}"

    def require_server(self, server_final: str) -> None:
        """Return if the server knows the password too.

        Raises:
            ScramRefused: it does not.
        """
        said = _attributes(server_final)
        if error := said.get("e"):
            raise ScramRefused(error)
        if not hmac.compare_digest(_decoded(said, "v"), self._server_signature):
            raise ScramRefused("the server does not prove that it knows the password")

    def _hmac(self, key: bytes, text: bytes) -> bytes:
        return hmac.digest(key, text, self._hash)


def _attributes(message: str) -> dict[str, str]:
    parts = (part.partition("=") for part in message.split(","))
    return {name: value for name, _, value in parts}


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(said: dict[str, str], name: str) -> bytes:
    try:
        return base64.b64decode(said.get(name, ""), validate=True)
    except ValueError as error:
        raise ScramRefused(f"the server sends no Base64 as {name}") from error
