"""`scripts/test-pythons` finds every Python that is new enough, and says of each whether the tests passed."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/test-pythons"
VERSION = platform.python_version()
OWN_NAME = f"python{sys.version_info.major}.{sys.version_info.minor}"
BROKEN = "#!/bin/sh\nexit 127\n"
OLDER = "import sys; sys.version_info = (3, 10, 13); exec(sys.stdin.read())"


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(0o755)


def this_python(path: Path) -> None:
    executable(path, f'#!/bin/sh\nexec {sys.executable} "$@"\n')


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with the script, and next to it a PATH with no Python and a pyenv with no version."""
    tree, tools = tmp_path / "tree", tmp_path / "tools"
    (tree / "scripts").mkdir(parents=True)
    shutil.copy(SCRIPT, tree / "scripts")
    tools.mkdir()
    for name in ("bash", "env", "dirname", "git", "mkdir", "mktemp", "rm", "sort", "sh"):
        found = shutil.which(name)
        assert found is not None, name
        (tools / name).symlink_to(found)
    return tree


def commit(tree: Path, test: str) -> None:
    executable(tree / "scripts/test", test)
    identity = ["-c", "user.name=tester", "-c", "user.email=tester@example.com"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "All of it"]):
        subprocess.run(["git", "-C", tree, *command], check=True, timeout=60)


def run(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": str(tree.parent / "tools"),
        "PYENV_ROOT": str(tree.parent / "pyenv"),
    }
    return subprocess.run(
        [tree / "scripts/test-pythons", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_python_on_the_path_is_found_and_broken_ones_are_not(tree: Path) -> None:
    this_python(tree.parent / "tools" / OWN_NAME)
    executable(tree.parent / "tools/python3.98", BROKEN)
    executable(tree.parent / "tools/python3.99-config", BROKEN)
    assert run(tree, "--list").stdout == f"{VERSION} {sys.executable}\n"


def test_pyenvs_pythons_are_found_and_one_version_counts_once(tree: Path) -> None:
    this_python(tree.parent / f"pyenv/versions/{VERSION}/bin/python3")
    this_python(tree.parent / "pyenv/versions/again/bin/python3")
    this_python(tree.parent / "tools" / OWN_NAME)
    assert run(tree, "--list").stdout == f"{VERSION} {sys.executable}\n"


def test_an_older_python_is_left_out(tree: Path) -> None:
    executable(tree.parent / "tools/python3.10", f"#!/bin/sh\nexec {sys.executable} -c '{OLDER}'\n")
    assert run(tree, "--list").returncode == 1
    this_python(tree.parent / "tools" / OWN_NAME)
    assert run(tree, "--list").stdout == f"{VERSION} {sys.executable}\n"


def test_where_there_is_no_python_it_says_so_and_fails(tree: Path) -> None:
    done = run(tree)
    assert (done.returncode, done.stdout) == (1, "")
    assert "found no Python 3.11 or newer" in done.stderr


def test_what_is_tried_is_a_clone_of_the_commit_with_the_python_that_was_found(tree: Path) -> None:
    this_python(tree.parent / "tools" / OWN_NAME)
    commit(tree, '#!/bin/sh\necho "$PYTHON $*"\necho "$0"\n')
    executable(tree / "scripts/test", "#!/bin/sh\nexit 1\n")
    done = run(tree)
    assert (done.returncode, done.stdout) == (0, f"{VERSION}: passed ({sys.executable})\n")
    assert "only what is committed is tried" in done.stderr
    said, place = (tree / f"build/test-pythons/{VERSION}.log").read_text("utf-8").splitlines()
    assert said == f"{sys.executable} --fast"
    assert not place.startswith(str(tree))
    assert not Path(place).exists(), "the clone stayed"


def test_one_that_failed_is_named_with_its_log(tree: Path) -> None:
    this_python(tree.parent / "tools" / OWN_NAME)
    commit(tree, "#!/bin/sh\necho 'types: failed'\nexit 1\n")
    done = run(tree)
    assert done.returncode == 1
    assert done.stdout == f"{VERSION}: failed ({sys.executable}), see build/test-pythons/{VERSION}.log\n"
    assert (tree / f"build/test-pythons/{VERSION}.log").read_text("utf-8") == "types: failed\n"


def test_an_unknown_argument_is_refused(tree: Path) -> None:
    done = run(tree, "--all")
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage:" in done.stderr
