"""Viewer tokens: what they may say, and who may sign them."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from pydantic import SecretStr

from auditlog_api.viewer_key import ViewerKey
from auditlog_api.viewer_tokens import BadViewerToken, ViewerKeys, item_of_key
from auditlog_schemas.errors import BadFilter
from auditlog_storage.filters import Item

NEW, OLD, OTHER = "n" * 32, "o" * 32, "x" * 32
KEYS = ViewerKeys({"2026-11": ViewerKey(SecretStr(NEW)), "2026-10": ViewerKey(SecretStr(OLD))})
ITEM = Item("license", "a/b c")


def now() -> int:
    return int(time.time())


def signed(key: str = NEW, kid: str | None = "2026-11", algorithm: str = "HS256", **changed: Any) -> str:
    """A good token, but for what was changed; None takes a claim away."""
    claims = {"aud": "auditlog", "account": "acc_1", "iat": now(), "exp": now() + 600} | changed
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm, headers={"kid": kid} if kid else None)


@pytest.mark.parametrize("item", [None, ITEM])
def test_what_is_minted_is_read(item: Item | None) -> None:
    token, expires_at = KEYS.mint("acc_1", item, 600)
    viewer = KEYS.read(token)
    assert (viewer.account_id, viewer.item, viewer.expires_at) == ("acc_1", item, expires_at)
    assert viewer.key_id == "2026-11"
    assert timedelta(seconds=598) < expires_at - datetime.now(UTC) <= timedelta(seconds=600)


def test_two_tokens_are_never_the_same() -> None:
    assert KEYS.mint("acc_1", None, 60)[0] != KEYS.mint("acc_1", None, 60)[0]


def test_every_known_key_is_accepted_and_the_first_one_signs() -> None:
    assert KEYS.read(signed(OLD, "2026-10")).key_id == "2026-10"
    assert jwt.get_unverified_header(KEYS.mint("acc_1", None, 60)[0])["kid"] == "2026-11"


@pytest.mark.parametrize("seconds", [0, 601, -1])
def test_no_token_lives_longer_than_ten_minutes(seconds: int) -> None:
    with pytest.raises(ValueError, match="1 to 600 seconds"):
        KEYS.mint("acc_1", None, seconds)


def test_without_a_key_nothing_is_minted() -> None:
    assert not ViewerKeys({}).signs_for("acc_1")
    with pytest.raises(ValueError, match="needs a key"):
        ViewerKeys({}).mint("acc_1", None, 60)


# Signed by the test itself: a long run must not outlive them.
REFUSED: dict[str, tuple[str, Callable[[], str]]] = {
    "no token at all": ("token-malformed", lambda: "nonsense"),
    "empty": ("token-malformed", lambda: ""),
    "half a token": ("token-malformed", lambda: signed().rpartition(".")[0]),
    "another key under a known id": ("token-unknown", lambda: signed(OTHER)),
    "an unknown id": ("token-unknown", lambda: signed(OTHER, "2020-01")),
    "no id": ("token-unknown", lambda: signed(NEW, None)),
    "the other key's id": ("token-unknown", lambda: signed(OLD, "2026-11")),
    "another algorithm": ("token-unknown", lambda: signed(NEW * 2, algorithm="HS512")),
    "not signed": ("token-unknown", lambda: signed("", algorithm="none")),
    "for another audience": ("token-unknown", lambda: signed(aud="billing")),
    "without an audience": ("token-unknown", lambda: signed(aud=None)),
    "without an account": ("token-unknown", lambda: signed(account=None)),
    "without an end": ("token-unknown", lambda: signed(exp=None)),
    "without a beginning": ("token-unknown", lambda: signed(iat=None)),
    "expired": ("token-expired", lambda: signed(iat=now() - 700, exp=now() - 100)),
    "too long": ("token-unknown", lambda: signed(iat=now(), exp=now() + 601)),
    "for the day after tomorrow": ("token-unknown", lambda: signed(iat=now() + 200_000, exp=now() + 200_600)),
    "an account that is none": ("token-unknown", lambda: signed(account="")),
    "an account that is a number": ("token-unknown", lambda: signed(account=7)),
    "an item that is none": ("token-unknown", lambda: signed(item="license")),
    "an item that is a list": ("token-unknown", lambda: signed(item=["license/1"])),
    "a beginning that is text": ("token-unknown", lambda: signed(iat=str(now()))),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_token_is_refused(what: str) -> None:
    name, token = REFUSED[what]
    with pytest.raises(BadViewerToken) as refused:
        KEYS.read(token())
    assert refused.value.name == name
    assert NEW not in str(refused.value)


def test_a_hosts_clock_may_be_a_little_ahead() -> None:
    assert KEYS.read(signed(iat=now() + 15, exp=now() + 615)).account_id == "acc_1"


def test_an_item_is_a_type_and_an_id() -> None:
    assert item_of_key("license/a/b") == Item("license", "a/b")
    for text in ("license", "/x", "license/"):
        with pytest.raises(BadFilter, match="item"):
            item_of_key(text)


LIMITED = ViewerKeys(
    {
        "partner": ViewerKey(SecretStr(OTHER), frozenset({"acc_1", "acc_2"})),
        "2026-11": ViewerKey(SecretStr(NEW)),
    }
)


def test_a_key_that_is_limited_to_accounts_opens_no_other() -> None:
    assert LIMITED.read(signed(OTHER, "partner", account="acc_2")).account_id == "acc_2"
    assert LIMITED.read(signed(NEW, account="acc_3")).account_id == "acc_3"
    with pytest.raises(BadViewerToken) as unknown:
        LIMITED.read(signed(OTHER, "nobody", account="acc_3"))
    for account in ("acc_3", "ACC_1", "acc_1 ", "acc_10"):
        with pytest.raises(BadViewerToken) as refused:
            LIMITED.read(signed(OTHER, "partner", account=account))
        assert (refused.value.name, str(refused.value)) == (unknown.value.name, str(unknown.value))


def test_the_first_key_that_opens_the_account_signs() -> None:
    for account, key_id in (("acc_1", "partner"), ("acc_3", "2026-11")):
        assert jwt.get_unverified_header(LIMITED.mint(account, None, 60)[0])["kid"] == key_id
    alone = ViewerKeys({"partner": ViewerKey(SecretStr(OTHER), frozenset({"acc_1"}))})
    assert (alone.signs_for("acc_1"), alone.signs_for("acc_2")) == (True, False)
    with pytest.raises(ValueError, match="needs a key"):
        alone.mint("acc_2", None, 60)
