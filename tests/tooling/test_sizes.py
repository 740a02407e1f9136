"""No file and no function grows past what one can read."""

import ast
from pathlib import Path

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70


def long_functions(source: str) -> list[str]:
    """Return each function longer than the limit, as name:lines."""
    return [
        f"{node.name}:{lines}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]


def test_source_files_stay_short(root: Path, source_files: list[Path]) -> None:
    lengths = {str(path.relative_to(root)): len(path.read_text().splitlines()) for path in source_files}
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES_MAX} == {}


def test_functions_stay_short(root: Path, all_python_files: list[Path]) -> None:
    found = {str(path.relative_to(root)): long_functions(path.read_text()) for path in all_python_files}
    assert {name: functions for name, functions in found.items() if functions} == {}


def test_a_long_function_is_caught() -> None:
    body = "\n    x = 1" * FUNCTION_LINES_MAX
    assert long_functions(f"async def f() -> None:{body}") == [f"f:{FUNCTION_LINES_MAX + 1}"]
    assert long_functions("def f() -> None:" + "\n    x = 1" * (FUNCTION_LINES_MAX - 1)) == []
