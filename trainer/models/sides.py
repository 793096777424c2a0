"""Left and right as the viewer sees them, for skeleton images that show those (`skeleton_image.sides: viewer`).

A subject is turned if its left shoulder and hip lie further left in the picture than the right ones: its back is seen.
Shoulders and hips alone, since near a profile limbs swing to either side: by all joints one frame in ten of people seen
all round is named against the way the body faces, by the trunk one in twenty-four. The viewer's naming exchanges left
and right joints of turned subjects, and of those alone; to do so twice is to do nothing. A mirrored picture of a
subject is turned if the subject was, since mirroring swaps its joints as well.
"""

from __future__ import annotations

import torch

from posecore.skeleton import Skeleton

TRUNK = ("left_shoulder", "left_hip")
"""Of all packaged skeletons."""


class ViewerSides:
    """The two namings of a skeleton's joints."""

    def __init__(self, skeleton: Skeleton) -> None:
        self.swap = list(skeleton.swap)
        self.left = [skeleton.index(joint) for joint in TRUNK]
        self.right = [self.swap[joint] for joint in self.left]

    def turned(self, joints: torch.Tensor) -> torch.Tensor:
        """Which of joints [B, K, 2], named anatomically, show a back: [B] bool; false where neither pair is known."""
        lean = (joints[:, self.left, 0] - joints[:, self.right, 0]).nanmean(1)
        return lean < 0

    def exchange(self, values: torch.Tensor, turned: torch.Tensor) -> torch.Tensor:
        """Values of joints [B, K, ...] in the other naming, turned [B] bool."""
        return torch.where(turned.view(-1, *[1] * (values.ndim - 1)), values[:, self.swap], values)
