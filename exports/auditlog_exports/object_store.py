"""One way to the object store: obstore, with its errors turned into ours."""

from __future__ import annotations

import json
import os
import queue
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError

from auditlog_exports.errors import StoreUnavailable
from auditlog_schemas.errors import ConfigError, NotFound

CHUNK_BYTES: Final = 8 * 1024 * 1024
"""What goes to the store at a time: 10,000 of them, the most that S3 takes, are 80 GB a part."""
UPLOADS_MAX: Final = 2
_CHUNKS_WAITING: Final = 4
_LOOK_SECONDS: Final = 0.1
_TEXT_MAX: Final = 300


@dataclass(frozen=True, slots=True)
class Stored:
    """One object: its path and its size."""

    path: str
    size: int


class ObjectStore:
    """Objects by path, for any number of threads.

    What a method has written when it returns outlasts a loss of power: a cloud promises that, and files are
    synced with the folders that they are in.

    Every method raises StoreUnavailable when the store does not answer, refuses or is full.

    Args:
        url: see `ExportSettings.url`.

    Raises:
        ConfigError: this cannot be used as a store.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._root = Path(unquote(urlsplit(url).path)) if url.startswith("file:") else None
        options: dict[str, Any] = {"mkdir": True} if self._root is not None else {}
        try:
            self._store: Any = obstore.store.from_url(url, **options)
        except (BaseError, OSError, ValueError) as error:
            raise ConfigError(f"AUDITLOG_EXPORT_URL: {url} cannot be used: {_reason(error)}") from error

    @property
    def signs(self) -> bool:
        """Tell whether the store can make links of its own."""
        return self._root is None

    def create(self, path: str, value: Mapping[str, Any]) -> bool:
        """Write a JSON object unless there is one at this path; return whether it was written."""
        with self._translated():
            try:
                obstore.put(self._store, path, json_bytes(value), mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
            self._sync(path)
        return True

    def overwrite(self, path: str, value: Mapping[str, Any]) -> None:
        """Write a JSON object, whatever is there."""
        with self._translated():
            obstore.put(self._store, path, json_bytes(value), use_multipart=False)
            self._sync(path)

    def stream(self, path: str, chunks: Iterable[bytes]) -> None:
        """Write an object from pieces, in constant memory.

        The object appears when the last piece is there. When `chunks` raises, nothing appears.
        """
        upload = _Upload(self._store, path)
        with self._translated():
            try:
                for chunk in chunks:
                    upload.send(chunk)
            except BaseException:
                upload.abort()
                raise
            upload.finish()
            self._sync(path)

    def read(self, path: str) -> dict[str, Any]:
        """Return a JSON object.

        Raises:
            NotFound: there is none at this path.
        """
        with self._translated():
            value: dict[str, Any] = json.loads(bytes(obstore.get(self._store, path).bytes()))
        return value

    def find(self, path: str) -> dict[str, Any] | None:
        """Return a JSON object, or None when there is none at this path."""
        try:
            return self.read(path)
        except NotFound:
            return None

    def pieces(self, path: str) -> Iterator[bytes]:
        """Yield an object's bytes.

        Raises:
            NotFound: there is none at this path.
        """
        with self._translated():
            for piece in obstore.get(self._store, path).stream(min_chunk_size=1024 * 1024):
                yield bytes(piece)

    def objects(self, folder: str) -> Iterator[Stored]:
        """Yield the objects in a folder and its folders, in no order."""
        with self._translated():
            for page in obstore.list(self._store, prefix=folder, chunk_size=1_000):
                for meta in page:
                    yield Stored(meta["path"], meta["size"])

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders in a folder."""
        with self._translated():
            found = obstore.list_with_delimiter(self._store, prefix=folder)
            return [path.rstrip("/").rpartition("/")[2] for path in found["common_prefixes"]]

    def delete(self, *paths: str) -> None:
        """Delete objects; one that is not there is deleted already."""
        for path in paths:
            with self._translated():
                try:
                    obstore.delete(self._store, path)
                except (NotFoundError, FileNotFoundError):
                    continue

    def delete_folder(self, folder: str) -> None:
        """Delete everything in a folder."""
        for stored in list(self.objects(folder)):
            self.delete(stored.path)
        if self._root is not None:
            # With what a killed process left half-written, which is no object.
            shutil.rmtree(self._root / folder, ignore_errors=True)

    def sweep(self, folder: str) -> None:
        """Delete what killed processes left half-written in a folder of a file system."""
        if self._root is not None:
            for path in (self._root / folder).glob("*#*"):
                path.unlink(missing_ok=True)

    def link(self, path: str, seconds: int) -> str:
        """Return a URL that anybody may read the object with for so long; only where `signs` says so."""
        with self._translated():
            return str(obstore.sign(self._store, "GET", path, timedelta(seconds=seconds)))

    def _sync(self, path: str) -> None:
        """Have a file system keep an object, and the folders that it may have been the first one in."""
        if self._root is None:
            return
        file = self._root / path
        folders = len(Path(path).parents)
        for each in (file, *file.parents[:folders]):
            # Another process may delete the job at any time.
            with suppress(FileNotFoundError):
                _fsync(each)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (NotFoundError, FileNotFoundError) as error:
            raise NotFound(f"the object store has no {_reason(error)}") from None
        except (BaseError, OSError) as error:
            raise StoreUnavailable(f"the object store {self.url} failed: {_reason(error)}") from error


class _Upload:
    """One upload in parts, in a thread of its own: the library pulls, and what is sent here is pushed."""

    def __init__(self, store: Any, path: str) -> None:
        self._chunks: queue.Queue[bytes | None] = queue.Queue(_CHUNKS_WAITING)
        self._aborted = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(store, path), name="upload", daemon=True)
        self._thread.start()

    def send(self, chunk: bytes) -> None:
        """Send a piece; raise why when the upload has failed."""
        self._put(chunk)
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """Return when the object is there; raise why when it is not."""
        self._put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def abort(self) -> None:
        """Return when the upload has ended without leaving an object."""
        self._aborted.set()
        self._thread.join()

    def _put(self, chunk: bytes | None) -> None:
        while self._thread.is_alive():
            try:
                self._chunks.put(chunk, timeout=_LOOK_SECONDS)
                return
            except queue.Full:
                continue

    def _pulled(self) -> Iterator[bytes]:
        while not self._aborted.is_set():
            try:
                chunk = self._chunks.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                continue
            if chunk is None:
                return
            yield chunk
        raise _Aborted

    def _run(self, store: Any, path: str) -> None:
        try:
            obstore.put(
                store,
                path,
                self._pulled(),
                use_multipart=True,
                chunk_size=CHUNK_BYTES,
                max_concurrency=UPLOADS_MAX,
            )
        except BaseException as error:
            self._error = error


class _Aborted(Exception):
    """What makes the library take an upload back."""


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """Return the bytes of a JSON object, always the same for the same value."""
    return json.dumps(value, ensure_ascii=False, indent=1).encode() + b"\n"


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    # Behind the first line the library prints its own structures.
    return str(error).strip().partition("\n")[0][:_TEXT_MAX] or type(error).__name__
