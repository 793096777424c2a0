"""dataset.json: what a folder of shards holds. Written by synthgen, read by both tools.

Folders may be local or, for reading, any fsspec URL.
"""

import contextlib
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import fsspec

from posecore.errors import UserError
from posecore.sample import FORMAT_VERSION

MANIFEST_NAME = "dataset.json"
MOMENTS_BY_VIEWS = "moments_by_views"
"""In the statistics of real data from calibrated cameras: how many moments of subjects so many cameras saw."""


@dataclass(frozen=True)
class Shard:
    """One tar: its file name within the folder, its number of samples, and the sha256 of its bytes."""

    file: str
    count: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The content of dataset.json. `kind` is "synthetic" (labelled) or "real" (unlabelled)."""

    name: str
    kind: str
    shards: tuple[Shard, ...]
    recipe: dict[str, Any] = field(default_factory=dict)
    recipe_hash: str = ""
    seed: int | None = None
    versions: dict[str, str] = field(default_factory=dict)
    skeletons: dict[str, Any] = field(default_factory=dict)
    licences: list[dict[str, str]] = field(default_factory=list)
    rejects: dict[str, int] = field(default_factory=dict)
    statistics: dict[str, Any] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def has_views(self) -> bool:
        """Whether some moment of real footage was seen by several calibrated cameras."""
        return any(int(views) > 1 for views in self.statistics.get(MOMENTS_BY_VIEWS, {}))

    @property
    def num_samples(self) -> int:
        return sum(shard.count for shard in self.shards)


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest of a dataset folder.

    Raises:
        UserError: no dataset.json there, not readable as one, or of another format version.
    """
    location = join_url(folder, MANIFEST_NAME)
    try:
        with fsspec.open(location, "rb") as file:
            content = json.loads(file.read())
    except FileNotFoundError:
        raise UserError(
            f"{folder}: no {MANIFEST_NAME} there; is it a dataset folder that was rendered to its end?"
        ) from None
    except ValueError as error:
        raise UserError(f"{location}: cannot be read as JSON ({error})") from None
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise UserError(
            f"{location}: format version {version}, this program reads {FORMAT_VERSION}; render the data again"
        )
    try:
        shards = tuple(Shard(**shard) for shard in content.pop("shards"))
        return Manifest(shards=shards, **content)
    except (KeyError, TypeError) as error:
        raise UserError(f"{location}: not a dataset manifest of format version {FORMAT_VERSION} ({error})") from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write dataset.json; it appears whole or not at all."""
    write_atomically(folder / MANIFEST_NAME, encode_manifest(manifest))


def encode_manifest(manifest: Manifest) -> bytes:
    """The content of dataset.json."""
    return (json.dumps(asdict(manifest), indent=1, allow_nan=False) + "\n").encode()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file through a temporary neighbour and a rename, so that no reader ever sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


class ShardWriter:
    """Writes one WebDataset tar that appears under its name when it is whole; use as a context manager.

    The same records give the same bytes: members carry no time and no owner. After the block `shard` is the manifest's
    entry. If the block raises, nothing is left.
    """

    shard: Shard

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._count = 0

    def __enter__(self) -> "ShardWriter":
        self._file = open(self._temporary, "w+b")
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT)
        return self

    def add(self, key: str, members: dict[str, bytes]) -> None:
        """Append one record."""
        for name, content in members.items():
            info = tarfile.TarInfo(f"{key}.{name}")
            info.size = len(content)
            self._tar.addfile(info, io.BytesIO(content))
        self._count += 1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._tar.close()
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.seek(0)
                digest = hashlib.file_digest(self._file, "sha256").hexdigest()
                os.replace(self._temporary, self._path)
                self.shard = Shard(self._path.name, self._count, digest)
        finally:
            self._temporary.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # on a full disk closing fails as well, after the error that counts
                self._file.close()


def join_url(folder: str | Path, name: str) -> str:
    """Path of a file within a folder that is a local path or a URL."""
    return f"{str(folder).rstrip('/')}/{name}"


def read_records(stream: IO[bytes], name: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Records of an open tar: key and members, in the order of the file.

    Raises:
        UserError: the tar is truncated or damaged; `name` says which.
    """
    key, members = "", {}
    try:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for info in tar:
                content = tar.extractfile(info)
                if content is None:
                    continue
                next_key, _, member = info.name.partition(".")
                if next_key != key and members:
                    yield key, members
                    members = {}
                key = next_key
                members[member] = content.read()
                if len(members[member]) != info.size:
                    raise tarfile.ReadError("unexpected end of data")
    except (tarfile.TarError, EOFError) as error:
        last = f" after key {key}" if key else ""
        raise UserError(f"{name}: damaged or truncated{last} ({error}); render this shard again") from None
    if members:
        yield key, members


def iterate_dataset(folder: str | Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """All records of a dataset in order.

    Raises:
        UserError: the manifest or a shard is missing or damaged.
    """
    for shard in read_manifest(folder).shards:
        location = join_url(folder, shard.file)
        try:
            with fsspec.open(location, "rb") as stream:
                yield from read_records(stream, location)
        except FileNotFoundError:
            raise UserError(f"{location}: missing, though {MANIFEST_NAME} lists it; render with --resume") from None
