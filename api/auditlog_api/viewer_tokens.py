"""Viewer tokens: signed, for one account and maybe one item, for ten minutes at most.

They are JSON Web Tokens (RFC 7519), HS256. The API makes them for whoever has an API token, and a host's
backend that shares a key can make them itself; docs/api.md shows both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any, Final

import jwt
from pydantic import SecretStr

from auditlog_schemas.errors import BadFilter
from auditlog_storage.filters import Item, check_account

AUDIENCE: Final = "auditlog"
VIEWER_SECONDS_MAX: Final = 600
CLOCK_SECONDS_MAX: Final = 30
"""How far a host's clock may be ahead of ours."""

_REQUIRED: Final = ("aud", "account", "iat", "exp")


class BadViewerToken(Exception):
    """A viewer token that is refused.

    Attributes:
        name: ``token-malformed``, ``token-unknown`` or ``token-expired``.
    """

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(detail)
        self.name = name


@dataclass(frozen=True, slots=True)
class Viewer:
    """What a viewer token says.

    Attributes:
        account_id: whose log.
        item: the one item it is for; None for the whole log.
        expires_at: aware UTC.
        key_id: of the key that signed it.
    """

    account_id: str
    item: Item | None
    expires_at: datetime
    key_id: str


class ViewerKeys:
    """The keys, the first of which signs.

    Args:
        keys: key id to secret.
    """

    def __init__(self, keys: Mapping[str, SecretStr]) -> None:
        self._keys = {key_id: secret.get_secret_value() for key_id, secret in keys.items()}

    def __bool__(self) -> bool:
        return bool(self._keys)

    def mint(self, account_id: str, item: Item | None, seconds: int) -> tuple[str, datetime]:
        """Return a new viewer token and when it expires.

        Args:
            account_id: whose log it opens.
            item: the one item, or None for the whole log.
            seconds: how long it is good, 1 to `VIEWER_SECONDS_MAX`.

        Raises:
            ValueError: there is no key, or it would live too long.
        """
        if not self._keys or not 1 <= seconds <= VIEWER_SECONDS_MAX:
            raise ValueError(f"needs a key, and 1 to {VIEWER_SECONDS_MAX} seconds, not {seconds}")
        key_id, secret = next(iter(self._keys.items()))
        now = int(datetime.now(UTC).timestamp())
        claims: dict[str, Any] = {"aud": AUDIENCE, "account": account_id, "iat": now, "exp": now + seconds}
        # Two of the same second are not the same token.
        claims |= {"jti": token_hex(8)} | ({"item": item.key} if item else {})
        token = jwt.encode(claims, secret, algorithm="HS256", headers={"kid": key_id})
        return token, datetime.fromtimestamp(now + seconds, UTC)

    def read(self, token: str) -> Viewer:
        """Return what a token says.

        Raises:
            BadViewerToken: it is none, was signed by another key, has expired or would live too long.
        """
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
        except jwt.InvalidTokenError:
            raise BadViewerToken(
                "token-malformed", "this is neither an API token nor a viewer token"
            ) from None
        if not isinstance(key_id, str) or key_id not in self._keys:
            raise BadViewerToken("token-unknown", "the key of this viewer token (kid) is not known here")
        try:
            claims = jwt.decode(
                token,
                self._keys[key_id],
                algorithms=["HS256"],
                audience=AUDIENCE,
                leeway=0,
                options={"require": list(_REQUIRED), "verify_iat": False},
            )
        except jwt.ExpiredSignatureError:
            raise BadViewerToken("token-expired", "this viewer token has expired") from None
        except jwt.InvalidTokenError as error:
            raise BadViewerToken("token-unknown", f"this viewer token is not good: {error}") from None
        return _viewer(claims, key_id)


def item_of_key(key: str) -> Item:
    """Return the item of ``type/id``.

    Raises:
        BadFilter: it is not of that form.
    """
    entity_type, slash, entity_id = key.partition("/")
    if not slash:
        raise BadFilter(f"item: {key!r:.80} is not type/id; write for example license/lic_1")
    return Item(entity_type, entity_id)


def _viewer(claims: Mapping[str, Any], key_id: str) -> Viewer:
    account_id, key, issued, expires = (claims.get(name) for name in ("account", "item", "iat", "exp"))
    if (
        not isinstance(account_id, str)
        or not isinstance(key, str | None)
        or not isinstance(issued, int | float)
        or not isinstance(expires, int | float)
    ):
        raise BadViewerToken("token-unknown", "a claim of this viewer token has a wrong type")
    now = datetime.now(UTC).timestamp()
    if expires - issued > VIEWER_SECONDS_MAX or expires > now + VIEWER_SECONDS_MAX + CLOCK_SECONDS_MAX:
        detail = f"this viewer token lives longer than {VIEWER_SECONDS_MAX} s"
        raise BadViewerToken("token-unknown", detail)
    try:
        check_account(account_id)
        item = item_of_key(key) if key is not None else None
    except BadFilter as error:
        raise BadViewerToken("token-unknown", f"this viewer token is not good: {error}") from None
    return Viewer(account_id, item, datetime.fromtimestamp(expires, UTC), key_id)
