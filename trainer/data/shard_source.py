"""The frames of a dataset, shard by shard: held decoded if they fit into memory, else read anew each time.

Frames of one scene and view, or of one clip, form a group, within a shard; views of one moment find each other there.
Damage is one line that names the shard,
and the sample where one is known; it ends the run, or with `skip_damaged` costs the whole shard and is counted. Frames
that cannot serve as x are counted and reported.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from posecore.codec import decode_image, image_member
from posecore.dataset import Manifest, join_url, read_manifest, read_records
from posecore.errors import UserError
from posecore.skeleton import Skeleton
from trainer.data.config import DataConfig
from trainer.data.downloads import is_remote, local_shard, patiently
from trainer.data.frames import (
    Frame,
    Group,
    frame_ids,
    frame_image,
    read_labelled_frame,
    read_real_frame,
    with_other_views,
)

logger = logging.getLogger(__name__)

_LABELS_MB = 0.006  # of one frame in memory without its pixels


class ShardSource:
    """The groups of a dataset, shard by shard.

    Attributes:
        skeleton: the joints to train, or None for real data. pixels: False where labels alone are wanted.
        is_cached: whether all groups are in memory, decoded.
        damaged: what was skipped so far, shard by its location: why.

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
        self.damaged: dict[str, str] = {}
        self._verified: set[int] = set()
        self._reported: set[int] = set()
        self._groups: dict[int, list[Group]] = {}
        if self._is_small_enough():
            self._groups = {shard: self._load(shard, decoded=True) for shard in range(len(self.manifest.shards))}
            self.is_cached = True
            self._report_left_out(-1, [group for groups in self._groups.values() for group in groups])

    @property
    def fingerprint(self) -> int:
        """Tells datasets apart by content, wherever they lie."""
        return zlib.crc32(" ".join(shard.sha256 for shard in self.manifest.shards).encode())

    def groups(self, shard: int) -> list[Group]:
        """The groups of one shard, from memory or read anew; none of a damaged one that is to be skipped."""
        if self.is_cached:
            return self._groups[shard]
        groups = self._load(shard, decoded=False)
        self._report_left_out(shard, groups)
        return groups

    def fetch_ahead(self, shards: list[int]) -> None:
        """Copy remote shards that will be wanted next, behind the back of the caller."""
        if not self.is_cached and is_remote(self.folder):
            threading.Thread(target=self._fetch_quietly, args=(shards,), daemon=True).start()

    def _fetch_quietly(self, shards: list[int]) -> None:
        for shard in shards:
            try:
                self._local(shard)
            except UserError as error:  # whoever reads the shard meets it again, where it can be told
                logger.debug("%s", error)

    def _load(self, shard: int, decoded: bool) -> list[Group]:
        try:
            return self._load_whole(shard, decoded)
        except UserError as error:
            location = self._location(shard)
            if not self.data.skip_damaged:
                raise UserError(f"{error}; data.skip_damaged=true would leave such shards out") from None
            if location not in self.damaged:
                logger.warning("skipped a damaged shard: %s", error)
            self.damaged[location] = str(error)
            return []

    def _load_whole(self, shard: int, decoded: bool) -> list[Group]:
        # By name, not by neighbourhood: where a scene has several views, their frames alternate.
        groups: dict[str, list[Frame]] = {}
        for key, members in self._records(shard):
            try:
                frame, group_name = self._read(key, members, decoded)
            except UserError as error:
                raise UserError(f"{self._location(shard)}: {error}") from None
            groups.setdefault(group_name, []).append(frame)
        return with_other_views([tuple(group) for group in groups.values()])

    def _records(self, shard: int) -> Iterator[tuple[str, dict[str, bytes]]]:
        entry, location = self.manifest.shards[shard], self._location(shard)
        count = 0
        try:
            with open(self._local(shard), "rb") as stream:
                # Every process must find the same shards damaged, or they would part ways: hence by the whole hash.
                if (self.data.verify_hashes or self.data.skip_damaged) and shard not in self._verified:
                    if hashlib.file_digest(stream, "sha256").hexdigest() != entry.sha256:
                        raise UserError(f"{location}: sha256 differs from dataset.json; fetch or render it again")
                    self._verified.add(shard)
                    stream.seek(0)
                for key, members in read_records(stream, location):
                    count += 1
                    yield key, members
        except FileNotFoundError:
            raise UserError(f"{location}: missing, though dataset.json lists it; fetch or render it again") from None
        if count != entry.count:
            raise UserError(
                f"{location}: holds {count} samples, dataset.json says {entry.count} (last key {key}); render again"
            )

    def _local(self, shard: int) -> Path:
        entry = self.manifest.shards[shard]
        return local_shard(self._location(shard), entry, self.data.download_folder, self.data.download_limit_mb)

    def _read(self, key: str, members: dict[str, bytes], decoded: bool) -> tuple[Frame, str]:
        """A frame and the name of its group."""
        if self.skeleton is None:
            frame, group_name = read_real_frame(key, members)
        else:
            frame, group_name = read_labelled_frame(key, members, self.skeleton, self.data)
        if not self.pixels:
            frame = replace(frame, pixels=None)
        elif decoded:
            frame = replace(frame, pixels=(frame_image(frame), frame_ids(frame)))
        return frame, group_name

    def _is_small_enough(self) -> bool:
        """Whether all fits into memory when decoded, its pictures judged by the first one that can be read."""
        num_samples, limit_mb = self.manifest.num_samples, self.data.cache_limit_mb
        if not self.pixels:
            # To wait for a whole remote dataset before the first step, only for its labels, would be too long.
            return num_samples * _LABELS_MB <= limit_mb and not is_remote(self.folder)
        if limit_mb == 0:
            return False
        for shard in range(len(self.manifest.shards)):
            try:
                _, members = next(self._records(shard))
                height, width = decode_image(image_member(members), "first").shape[:2]
            except UserError:
                if self.data.skip_damaged:
                    continue
                raise
            return num_samples * height * width * 4 / 1e6 <= limit_mb
        raise UserError(f"{self.folder}: every shard is damaged; fetch or render the dataset again")

    def _report_left_out(self, shard: int, groups: list[Group]) -> None:
        if shard in self._reported:
            return
        self._reported.add(shard)
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
    manifest = patiently(lambda: read_manifest(folder), str(folder)) if is_remote(folder) else read_manifest(folder)
    if manifest.kind != kind:
        makes = {"synthetic": "`synthgen render`", "real": "`synthgen pack`"}[kind]
        raise UserError(f"{folder}: holds {manifest.kind} data, {kind} data is needed here; make it with {makes}")
    if not manifest.shards:
        raise UserError(f"{folder}: dataset.json lists no shards; render or pack it again")
    return manifest
