"""Finds one sample of a dataset by its key, reading the headers of tars and the members of that sample alone."""

import re
import tarfile
from dataclasses import dataclass

import fsspec

from posecore.dataset import MANIFEST_NAME, Manifest, join_url, read_manifest
from posecore.errors import UserError

_NEAREST = 3


@dataclass(frozen=True)
class Record:
    """One sample as it is stored: its shard's file name and the members, names without the key."""

    key: str
    shard: str
    members: dict[str, bytes]


def find_record(folder: str, key: str) -> tuple[Manifest, Record]:
    """The manifest of a dataset and its record of that key.

    Args:
        folder: local path or fsspec URL.

    Raises:
        UserError: no dataset there, an empty one, a damaged shard, or no such key (the nearest are named).
    """
    manifest = read_manifest(folder)
    if manifest.num_samples == 0:
        raise UserError(f"{folder}: the dataset is empty")
    keys: list[str] = []
    for shard in _likely_first(manifest, key):
        location = join_url(folder, shard)
        try:
            with fsspec.open(location, "rb") as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
                members = {}
                for info in tar:
                    found, _, member = info.name.partition(".")
                    if found == key:
                        members[member] = tar.extractfile(info).read()
                    elif members:
                        break
                    elif not keys or keys[-1] != found:
                        keys.append(found)
                if members:
                    return manifest, Record(key, shard, members)
        except FileNotFoundError:
            raise UserError(f"{location}: missing, though {MANIFEST_NAME} lists it; render with --resume") from None
        except tarfile.TarError as error:
            raise UserError(f"{location}: damaged or truncated ({error}); render this shard again") from None
    raise UserError(f"{folder}: no sample {key!r}; nearest: {', '.join(nearest_keys(key, keys))}")


def nearest_keys(wanted: str, keys: list[str]) -> list[str]:
    """The few keys whose numbers come nearest to those in `wanted` ("12", "12-1"); the first ones if it has none."""
    numbers = _numbers(wanted)
    if not numbers:
        return sorted(keys)[:_NEAREST]

    def distance(key: str) -> tuple[int, ...]:
        padded = [*numbers, *[0] * len(_numbers(key))]
        return tuple(abs(a - b) for a, b in zip(_numbers(key), padded, strict=False))

    return sorted(keys, key=lambda key: (distance(key), key))[:_NEAREST]


def _numbers(text: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", text)]


def _likely_first(manifest: Manifest, key: str) -> list[str]:
    """Shard names, the one first in which the recipe's counting puts the key's scene."""
    names = [shard.file for shard in manifest.shards]
    scenes_per_shard = manifest.recipe.get("scenes_per_shard")
    numbers = _numbers(key)
    if numbers and isinstance(scenes_per_shard, int) and scenes_per_shard > 0:
        likely = numbers[0] // scenes_per_shard
        if likely < len(names):
            names.insert(0, names.pop(likely))
    return names
