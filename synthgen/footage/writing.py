"""Clips into shards, with a manifest and a sheet to look at; a clip is never split between two shards."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from posecore.codec import encode_image, encode_real
from posecore.dataset import Manifest, Shard, ShardWriter, write_manifest
from posecore.overlay import contact_sheet
from posecore.sample import RealFrame, make_key
from synthgen.footage.cutting import Clip
from synthgen.footage.options import PackOptions

_PREVIEW_CLIPS = 60
_PREVIEW_COLUMNS = 10
_PREVIEW_PX = 160


@dataclass(frozen=True)
class SourceCount:
    """What came of a file or a folder's pictures: frames read (after thinning out), and pictures kept."""

    name: str
    frames_read: int
    frames_kept: int


@dataclass(frozen=True)
class Damage:
    """A file that could not be read, or from the frame `frames_read` on no longer."""

    name: str
    frames_read: int
    reason: str


class ClipWriter:
    """Writes clips into tars in a folder, then what describes them.

    Attributes:
        frames, clips: written so far. shards: closed so far.
    """

    def __init__(self, folder: Path, name: str, options: PackOptions) -> None:
        self.frames = 0
        self.clips = 0
        self.shards: list[Shard] = []
        self._folder = folder
        self._name = name
        self._options = options
        self._records: list[tuple[str, dict[str, bytes]]] = []
        self._preview: list[tuple[np.ndarray, str]] = []
        self._preview_step = 1

    def add(self, clip: Clip) -> None:
        """Append a clip; its pictures bear its name, its time stamps and where they were cut."""
        name = f"{Path(clip.source).stem}-{self.clips:06d}"
        x, y, side = clip.square
        for index, (frame, picture) in enumerate(zip(clip.frames, clip.pictures, strict=True)):
            key = make_key(self.clips, index, 0)
            real = RealFrame(
                key=key,
                image=picture,
                clip=name,
                frame=frame.frame,
                time_s=frame.time_s,
                crop=(x, y, side, side),
                source=clip.source,
                extra={"stabilised": True} if clip.is_stabilised else {},
            )
            self._records.append((key, encode_real(real, self._options.quality)))
        if self.clips % self._preview_step == 0:
            self._preview.append(_preview_tile(clip))
            if len(self._preview) == 2 * _PREVIEW_CLIPS:
                self._preview, self._preview_step = self._preview[::2], 2 * self._preview_step
        self.frames += len(clip.frames)
        self.clips += 1
        if len(self._records) >= self._options.frames_per_shard:
            self._close_shard()

    def finish(self, rejects: Counter[str], sources: Sequence[SourceCount], damaged: Sequence[Damage]) -> None:
        """Write the last shard, preview.png and dataset.json."""
        if self._records:
            self._close_shard()
        tiles = self._preview[:: -(-len(self._preview) // _PREVIEW_CLIPS)]
        sheet = contact_sheet(
            [tile for tile, _ in tiles], columns=min(_PREVIEW_COLUMNS, len(tiles)), labels=[label for _, label in tiles]
        )
        (self._folder / "preview.png").write_bytes(encode_image(sheet, "png"))
        boxes = self._options.boxes
        recipe = asdict(self._options) | {"boxes": None if boxes is None else boxes.name}
        manifest = Manifest(
            name=self._name,
            kind="real",
            shards=tuple(self.shards),
            recipe=recipe,
            recipe_hash=hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest(),
            licences=[{"source": one.name, "licence": self._options.licence or "not stated"} for one in sources],
            rejects=dict(sorted(rejects.items())),
            statistics={
                "frames_read": sum(one.frames_read for one in sources),
                "frames_kept": self.frames,
                "clips": self.clips,
                "sources": [asdict(one) for one in sources],
                "damaged_files": [asdict(one) for one in damaged],
            },
        )
        write_manifest(self._folder, manifest)

    def _close_shard(self) -> None:
        with ShardWriter(self._folder / f"{self._name}-{len(self.shards):06d}.tar") as writer:
            for key, members in self._records:
                writer.add(key, members)
        self.shards.append(writer.shard)
        self._records = []


def _preview_tile(clip: Clip) -> tuple[np.ndarray, str]:
    """The middle picture of a clip, and its source and frames in words."""
    picture = clip.pictures[len(clip.pictures) // 2]
    if len(picture) > _PREVIEW_PX:
        picture = cv2.resize(picture, (_PREVIEW_PX, _PREVIEW_PX), interpolation=cv2.INTER_AREA)
    frames = f" {clip.frames[0].frame}-{clip.frames[-1].frame}" if len(clip.frames) > 1 else ""
    return picture, Path(clip.source).stem + frames
