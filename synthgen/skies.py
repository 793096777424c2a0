"""Environment maps that are made rather than fetched: skies and lit rooms, as Radiance files.

Equirectangular, zenith in the first row, linear radiance of about the level of the photographed maps (1 = white paper
in shade).
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

_ROWS = 256


@dataclass(frozen=True)
class Sky:
    """A gradient from zenith over horizon to ground, with a sun or lamps; colours are linear radiance.

    Attributes:
        lamps: each azimuth_deg, elevation_deg, radius_deg, and radiance above the rest.
        clouds: how much of the sky is lightened by clouds, 0..1.
    """

    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]
    ground: tuple[float, float, float]
    lamps: tuple[tuple[float, float, float, float], ...] = ()
    clouds: float = 0.0


SKIES = {
    "clear": Sky((0.18, 0.36, 0.85), (0.75, 0.85, 0.95), (0.22, 0.2, 0.17), ((40, 50, 2.5, 250),)),
    "cloudy": Sky((0.35, 0.48, 0.75), (0.8, 0.84, 0.88), (0.2, 0.2, 0.18), ((110, 40, 3, 120),), clouds=0.6),
    "overcast": Sky((0.75, 0.78, 0.82), (0.6, 0.62, 0.65), (0.18, 0.18, 0.17), clouds=0.3),
    "evening": Sky((0.12, 0.18, 0.42), (0.95, 0.52, 0.25), (0.12, 0.09, 0.08), ((0, 6, 4, 60),), clouds=0.3),
    "dusk": Sky((0.04, 0.07, 0.2), (0.4, 0.25, 0.32), (0.05, 0.05, 0.06), ((200, 12, 8, 3),)),
    "noon": Sky((0.15, 0.33, 0.9), (0.6, 0.75, 0.95), (0.32, 0.28, 0.22), ((-60, 78, 2.5, 320),)),
    "office": Sky(
        (0.5, 0.5, 0.48), (0.36, 0.35, 0.33), (0.2, 0.18, 0.16), tuple((a, 62, 12, 7) for a in (0, 90, 180, 270))
    ),
    "window": Sky((0.22, 0.21, 0.2), (0.28, 0.26, 0.24), (0.16, 0.13, 0.11), ((80, 15, 18, 9), (115, 15, 14, 9))),
    "softbox": Sky((0.12, 0.12, 0.12), (0.16, 0.16, 0.16), (0.1, 0.1, 0.1), ((35, 40, 16, 14), (-60, 25, 20, 5))),
}  # fmt: skip


def paint_sky(sky: Sky) -> np.ndarray:
    """The map [256, 512, 3] float32, linear RGB."""
    elevation = np.pi / 2 - (np.arange(_ROWS) + 0.5) / _ROWS * np.pi
    azimuth = (np.arange(2 * _ROWS) + 0.5) / _ROWS * np.pi
    up = np.sin(elevation)[:, None, None]
    above = np.clip(up, 0, 1) ** 0.45
    image = np.array(sky.horizon) + above * (np.array(sky.zenith) - sky.horizon)
    image = np.broadcast_to(image, (_ROWS, 2 * _ROWS, 3)).copy()
    directions = np.stack(
        np.broadcast_arrays(
            np.cos(elevation)[:, None] * np.cos(azimuth),
            np.cos(elevation)[:, None] * np.sin(azimuth),
            np.sin(elevation)[:, None],
        ),
        -1,
    )
    if sky.clouds:
        cover = _clouds(directions / np.maximum(np.abs(directions[..., 2:]), 0.08))
        shade = sky.clouds * np.clip(up * 8, 0, 1) * cover[..., None]
        image += shade * (0.9 * np.mean(sky.horizon) + 0.15 - image)
    for azimuth_deg, elevation_deg, radius_deg, radiance in sky.lamps:
        a, e = np.deg2rad([azimuth_deg, elevation_deg])
        towards = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
        angle = np.degrees(np.arccos(np.clip(directions @ towards, -1, 1)))
        lit = np.clip((radius_deg - angle) / (0.15 * radius_deg) + 0.5, 0, 1) + 0.01 * np.exp(-angle / (4 * radius_deg))
        image += radiance * lit[..., None] * (np.array(sky.horizon) / np.max(sky.horizon)) ** 0.5
    below = np.clip(-up * 40, 0, 1)
    return (image * (1 - below) + below * np.array(sky.ground)).astype(np.float32)


def write_sky(name: str, path: Path) -> None:
    """Paint one of SKIES into a Radiance file (.hdr)."""
    if not cv2.imwrite(str(path), np.ascontiguousarray(paint_sky(SKIES[name])[..., ::-1])):
        raise OSError(f"{path}: could not be written")


def _clouds(place: np.ndarray) -> np.ndarray:
    """Soft patches in 0..1 over a plane, by sums of waves."""
    x, y = place[..., 0] * 1.7, place[..., 1] * 1.7
    total = np.zeros(x.shape)
    for octave in range(4):
        k = 2.03**octave
        total += (
            np.sin(k * x + 1.3 * octave + 1.7 * np.sin(0.6 * k * y))
            * np.sin(k * y - 0.7 * octave + 1.3 * np.sin(0.7 * k * x))
            / 1.7**octave
        )
    return np.clip(0.5 + 0.8 * total, 0, 1)
