"""The sources that the rules about the tree apply to."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE_FOLDERS = ("schemas", "producers", "storage", "consumer", "exports", "api", "local", "cli")


def python_files(folders: tuple[str, ...]) -> list[Path]:
    return sorted(
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
    )


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def source_files() -> list[Path]:
    """Every module of the eight parts."""
    return python_files(SOURCE_FOLDERS)


@pytest.fixture(scope="session")
def all_python_files() -> list[Path]:
    """Sources, tests, benches and scripts."""
    return python_files((*SOURCE_FOLDERS, "tests", "benches", "scripts"))
