"""Making a token, for the API and for the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from auditlog_api.token_text import new_token, token_id_of, token_sha256
from auditlog_storage.tokens import Scope, Token

NAME_CHARACTERS_MAX: Final = 100


def made_token(
    *, account_id: str, scope: Scope, name: str, created_by: str, expires_in_seconds: int | None
) -> tuple[str, Token]:
    """Return a new token's text, which is to be shown once, and what is to be stored of it.

    Args:
        account_id: whose log it reads; empty with scope ``operator``.
        scope: what it may do.
        name: what people call it.
        created_by: who makes it.
        expires_in_seconds: how long it is good; None for ever.
    """
    text = new_token()
    sha256 = token_sha256(text)
    now = datetime.now(UTC)
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)
    return text, Token(
        sha256=sha256,
        token_id=token_id_of(sha256),
        account_id=account_id,
        scope=scope,
        name=name,
        created_at=now,
        created_by=created_by,
        expires_at=None if expires_in_seconds is None else now + timedelta(seconds=expires_in_seconds),
    )
