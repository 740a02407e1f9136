"""The Dockerfile, as far as it can be checked without building it."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def copied() -> list[str]:
    """Return the sources of every COPY out of the build context."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
    return [source for line in lines for source in line.split()[:-1]]


def test_what_it_copies_exists_and_is_sent_to_the_build() -> None:
    let_through = set(re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    assert copied() != []
    assert [source for source in copied() if not (ROOT / source).exists()] == []
    assert let_through == set(copied())


def test_it_copies_every_package_of_the_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {package.split("/")[0] for package in packages} <= set(copied())


def test_only_locked_packages_are_installed() -> None:
    installs = re.findall(r"pip install (.+)$", DOCKERFILE, re.MULTILINE)
    assert installs == ["--require-hashes -r requirements/server.txt", "--no-build-isolation --no-deps ."]


def test_it_runs_our_command_as_an_ordinary_user() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert 'ENTRYPOINT ["auditlog"]' in DOCKERFILE
    assert "auditlog" in project["project"]["scripts"]
    user = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    # A number, so that an orchestrator can see that it is not root.
    assert user != []
    assert user[-1].isdigit()
    assert user[-1] != "0"


def test_its_bases_are_pinned() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert set(bases) == {"python:3.11-slim"}
