"""Apache Kafka's jars from Maven Central, always the same ones: `jgo.lock.toml` names and hashes them all."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tomllib
from importlib import resources
from pathlib import Path

from auditlog_schemas.errors import ConfigError

# Without the second jar Kafka writes no log at all; its "!" keeps log4j's parent POM from choosing the
# versions of Kafka's own dependencies (it brought kafka-clients 3.9.1).
KAFKA_ENDPOINT = "org.apache.kafka:kafka_2.13:4.4.0+org.apache.logging.log4j:log4j-slf4j-impl:2.25.5!"
CACHE_DIR_VARIABLE = "AUDITLOG_CACHE_DIR"


def cache_directory() -> Path:
    """Where downloads are kept: AUDITLOG_CACHE_DIR, else `auditlog` in the user's cache directory."""
    if chosen := os.environ.get(CACHE_DIR_VARIABLE):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "auditlog"


def locked_jars() -> dict[str, str]:
    """File name -> SHA-256 of every jar, from the committed lock file."""
    lock = tomllib.loads(resources.files("auditlog_local").joinpath("jgo.lock.toml").read_text())
    return {f"{d['artifactId']}-{d['version']}.{d['packaging']}": d["sha256"] for d in lock["dependencies"]}


def verify_jars(directory: Path) -> None:
    """Check that the jars under ``directory`` are exactly the locked ones.

    Raises:
        ConfigError: a jar is missing, additional or different; names it and says what to delete.
    """
    wanted = locked_jars()
    found = {path.name: path for path in directory.glob("*/*.jar")}
    problem = None
    if unexpected := sorted(found.keys() - wanted.keys()):
        problem = f"{unexpected[0]} is not in jgo.lock.toml"
    elif missing := sorted(wanted.keys() - found.keys()):
        problem = f"{missing[0]} is missing"
    else:
        for name, path in sorted(found.items()):
            with path.open("rb") as jar:
                digest = hashlib.file_digest(jar, "sha256").hexdigest()
            if digest != wanted[name]:
                problem = f"{name} has SHA-256 {digest}, jgo.lock.toml says {wanted[name]}"
                break
    if problem is not None:
        raise ConfigError(
            f"Kafka's jars are not the expected ones: {problem}; delete {directory} and start again. "
            "If it happens again, what is downloaded has been changed on the way: find out by whom"
        )


def kafka_classpath(cache_dir: Path | None = None) -> str:
    """The Java class path of Kafka; downloads about 45 MB at the first call, later verifies the cache.

    Raises:
        ConfigError: the cache cannot be written, the download fails, or a jar is not the locked one.
    """
    cache = (cache_dir or cache_directory()).resolve()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / "kafka.lock").open("w")
    except OSError as error:
        raise ConfigError(
            f"the cache directory {cache} cannot be written ({error.strerror}): set {CACHE_DIR_VARIABLE}"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        directory = _resolve(cache)
        verify_jars(directory)
    return f"{directory}/jars/*:{directory}/modules/*"


def _resolve(cache: Path) -> Path:
    # jgo is imported late: it is only needed where a broker is started.
    from jgo.env import EnvironmentBuilder, LinkStrategy
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=cache / "maven", local_repos=[])
    builder = EnvironmentBuilder(context=context, cache_dir=cache / "jgo", link_strategy=LinkStrategy.AUTO)
    try:
        return Path(builder.from_endpoint(KAFKA_ENDPOINT).path)
    except Exception as error:
        # jgo raises whatever its HTTP library and its XML parser raise; nothing there to tell apart.
        shutil.rmtree(cache / "jgo" / "envs", ignore_errors=True)
        raise ConfigError(
            f"Kafka ({KAFKA_ENDPOINT}) cannot be fetched from Maven Central: {error}; check the network, "
            "or set AUDITLOG_KAFKA to a broker that runs elsewhere"
        ) from error
