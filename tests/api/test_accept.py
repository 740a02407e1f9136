"""Choosing the form of an answer."""

from __future__ import annotations

import pytest

from auditlog_api.accept import chosen
from auditlog_api.forms import CSV, FORMS, JSON, JSON_LINES, NDJSON
from auditlog_api.problem import Problem


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("text/csv", CSV),
        ("TEXT/CSV; charset=utf-8", CSV),
        ("text/*", CSV),
        ("text/html, text/csv;q=0.9", CSV),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", JSON),
        ("application/json;q=0.5, application/jsonl", JSON_LINES),
        ("application/x-ndjson", NDJSON),
        ("application/json;q=0, */*", JSON_LINES),
        ("application/json;q=0.3, text/csv;q=0.31", CSV),
        ("*/*;q=0.1, application/json;q=0.05", JSON_LINES),
        ("text/csv;q=nonsense, application/json", JSON),
    ],
)
def test_the_form_that_is_liked_best(accept: str | None, form: str) -> None:
    assert chosen(accept, FORMS) == form


@pytest.mark.parametrize("accept", ["text/html", "image/*", "application/json;q=0", "*/*;q=0", ",;", "json"])
def test_a_form_that_there_is_not_is_refused_with_those_there_are(accept: str) -> None:
    with pytest.raises(Problem) as refused:
        chosen(accept, (JSON, CSV))
    assert refused.value.status == 406
    assert "application/json, text/csv" in refused.value.detail
