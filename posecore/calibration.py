"""Calibrated cameras from the files that Anipose, Pose2Sim and Qualisys write: one model for all, metres, OpenCV axes.

Pixels as everywhere: (0, 0) is the OUTER corner of the top-left pixel; these programs count from its centre, as OpenCV
does, so half a pixel is added to their principal points. The world is the calibration's own: only where its author
made z point up does it here.
"""

from __future__ import annotations

import math
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from posecore.camera import Camera
from posecore.errors import UserError
from posecore.transforms import matrix_from_rotvec

LengthUnit = Literal["m", "cm", "mm"]
_METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}
_FARTHEST_M = 200.0  # between two cameras: beyond it the unit must be another one
_PADDING_PX = 16  # encoders work in blocks: a video may lack so many rows or columns at its right or lower edge
_HALF_TURN = np.diag([1.0, -1.0, -1.0])  # Qualisys' camera looks along -z, y up


@dataclass(frozen=True, eq=False)
class CalibratedCamera:
    """A real camera.

    Attributes:
        width, height: pixels of the pictures that it was calibrated on.
        K: [3, 3] intrinsics in pixels, no skew.
        distortion: [4 or more] of the lens, in OpenCV's order: k1, k2, p1, p2, k3 ...
        cam_from_world: [4, 4] rigid transform from world metres to camera metres.
    """

    name: str
    width: int
    height: int
    K: np.ndarray
    distortion: np.ndarray
    cam_from_world: np.ndarray

    @property
    def pinhole(self) -> Camera:
        """The same camera once its pictures are undistorted."""
        return Camera(self.width, self.height, self.K, self.cam_from_world)

    def fitted(self, width: int, height: int) -> CalibratedCamera:
        """The camera of pictures of another size: shrunk ones, or ones that lack an encoder's padding.

        Raises:
            UserError: they are neither.
        """
        if abs(self.width - width) < _PADDING_PX and abs(self.height - height) < _PADDING_PX:
            return replace(self, width=width, height=height)
        factor = width / self.width
        if abs(height - factor * self.height) > 1.0:
            turned = "; is it turned?" if (self.width > self.height) != (width > height) else ""
            raise UserError(
                f"camera {self.name}: calibrated on {self.width} x {self.height} px, its picture is {width} x {height}"
                f"{turned}; give the video that was calibrated"
            )
        scale = np.array([width / self.width, height / self.height, 1.0])
        return replace(self, width=width, height=height, K=scale[:, None] * self.K)

    def undistorted_px(self, pixels: np.ndarray) -> np.ndarray:
        """Where the pinhole camera sees what the lens shows at pixels [..., 2]."""
        K = _from_centres(self.K)
        flat = np.ascontiguousarray(pixels, dtype=np.float64).reshape(-1, 1, 2) - 0.5
        return cv2.undistortPoints(flat, K, self.distortion, P=K).reshape(np.shape(pixels)) + 0.5

    def distorted_px(self, pixels: np.ndarray) -> np.ndarray:
        """Where the lens shows what the pinhole camera sees at pixels [..., 2]."""
        K = self.K
        plane = (np.asarray(pixels, dtype=np.float64).reshape(-1, 2) - K[:2, 2]) / np.array([K[0, 0], K[1, 1]])
        rays = np.column_stack([plane, np.ones(len(plane))])
        shown, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), _from_centres(K), self.distortion)
        return shown.reshape(np.shape(pixels)) + 0.5


