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

from auditlog_api.viewer_key import ViewerKey
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
    """The keys; the first one that may open an account signs for it.

    Args:
        keys: key id to key.
    """

    def __init__(self, keys: Mapping[str, ViewerKey]) -> None:
        self._keys = dict(keys)

    def signs_for(self, account_id: str) -> bool:
        """Tell whether there is a key for an account."""
        return any(key.opens(account_id) for key in self._keys.values())

    def mint(self, account_id: str, item: Item | None, seconds: int) -> tuple[str, datetime]:
        """Return a new viewer token and when it expires.

        Args:
            account_id: whose log it opens.
            item: the one item, or None for the whole log.
            seconds: how long it is good, 1 to `VIEWER_SECONDS_MAX`.

        Raises:
            ValueError: there is no key for this account, or it would live too long.
        """
        if not self.signs_for(account_id) or not 1 <= seconds <= VIEWER_SECONDS_MAX:
            raise ValueError(f"needs a key, and 1 to {VIEWER_SECONDS_MAX} seconds, not {seconds}")
        key_id, key = next(each for each in self._keys.items() if each[1].opens(account_id))
        now = int(datetime.now(UTC).timestamp())
        claims: dict[str, Any] = {"aud": AUDIENCE, "account": account_id, "iat": now, "exp": now + seconds}
        # Two of the same second are not the same token.
        claims |= {"jti": token_hex(8)} | ({"item": item.key} if item else {})
        token = jwt.encode(claims, key.secret.get_secret_value(), algorithm="HS256", headers={"kid": key_id})
        return token, datetime.fromtimestamp(now + seconds, UTC)

    def read(self, token: str) -> Viewer:
        """Return what a token says.

        Raises:
            BadViewerToken: it is none, was signed by another key or one that does not open its account, has
                expired or would live too long.
        """
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
        except jwt.InvalidTokenError:
            raise BadViewerToken(
                "token-malformed", "this is neither an API token nor a viewer token"
            ) from None
        if not isinstance(key_id, str) or key_id not in self._keys:
            raise _unknown_key()
        key = self._keys[key_id]
        try:
            claims = jwt.decode(
                token,
                key.secret.get_secret_value(),
                algorithms=["HS256"],
                audience=AUDIENCE,
                leeway=0,
                options={"require": list(_REQUIRED), "verify_iat": False},
            )
        except jwt.ExpiredSignatureError:
            raise BadViewerToken("token-expired", "this viewer token has expired") from None
        except jwt.InvalidTokenError as error:
            raise BadViewerToken("token-unknown", f"this viewer token is not good: {error}") from None
        viewer = _viewer(claims, key_id)
        if not key.opens(viewer.account_id):
            raise _unknown_key()
        return viewer


def item_of_key(key: str) -> Item:
    """Return the item of ``type/id``.

    Raises:
        BadFilter: it is not of that form.
    """
    entity_type, slash, entity_id = key.partition("/")
    if not slash:
        raise BadFilter(f"item: {key!r:.80} is not type/id; write for example license/lic_1")
    return Item(entity_type, entity_id)


def _unknown_key() -> BadViewerToken:
    return BadViewerToken("token-unknown", "the key of this viewer token (kid) is not known here")


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
