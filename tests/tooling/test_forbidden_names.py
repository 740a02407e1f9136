"""A module is named after what it holds."""

from pathlib import Path

import pytest

FORBIDDEN = {"util", "utils", "helper", "helpers", "manager", "managers", "common", "misc"}


def forbidden_part(path: Path) -> str | None:
    """Return the folder or module name in `path` that says nothing, also as one word of a longer name."""
    for part in path.with_suffix("").parts:
        if set(part.lower().split("_")) & FORBIDDEN:
            return part
    return None


def test_no_module_is_named_after_nothing(root: Path, all_python_files: list[Path]) -> None:
    names = [path.relative_to(root) for path in all_python_files]
    assert [str(path) for path in names if forbidden_part(path)] == []


@pytest.mark.parametrize(
    "name", ["storage/auditlog_storage/utils.py", "x/helpers/a.py", "x/topic_manager.py"]
)
def test_such_a_name_is_caught(name: str) -> None:
    assert forbidden_part(Path(name)) is not None


def test_test_files_have_unique_names(root: Path) -> None:
    names = [path.name for path in (root / "tests").rglob("test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []
