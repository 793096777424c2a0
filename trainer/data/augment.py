"""Random changes of labelled crops that keep every label true.

Geometry is exact in 3D: a crop, zoom or shift changes only the intrinsics K; a roll turns the camera about its
optical axis, so joints and rotations of the camera frame turn with it; a mirror image mirrors the camera frame and
swaps left and right. After any of them, K still projects joints_cam onto joints_px.
Pixels: (0, 0) is the outer corner of the top-left pixel. Rotations are global, from the rest pose, in the camera
frame. The rest pose is symmetric about x = 0 in its own frame. Every draw comes from the Generator that is handed in.
numpy and cv2 only: this runs in workers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import NormalDist

import cv2
import numpy as np

from posecore.camera import Camera
from posecore.sample import HIDDEN_BY_OTHER, OUTSIDE, inside_frame
from posecore.skeleton import Skeleton
from trainer.data.config import CropConfig, PhotometricConfig

_MIRROR = np.diag([-1.0, 1.0, 1.0])
_LUMINANCE = np.tile([0.299, 0.587, 0.114], (3, 1))  # Rec. 601: each channel of a grey picture
# Of a standard normal: noise is drawn by the byte, which is many times faster and fine enough for 8-bit pictures.
_NORMAL_QUANTILES = np.array([NormalDist().inv_cdf((rank + 0.5) / 256) for rank in range(256)], np.float32)
_PREFILTER_BELOW = 0.8  # bilinear sampling is clean down to about this zoom; below, the image is first shrunk by area


@dataclass(frozen=True)
class Labels:
    """What is known about the subject of a picture; K joints.

    Attributes:
        joints_px: [K, 2]. visibility: [K] uint8 as in posecore.sample.
        joints_cam: [K, 3] metres. rotations_cam: [K, 3, 3], NaN where unknown.
        camera_K: [3, 3], square pixels, no skew. box_px: [4] x, y, width, height.
        azimuth_deg, elevation_deg: of the camera as posecore.viewpoint has them; NaN where unknown.
        species: empty where unknown.
    """

    joints_px: np.ndarray
    visibility: np.ndarray
    joints_cam: np.ndarray
    rotations_cam: np.ndarray
    camera_K: np.ndarray
    box_px: np.ndarray
    azimuth_deg: float = math.nan
    elevation_deg: float = math.nan
    species: str = ""


@dataclass(frozen=True)
class Warp:
    """A square crop: where pixels of the source picture land in it.

    The square's centre `centre_px` goes to the middle of the crop, its side `side_px` becomes `size_px` pixels. Then
    the content turns by `roll_rad` (clockwise as seen, for y points down) about that middle, and is mirrored last.
    """

    centre_px: tuple[float, float]
    side_px: float
    size_px: int
    roll_rad: float = 0.0
    flip: bool = False

    @property
    def zoom(self) -> float:
        return self.size_px / self.side_px

    @cached_property
    def matrix(self) -> np.ndarray:
        """[2, 3] affine map from pixels of the source to pixels of the crop."""
        cosine, sine = self.zoom * math.cos(self.roll_rad), self.zoom * math.sin(self.roll_rad)
        side = -1.0 if self.flip else 1.0
        (x, y), middle = self.centre_px, self.size_px / 2
        return np.array(
            [
                [side * cosine, -side * sine, middle - side * (cosine * x - sine * y)],
                [sine, cosine, middle - (sine * x + cosine * y)],
            ]
        )


def centre_warp(box_px: np.ndarray | None, width: int, height: int, crop: CropConfig, size_px: int) -> Warp:
    """The crop without chance: round the box with its margin, or the whole frame's largest centred square.

    Args:
        box_px: [4] x, y, width, height in the source; not used where the crop is around the frame.
    """
    if crop.around == "frame" or box_px is None:
        return Warp((width / 2, height / 2), min(width, height) * crop.margin, size_px)
    x, y, box_width, box_height = (float(value) for value in box_px)
    return Warp((x + box_width / 2, y + box_height / 2), max(box_width, box_height, 1.0) * crop.margin, size_px)


def jitter(warp: Warp, crop: CropConfig, rng: np.random.Generator) -> Warp:
    """A random zoom, shift, roll and mirroring of a crop. The number of draws does not depend on their outcome."""
    scale = np.exp(rng.uniform(*np.log(crop.scale)))
    shift = rng.uniform(-crop.shift, crop.shift, size=2) * warp.side_px
    roll = np.deg2rad(np.clip(rng.normal(0, crop.roll_deg), -2 * crop.roll_deg, 2 * crop.roll_deg))
    rolls, flips = rng.random(2) < (crop.roll_probability, crop.flip_probability)
    return replace(
        warp,
        centre_px=(warp.centre_px[0] + shift[0], warp.centre_px[1] + shift[1]),
        side_px=warp.side_px * scale,
        roll_rad=roll if rolls else 0.0,
        flip=bool(flips),
    )


def world_from_crop(camera: Camera, warp: Warp) -> np.ndarray:
    """The rotation [3, 3] that takes root-relative joints from the axes of a crop to the world.

    Who sees nothing but a crop takes it for the picture of a camera that looks at its centre. Let R be the rotation of
    cam_from_world, A the least one that takes the ray through the crop's centre to the optical axis, and T the roll.
    A difference X of two points of the world is then T A R X in the crop, and W = (T A R)^T takes it back. A mirrored
    crop shows M T A R X with M = diag(-1, 1, 1), M being its own inverse: (M W M) (M T A R X) = M X, so W' = M W M
    takes it to the mirrored world. Crops agree there if all of them are mirrored.

    Args:
        camera: of the whole picture.
        warp: how the crop is cut out of it.
    """
    ray = np.linalg.solve(camera.K, [*warp.centre_px, 1.0])
    x, y, z = ray / np.linalg.norm(ray)
    cross = np.array([[0.0, 0.0, -x], [0.0, 0.0, -y], [x, y, 0.0]])  # of the axis ray x (0, 0, 1)
    aligned = np.eye(3) + cross + cross @ cross / (1 + z)
    cosine, sine = np.cos(warp.roll_rad), np.sin(warp.roll_rad)
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    back = (turn @ aligned @ camera.cam_from_world[:3, :3]).T
    return _MIRROR @ back @ _MIRROR if warp.flip else back


def warp_image(image: np.ndarray, warp: Warp, smooth: bool = True) -> np.ndarray:
    """Cut the crop out of a picture.

    Args:
        image: uint8 [H, W, 3], or [H, W] for ids.
        smooth: area filter and bilinear sampling, the border repeated outwards; without it the nearest pixel, 0
        outside (ids).

    Returns:
        uint8 [size, size(, 3)].
    """
    matrix = warp.matrix
    if smooth and warp.zoom < _PREFILTER_BELOW:
        height, width = image.shape[:2]
        small = (max(1, round(width * warp.zoom)), max(1, round(height * warp.zoom)))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        matrix = matrix @ np.diag([width / small[0], height / small[1], 1.0])
    # cv2 counts from the centre of the first pixel, we from its outer corner.
    at_centres = matrix.copy()
    at_centres[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    return cv2.warpAffine(
        image,
        at_centres,
        (warp.size_px, warp.size_px),
        flags=cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REPLICATE if smooth else cv2.BORDER_CONSTANT,
    )


def warp_labels(labels: Labels, warp: Warp, skeleton: Skeleton) -> Labels:
    """The labels of a crop.

    Joints that left the crop, or that lay outside the source picture already, have visibility 0.

    Raises:
        ValueError: the pixels are not square; a roll would then need a skewed K.
    """
    camera_K = labels.camera_K
    if abs(camera_K[0, 0] - camera_K[1, 1]) > 1e-6 * camera_K[0, 0] or camera_K[0, 1] != 0:
        raise ValueError(f"camera K must have square pixels and no skew, got {camera_K.tolist()}")
    matrix = warp.matrix
    cosine, sine = np.cos(warp.roll_rad), np.sin(warp.roll_rad)
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    camera_side = _MIRROR @ turn if warp.flip else turn
    rest_side = _MIRROR if warp.flip else np.eye(3)
    order = list(skeleton.swap) if warp.flip else slice(None)
    joints_px = (labels.joints_px @ matrix[:, :2].T + matrix[:, 2])[order]
    visibility = labels.visibility[order].copy()
    visibility[~inside_frame(joints_px, warp.size_px, warp.size_px)] = OUTSIDE
    warped_K = np.diag([camera_K[0, 0] * warp.zoom, camera_K[1, 1] * warp.zoom, 1.0])
    warped_K[:2, 2] = matrix[:, :2] @ camera_K[:2, 2] + matrix[:, 2]
    return replace(
        labels,
        joints_px=joints_px,
        visibility=visibility,
        joints_cam=(labels.joints_cam @ camera_side.T)[order],
        rotations_cam=(camera_side @ labels.rotations_cam @ rest_side)[order],
        camera_K=warped_K,
        box_px=_warp_box(labels.box_px, matrix),
        azimuth_deg=-labels.azimuth_deg if warp.flip else labels.azimuth_deg,
    )


@dataclass(frozen=True)
class Photometric:
    """One draw of everything that may happen to the pixels; applied alike to both pictures of a pair.

    Attributes:
        gain: [3] per channel. contrast, saturation: factors. blur_sigma_px: 0 for none. noise_sigma: 0 for none, of
        0..1.
        cutout: x, y, width, height in pixels and its colour [3] in 0..1, or None.
    """

    gain: np.ndarray
    contrast: float
    saturation: float
    blur_sigma_px: float
    noise_sigma: float
    cutout: tuple[np.ndarray, np.ndarray] | None


def draw_photometric(config: PhotometricConfig, size_px: int, rng: np.random.Generator) -> Photometric:
    """Draw one photometric change. The number of draws does not depend on their outcome."""
    draws = rng.random(19)

    def between(low: float, high: float, place: int, count: int = 1) -> np.ndarray:
        return low + (high - low) * draws[place : place + count]

    (gain,) = between(1 - config.brightness, 1 + config.brightness, 0)
    balance = between(1 - config.white_balance, 1 + config.white_balance, 1, 3)
    (contrast,) = between(1 - config.contrast, 1 + config.contrast, 4)
    (saturation,) = between(1 - config.saturation, 1 + config.saturation, 5)
    (blur_sigma,), (noise_sigma,) = between(*config.blur_sigma_px, 6), between(*config.noise_sigma, 7)
    cutout_size = between(*config.cutout_size, 8, 2) * size_px
    cutout_corner = draws[10:12] * (size_px - cutout_size)
    cutout_colour = draws[12:15]
    greys, blurs, is_noisy, cuts = draws[15:] < (
        config.grayscale_probability,
        config.blur_probability,
        config.noise_probability,
        config.cutout_probability,
    )
    cutout = np.round(np.concatenate([cutout_corner, cutout_size]))
    return Photometric(
        gain=gain * (np.ones(3) if greys else balance),
        contrast=contrast,
        saturation=0.0 if greys else saturation,
        blur_sigma_px=blur_sigma if blurs else 0.0,
        noise_sigma=noise_sigma if is_noisy else 0.0,
        cutout=(cutout, cutout_colour) if cuts else None,
    )


def apply_photometric(image: np.ndarray, change: Photometric, rng: np.random.Generator) -> np.ndarray:
    """uint8 [S, S, 3] -> uint8 [S, S, 3]; `rng` draws the noise."""
    # Gain, contrast about the mean and saturation about grey make one affine map of colours: grey stays grey.
    saturate = change.saturation * np.eye(3) + (1 - change.saturation) * _LUMINANCE
    mean = np.mean(np.array(cv2.mean(image)[:3]) * change.gain)
    offset = np.full((3, 1), (1 - change.contrast) * mean)
    result = cv2.transform(image, np.concatenate([change.contrast * saturate * change.gain, offset], axis=1))
    if change.cutout is not None:
        (x, y, width, height), colour = change.cutout
        result[int(y) : int(y + height), int(x) : int(x + width)] = np.round(255 * colour)
    if change.blur_sigma_px > 0:
        result = cv2.GaussianBlur(result, (0, 0), change.blur_sigma_px)
    if change.noise_sigma > 0:
        ranks = np.frombuffer(rng.bytes(result.size), np.uint8).reshape(result.shape)
        noise = cv2.LUT(ranks, _NORMAL_QUANTILES * np.float32(255 * change.noise_sigma))
        result = cv2.add(result, noise, dtype=cv2.CV_8U)
    return result


def hide_cut_out_joints(labels: Labels, change: Photometric) -> Labels:
    """Joints under the cutout are hidden by something else."""
    if change.cutout is None:
        return labels
    x, y, width, height = change.cutout[0]
    px = labels.joints_px
    under = (px[:, 0] >= x) & (px[:, 0] < x + width) & (px[:, 1] >= y) & (px[:, 1] < y + height)
    visibility = np.where(under & (labels.visibility != OUTSIDE), HIDDEN_BY_OTHER, labels.visibility)
    return replace(labels, visibility=visibility.astype(np.uint8))


def swap_background(image: np.ndarray, mask: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Paste what the mask covers on another background, its edge softened over about a pixel.

    Args:
        image, background: uint8 [S, S, 3]. mask: bool [S, S], true on every subject.
    """
    alpha = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.7)
    # Only inwards: a softened edge that reached outwards would carry a rim of the old background along.
    alpha = cv2.max(2 * alpha - 1, 0.0)
    return cv2.blendLinear(image, background, alpha, 1 - alpha)


