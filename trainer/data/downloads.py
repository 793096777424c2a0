"""Shards as local files: those behind a URL are copied to a folder on this machine, once for all processes there.

A copy is named by the manifest's sha256, appears whole or not at all, and is always checked: what a dropped connection
left is fetched again, and two datasets or runs that hold the same shard share it. A slow server is only waited for.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import fsspec
import platformdirs
from filelock import FileLock

from posecore.dataset import Shard
from posecore.errors import UserError

logger = logging.getLogger(__name__)

RETRY_PAUSES_S = (1.0, 4.0, 15.0, 60.0)
"""What is waited before each further attempt, after which the error stands."""

_SILENCE_S = 120.0
"""A server that sends not one byte for so long counts as a dropped connection."""

Result = TypeVar("Result")


def is_remote(location: str | Path) -> bool:
    """Whether a path is a URL of anything but this machine's files."""
    return "://" in str(location) and not str(location).startswith(("file://", "local://"))


def local_shard(location: str, shard: Shard, folder: Path | None, limit_mb: int) -> Path:
    """The shard as a file of this machine; waits while another process is fetching the same one.

    Args:
        location: path or URL of the tar. shard: its manifest entry.
        folder: where copies are kept; None for the user's cache folder.
        limit_mb: the copies that were not used for longest go when all together take more.

    Raises:
        UserError: it is not there, must not be read, or still differs from the manifest after several attempts.
    """
    if not is_remote(location):
        return Path(fsspec.utils.stringify_path(location).removeprefix("file://").removeprefix("local://"))
    folder = folder or platformdirs.user_cache_path("posesynth") / "shards"
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / f"{shard.sha256}.tar"
    with FileLock(folder / f"{shard.sha256}.lock"):
        if copy.is_file():
            os.utime(copy)
            return copy
        patiently(lambda: _fetch(location, shard, copy), location)
    _delete_oldest(folder, limit_mb, copy)
    return copy


def patiently(read: Callable[[], Result], location: str) -> Result:
    """What `read` returns, tried again after a pause where a connection failed.

    Raises:
        UserError: there is nothing, it must not be read, or the last attempt failed as well.
    """
    for pause_s in (*RETRY_PAUSES_S, None):
        try:
            return read()
        except UserError:
            raise
        except FileNotFoundError:
            raise UserError(f"{location}: missing, though dataset.json lists it; upload or render it again") from None
        except (PermissionError, ImportError, ValueError) as error:
            raise UserError(f"{location}: cannot be read ({_text(error)})") from None
        except Exception as error:  # every kind of store has its own exceptions for a connection that failed
            if pause_s is None:
                raise UserError(
                    f"{location}: {len(RETRY_PAUSES_S) + 1} attempts failed, the last with {_text(error)}"
                ) from None
            logger.warning("%s: %s; trying again in %g s", location, _text(error), pause_s)
            time.sleep(pause_s)
    raise AssertionError("the last attempt returns or raises")


class _BrokenOffError(Exception):
    """The bytes that arrived are not those of the manifest."""


def _fetch(location: str, shard: Shard, copy: Path) -> None:
    part = copy.with_suffix(f".{os.getpid()}.part")
    try:
        files, path = fsspec.url_to_fs(location, **_options(location))
        files.get_file(path, str(part))
        with open(part, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if digest != shard.sha256:
            raise _BrokenOffError(
                f"{part.stat().st_size} bytes arrived whose sha256 is not dataset.json's: broken off, or damaged there"
            )
        os.replace(part, copy)
    finally:
        part.unlink(missing_ok=True)


def _options(location: str) -> dict[str, Any]:
    if not location.startswith(("http://", "https://")):
        return {}
    import aiohttp

    # By default a whole file must arrive within five minutes.
    patience = aiohttp.ClientTimeout(total=None, sock_connect=_SILENCE_S, sock_read=_SILENCE_S)
    return {"client_kwargs": {"timeout": patience}}


def _delete_oldest(folder: Path, limit_mb: int, newest: Path) -> None:
    """Readers that have a deleted file open keep it, and whoever comes later fetches it again."""
    with FileLock(folder / "delete.lock"):
        copies = sorted(folder.glob("*.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
        total_mb = 0.0
        for copy in copies:
            total_mb += copy.stat().st_size / 1e6
            if total_mb > limit_mb and copy != newest:
                copy.unlink()


def _text(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
