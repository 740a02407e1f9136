"""Sealed texts: what is handed out to be given back, which nobody else can read, change or make."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable
from functools import partial
from secrets import token_bytes
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from auditlog_storage.connection import Connection
from auditlog_storage.keys import Keys

TEXT_CHARACTERS_MAX: Final = 8_000
"""Of a sealed text: a longer one is refused before anything is done with it."""

_NONCE_BYTES: Final = 16
_TAG_BYTES: Final = 16


class Seal:
    """Seals and opens texts with AES-SIV (RFC 5297) under the key `cursor`; safe to share between threads.

    Two texts of the same content have nothing in common, so that they do not even show what has not changed.

    Args:
        read_key: returns the key; it is called once, before the first text.
    """

    def __init__(self, read_key: Callable[[], bytes]) -> None:
        self._read_key = read_key
        self._cipher: AESSIV | None = None

    @classmethod
    def of(cls, connection: Connection) -> Seal:
        """Return the seal of an installation; whoever uses it may get the errors of `Keys.read`."""
        return cls(partial(Keys(connection).read, "cursor"))

    def seal(self, content: bytes, *question: object) -> str:
        """Return content as a text for URLs and headers.

        Args:
            content: some bytes, not none.
            question: what the text belongs to, JSON-like data that begins with its kind and version: with
                anything else it cannot be opened.
        """
        nonce = token_bytes(_NONCE_BYTES)
        sealed = self._ready().encrypt(content, [_packed(question), nonce])
        return urlsafe_b64encode(nonce + sealed).decode().rstrip("=")

    def open(self, text: str, *question: object) -> bytes | None:
        """Return the content of a text; None when it was not sealed here for this question."""
        if len(text) > TEXT_CHARACTERS_MAX or not text.isascii():
            return None
        try:
            packed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except Base64Error:
            return None
        # What is not base64 is passed over, and the last bits may be anything: one text for each content.
        if len(packed) <= _NONCE_BYTES + _TAG_BYTES or urlsafe_b64encode(packed).decode().rstrip("=") != text:
            return None
        nonce, sealed = packed[:_NONCE_BYTES], packed[_NONCE_BYTES:]
        try:
            return self._ready().decrypt(sealed, [_packed(question), nonce])
        except InvalidTag:
            return None

    def _ready(self) -> AESSIV:
        if self._cipher is None:
            self._cipher = AESSIV(self._read_key())
        return self._cipher


def _packed(question: tuple[object, ...]) -> bytes:
    return json.dumps(question).encode()
