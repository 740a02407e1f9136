"""docker-compose.yml against the Compose specification and against our own rules."""

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest

from auditlog_storage import users
from auditlog_storage.settings import USER_PASSWORDS

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
Document = dict[str, Any]
Interpolate = Callable[[Document, Mapping[str, str]], Document]

PASSWORDS = (
    "AUDITLOG_CLICKHOUSE_CONSUMER_PASSWORD",
    "AUDITLOG_CLICKHOUSE_API_PASSWORD",
    "AUDITLOG_CLICKHOUSE_EXPORTS_PASSWORD",
    "AUDITLOG_ANALYST_PASSWORD",
)
# What the file tells our processes. Adding one here means that a process reads it.
VARIABLES_PASSED = {
    "AUDITLOG_KAFKA",
    "AUDITLOG_CLICKHOUSE_URL",
    *PASSWORDS,
    "AUDITLOG_SCHEMA_REGISTRY_URL",
    "AUDITLOG_TOPIC",
    "AUDITLOG_GROUP",
    "AUDITLOG_CATALOG",
    "AUDITLOG_SCHEMAS",
    "AUDITLOG_KAFKA_CONFIG",
    "AUDITLOG_API_VIEWER_KEYS",
    "AUDITLOG_API_CORS_ORIGINS",
    "AUDITLOG_API_SIGN_IN_URL",
    "AUDITLOG_API_TRUSTED_PROXIES",
    "AUDITLOG_API_BEHIND_HTTPS",
    "AUDITLOG_EXPORT_URL",
    "AUDITLOG_EXPORT_KEEP_SECONDS",
}
EXPORTS = "/var/lib/auditlog/exports"
SOURCES = ("schemas", "producers", "storage", "consumer", "exports", "api", "cli")
SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|CREDENTIAL|KEYS")
REQUIRED_REFERENCE = re.compile(r"\$\{\w+:\?[^}]+\}")
URL_PASSWORD = re.compile(r"://(?:\$\{[^}]*\}|[^:/@$])*:(?P<password>\$\{[^}]*\}|[^@]*)@")


def services(document: Document) -> list[tuple[str, Document]]:
    return list(document["services"].items())


def is_one_shot(name: str, document: Document) -> bool:
    """True for a service that ends by itself and that others wait for."""
    waited_for = any(
        service.get("depends_on", {}).get(name, {}).get("condition") == "service_completed_successfully"
        for _, service in services(document)
    )
    return waited_for and document["services"][name]["restart"] == "no"


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def literal_passwords(document: Document) -> list[str]:
    """Name every place where a password is written out or has a default."""
    found = []
    for name, service in services(document):
        for key, value in service.get("environment", {}).items():
            if SECRET_NAME.search(key) and value is not None and not REQUIRED_REFERENCE.fullmatch(str(value)):
                found.append(f"{name}.environment.{key}")
        for text in strings(service):
            match = URL_PASSWORD.search(text)
            if match and not REQUIRED_REFERENCE.fullmatch(match["password"]):
                found.append(f"{name}: {text}")
    return found


def test_the_vendored_schema_is_the_one_its_readme_names() -> None:
    digest = hashlib.sha256((HERE / "compose-spec.json").read_bytes()).hexdigest()
    assert digest in (HERE / "README.md").read_text()


