"""ClickHouse's own HTTP server, which the embedded engine can open too, with the users of an installation.

The engine itself keeps what users may do and what limits they have. CREATE USER does not work there, so the
same grants and limits are in its configuration.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen
from xml.sax.saxutils import escape

from auditlog_local.ports import free_ports
from auditlog_storage.settings import USER_PASSWORDS
from auditlog_storage.users import MIGRATE, grants, limits
from kit.servers import START_SECONDS_MAX, bound

PASSWORD: Final = "one for all of them"

# access_control_improvements as in the configuration that comes with a server.
_CONFIG: Final = """<clickhouse><http_port>{port}</http_port><listen_host>127.0.0.1</listen_host>
<users_config>users.xml</users_config><logger><level>warning</level></logger>
<query_log><database>system</database><table>query_log</table></query_log>
<access_control_improvements>
<users_without_row_policies_can_read_rows>true</users_without_row_policies_can_read_rows>
<on_cluster_queries_require_cluster_grant>true</on_cluster_queries_require_cluster_grant>
<select_from_system_db_requires_grant>true</select_from_system_db_requires_grant>
<select_from_information_schema_requires_grant>true</select_from_information_schema_requires_grant>
<settings_constraints_replace_previous>true</settings_constraints_replace_previous>
<table_engines_require_grant>true</table_engines_require_grant>
</access_control_improvements></clickhouse>
"""
_USER: Final = """<{name}><password>{password}</password><networks><ip>127.0.0.1</ip></networks>
<profile>{name}</profile><quota>default</quota><grants>{grants}</grants></{name}>
"""
_ENDLESS: Final = """SYSTEM START LISTEN HTTP;
SELECT sleepEachRow(3) FROM system.numbers
SETTINGS max_block_size = 1, max_execution_time = 0, function_sleep_max_microseconds_per_block = 0 FORMAT Null
"""
_SERVE: Final = """import sys
from chdb import _chdb
_chdb.query(sys.argv[1], "TabSeparated", path=sys.argv[2])
"""


@contextmanager
def native_clickhouse(directory: Path, database: str) -> Iterator[Callable[[str], str]]:
    """Run the server while inside; yield what returns the URL of a user of `database`."""
    (port,) = free_ports(1)
    directory.mkdir()
    (directory / "config.xml").write_text(_CONFIG.format(port=port))
    (directory / "users.xml").write_text(_users_xml(database))
    # A process that finds the engine, and needs nothing of the tests.
    command = bound(sys.executable, "-c", _SERVE, _ENDLESS, str((directory / "data").resolve()))
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _await(f"http://127.0.0.1:{port}/ping", process)
        yield lambda user: f"http://{user}:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{port}/{database}"
    finally:
        process.kill()
        process.wait()


def _users_xml(database: str) -> str:
    profiles, users = ["<default/>"], []
    for name in (MIGRATE, *USER_PASSWORDS):
        chosen = limits(name)
        values = "".join(f"<{setting}>{value}</{setting}>" for setting, value in chosen.items())
        fixed = "".join(f"<{setting}><const/></{setting}>" for setting in chosen)
        profiles.append(f"<{name}>{values}<constraints>{fixed}</constraints></{name}>")
        granted = "".join(f"<query>{escape(query)}</query>" for query in grants(name, database))
        users.append(_USER.format(name=name, password=PASSWORD, grants=granted))
    users.append("<default><password></password><networks><ip>127.0.0.1</ip></networks></default>")
    return (
        f"<clickhouse><profiles>{''.join(profiles)}</profiles><quotas><default/></quotas>"
        f"<users>{''.join(users)}</users></clickhouse>"
    )


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            urlopen(url, timeout=5).close()
            return
        except (URLError, OSError):
            assert process.poll() is None, "the server ended while it started"
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.1)
