"""One file of all parts, and checking an export from its files alone."""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from auditlog_exports.download import one_file, one_file_size, part_bytes
from auditlog_exports.errors import NotWhole
from auditlog_exports.job import Job
from auditlog_exports.unique_ids import UniqueIds
from auditlog_exports.verify import verify
from auditlog_schemas.errors import ConfigError
from auditlog_schemas.event import new_event_id
from auditlog_storage.reader import LogReader
from exports.lab import Lab, parts

pytestmark = pytest.mark.integration

SHAPES = [
    *[(format, compression) for format in ("csv", "jsonl") for compression in ("none", "gzip", "zstd")],
    ("parquet", "none"),
    ("parquet", "gzip"),
]
EVENTS = 250


def done(lab: Lab, *shape: str) -> Job:
    job = lab.create(*shape)
    assert lab.finish(job).state == "finished"
    return job


@pytest.mark.parametrize("shape", SHAPES, ids="-".join)
def test_one_file_holds_all_parts_and_verifies(lab: Lab, shape: tuple[str, str]) -> None:
    events = lab.events(EVENTS)
    lab.add(events)
    job = done(lab, *shape)
    whole = b"".join(one_file(lab.jobs, job))
    size = one_file_size(lab.jobs, job)
    assert size == (None if shape[0] == "parquet" else len(whole))
    assert ids_of(whole, *shape) == [str(event.event_id) for event in events_in_order(lab, job)]
    found = verify(lab.folder(job))
    assert (found.findings, found.rows, found.parts) == ([], EVENTS, 3)


def events_in_order(lab: Lab, job: Job) -> list[Any]:
    page = LogReader(lab.log.connection).timeline(job.account_id, limit=1_000)
    return [stored.event for stored in page.events][::-1]


def ids_of(whole: bytes, format: str, compression: str) -> list[str]:
    if format == "parquet":
        found: Any = pq.read_table(pa.BufferReader(whole)).column("event_id").to_pylist()
        return list(found)
    if compression == "gzip":
        whole = gzip.decompress(whole)
    elif compression == "zstd":
        whole = bytes(pa.input_stream(io.BytesIO(whole), compression="zstd").read())
    if format == "csv":
        return [row["event_id"] for row in csv.DictReader(io.StringIO(whole.decode(), newline=""))]
    return [json.loads(line)["event_id"] for line in whole.decode().split("\n") if line]


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_an_empty_export_verifies_and_downloads(lab: Lab, format: str) -> None:
    job = done(lab, format, "zstd")
    whole = b"".join(one_file(lab.jobs, job))
    assert ids_of(whole, format, "zstd") == [] if whole else format == "jsonl"
    assert verify(lab.folder(job)).ok


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("harm", [_flip, _cut], ids=["flipped", "cut"])
@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_a_changed_part_is_found_and_not_served(lab: Lab, format: str, harm: Callable[[Path], None]) -> None:
    lab.add(lab.events(EVENTS))
    job = done(lab, format)
    path = parts(lab.folder(job))[1]
    length = path.stat().st_size
    harm(path)
    [finding] = [each for each in verify(lab.folder(job)).findings if "SHA-256" in each]
    assert path.name in finding
    part = lab.jobs.part(lab.account, job.job_id, 2)
    assert _served(part_bytes(lab.jobs, job, part)) < length
    assert _served(one_file(lab.jobs, job)) >= 0


def _served(pieces: Iterator[bytes]) -> int:
    """How much came before it was refused."""
    came = 0
    try:
        for piece in pieces:
            came += len(piece)
    except NotWhole:
        return came
    raise AssertionError("it was served")


def test_verifying_finds_what_a_manifest_hides(lab: Lab, tmp_path: Path) -> None:
    lab.add(lab.events(EVENTS))
    job = done(lab, "jsonl")

    def changed(change: Callable[[Path, dict[str, Any]], None]) -> str:
        directory = tmp_path / "copy"
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(lab.folder(job), directory)
        manifest = json.loads((directory / "manifest.json").read_bytes())
        change(directory, manifest)
        (directory / "manifest.json").write_text(json.dumps(manifest))
        return " | ".join(verify(directory).findings)

    def without_one(directory: Path, manifest: dict[str, Any]) -> None:
        del manifest["parts"][1]

    def with_another(directory: Path, manifest: dict[str, Any]) -> None:
        (directory / "part-00009.jsonl").write_bytes(b"")

    def twice(directory: Path, manifest: dict[str, Any]) -> None:
        second = {**manifest["parts"][0], "part": 4}
        manifest["parts"].append(second)

    def another_account(directory: Path, manifest: dict[str, Any]) -> None:
        manifest["account_id"] = "acc_else"

    def other_actions(directory: Path, manifest: dict[str, Any]) -> None:
        manifest["actions"] = {"license_updated": EVENTS}

    assert "the manifest says 250" in changed(without_one)
    assert "part-00009.jsonl is not in the manifest" in changed(with_another)
    found = changed(twice)
    assert "comes more than once" in found
    assert "begins before the part before it ends" in found
    assert "of another account" in changed(another_account)
    assert "each action" in changed(other_actions)
    with pytest.raises(ConfigError, match=r"manifest\.json"):
        verify(tmp_path)


PART = {"part": 1, "file": "part-00001.jsonl", "bytes": 0, "sha256": sha256().hexdigest(), "rows": 0}
SHAPE = {"format": "jsonl", "compression": "none", "raw_csv": False, "account_id": "acc_1"}


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is no export's manifest: TypeError"),
        ("{}", r"is no export's manifest: KeyError\('format'\)"),
        (json.dumps(SHAPE), r"is no export's manifest: KeyError\('parts'\)"),
        (json.dumps(SHAPE | {"parts": [7]}), "is no export's manifest: TypeError"),
        (json.dumps(SHAPE | {"parts": [PART]}), r"is no export's manifest: KeyError\('first'\)"),
        (json.dumps(SHAPE | {"account_id": 7, "parts": [PART | {"first": {}, "last": 7}]}), "is no export's"),
    ],
)
def test_a_file_that_is_no_manifest_is_named(tmp_path: Path, content: str, what: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    (tmp_path / "part-00001.jsonl").touch()
    with pytest.raises(ConfigError, match=rf"^{tmp_path}/manifest\.json {what}"):
        verify(tmp_path)


def test_repeated_ids_are_found_among_many() -> None:
    ids = [new_event_id() for _ in range(20_000)]
    with UniqueIds() as unique:
        for each in [*ids, *ids[5_000:5_003], ids[7]]:
            unique.add(each)
        assert set(unique.repeated(100)) == {*ids[5_000:5_003], ids[7]}
