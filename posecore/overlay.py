"""Drawing of skeletons, boxes and words into images, for previews and reports.

Left is drawn warm, right cool, the midline light, so that a swapped side is seen at a glance. A joint's dot tells its
visibility: filled when visible, a ring when the subject itself hides it, a ring of a colour of its own when something
else does, nothing when it is outside the frame.
"""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from posecore.sample import HIDDEN_BY_OTHER, HIDDEN_BY_SELF, OUTSIDE, VISIBLE
from posecore.skeleton import Skeleton

SIDE_COLOURS = {"left": (255, 140, 30), "right": (40, 150, 255), "centre": (235, 235, 235)}
HIDDEN_BY_OTHER_COLOUR = (240, 60, 200)
BOX_COLOUR = (250, 220, 60)
VISIBILITY_WORDS = {
    VISIBLE: "visible",
    HIDDEN_BY_SELF: "hidden by itself",
    HIDDEN_BY_OTHER: "hidden by something else",
    OUTSIDE: "outside the frame",
}

_SHIFT = 4  # cv2 takes fixed-point coordinates; 4 fractional bits keep sub-pixel positions
_OUTLINE = (20, 20, 20)
_INK = (60, 66, 74)
_MARK_GROUND = (84, 90, 98)  # the midline's light grey must show on a white page
_LABEL_PX, _LEAST_LABEL_PX = 13, 8


def draw_skeleton(
    image: np.ndarray,
    joints_px: np.ndarray,
    skeleton: Skeleton,
    visibility: np.ndarray | None = None,
    thickness: int | None = None,
    opacity: np.ndarray | None = None,
) -> np.ndarray:
    """A copy of the image with the skeleton drawn in.

    Args:
        image: [H, W, 3] uint8 RGB.
        joints_px: [J, 2] pixels; NaN joints and their edges are left out.
        visibility: [J] of posecore.sample, or None to draw all joints as visible.
        thickness: of the lines in pixels; by default it grows with the image.
        opacity: [J] 0..1, how much each joint covers the image (an edge: the lesser of its ends); None covers it.
    """
    thickness = thickness or max(1, round(min(image.shape[:2]) / 160))
    known = np.isfinite(joints_px).all(axis=1)
    if opacity is not None and known.any():
        return _draw_faded(image, joints_px, skeleton, visibility, thickness, np.where(known, opacity, 0.0))
    canvas = np.ascontiguousarray(image).copy()
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
            ring = HIDDEN_BY_OTHER_COLOUR if level == HIDDEN_BY_OTHER else colour
            cv2.circle(canvas, centre, radius + 2**_SHIFT, ring, 1, cv2.LINE_AA, _SHIFT)
    return canvas


def _draw_faded(
    image: np.ndarray,
    joints_px: np.ndarray,
    skeleton: Skeleton,
    visibility: np.ndarray | None,
    thickness: int,
    opacity: np.ndarray,
) -> np.ndarray:
    """The whole skeleton drawn once, then let through by a mask of how opaque each of its lines and dots is."""
    canvas = np.ascontiguousarray(image).copy()
    height, width = canvas.shape[:2]
    reach = 3 * thickness + 4
    known = np.isfinite(joints_px).all(axis=1)
    low = np.clip(np.floor(joints_px[known].min(axis=0)) - reach, 0, [width, height]).astype(int)
    high = np.clip(np.ceil(joints_px[known].max(axis=0)) + reach, 0, [width, height]).astype(int)
    part = canvas[low[1] : high[1], low[0] : high[0]]
    if not part.size:
        return canvas
    local = joints_px - low
    drawn = draw_skeleton(part, local, skeleton, visibility, thickness)
    cover = np.zeros(part.shape[:2], np.float32)
    # Faint first: where lines cross, the surer one is on top.
    for a, b in sorted(skeleton.edges, key=lambda edge: min(opacity[list(edge)])):
        if known[a] and known[b]:
            ends = [_fixed_point(local[joint]) for joint in (a, b)]
            cv2.line(cover, *ends, float(min(opacity[a], opacity[b])), thickness + 2, cv2.LINE_8, _SHIFT)
    for joint in sorted(np.flatnonzero(known), key=opacity.__getitem__):
        cv2.circle(
            cover, _fixed_point(local[joint]), round((thickness + 2.6) * 2**_SHIFT), float(opacity[joint]), -1,
            cv2.LINE_8, _SHIFT,
        )  # fmt: skip
    part[:] = np.round(part + cover[..., None] * (drawn.astype(np.float32) - part)).astype(np.uint8)
    return canvas