class Straightener:
    """Undistorts pictures of one size.

    Args:
        camera: of pictures as they are decoded, before they are shrunk.
        scale: its pixels to one of the pictures', so that a straightened picture is the pinhole camera K / scale.
        size: width, height of the pictures.
    """

    def __init__(self, camera: CalibratedCamera, scale: float, size: tuple[int, int]) -> None:
        shrunk = replace(camera, K=np.array([[size[0] / camera.width], [size[1] / camera.height], [1.0]]) * camera.K)
        wanted = np.diag([1 / scale, 1 / scale, 1.0]) @ camera.K
        self._maps = cv2.initUndistortRectifyMap(
            _from_centres(shrunk.K), camera.distortion, None, _from_centres(wanted), size, cv2.CV_32FC1
        )

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """A picture [H, W(, C)] as the pinhole camera sees it; the border is repeated outwards."""
        return cv2.remap(image, *self._maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def read_calibration(path: Path, unit: LengthUnit = "m") -> dict[str, CalibratedCamera]:
    """The cameras of a file by name: TOML of Anipose or Pose2Sim, or Qualisys' XML (.qca.txt, .xml).

    Args:
        unit: of TOML's translations: Pose2Sim's are metres, Anipose's are whatever its board was measured in.
            Qualisys' are millimetres.

    Raises:
        UserError: it cannot be read, describes a camera that no pinhole with this lens is, or cannot be metres.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read as a calibration ({error.strerror})") from None
    try:
        if content.lstrip().startswith(b"<"):
            cameras = _from_qualisys(ElementTree.fromstring(content))
        else:
            cameras = _from_toml(tomllib.loads(content.decode()), _METRES[unit])
    except (ValueError, KeyError, TypeError, AttributeError, ElementTree.ParseError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise UserError(
            f"{path}: cannot be read as a calibration ({reason}); give the TOML of Anipose or Pose2Sim, or Qualisys' "
            ".qca.txt"
        ) from None
    named = {camera.name: camera for camera in cameras}
    if not cameras or len(named) < len(cameras):
        raise UserError(f"{path}: holds {len(cameras)} cameras of {len(named)} names; each needs a name of its own")
    places = np.stack([camera.pinhole.position_world for camera in cameras])
    apart = float(np.linalg.norm(places[:, None] - places, axis=-1).max())
    if apart > _FARTHEST_M:
        raise UserError(
            f"{path}: its cameras would stand {apart:.0f} m apart; are translations in another unit? "
            "Say --calibration-unit mm or cm"
        )
    return named


def triangulate(cameras: Sequence[Camera], pixels: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The point of the world [3] that several pinhole cameras see, by the direct linear transform.

    Args:
        pixels: [V, 2], undistorted. weight: [V] of each view, two or more above 0.
    """
    rows = []
    for camera, (x, y), trust in zip(cameras, pixels, weight, strict=True):
        plane = np.linalg.solve(camera.K, [x, y, 1.0])
        to_cam = camera.cam_from_world[:3]
        rows += [trust * (plane[0] * to_cam[2] - to_cam[0]), trust * (plane[1] * to_cam[2] - to_cam[1])]
    homogeneous = np.linalg.svd(np.array(rows))[2][-1]
    return homogeneous[:3] / homogeneous[3]


def rays_apart_m(first: Camera, first_px: np.ndarray, second: Camera, second_px: np.ndarray) -> float:
    """How near the rays through two pixels [2] of two pinhole cameras come to each other, in metres.

    Where they come nearest behind a camera they do not meet at all: infinite.
    """
    starts = first.position_world, second.position_world
    ways = []
    for camera, pixel in ((first, first_px), (second, second_px)):
        way = camera.cam_from_world[:3, :3].T @ np.linalg.solve(camera.K, [*pixel, 1.0])
        ways.append(way / np.linalg.norm(way))
    (along, across), *_ = np.linalg.lstsq(np.column_stack([ways[0], -ways[1]]), starts[1] - starts[0], rcond=None)
    if min(along, across) <= 0:
        return math.inf
    return float(np.linalg.norm(starts[0] + along * ways[0] - starts[1] - across * ways[1]))


def _from_toml(content: Mapping[str, Any], unit_m: float) -> list[CalibratedCamera]:
    cameras = []
    for section in content.values():
        if not isinstance(section, dict) or "matrix" not in section:
            continue  # metadata
        name = str(section["name"])
        if section.get("fisheye"):
            raise ValueError(f"camera {name} has a fisheye lens, which is not supported")
        width, height = section["size"]
        rotation = matrix_from_rotvec(_array(section["rotation"], (3,), f"{name}: rotation"))
        translation = unit_m * _array(section["translation"], (3,), f"{name}: translation")
        matrix = _array(section["matrix"], (3, 3), f"{name}: matrix")
        distortion = np.asarray(section["distortions"], dtype=np.float64)
        if distortion.ndim != 1 or len(distortion) not in (4, 5, 8):
            raise ValueError(f"{name}: distortions must be 4, 5 or 8 numbers")
        cameras.append(_camera(name, width, height, matrix, distortion, rotation, translation))
    return cameras


def _from_qualisys(root: ElementTree.Element) -> list[CalibratedCamera]:
    """Qualisys counts in 1/64 px and mm; its rows r11 r12 r13 are the camera's axes in the world, x right, y up.

    As Pose2Sim's converter reads it, but for the lens: that divides the coefficients by 64 as well, though they have
    no unit.
    """
    cameras = []
    for element in root.iter("camera"):
        name = element.attrib["serial"]
        inside, place, seen = (element.find(tag).attrib for tag in ("intrinsic", "transform", "fov_video"))
        if float(element.get("viewrotation", 0)) % 360:
            raise ValueError(
                f"camera {name} has viewrotation {element.get('viewrotation')}: set it to 0 if its video is as the "
                "sensor lies; turned videos are not supported"
            )
        left, top, right, bottom = (float(seen[edge]) for edge in ("left", "top", "right", "bottom"))
        matrix = np.eye(3)
        matrix[0, 0], matrix[1, 1] = (float(inside[f"focalLength{axis}"]) / 64 for axis in "UV")
        matrix[:2, 2] = [float(inside[f"centerPoint{axis}"]) / 64 for axis in "UV"]
        matrix[:2, 2] -= left, top
        names = ("radialDistortion1", "radialDistortion2", "tangentalDistortion1", "tangentalDistortion2")
        distortion = np.array([float(inside[name]) for name in (*names, "radialDistortion3")])
        axes = np.array([[float(place[f"r{row}{column}"]) for column in (1, 2, 3)] for row in (1, 2, 3)])
        position = np.array([float(place[axis]) for axis in "xyz"]) / 1000
        rotation = _HALF_TURN @ axes
        cameras.append(
            _camera(name, right - left + 1, bottom - top + 1, matrix, distortion, rotation, -rotation @ position)
        )
    return cameras


def _camera(
    name: str,
    width: float,
    height: float,
    matrix: np.ndarray,
    distortion: np.ndarray,
    rotation: np.ndarray,
    translation: np.ndarray,
) -> CalibratedCamera:
    """A camera from OpenCV's numbers, whose pixels count from the centre of the first one."""
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(rotation) < 0:
        raise ValueError(f"camera {name}: its rotation is none")
    if not (matrix[0, 0] > 0 and matrix[1, 1] > 0 and min(width, height) > 0):
        raise ValueError(f"camera {name}: focal lengths and size must be above 0")
    if not all(np.isfinite(values).all() for values in (matrix, distortion, rotation, translation)):
        raise ValueError(f"camera {name}: holds numbers that are not finite")
    K = np.array([[matrix[0, 0], 0.0, matrix[0, 2] + 0.5], [0.0, matrix[1, 1], matrix[1, 2] + 0.5], [0.0, 0.0, 1.0]])
    u, _, vt = np.linalg.svd(rotation)  # files round
    cam_from_world = np.eye(4)
    cam_from_world[:3, :3], cam_from_world[:3, 3] = u @ vt, translation
    return CalibratedCamera(name, round(width), round(height), K, distortion, cam_from_world)


def _from_centres(K: np.ndarray) -> np.ndarray:
    """K as OpenCV has it."""
    return K - np.array([[0.0, 0.0, 0.5], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0]])


def _array(values: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"{what} must be {' x '.join(map(str, shape))} numbers")
    return array
