"""A key that viewer tokens are signed with: its secret, and the accounts that it may open."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from pydantic import SecretStr

from auditlog_schemas.errors import BadFilter
from auditlog_storage.filters import check_account

VIEWER_KEY_BYTES_MIN: Final = 32
"""HS256 is as strong as its key: RFC 7518 asks for as many bytes as SHA-256 has."""
ACCOUNTS_MAX: Final = 10_000

_KEY_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MEMBERS: Final = frozenset({"secret", "accounts"})


@dataclass(frozen=True, slots=True)
class ViewerKey:
    """A key.

    Attributes:
        secret: what signs.
        accounts: whose logs it opens; None for every account's.
    """

    secret: SecretStr
    accounts: frozenset[str] | None = None

    def opens(self, account_id: str) -> bool:
        """Tell whether tokens of this key are good for an account."""
        return self.accounts is None or account_id in self.accounts


def viewer_key(number: int, key_id: str, given: Any) -> ViewerKey:
    """Return the key of a setting.

    Args:
        number: it is the how manyth, from 1 on.
        key_id: its id.
        given: its secret, or an object of `secret` and `accounts`.

    Raises:
        ValueError: it is wrong. The message names it, and never shows what may be a secret.
    """
    if not _KEY_ID.fullmatch(key_id):
        raise ValueError("a key id has 1 to 64 letters, digits, '.', '_' or '-'")
    # An id as long as a secret may be one, put in the wrong place.
    name = f"key {key_id}" if len(key_id) < VIEWER_KEY_BYTES_MIN else f"key number {number}"
    members = given if isinstance(given, dict) else {"secret": given}
    if not members.keys() <= _MEMBERS:
        raise ValueError(f"{name} has a member that is not known here; there are secret and accounts")
    secret = members.get("secret")
    if not isinstance(secret, str) or _utf8_bytes(secret) < VIEWER_KEY_BYTES_MIN:
        raise ValueError(f"{name} needs a secret of at least {VIEWER_KEY_BYTES_MIN} bytes, as text")
    accounts = _accounts(name, members["accounts"]) if "accounts" in members else None
    return ViewerKey(SecretStr(secret), accounts)


def _utf8_bytes(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        # JSON can write half a character, with which nothing can be signed.
        return 0


def _accounts(name: str, given: Any) -> frozenset[str]:
    if not isinstance(given, list) or not 1 <= len(given) <= ACCOUNTS_MAX:
        raise ValueError(f"{name}: accounts is not a list of 1 to {ACCOUNTS_MAX:,} account ids")
    for number, account_id in enumerate(given, 1):
        try:
            check_account(account_id if isinstance(account_id, str) else "")
        except BadFilter:
            raise ValueError(f"{name}: accounts: number {number} is not an account id") from None
    return frozenset(given)
