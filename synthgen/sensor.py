"""From linear radiance to the 8-bit picture: what a camera's sensor and its software do. No pixel moves, so labels stay
right.

The noise field follows from the seed that the SceneSpec holds, and from frame and view.
"""

import cv2
import numpy as np

from posecore.codec import decode_image, encode_image
from synthgen.renderer import Passes
from synthgen.scene import SensorSpec

_MIDDLE_GREY = 0.18
_SHOULDER = 0.6  # linear value above which highlights are rolled off instead of clipped
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)  # Rec. 709, of linear light
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # Rec. 601, of encoded values, as most software greys


def develop(passes: Passes, sensor: SensorSpec, frame: int, view: int) -> np.ndarray:
    """The picture [H, W, 3] uint8 sRGB of one rendered view.

    Exposure is metered half on the subjects, half on the whole picture (geometric means), as a camera's would be.
    """
    linear = passes.radiance * (_metered_gain(passes) * 2.0**sensor.exposure_ev)
    linear = linear * np.asarray(sensor.white_balance, dtype=np.float32)
    linear = linear * _vignette(linear.shape[0], linear.shape[1], sensor.vignette)
    if sensor.shake_px > 1:  # within a pixel nothing is smeared
        linear = cv2.filter2D(
            linear, -1, _shake_kernel(sensor.shake_px, sensor.shake_deg), borderType=cv2.BORDER_REPLICATE
        )
    if sensor.blur_px > 0.2:  # a narrower kernel is a single pixel
        linear = cv2.GaussianBlur(linear, (0, 0), sensor.blur_px)
    over = np.maximum(linear - _SHOULDER, 0)
    rolled = _SHOULDER + (1 - _SHOULDER) * (1 - np.exp(-over / (1 - _SHOULDER)))
    linear = np.where(over > 0, rolled, np.maximum(linear, 0))
    picture = _srgb(linear)
    picture = 0.5 + (picture - 0.5) * sensor.contrast
    if sensor.noise > 0:
        rng = np.random.default_rng([sensor.noise_seed, frame, view])
        picture = picture + rng.normal(0, sensor.noise, picture.shape).astype(np.float32)
    if sensor.greyscale:
        picture = np.repeat((picture @ _LUMA)[..., None], 3, axis=2)
    developed = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    if sensor.jpeg_quality is not None:
        developed = decode_image(encode_image(developed, "jpg", sensor.jpeg_quality), "the sensor's JPEG")
    return developed


def _shake_kernel(length_px: float, direction_deg: float) -> np.ndarray:
    """[K, K] weights of a straight smear, symmetric about its middle, so that nothing moves on average."""
    half = int(np.ceil(length_px / 2))
    along = np.array([np.cos(np.deg2rad(direction_deg)), np.sin(np.deg2rad(direction_deg))])
    kernel = np.zeros((2 * half + 1, 2 * half + 1), dtype=np.float32)
    for x, y in half + np.linspace(-length_px / 2, length_px / 2, 8 * half + 1)[:, None] * along:
        column, row = int(np.floor(x)), int(np.floor(y))
        for next_column, share_x in ((column, column + 1 - x), (column + 1, x - column)):
            for next_row, share_y in ((row, row + 1 - y), (row + 1, y - row)):
                if share_x * share_y > 0:
                    kernel[next_row, next_column] += share_x * share_y
    return kernel / kernel.sum()


def _metered_gain(passes: Passes) -> float:
    log_luminance = np.log(np.maximum(passes.radiance @ _LUMINANCE, 1e-4))
    on_subjects = log_luminance[passes.instances > 0]
    whole = float(log_luminance.mean())
    metered = 0.5 * (float(on_subjects.mean()) + whole) if on_subjects.size else whole
    return _MIDDLE_GREY / float(np.exp(metered))


def _vignette(height: int, width: int, strength: float) -> np.ndarray:
    """[H, W, 1] factor: 1 in the middle, 1 - strength in the corners, falling with the square of the distance."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return (1 - strength * (x * x + y * y) / 2).astype(np.float32)[..., None]


def _srgb(linear: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1 encoding of linear 0..1."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-8) ** (1 / 2.4) - 0.055)
