"""What a token looks like: a prefix, 178 random bits, and a checksum by which a typo is noticed.

    alt_3fKq…30 characters…9Zx1Ab2C

The prefix lets secret scanners find a token that has leaked. The checksum tells a mistyped or cut token from
one that was revoked, without a look into the database.
"""

from __future__ import annotations

import secrets
import string
from hashlib import sha256
from typing import Final
from zlib import crc32

PREFIX: Final = "alt_"

_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_CHARACTERS: Final = 30
_CHECKSUM_CHARACTERS: Final = 6
_CHARACTERS: Final = len(PREFIX) + _RANDOM_CHARACTERS + _CHECKSUM_CHARACTERS


def new_token() -> str:
    """Return a new token; it is shown once and stored nowhere."""
    random = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_CHARACTERS))
    return PREFIX + random + _checksum(random)


def is_token(text: str) -> bool:
    """Tell whether this can be a token: False when it was mistyped or cut."""
    if len(text) != _CHARACTERS or not text.startswith(PREFIX):
        return False
    random = text[len(PREFIX) : -_CHECKSUM_CHARACTERS]
    return set(text) <= _ALLOWED and text.endswith(_checksum(random))


def token_sha256(text: str) -> str:
    """Return the hash by which a token is known, in hex."""
    return sha256(text.encode()).hexdigest()


def token_id_of(hash: str) -> str:
    """Return the id of the token with this hash: 64 bits of it, from which nothing can be guessed."""
    return f"tok_{hash[:16]}"


_ALLOWED: Final = {*_ALPHABET, "_"}


def _checksum(random: str) -> str:
    number, digits = crc32(random.encode()), ""
    for _ in range(_CHECKSUM_CHARACTERS):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
