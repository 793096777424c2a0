"""An environment map as light, for engines without Blender.

The map is split into a key light, which casts shadows, and the rest, whose irradiance on a surface is smooth enough for
nine spherical harmonics (Ramamoorthi and Hanrahan, 2001). Directions are world, z up; radiance is linear.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

_COARSE = (64, 32)  # columns and rows of the map that light is gathered from
_KEY_COSINE = np.cos(np.deg2rad(20))  # the key light is what is bright within this angle of the brightest spot


@dataclass(frozen=True, eq=False)
class Environment:
    """Light from far away.

    Attributes:
        harmonics: [9, 3] float32 coefficients of the irradiance of all but the key light.
        key_direction: [3] unit vector towards the key light. key_irradiance: [3] on a surface that faces it.
    """

    harmonics: np.ndarray
    key_direction: np.ndarray
    key_irradiance: np.ndarray


def read_map(path: Path) -> np.ndarray:
    """[H, W, 3] float32 radiance of a map (.exr or .hdr), equirectangular, zenith in the first row.

    Raises:
        ValueError: it is no readable picture.
    """
    os.environ.setdefault("OPENCV_IO_ENABLE_OPENEXR", "1")  # OpenCV's reader is off unless asked for
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if picture is None:
        raise ValueError(f"{path}: not a readable environment map")
    return np.ascontiguousarray(picture[..., ::-1], dtype=np.float32)


def split_light(image: np.ndarray) -> Environment:
    """What light a map [H, W, 3] sheds."""
    coarse = cv2.resize(image, _COARSE, interpolation=cv2.INTER_AREA)
    directions, solid_angle = _coarse_directions()
    luminance = coarse.mean(axis=2)
    key_direction = directions[np.unravel_index(luminance.argmax(), luminance.shape)]
    level = np.median(luminance)
    in_key = (directions @ key_direction > _KEY_COSINE) & (luminance > 4 * level)
    excess = np.where(in_key[..., None], coarse * (1 - level / np.maximum(luminance, 1e-6))[..., None], 0)
    basis = _harmonics(directions.reshape(-1, 3))
    rest = ((coarse - excess) * solid_angle[..., None]).reshape(-1, 3)
    # Convolution with the clamped cosine scales each band (Ramamoorthi and Hanrahan, eq. 8)
    bands = np.array([np.pi] + 3 * [2 * np.pi / 3] + 5 * [np.pi / 4])
    return Environment(
        harmonics=(bands[:, None] * (basis.T @ rest)).astype(np.float32),
        key_direction=key_direction,
        key_irradiance=(excess * solid_angle[..., None]).sum(axis=(0, 1)),
    )


def _coarse_directions() -> tuple[np.ndarray, np.ndarray]:
    """Direction [h, w, 3] and solid angle [h, w] of each pixel of the coarse map."""
    columns, rows = _COARSE
    azimuth = np.pi - (np.arange(columns) + 0.5) * 2 * np.pi / columns
    polar = (np.arange(rows) + 0.5) * np.pi / rows
    sine = np.sin(polar)[:, None]
    directions = np.stack(
        [sine * np.cos(azimuth), sine * np.sin(azimuth), np.broadcast_to(np.cos(polar)[:, None], (rows, columns))],
        axis=-1,
    )
    return directions, np.broadcast_to(sine * (2 * np.pi / columns) * (np.pi / rows), (rows, columns))


def _harmonics(directions: np.ndarray) -> np.ndarray:
    """Real spherical harmonics [N, 9] of bands 0 to 2 at unit directions [N, 3]."""
    x, y, z = directions.astype(np.float32).T
    return np.stack(
        [
            np.full_like(x, 0.282095),
            0.488603 * y,
            0.488603 * z,
            0.488603 * x,
            1.092548 * x * y,
            1.092548 * y * z,
            0.315392 * (3 * z * z - 1),
            1.092548 * x * z,
            0.546274 * (x * x - y * y),
        ],
        axis=1,
    )