def clean_plate(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture without its subjects: holes are filled from their surroundings, coarse to fine (push-pull).

    Args:
        image: uint8 [H, W, 3]. mask: bool [H, W], true on what is to vanish; grown a little, for soft edges and
        shadows.
    """
    hole = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(np.float32)
    weight = 1 - hole
    levels = [(image.astype(np.float32) * weight[..., None], weight)]
    while min(levels[-1][1].shape) > 2 and (levels[-1][1] < 1e-3).any():
        colour, weight = levels[-1]
        levels.append((cv2.pyrDown(colour), cv2.pyrDown(weight)))
    colour, weight = levels[-1]
    filled = colour / np.maximum(weight, 1e-3)[..., None]
    for colour, weight in reversed(levels[:-1]):
        coarse = cv2.resize(filled, weight.shape[::-1], interpolation=cv2.INTER_LINEAR)
        filled = colour + (1 - weight)[..., None] * coarse
    return np.clip(filled, 0, 255).astype(np.uint8)


def masked_copy(image: np.ndarray, mask_fraction: float, rng: np.random.Generator) -> np.ndarray:
    """What stands for x' where there is no second frame: a warped copy of which most patches are blanked.

    The warp keeps appearance and breaks the exact position of every part; the blanks keep a renderer from copying
    (AutoLink's masking).

    Args:
        image: uint8 [S, S, 3]. mask_fraction: part of the 8 x 8 patches that become mid-grey.
    """
    size = image.shape[0]
    coarse = rng.normal(0, 0.04 * size, size=(2, 4, 4)).astype(np.float32)
    offsets = [cv2.resize(plane, (size, size), interpolation=cv2.INTER_CUBIC) for plane in coarse]
    grid_y, grid_x = np.mgrid[:size, :size].astype(np.float32)
    copy = cv2.remap(
        image, grid_x + offsets[0], grid_y + offsets[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    blank = np.zeros(64, dtype=np.uint8)
    blank[rng.permutation(64)[: round(64 * mask_fraction)]] = 1
    blank = cv2.resize(blank.reshape(8, 8), (size, size), interpolation=cv2.INTER_NEAREST)
    copy[blank.astype(bool)] = 128
    return copy


def _warp_box(box_px: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The axis-aligned box round a warped box."""
    x, y, width, height = box_px
    corners = np.array([[x, y], [x + width, y], [x, y + height], [x + width, y + height]])
    warped = corners @ matrix[:, :2].T + matrix[:, 2]
    low, high = warped.min(axis=0), warped.max(axis=0)
    return np.concatenate([low, high - low])
