"""The tests are spread over workers by file, except where single tests are named."""

from __future__ import annotations

from pathlib import Path

from kit.workers import FILES_OF_SINGLE_TESTS, piece_of


def test_a_file_is_one_piece_of_work() -> None:
    assert piece_of("tests/cli/test_moments.py::test_a[1]") == "tests/cli/test_moments.py"


def test_single_tests_are_pieces_of_their_own(root: Path) -> None:
    for file in FILES_OF_SINGLE_TESTS:
        assert (root / file).is_file()
        assert piece_of(f"{file}::test_a[1]") == f"{file}::test_a[1]"
