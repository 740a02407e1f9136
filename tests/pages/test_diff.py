"""What a page says of an event's changes."""

from auditlog_api.pages.diff import LINES_COMPARED_MAX, LINES_SHOWN_MAX, field_diffs, in_short
from auditlog_schemas.event import Change


def test_changes_in_short_say_how_many_fields_and_what_kind() -> None:
    changes = [
        Change.of("seats", 5, 10),
        Change.of("plan", "a", "b"),
        Change.of("note", None, "x"),
        Change.of("old", 1, None),
        Change(field="secret"),
    ]
    short = in_short(changes)
    assert short.kinds == "2 changed, 1 set, 1 removed, 1 touched"
    assert short.fields == "seats, plan, note, +2 more"
    assert in_short([]).kinds == ""


def test_a_side_that_was_absent_is_no_empty_value() -> None:
    [diff] = field_diffs([Change.of("note", None, "")])
    assert diff.kind == "set"
    assert diff.before is None
    assert diff.after is not None
    assert [line.text for line in diff.after.lines] == ['""']


def test_lines_that_the_other_side_lacks_are_marked() -> None:
    [diff] = field_diffs([Change.of("permissions", ["a", "b"], ["a", "c", "b"])])
    assert diff.before is not None
    assert diff.after is not None
    assert [line.text for line in diff.before.lines if line.differs] == []
    assert [line.text for line in diff.after.lines if line.differs] == ['  "c",']


def test_simple_values_are_not_marked() -> None:
    [diff] = field_diffs([Change.of("seats", 5, 10)])
    assert diff.before is not None
    assert not any(line.differs for line in diff.before.lines)


def test_long_values_are_folded_and_whole() -> None:
    long, many = "a" * 32_000, list(range(LINES_SHOWN_MAX))
    [by_size, by_lines] = field_diffs([Change.of("x", 1, long), Change.of("y", 1, many)])
    assert by_size.before is not None
    assert by_size.before.preview is None
    assert by_size.after is not None
    assert by_size.after.preview is not None
    assert len(by_size.after.preview) < 200
    assert by_size.after.size == "31.3 KiB"
    assert by_size.after.lines[0].text == f'"{long}"'
    assert by_lines.after is not None
    assert by_lines.after.preview is not None


def test_very_long_values_are_not_compared() -> None:
    [diff] = field_diffs([Change.of("x", [0], list(range(LINES_COMPARED_MAX)))])
    assert diff.after is not None
    assert not any(line.differs for line in diff.after.lines)
