"""What a user may choose when footage is packed, checked at the edge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from posecore.box_files import MIN_SCORE
from posecore.calibration import LengthUnit
from posecore.errors import UserError

Subjects = Literal["motion", "boxes", "alpha", "frame"]


@dataclass(frozen=True)
class PackOptions:
    """How footage is read and cut.

    Attributes:
        subjects: "motion" follows what moves, "boxes" reads `boxes`, "alpha" takes what a transparent ground leaves,
            "frame" the largest centred square of the whole frame.
        boxes: a file in any form that `posecore.box_files` reads, in pixels of the upright source; it is held against
            a video's frames by their number, against pictures by their name.
        min_box_score, box_category: which detections of it count.
        max_subjects: of what moves, the liveliest so many at a time.
        frames: of each video, or folder of pictures, number of the first frame, from 0 on, and of the first one no more
            taken (None: to the end).
        frame_step: take every n-th of them. frames_per_second: or so many a second by their time stamps, which a video
            of a varying rate needs; pictures have no time stamps.
        stills: pictures of a folder are never frames of one shot.
        size_px: side of the stored pictures. quality: of their JPEGs, 1 to 100.
        clip_frames, min_clip_frames: longest and shortest clip. margin: side of a clip's square by the side of its
            subject's box.
        min_subject_px: subjects whose square would be smaller in the source are left out.
        strict: a file that cannot be read ends the packing; otherwise it is skipped, counted and named.
        licence: of the footage, recorded in dataset.json.
        calibration: a file of cameras that `posecore.calibration` reads, one for each video and called as it; None:
            cameras are not known. calibration_unit: of TOML's translations.
        working_size_px: frames are shrunk to this longer side while they are worked on. window_frames: frames held at
            a time.
        frames_per_shard: a shard is closed at the first end of a clip beyond this.
    """

    subjects: Subjects = "motion"
    boxes: Path | None = None
    min_box_score: float = MIN_SCORE
    box_category: int | None = None
    max_subjects: int = 2
    frames: tuple[int, int | None] = (0, None)
    frame_step: int = 1
    frames_per_second: float | None = None
    stills: bool = False
    size_px: int = 160
    quality: int = 92
    clip_frames: int = 32
    min_clip_frames: int = 6
    margin: float = 1.1
    min_subject_px: int = 64
    strict: bool = False
    licence: str = ""
    calibration: Path | None = None
    calibration_unit: LengthUnit = "m"
    working_size_px: int = 960
    window_frames: int = 240
    frames_per_shard: int = 512

    def __post_init__(self) -> None:
        if self.subjects == "boxes" and self.boxes is None:
            raise UserError('subjects "boxes" needs a file of boxes; give it with --boxes')
        if self.subjects != "boxes" and self.boxes is not None:
            raise UserError(f'{self.boxes}: boxes are not used with subjects "{self.subjects}"; leave one of them out')
        if not 2 <= self.min_clip_frames <= self.clip_frames <= 99:
            raise UserError(
                "clips must have 2 to 99 frames, "
                f"got min_clip_frames={self.min_clip_frames}, clip_frames={self.clip_frames}"
            )
        first, end = self.frames
        if first < 0 or (end is not None and end <= first):
            raise UserError(f"frames must be FIRST:END with 0 <= FIRST < END, got {first}:{'' if end is None else end}")
        if self.frames_per_second is not None and self.frame_step != 1:
            raise UserError("frame_step and frames_per_second both thin out the frames; give one of them")
        if self.frames_per_second is not None and not self.frames_per_second > 0:
            raise UserError(f"frames_per_second must be above 0, got {self.frames_per_second}")
        if not 1.0 <= self.margin <= 4.0:
            raise UserError(f"margin must be within 1 and 4, got {self.margin}")
        if not 1 <= self.quality <= 100:
            raise UserError(f"quality must be within 1 and 100, got {self.quality}")
        for name in ("size_px", "frame_step", "max_subjects", "min_subject_px", "working_size_px", "frames_per_shard"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.window_frames < 2 * self.clip_frames:
            raise UserError(
                f"window_frames must hold two clips, got window_frames={self.window_frames}, "
                f"clip_frames={self.clip_frames}"
            )
