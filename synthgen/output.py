"""Where a dataset is written to: a local folder, or any place that fsspec can write to (s3://, gs://, sftp:// ...).

Workers write shards into `workspace`, a local folder. A local dataset is its own workspace; for a remote one each
finished shard is copied to its place and removed here. A shard counts only once its record is there, which is written
after it, so a copy that breaks off does no harm.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Protocol

import fsspec

from posecore.dataset import join_url, write_atomically
from posecore.errors import UserError


class Output(Protocol):
    """A dataset's folder, wherever it lies. Names are relative to it, with / between folders."""

    workspace: Path

    def names(self, folder: str = "") -> list[str]:
        """What lies directly in the folder, or in one below it; empty if there is no such folder."""

    def read(self, name: str) -> bytes:
        """Content of a file. Raises FileNotFoundError."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all."""

    def take(self, name: str) -> None:
        """Bring a file from the workspace to its place."""

    def remove(self, folder: str) -> None:
        """Remove a folder below this one, if it is there."""

    def discard_leftovers(self) -> None:
        """Remove what a killed run left half-written."""

    def close(self) -> None:
        """Put away what is only needed while writing."""


def open_output(location: str | Path) -> Output:
    """The folder at a local path or URL.

    Raises:
        UserError: the URL's protocol is unknown, or its package is missing.
    """
    return _RemoteOutput(str(location)) if "://" in str(location) else _LocalOutput(Path(location))


class _LocalOutput:
    def __init__(self, folder: Path) -> None:
        self.workspace = folder

    def names(self, folder: str = "") -> list[str]:
        path = self.workspace / folder
        return sorted(item.name for item in path.iterdir()) if path.is_dir() else []

    def read(self, name: str) -> bytes:
        return (self.workspace / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        path = self.workspace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)

    def take(self, name: str) -> None:
        pass  # it was written there

    def remove(self, folder: str) -> None:
        shutil.rmtree(self.workspace / folder, ignore_errors=True)

    def discard_leftovers(self) -> None:
        for leftover in self.workspace.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)

    def close(self) -> None:
        pass  # its workspace is the dataset


class _RemoteOutput:
    def __init__(self, url: str) -> None:
        try:
            self._files, self._root = fsspec.core.url_to_fs(url.rstrip("/"))
        except (ValueError, ImportError) as error:
            raise UserError(f"--out {url}: {error}") from None
        self._temporary = tempfile.TemporaryDirectory(prefix="synthgen-shards-")
        self.workspace = Path(self._temporary.name)

    def names(self, folder: str = "") -> list[str]:
        self._files.invalidate_cache()
        try:
            found = self._files.ls(join_url(self._root, folder).rstrip("/"), detail=False)
        except FileNotFoundError:
            return []
        return sorted(os.path.basename(path.rstrip("/")) for path in found)

    def read(self, name: str) -> bytes:
        return self._files.cat_file(join_url(self._root, name))

    def write(self, name: str, content: bytes) -> None:
        path = join_url(self._root, name)
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._files.pipe_file(path, content)

    def take(self, name: str) -> None:
        self._files.makedirs(self._root, exist_ok=True)
        self._files.put_file(str(self.workspace / name), join_url(self._root, name))
        (self.workspace / name).unlink()

    def remove(self, folder: str) -> None:
        path = join_url(self._root, folder)
        if self._files.exists(path):
            self._files.rm(path, recursive=True)

    def discard_leftovers(self) -> None:
        pass  # they lay in that run's own workspace

    def close(self) -> None:
        self._temporary.cleanup()
