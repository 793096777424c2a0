"""The frames of a dataset, shard by shard: held decoded if they fit into memory, else read anew each time.

Frames of one scene and view, or of one clip, form a group, within a shard. Damage is one line that names the shard,
and the sample where one is known. Frames that cannot serve as x are counted and reported.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec

from posecore.codec import decode_image, image_member
from posecore.dataset import Manifest, join_url, read_manifest, read_records
from posecore.errors import UserError
from posecore.skeleton import Skeleton
from trainer.data.config import DataConfig
from trainer.data.frames import Frame, Group, frame_pixels, read_labelled_frame, read_real_frame

logger = logging.getLogger(__name__)

_LABELS_MB = 0.006  # of one frame in memory without its pixels


class ShardSource:
    """The groups of a dataset, shard by shard.

    Attributes:
        skeleton: the joints to train, or None for real data. pixels: False where labels alone are wanted.
        is_cached: whether all groups are in memory, decoded.

    Raises:
        UserError: the dataset is missing, damaged, not of `kind`, or of another body plan than `skeleton`.
    """

    def __init__(
        self, folder: str | Path, kind: str, skeleton: Skeleton | None, data: DataConfig, pixels: bool = True
    ) -> None:
        self.folder = folder
        self.manifest = _checked_manifest(folder, kind)
        self.skeleton = skeleton
        self.data = data
        self.pixels = pixels
        self.is_cached = False
        self._groups: dict[int, list[Group]] = {}
        if self._decoded_mb() <= data.cache_limit_mb:
            self._groups = {shard: self._load(shard, decoded=True) for shard in range(len(self.manifest.shards))}
            self.is_cached = True
            self._report_left_out([group for groups in self._groups.values() for group in groups])

    def groups(self, shard: int) -> list[Group]:
        """The groups of one shard, from memory or read anew."""
        if self.is_cached:
            return self._groups[shard]
        groups = self._load(shard, decoded=False)
        self._report_left_out(groups)
        return groups

    def _load(self, shard: int, decoded: bool) -> list[Group]:
        # By name, not by neighbourhood: where a scene has several views, their frames alternate.
        groups: dict[str, list[Frame]] = {}
        for key, members in self._records(shard):
            try:
                frame, group_name = self._read(key, members, decoded)
            except UserError as error:
                raise UserError(f"{self._location(shard)}: {error}") from None
            groups.setdefault(group_name, []).append(frame)
        return [tuple(group) for group in groups.values()]

    def _records(self, shard: int) -> Iterator[tuple[str, dict[str, bytes]]]:
        entry, location = self.manifest.shards[shard], self._location(shard)
        count = 0
        try:
            with fsspec.open(location, "rb") as stream:
                if self.data.verify_hashes:
                    content = stream.read()
                    if hashlib.sha256(content).hexdigest() != entry.sha256:
                        raise UserError(f"{location}: sha256 differs from dataset.json; fetch or render it again")
                    stream = io.BytesIO(content)
                for key, members in read_records(stream, location):
                    count += 1
                    yield key, members
        except FileNotFoundError:
            raise UserError(f"{location}: missing, though dataset.json lists it; fetch or render it again") from None
        if count != entry.count:
            raise UserError(
                f"{location}: holds {count} samples, dataset.json says {entry.count} (last key {key}); render again"
            )

    def _read(self, key: str, members: dict[str, bytes], decoded: bool) -> tuple[Frame, str]:
        """A frame and the name of its group."""
        if self.skeleton is None:
            frame, group_name = read_real_frame(key, members)
        else:
            frame, group_name = read_labelled_frame(key, members, self.skeleton, self.data)
        if not self.pixels:
            frame = replace(frame, pixels=None)
        elif decoded:
            frame = replace(frame, pixels=frame_pixels(frame))
        return frame, group_name

    def _decoded_mb(self) -> float:
        """Size of everything when decoded, pixels judged by the first record."""
        if not self.pixels:
            return self.manifest.num_samples * _LABELS_MB
        _, members = next(self._records(0))
        height, width = decode_image(image_member(members), "first").shape[:2]
        return self.manifest.num_samples * height * width * 4 / 1e6

    def _report_left_out(self, groups: list[Group]) -> None:
        frames = [frame for group in groups for frame in group]
        left_out = sum(not frame.usable for frame in frames)
        if left_out:
            logger.warning(
                "%s: %d of %d frames left out as x: fewer than %d joints in the crop, or a joint at the camera",
                self.folder, left_out, len(frames), self.data.min_visible_joints,
            )  # fmt: skip

    def _location(self, shard: int) -> str:
        return join_url(self.folder, self.manifest.shards[shard].file)


def _checked_manifest(folder: str | Path, kind: str) -> Manifest:
    manifest = read_manifest(folder)
    if manifest.kind != kind:
        makes = {"synthetic": "`synthgen render`", "real": "`synthgen pack`"}[kind]
        raise UserError(f"{folder}: holds {manifest.kind} data, {kind} data is needed here; make it with {makes}")
    if not manifest.shards:
        raise UserError(f"{folder}: dataset.json lists no shards; render or pack it again")
    return manifest