def draw_box(image: np.ndarray, box_px: np.ndarray) -> np.ndarray:
    """A copy of the image with the outline of a box [x, y, width, height], on its outermost pixels; none if empty."""
    canvas = np.ascontiguousarray(image).copy()
    x, y, width, height = box_px
    if width > 0 and height > 0:
        cv2.rectangle(canvas, (round(x), round(y)), (round(x + width) - 1, round(y + height) - 1), BOX_COLOUR, 1)
    return canvas


def contact_sheet(
    images: Sequence[np.ndarray],
    columns: int,
    gap_px: int = 4,
    background: int = 255,
    labels: Sequence[str] | None = None,
) -> np.ndarray:
    """Images [H, W, 3] of one size side by side, row by row, on a plain ground.

    Args:
        labels: a line of words under each image, shrunk and then cut to fit its width.
    """
    height, width = images[0].shape[:2]
    rows = -(-len(images) // columns)
    line_px = 0 if labels is None else _LABEL_PX + 4
    cell_px = height + line_px + gap_px
    sheet = np.full((rows * cell_px + gap_px, columns * (width + gap_px) + gap_px, 3), background, dtype=np.uint8)
    for position, image in enumerate(images):
        row, column = divmod(position, columns)
        y, x = gap_px + row * cell_px, gap_px + column * (width + gap_px)
        sheet[y : y + height, x : x + width] = image
    if labels is None:
        return sheet
    canvas = Image.fromarray(sheet)
    for position, label in enumerate(labels):
        row, column = divmod(position, columns)
        size_px = _LABEL_PX
        while size_px > _LEAST_LABEL_PX and _font(size_px).getlength(label) > width:
            size_px -= 1
        while len(label) > 1 and _font(size_px).getlength(label) > width:
            label = f"{label[:-2]}…"
        middle = gap_px + column * (width + gap_px) + width / 2, gap_px + row * cell_px + height + line_px / 2
        ImageDraw.Draw(canvas).text(middle, label, fill=_INK, font=_font(size_px), anchor="mm")
    return np.asarray(canvas)


def legend(width_px: int, scale: int = 1, background: int = 255) -> np.ndarray:
    """What colours and dots mean, [H, width_px, 3] on a plain ground; in as many lines as the width asks for."""
    size_px, line_px, gap_px = 13 * scale, 24 * scale, 18 * scale
    font = _font(size_px)
    entries = [
        ("line", SIDE_COLOURS["left"], "left limbs"),
        ("line", SIDE_COLOURS["right"], "right limbs"),
        ("line", SIDE_COLOURS["centre"], "midline"),
        ("dot", SIDE_COLOURS["left"], "visible"),
        ("ring", SIDE_COLOURS["left"], "hidden by itself"),
        ("ring", HIDDEN_BY_OTHER_COLOUR, "hidden by something else"),
        ("line", BOX_COLOUR, "box of the visible pixels"),
    ]
    x, y, places = gap_px, 0, []
    for _, _, words in entries:
        entry_px = round(2 * line_px + font.getlength(words))
        if x > gap_px and x + entry_px > width_px:
            x, y = gap_px, y + line_px
        places.append((x, y + line_px // 2))
        x += entry_px
    strip = Image.new("RGB", (width_px, y + line_px), (background,) * 3)
    pen = ImageDraw.Draw(strip)
    for (mark, colour, words), (x, y) in zip(entries, places, strict=True):
        half = line_px // 2
        pen.rounded_rectangle(
            (x, y - half + 3 * scale, x + line_px, y + half - 3 * scale), 4 * scale, fill=_MARK_GROUND
        )
        ends = (x + 4 * scale, y), (x + line_px - 4 * scale, y)
        dot = (x + half - 4 * scale, y - 4 * scale, x + half + 4 * scale, y + 4 * scale)
        match mark:
            case "line":
                pen.line(ends, fill=colour, width=2 * scale)
            case "dot":
                pen.ellipse(dot, fill=colour)
            case "ring":
                pen.ellipse(dot, outline=colour, width=2 * scale)
        pen.text((x + line_px + 6 * scale, y), words, fill=_INK, font=font, anchor="lm")
    return np.asarray(strip)


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """The image [H, W, 3] at `factor` times its size, smooth; joints scale by the same factor."""
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)


@cache
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size_px)


def _fixed_point(point: np.ndarray) -> tuple[int, int]:
    # cv2 places integer coordinates at pixel centres; ours are measured from the pixel's outer corner
    x, y = np.clip((point - 0.5) * 2**_SHIFT, -(2**20), 2**20)
    return round(float(x)), round(float(y))
