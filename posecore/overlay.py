"""Drawing of skeletons into images, for previews and reports.

Left is drawn warm, right cool, the midline light, so that a swapped side is seen at a glance. A joint's dot tells its
visibility: filled when visible, a ring when hidden, nothing when outside the frame.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from posecore.sample import OUTSIDE, VISIBLE
from posecore.skeleton import Skeleton

SIDE_COLOURS = {"left": (255, 140, 30), "right": (40, 150, 255), "centre": (235, 235, 235)}

_SHIFT = 4  # cv2 takes fixed-point coordinates; 4 fractional bits keep sub-pixel positions
_OUTLINE = (20, 20, 20)


def draw_skeleton(
    image: np.ndarray,
    joints_px: np.ndarray,
    skeleton: Skeleton,
    visibility: np.ndarray | None = None,
    thickness: int | None = None,
) -> np.ndarray:
    """A copy of the image with the skeleton drawn in.

    Args:
        image: [H, W, 3] uint8 RGB.
        joints_px: [J, 2] pixels; NaN joints and their edges are left out.
        visibility: [J] of posecore.sample, or None to draw all joints as visible.
        thickness: of the lines in pixels; by default it grows with the image.
    """
    canvas = np.ascontiguousarray(image).copy()
    thickness = thickness or max(1, round(min(image.shape[:2]) / 160))
    known = np.isfinite(joints_px).all(axis=1)
    for a, b in skeleton.edges:
        if known[a] and known[b]:
            side = skeleton.side(b) if skeleton.side(b) != "centre" else skeleton.side(a)
            ends = [_fixed_point(joints_px[joint]) for joint in (a, b)]
            cv2.line(canvas, *ends, SIDE_COLOURS[side], thickness, cv2.LINE_AA, _SHIFT)
    radius = round((thickness + 0.6) * 2**_SHIFT)
    for joint in np.flatnonzero(known):
        level = VISIBLE if visibility is None else visibility[joint]
        if level == OUTSIDE:
            continue
        centre = _fixed_point(joints_px[joint])
        colour = SIDE_COLOURS[skeleton.side(joint)]
        if level == VISIBLE:
            cv2.circle(canvas, centre, radius, colour, -1, cv2.LINE_AA, _SHIFT)
            if thickness > 1:  # on a small dot the outline would hide the colour
                cv2.circle(canvas, centre, radius, _OUTLINE, 1, cv2.LINE_AA, _SHIFT)
        else:
            cv2.circle(canvas, centre, radius, colour, 1, cv2.LINE_AA, _SHIFT)
    return canvas


def contact_sheet(images: Sequence[np.ndarray], columns: int, gap_px: int = 4, background: int = 255) -> np.ndarray:
    """Images [H, W, 3] of one size side by side, row by row, on a plain ground."""
    height, width = images[0].shape[:2]
    rows = -(-len(images) // columns)
    sheet = np.full(
        (rows * (height + gap_px) + gap_px, columns * (width + gap_px) + gap_px, 3), background, dtype=np.uint8
    )
    for position, image in enumerate(images):
        row, column = divmod(position, columns)
        y, x = gap_px + row * (height + gap_px), gap_px + column * (width + gap_px)
        sheet[y : y + height, x : x + width] = image
    return sheet


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """The image [H, W, 3] at `factor` times its size, smooth; joints scale by the same factor."""
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)


def _fixed_point(point: np.ndarray) -> tuple[int, int]:
    # cv2 places integer coordinates at pixel centres; ours are measured from the pixel's outer corner
    x, y = np.clip((point - 0.5) * 2**_SHIFT, -(2**20), 2**20)
    return round(float(x)), round(float(y))
