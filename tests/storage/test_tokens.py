"""The table of tokens."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from auditlog_schemas.errors import NotFound
from auditlog_storage.tokens import Token, TokenTable, token_json
from storage.event_log import Log

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 1, 9, 30, 0, 250_000, UTC)


def made(**changed: Any) -> Token:
    token = Token(
        sha256=uuid4().hex * 2,
        token_id=f"tok_{uuid4().hex[:16]}",
        account_id=f"acc_{uuid4().hex}",
        scope="read",
        name="Nightly export",
        created_at=NOW,
        created_by="ada@host",
        expires_at=NOW + timedelta(days=90),
    )
    return replace(token, **changed)


@pytest.fixture
def table(shared_log: Log) -> TokenTable:
    return TokenTable(shared_log.connection)


def test_a_token_is_found_by_its_hash_as_it_was_added(table: TokenTable) -> None:
    token = made()
    table.add(token)
    assert table.find(token.sha256) == token
    assert table.find("0" * 64) is None


def test_adding_it_again_changes_nothing(table: TokenTable) -> None:
    token = made(expires_at=None)
    table.add(token)
    table.add(token)
    assert table.tokens(token.account_id) == [token]


def test_a_revoked_token_stays_revoked_whatever_is_written_later(table: TokenTable) -> None:
    token = made()
    table.add(token)
    revoked, now = table.revoke(token.token_id, token.account_id, "grace@host")
    assert now
    assert revoked.revoked_by == "grace@host"
    assert revoked.revoked_at is not None
    table.add(token)
    assert table.find(token.sha256) == revoked


def test_a_second_revocation_keeps_who_was_first(table: TokenTable) -> None:
    token = made()
    table.add(token)
    first, _ = table.revoke(token.token_id, None, "grace@host")
    assert table.revoke(token.token_id, None, "somebody@else") == (first, False)


def test_another_accounts_token_cannot_be_revoked(table: TokenTable) -> None:
    token = made()
    table.add(token)
    with pytest.raises(NotFound):
        table.revoke(token.token_id, "acc_other", "grace@host")
    with pytest.raises(NotFound):
        table.revoke("tok_none", None, "grace@host")
    assert table.find(token.sha256) == token


def test_an_accounts_tokens_are_listed_newest_first_with_their_last_use(table: TokenTable) -> None:
    account = f"acc_{uuid4().hex}"
    old = made(account_id=account)
    new = made(account_id=account, created_at=NOW + timedelta(hours=1))
    other = made()
    for token in (old, new, other):
        table.add(token)
    table.note_uses({old.token_id: NOW + timedelta(days=2)})
    table.note_uses({old.token_id: NOW + timedelta(days=1), other.token_id: NOW})
    assert table.tokens(account) == [new, replace(old, used_at=NOW + timedelta(days=2))]
    assert {token.token_id for token in table.tokens()} >= {old.token_id, new.token_id, other.token_id}


def test_operators_tokens_belong_to_no_account(table: TokenTable) -> None:
    token = made(account_id="", scope="operator")
    table.add(token)
    assert token in table.tokens("")


def test_as_json_it_has_no_hash() -> None:
    token = made()
    shown = token_json(token)
    assert token.sha256 not in str(shown)
    assert shown == {
        "token_id": token.token_id,
        "account_id": token.account_id,
        "scope": "read",
        "name": "Nightly export",
        "created_at": "2026-11-01T09:30:00.25Z",
        "created_by": "ada@host",
        "expires_at": "2027-01-30T09:30:00.25Z",
        "revoked_at": None,
        "revoked_by": "",
        "last_used_at": None,
    }
