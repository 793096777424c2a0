"""Boxes that were found in pictures as the lens shows them, for pictures that are undistorted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from posecore.box_files import BoxFile
from posecore.calibration import CalibratedCamera
from posecore.pictures import Picture, Subject


@dataclass(frozen=True)
class StraightBoxes:
    """The boxes of a file, in pixels of the pinhole camera instead of the lens."""

    file: BoxFile
    camera: CalibratedCamera

    def __call__(self, picture: Picture) -> list[Subject]:
        return [replace(one, box=one.box and self._straight(one.box)) for one in self.file(picture)]

    def within_keyframes(self, picture: Picture) -> bool:
        return self.file.within_keyframes(picture)

    def _straight(self, box: tuple[float, float, float, float]) -> tuple[float, ...]:
        x, y, width, height = box
        border = np.array([[i, j] for i in (0, 0.5, 1) for j in (0, 0.5, 1)]) * [width, height] + [x, y]
        seen = self.camera.undistorted_px(border)
        return (*seen.min(0).tolist(), *np.ptp(seen, axis=0).tolist())
