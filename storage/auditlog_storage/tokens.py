"""The tokens of the API: who may read which account, kept as hashes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

import pyarrow as pa

from auditlog_schemas.errors import NotFound, StorageUnavailable
from auditlog_storage.connection import Connection
from auditlog_storage.moments import rfc3339
from auditlog_storage.tables import AUDIT_TOKEN_USES, AUDIT_TOKENS

Scope: TypeAlias = Literal["read", "export", "admin", "operator"]

TOKENS_LISTED_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Token:
    """One token, without the token itself.

    Attributes:
        sha256: of the token's text, in hex: the only trace of it.
        token_id: names it in lists and in the log; no secret.
        account_id: whose log it reads; empty for an operator's token, which reads every account's.
        scope: ``read``; ``export`` may export too; ``admin`` may also make and revoke tokens of its account;
            ``operator`` may do all of it in any account.
        name: what people call it.
        created_at, created_by: when, and who made it.
        expires_at: from when on it is refused; None never.
        revoked_at, revoked_by: when it was revoked, and by whom; None and empty while it is not.
        used_at: when it was last used, to the minute or so; None never. Only `TokenTable.tokens` tells.
    """

    sha256: str
    token_id: str
    account_id: str
    scope: Scope
    name: str
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked_by: str = ""
    used_at: datetime | None = None


class TokenTable:
    """Reads and writes `audit_tokens`, for any number of threads; raises what `Connection` raises."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, token: Token) -> None:
        """Store a token.

        Raises:
            StorageUnavailable: it is not there when read back; adding it again is safe.
        """
        self._write(token)
        if self.find(token.sha256) is None:
            raise StorageUnavailable("a token was acknowledged but is not there; make it again")

    def find(self, sha256: str) -> Token | None:
        """Return the token with this hash, revoked or not; None when there is none."""
        rows = self._connection.query_rows(_FIND, {"sha256": sha256})
        return _token(rows[0]) if rows else None

    def tokens(self, account_id: str | None = None) -> list[Token]:
        """Return the newest tokens, at most `TOKENS_LISTED_MAX`, the newest first.

        Args:
            account_id: only this account's; empty for the operators'; None for all.
        """
        values = {
            "any": account_id is None,
            "account_id": account_id or "",
            "rows": TOKENS_LISTED_MAX,
        }
        return [_token(row) for row in self._connection.query_rows(_LIST, values)]

    def revoke(self, token_id: str, account_id: str | None, revoked_by: str) -> tuple[Token, bool]:
        """Revoke a token; one that is revoked already stays as it is.

        Args:
            token_id: which.
            account_id: whose it must be; None for anybody's.
            revoked_by: who does it.

        Returns:
            The token as it is now, and whether this call revoked it.

        Raises:
            NotFound: the account has no such token.
            StorageUnavailable: it could not be written or read back; revoking it again is safe.
        """
        values = {"any": account_id is None, "account_id": account_id or "", "token_id": token_id}
        rows = self._connection.query_rows(_ONE, values)
        if not rows:
            raise NotFound(f"there is no token {token_id!r:.80}")
        token = _token(rows[0])
        if token.revoked_at is not None:
            return token, False
        now = datetime.now(UTC)
        revoked = replace(
            token, revoked_at=now.replace(microsecond=now.microsecond // 1000 * 1000), revoked_by=revoked_by
        )
        self._write(revoked)
        stored = self.find(token.sha256)
        if stored is None or stored.revoked_at is None:
            raise StorageUnavailable("a revocation was acknowledged but is not there; revoke the token again")
        return stored, True

    def note_uses(self, used: Mapping[str, datetime]) -> None:
        """Store when tokens were last used, by token id."""
        rows = [{"token_id": token_id, "used_at": at} for token_id, at in used.items()]
        batch = pa.RecordBatch.from_pylist(rows, schema=AUDIT_TOKEN_USES.rows)
        self._connection.insert_batch(AUDIT_TOKEN_USES.name, batch, token=None)

    def _write(self, token: Token) -> None:
        row = {name: getattr(token, name) for name in _SAME_NAMES}
        row |= {"token_sha256": token.sha256, "revoked": int(token.revoked_at is not None)}
        batch = pa.RecordBatch.from_pylist([row], schema=AUDIT_TOKENS.rows)
        self._connection.insert_batch(AUDIT_TOKENS.name, batch, token=None)


def token_json(token: Token) -> dict[str, Any]:
    """Return a token as JSON-like data, without its hash."""
    return {
        "token_id": token.token_id,
        "account_id": token.account_id,
        "scope": token.scope,
        "name": token.name,
        "created_at": rfc3339(token.created_at),
        "created_by": token.created_by,
        "expires_at": rfc3339(token.expires_at) if token.expires_at else None,
        "revoked_at": rfc3339(token.revoked_at) if token.revoked_at else None,
        "revoked_by": token.revoked_by,
        "last_used_at": rfc3339(token.used_at) if token.used_at else None,
    }


_SAME_NAMES: Final = (
    "token_id",
    "account_id",
    "scope",
    "name",
    "created_at",
    "created_by",
    "expires_at",
    "revoked_at",
    "revoked_by",
)

_FIELDS: Final = f"SELECT token_sha256, {', '.join(_SAME_NAMES)}"

_FIND: Final = f"""
    {_FIELDS}, NULL FROM audit_tokens FINAL WHERE token_sha256 = {{sha256:String}}
"""

_ONE: Final = f"""
    {_FIELDS}, NULL FROM audit_tokens FINAL
    WHERE token_id = {{token_id:String}} AND ({{any:Bool}} OR account_id = {{account_id:String}})
"""

_LIST: Final = f"""
    {_FIELDS}, used_at FROM (
        SELECT * FROM audit_tokens FINAL WHERE {{any:Bool}} OR account_id = {{account_id:String}}
        ORDER BY created_at DESC, token_id LIMIT {{rows:UInt32}}
    ) AS known
    LEFT JOIN (
        SELECT token_id, max(toNullable(used_at)) AS used_at FROM audit_token_uses GROUP BY token_id
    ) AS uses USING (token_id)
    ORDER BY created_at DESC, token_id
"""  # noqa: S608 - made of constants


def _token(row: tuple[Any, ...]) -> Token:
    return Token(*row)
