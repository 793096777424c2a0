"""Made-up calibrations of cameras that are known exactly, in the forms that programs write."""

from collections.abc import Sequence

import numpy as np

from posecore.calibration import CalibratedCamera
from posecore.transforms import rotvec_from_matrix

K_CENTRES = np.array([[700.0, 0, 322.5], [0, 701.0, 238.0], [0, 0, 1]])
"""In OpenCV's pixels, of pictures of 640 x 480."""
DISTORTION = [-0.12, 0.03, 0.001, -0.0005]


def calibrated(poses: Sequence[np.ndarray]) -> dict[str, CalibratedCamera]:
    """Cameras cam0, cam1 ... with these cam_from_world."""
    K = K_CENTRES + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    names = [f"cam{number}" for number in range(len(poses))]
    return {
        name: CalibratedCamera(name, 640, 480, K, np.array(DISTORTION), pose)
        for name, pose in zip(names, poses, strict=True)
    }


def as_toml(poses: Sequence[np.ndarray], units_per_m: float = 1.0) -> str:
    """As Anipose writes it."""
    sections = [
        "\n".join(
            [
                f"[cam_{number}]",
                f'name = "cam{number}"',
                "size = [640, 480]",
                f"matrix = {K_CENTRES.tolist()}",
                f"distortions = {DISTORTION}",
                f"rotation = {rotvec_from_matrix(pose[:3, :3]).tolist()}",
                f"translation = {(units_per_m * pose[:3, 3]).tolist()}",
            ]
        )
        for number, pose in enumerate(poses)
    ]
    return "\n\n".join(sections) + "\n\n[metadata]\nadjusted = false\nerror = 0.3\n"


def qualisys(poses: Sequence[np.ndarray]) -> str:
    """As Qualisys Track Manager writes it, the fields that matter."""
    cameras = []
    for number, pose in enumerate(poses):
        axes = np.diag([1.0, -1.0, -1.0]) @ pose[:3, :3]
        x, y, z = (1000 * -pose[:3, :3].T @ pose[:3, 3]).tolist()
        rotation = " ".join(f'r{i + 1}{j + 1}="{axes[i, j]!r}"' for i in range(3) for j in range(3))
        rotation = rotation.replace("np.float64(", "").replace(")", "")
        focal, centre = 64 * K_CENTRES[[0, 1], [0, 1]], 64 * K_CENTRES[:2, 2]
        cameras.append(
            f'<camera serial="cam{number}" viewrotation="0"><fov_video left="0" top="0" right="639" bottom="479"/>'
            f'<transform x="{x}" y="{y}" z="{z}" {rotation}/><intrinsic focalLengthU="{focal[0]}" '
            f'focalLengthV="{focal[1]}" centerPointU="{centre[0]}" centerPointV="{centre[1]}" '
            f'radialDistortion1="{DISTORTION[0]}" radialDistortion2="{DISTORTION[1]}" radialDistortion3="0" '
            f'tangentalDistortion1="{DISTORTION[2]}" tangentalDistortion2="{DISTORTION[3]}"/></camera>'
        )
    return f"<?xml version='1.0'?>\n<calibration><cameras>{''.join(cameras)}</cameras></calibration>\n"
