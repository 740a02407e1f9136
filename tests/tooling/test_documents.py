"""What the documents show is what the tests run, and their links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text("utf-8"), re.DOTALL)


def test_the_readme_opens_with_the_two_commands() -> None:
    first, *_ = blocks("README.md", "sh")
    assert [line.split()[0] for line in first.splitlines()] == ["scripts/demo", "scripts/test"]


def test_the_readmes_queries_are_those_that_run_in_the_tests_of_querying() -> None:
    shown = blocks("README.md", "sql")
    assert len(shown) == 5
    assert set(shown) <= set(blocks("docs/querying.md", "sql"))


def test_the_readmes_example_is_the_one_that_runs_against_a_broker() -> None:
    [example] = blocks("README.md", "python")
    calls = re.findall(r"^        \w+=.*,$", example, re.MULTILINE)
    assert len(calls) == 5
    script = (ROOT / "examples/publish.py").read_text("utf-8")
    assert all(line.strip() in script for line in calls)
    compile(example, "README.md", "exec")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\((?!https?://)([^)#]*)(?:#[^)]*)?\)", text):
        assert not target or (document.parent / target).exists(), f"{document.name} links to {target}"


def test_every_section_that_the_consumer_names_is_in_operations() -> None:
    headings = re.findall(r"^#+ (.*)$", (ROOT / "docs/operations.md").read_text("utf-8"), re.MULTILINE)
    sources = "".join(path.read_text("utf-8") for path in ROOT.glob("*/auditlog_*/**/*.py"))
    joined = re.sub(r'"\s*f?"', "", sources)
    named = re.findall(r"docs/operations\.md, '([^']+)'", joined)
    assert len(named) >= 3
    assert set(named) <= set(headings)


def test_the_file_map_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts/file-map", "--check"], check=False)
    assert done.returncode == 0, "run scripts/file-map"
