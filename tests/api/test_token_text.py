"""What a token looks like."""

from __future__ import annotations

import re
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog_api.token_text import is_token, new_token, token_id_of, token_sha256


def test_a_token_has_a_prefix_178_random_bits_and_a_checksum() -> None:
    tokens = {new_token() for _ in range(200)}
    assert len(tokens) == 200
    assert all(re.fullmatch(r"alt_[0-9A-Za-z]{36}", token) for token in tokens)
    assert all(map(is_token, tokens))
    assert 62**30 > 2**178


@given(st.data())
def test_a_typo_is_noticed(data: st.DataObject) -> None:
    token = new_token()
    place = data.draw(st.integers(4, len(token) - 1))
    letter = data.draw(st.sampled_from("0Aa9Zz_-.é"))
    if token[place] != letter:
        assert not is_token(token[:place] + letter + token[place + 1 :])


@pytest.mark.parametrize("text", ["", "alt_", "alt_" + "a" * 35, "alt_" + "a" * 36, "xlt_" + "a" * 36])
def test_what_is_no_token_is_seen_at_once(text: str) -> None:
    assert not is_token(text)


def test_a_cut_token_and_one_with_a_space_are_noticed() -> None:
    token = new_token()
    assert not is_token(token[:-1])
    assert not is_token(token + " ")


def test_only_the_hash_is_kept() -> None:
    token = new_token()
    assert token_sha256(token) == sha256(token.encode()).hexdigest()
    assert token_id_of(token_sha256(token)) == "tok_" + token_sha256(token)[:16]
