"""What is locked stays locked, and what is run can be run."""

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
# Which declarations of pyproject.toml each file locks: extras, then dependency groups.
LOCKS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "server.txt": (("server",), ()),
    "local.txt": (("local",), ()),
    "dev.txt": (("local",), ("dev",)),
    "bench.txt": (("local",), ("bench",)),
}
REGISTRY = re.compile(
    r"https?://|index-url|find-links|pypi\.org|pythonhosted\.org|maven\.org|apache\.org/maven"
)


def locked_lines(text: str) -> Iterator[str]:
    """Yield the requirements of a requirements file, continuation lines joined, comments left out."""
    joined = re.sub(r"\\\n\s*", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    yield from (line for line in joined.splitlines() if line.strip())


def locked_versions(name: str) -> dict[str, list[Version]]:
    """Return the pinned versions of each package; more than one where markers choose."""
    found: dict[str, list[Version]] = {}
    for line in locked_lines((ROOT / "requirements" / name).read_text()):
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", line)
        assert match, line
        found.setdefault(canonicalize_name(match[1]), []).append(Version(match[2]))
    return found


def declared(extras: tuple[str, ...], groups: tuple[str, ...]) -> dict[str, Requirement]:
    """Return what pyproject.toml asks for, with the extras that name other extras followed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = [*project["project"]["dependencies"]]
    for group in groups:
        lines += project["dependency-groups"][group]
    waiting, seen = list(extras), set[str]()
    while waiting:
        extra = waiting.pop()
        if extra not in seen:
            seen.add(extra)
            optional = [Requirement(line) for line in project["project"]["optional-dependencies"][extra]]
            waiting += [name for line in optional if line.name == "auditlog" for name in line.extras]
            lines += [str(line) for line in optional if line.name != "auditlog"]
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_is_pinned_and_hashed(name: str) -> None:
    lines = list(locked_lines((ROOT / "requirements" / name).read_text()))
    assert len(lines) > 5
    assert [
        line for line in lines if not re.match(r"[A-Za-z0-9._-]+(\[[^]]*\])?==\S+ .*--hash=sha256:", line)
    ] == []


@pytest.mark.parametrize(
    "line", ["rich==15.0.0", "rich>=15 --hash=sha256:00", "-e .", "rich @ file:///x --hash=sha256:00"]
)
def test_an_open_requirement_is_caught(line: str) -> None:
    assert not re.match(r"[A-Za-z0-9._-]+(\[[^]]*\])?==\S+ .*--hash=sha256:", line)


@pytest.mark.parametrize("name", LOCKS)
def test_the_lock_holds_what_the_project_declares(name: str) -> None:
    versions = locked_versions(name)
    for package, requirement in declared(*LOCKS[name]).items():
        assert package in versions, f"{package}: run scripts/lock"
        assert all(requirement.specifier.contains(version) for version in versions[package]), str(requirement)


@pytest.mark.parametrize("name", ["server.txt", "local.txt"])
def test_the_build_backend_is_locked_too(name: str) -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    versions = locked_versions(name)
    for requirement in map(Requirement, build):
        assert all(requirement.specifier.contains(version) for version in versions[requirement.name])


@pytest.mark.parametrize("name", ["server.txt", "local.txt"])
def test_the_runtime_is_tested_with_the_versions_it_ships(name: str) -> None:
    dev = locked_versions("dev.txt")
    differing = {
        package for package, versions in locked_versions(name).items() if dev.get(package) != versions
    }
    assert differing == set()


def lock_files() -> list[Path]:
    folders = [path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")]
    found = [
        path for folder in folders for path in folder.rglob("*") if re.search(r"[.-]lock(\.|$)", path.name)
    ]
    return [
        *(ROOT / "requirements").iterdir(),
        *(path for path in found if path.is_file()),
        *ROOT.glob("*.lock*"),
    ]


def test_no_lock_file_names_a_registry() -> None:
    assert [str(path.relative_to(ROOT)) for path in lock_files() if REGISTRY.search(path.read_text())] == []


def test_scripts_can_be_run() -> None:
    scripts = [path for folder in ("scripts", ".ci") for path in (ROOT / folder).iterdir() if path.is_file()]
    scripts = [path for path in scripts if path.suffix != ".md"]
    assert scripts != []
    for path in scripts:
        assert path.read_bytes().startswith(b"#!"), path.name
        assert os.access(path, os.X_OK), path.name
