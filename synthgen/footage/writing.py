"""Clips into shards, with a manifest and a sheet to look at; a clip is never split between two shards."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from posecore.codec import encode_image, encode_real
from posecore.dataset import MOMENTS_BY_VIEWS, Manifest, Shard, ShardWriter, write_manifest
from posecore.overlay import contact_sheet
from posecore.sample import RealFrame, make_key
from synthgen.footage.cutting import Clip
from synthgen.footage.options import PackOptions
from synthgen.footage.views import View, subjects_of

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
        self._num_subjects = 0
        self._cameras_at: Counter[tuple[str, int]] = Counter()

    def add(self, clip: Clip) -> None:
        """Append a clip; its pictures bear its name, its time stamps and where they were cut."""
        self._append(clip, {})
        self._close_full_shard()

    def add_views(self, views: Sequence[View]) -> None:
        """Append what calibrated cameras saw over the same moments, into one shard.

        Pictures bear as well the camera that took them, their moment, and the name of the views to which they belong:
        those of one name and moment show one subject.
        """
        for view, subject in zip(views, subjects_of(views), strict=True):
            together = f"{self._num_subjects + subject:06d}"
            self._append(
                view.clip,
                {"camera": view.stored_camera(self._options.size_px), "views": together},
                names_moments=True,
            )
            self._cameras_at.update((together, frame.frame) for frame in view.clip.frames)
        self._num_subjects += len(views)
        self._close_full_shard()

    def _append(self, clip: Clip, more: dict[str, Any], names_moments: bool = False) -> None:
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
                extra=({"stabilised": True} if clip.is_stabilised else {})
                | more
                | ({"moment": frame.frame} if names_moments else {}),
            )
            self._records.append((key, encode_real(real, self._options.quality)))
        if self.clips % self._preview_step == 0:
            self._preview.append(_preview_tile(clip))
            if len(self._preview) == 2 * _PREVIEW_CLIPS:
                self._preview, self._preview_step = self._preview[::2], 2 * self._preview_step
        self.frames += len(clip.frames)
        self.clips += 1

    def finish(self, rejects: Counter[str], sources: Sequence[SourceCount], damaged: Sequence[Damage]) -> None:
        """Write the last shard, preview.png and dataset.json."""
        if self._records:
            self._close_shard()
        tiles = self._preview[:: -(-len(self._preview) // _PREVIEW_CLIPS)]
        sheet = contact_sheet(
            [tile for tile, _ in tiles], columns=min(_PREVIEW_COLUMNS, len(tiles)), labels=[label for _, label in tiles]
        )
        (self._folder / "preview.png").write_bytes(encode_image(sheet, "png"))
        boxes, calibration = self._options.boxes, self._options.calibration
        recipe = asdict(self._options) | {"boxes": None if boxes is None else boxes.name}
        views = {}
        if calibration is None:
            del recipe["calibration"], recipe["calibration_unit"]
        else:
            recipe["calibration"] = calibration.name
            counts = Counter(self._cameras_at.values())
            views = {MOMENTS_BY_VIEWS: {str(count): counts[count] for count in sorted(counts)}}
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
                **views,
            },
        )
        write_manifest(self._folder, manifest)

    def _close_full_shard(self) -> None:
        if len(self._records) >= self._options.frames_per_shard:
            self._close_shard()

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