def test_it_follows_the_compose_specification(
    compose: Document, interpolated: Interpolate, secrets_given: Mapping[str, str]
) -> None:
    schema = json.loads((HERE / "compose-spec.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    assert [error.message for error in validator.iter_errors(interpolated(compose, secrets_given))] == []


def test_the_schema_check_catches_a_misspelt_key(compose: Document) -> None:
    schema = json.loads((HERE / "compose-spec.json").read_text())
    broken = {**compose, "services": {"kafka": {"image": "apache/kafka:4.4.0", "restrat": "always"}}}
    with pytest.raises(jsonschema.ValidationError, match="restrat"):
        jsonschema.validate(broken, schema, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("missing", ["AUDITLOG_MIGRATE_PASSWORD", *PASSWORDS])
@pytest.mark.parametrize("how", ["unset", "empty"])
def test_without_a_password_it_does_not_start(
    missing: str,
    how: str,
    compose: Document,
    interpolated: Interpolate,
    secrets_given: Mapping[str, str],
    variable_missing: type[Exception],
) -> None:
    given = dict(secrets_given)
    del given[missing]
    if how == "empty":
        given[missing] = ""
    with pytest.raises(variable_missing, match=f"{missing}: set {missing} in .env"):
        interpolated(compose, given)


def test_no_password_is_written_out(compose: Document) -> None:
    assert literal_passwords(compose) == []


@pytest.mark.parametrize(
    "environment",
    [
        {"CLICKHOUSE_PASSWORD": "secret"},
        {"CLICKHOUSE_PASSWORD": "${CLICKHOUSE_PASSWORD}"},
        {"CLICKHOUSE_PASSWORD": "${CLICKHOUSE_PASSWORD:-secret}"},
        {"URL": "http://user:secret@clickhouse:8123"},
        {"URL": "http://${U:-me}:${P:-secret}@clickhouse:8123"},
    ],
)
def test_the_password_check_catches(environment: dict[str, str]) -> None:
    assert literal_passwords({"services": {"clickhouse": {"environment": environment}}}) != []


def test_every_service_is_checked_or_ends_by_itself(compose: Document) -> None:
    unchecked = [name for name, service in services(compose) if "healthcheck" not in service]
    assert [name for name in unchecked if not is_one_shot(name, compose)] == []
    assert unchecked == ["migrate"]


def test_every_service_has_limits_and_a_restart_policy(compose: Document) -> None:
    for name, service in services(compose):
        limits = service["deploy"]["resources"]["limits"]
        assert set(limits) == {"cpus", "memory"}, name
        assert service["restart"] in {"no", "unless-stopped"}, name


def test_ports_are_published_on_loopback_only(compose: Document) -> None:
    ports = [(name, port) for name, service in services(compose) for port in service.get("ports", [])]
    assert {name for name, _ in ports} == {"kafka", "clickhouse", "registry", "api"}
    assert [port for _, port in ports if not str(port).startswith("127.0.0.1:")] == []
    assert [name for name, service in services(compose) if "network_mode" in service] == []


def test_images_are_pinned(compose: Document) -> None:
    for name, service in services(compose):
        tag = service["image"].rpartition(":")[2]
        assert re.fullmatch(r"\d+\.\d+(\.\d+)*", tag), f"{name}: {service['image']}"


def test_waiting_is_on_a_condition_that_can_come_true(compose: Document) -> None:
    for name, service in services(compose):
        for other, wait in service.get("depends_on", {}).items():
            needed = compose["services"][other]
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in needed, f"{name} waits for {other}"
            else:
                assert wait["condition"] == "service_completed_successfully", f"{name} waits for {other}"
                assert is_one_shot(other, compose), f"{name} waits for {other}"
            assert "profiles" not in needed, f"{name} waits for {other}, which is optional"


def test_data_lives_in_named_volumes(compose: Document) -> None:
    places = {
        "kafka": "/var/lib/kafka/data",
        "clickhouse": "/var/lib/clickhouse",
        "api": EXPORTS,
        "export-worker": EXPORTS,
    }
    for name, target in places.items():
        mounted = {
            volume.split(":")[1]: volume.split(":")[0] for volume in compose["services"][name]["volumes"]
        }
        assert mounted[target] in compose["volumes"]


def test_exports_are_where_the_api_and_the_worker_find_them(compose: Document) -> None:
    api, worker = (compose["services"][name] for name in ("api", "export-worker"))
    assert api["volumes"] == worker["volumes"]
    urls = {service["environment"]["AUDITLOG_EXPORT_URL"] for service in (api, worker)}
    assert urls == {f"${{AUDITLOG_EXPORT_URL:-file://{EXPORTS}}}"}
    # A new volume gets the owner of the image's folder.
    assert f"install --directory --owner auditlog {EXPORTS}" in (ROOT / "Dockerfile").read_text()


def test_kafka_keeps_our_promises(compose: Document) -> None:
    environment = compose["services"]["kafka"]["environment"]
    assert environment["KAFKA_LOG_MESSAGE_TIMESTAMP_TYPE"] == "LogAppendTime"
    assert environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert environment["KAFKA_LOG_DIRS"] == "/var/lib/kafka/data"
    # The registry creates its journal with the broker's default, and a journal has one order.
    assert environment.get("KAFKA_NUM_PARTITIONS", "1") == "1"


def test_the_registry_is_optional_and_lasting(compose: Document) -> None:
    registry = compose["services"]["registry"]
    assert registry["profiles"] == ["registry"]
    # In-memory, the default, would forget the ids of messages that are still in the topic.
    assert registry["environment"]["APICURIO_STORAGE_KIND"] == "kafkasql"


def ours(document: Document) -> list[Document]:
    return [service for _, service in services(document) if "build" in service]


def test_our_services_run_without_privileges(compose: Document) -> None:
    assert len(ours(compose)) == 4
    for service in ours(compose):
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["init"]
    assert compose["services"]["consumer"]["deploy"]["replicas"] == 3


def test_each_service_has_a_clickhouse_user_of_its_own(compose: Document) -> None:
    found = {
        name: re.match(r"http://(\w+):", service["environment"]["AUDITLOG_CLICKHOUSE_URL"])
        for name, service in services(compose)
        if service in ours(compose)
    }
    assert {name: user and user[1] for name, user in found.items()} == {
        "migrate": users.MIGRATE,
        "consumer": users.CONSUMER,
        "api": users.API,
        "export-worker": users.EXPORTS,
    }
    # Whose passwords the migration is told, and nobody else.
    told = {name: set(PASSWORDS) & service["environment"].keys() for name, service in services(compose)}
    assert {name: found for name, found in told.items() if found} == {"migrate": set(PASSWORDS)}
    assert len(PASSWORDS) == len(USER_PASSWORDS)


def test_the_migrations_user_has_the_rights_of_the_table(compose: Document) -> None:
    assert (
        not {"CLICKHOUSE_USER", "CLICKHOUSE_PASSWORD"}
        & compose["services"]["clickhouse"]["environment"].keys()
    )
    root = ElementTree.fromstring(compose["configs"]["clickhouse-users"]["content"])
    [user] = root.findall("users/*")
    assert user.tag == users.MIGRATE
    found = [query.text for query in user.iter("query")]
    assert found == users.grants(users.MIGRATE, "${CLICKHOUSE_DB:-auditlog}"), (
        "docker-compose.yml differs from users.py"
    )


def test_the_api_answers_when_kafka_is_away(compose: Document) -> None:
    api = compose["services"]["api"]
    assert "kafka" not in api["depends_on"]
    # Only the services inside the file reach it at 0.0.0.0; the port is published on loopback.
    assert api["command"] == ["api", "--host", "0.0.0.0"]
    assert all(api["environment"][name] is None for name in api["environment"] if "_API_" in name)


def test_a_catalog_of_ones_own_reaches_the_migration_and_the_consumers(compose: Document) -> None:
    for service in ours(compose):
        # A key without a value is passed on when it is set, and is otherwise not there at all.
        for name in ("AUDITLOG_CATALOG", "AUDITLOG_SCHEMAS", "AUDITLOG_KAFKA_CONFIG"):
            assert service["environment"][name] is None
        assert service["volumes"][0] == "./catalogs:/etc/auditlog:ro"
    # Docker would make a missing directory for root alone.
    assert (ROOT / "catalogs").is_dir()
    example = (ROOT / ".env.example").read_text()
    for name in ("AUDITLOG_CATALOG", "AUDITLOG_SCHEMAS"):
        assert re.search(rf"^#{name}=/etc/auditlog/\S+$", example, re.MULTILINE)


def variables_read(folders: tuple[str, ...]) -> set[str]:
    """Return the AUDITLOG_ names in the sources: string literals, and fields under that env_prefix."""
    names: set[str] = set()
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            names |= variables_in(path.read_text())
    return names


def prefix_of(node: ast.ClassDef, constants: Mapping[str, str]) -> str | None:
    """Return the env_prefix of a settings class, written in place or as a constant of its module."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.keyword) and inner.arg == "env_prefix":
            if isinstance(inner.value, ast.Name):
                return constants.get(inner.value.id)
            if isinstance(inner.value, ast.Constant):
                return str(inner.value.value)
    return None


def variables_in(source: str) -> set[str]:
    """Return the AUDITLOG_ names one module reads."""
    tree = ast.parse(source)
    constants: dict[str, str] = {}
    names: set[str] = set()
    for statement in tree.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.value, ast.Constant):
            constants[ast.unparse(statement.target)] = str(statement.value.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            names |= set(re.findall(r"\A(AUDITLOG_[A-Z_]*[A-Z])\Z", node.value))
        elif isinstance(node, ast.ClassDef) and (prefix := prefix_of(node, constants)):
            fields = [item.target for item in node.body if isinstance(item, ast.AnnAssign)]
            names |= {prefix + field.id.upper() for field in fields if isinstance(field, ast.Name)}
    return names


def test_names_are_found_as_literals_and_as_fields_of_settings() -> None:
    source = '''
"""AUDITLOG_IN_PROSE is not read."""
class S(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="AUDITLOG_")
    topic: str = "audit.events"
PREFIX: Final = "AUDITLOG_CLICKHOUSE_"
class T(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX)
    url: str
PASSWORD = os.environ["AUDITLOG_ANALYST_PASSWORD"]
'''
    assert variables_in(source) == {"AUDITLOG_TOPIC", "AUDITLOG_CLICKHOUSE_URL", "AUDITLOG_ANALYST_PASSWORD"}


def test_our_processes_are_told_only_what_they_read(compose: Document) -> None:
    passed = {name for service in ours(compose) for name in service["environment"]}
    # Read by the library of the object store.
    passed = {name for name in passed if not name.startswith("AWS_")}
    assert passed == VARIABLES_PASSED
    assert passed - variables_read(SOURCES) == set()


def test_the_example_names_every_variable(compose: Document, compose_source: str) -> None:
    referred = set(re.findall(r"\$\{(\w+)", compose_source))
    for service in ours(compose):
        referred |= {name for name, value in service["environment"].items() if value is None}
    example = (ROOT / ".env.example").read_text()
    assert set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE)) == referred
    required = set(re.findall(r"\$\{(\w+):\?", compose_source))
    assert set(re.findall(r"^([A-Z_]+)=$", example, re.MULTILINE)) == required


def compose_plugin_works() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0


# `docker compose config` needs the plugin but no engine.
if compose_plugin_works():

    def test_docker_compose_accepts_it(secrets_given: Mapping[str, str]) -> None:
        command = ["docker", "compose", "--profile", "registry", "config", "--quiet"]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **secrets_given},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
