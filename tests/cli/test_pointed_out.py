"""A mistake in a search is shown under its place."""

from __future__ import annotations

import pytest

from auditlog_cli.commands.events import SHOWN_CHARACTERS_MAX, pointed_out
from cli.ran import Run


@pytest.mark.parametrize(
    ("text", "position", "lines"),
    [
        ("actor:x foo:y", 8, ("actor:x foo:y", "        ^")),
        ("action:", 7, ("action:", "       ^")),
        ("日本 foo:y", 3, ("日本 foo:y", "     ^")),
        ("\x1b[31m foo:y", 6, ("\\x1b[31m foo:y", "         ^")),
    ],
)
def test_the_caret_is_under_the_mistake(text: str, position: int, lines: tuple[str, str]) -> None:
    assert pointed_out(text, position) == lines


def test_of_a_long_search_the_neighbourhood_is_shown() -> None:
    shown, caret = pointed_out("a" * 500 + "!" + "b" * 500, 500)
    assert shown[caret.index("^")] == "!"
    assert len(shown) == SHOWN_CHARACTERS_MAX + 2
    assert (shown[0], shown[-1]) == ("…", "…")


def test_the_command_shows_the_place_and_what_was_expected(run: Run) -> None:
    ran = run("events", "--account", "a", "actor:usr_1 created:soon")
    assert ran.code == 2
    assert ran.err.splitlines()[:2] == ["actor:usr_1 created:soon", "                    ^"]
    assert "search: not a time at character 21; expected" in ran.err
