"""Line figures: people or animals drawn limb by limb from a packaged skeleton, with exact labels.

What `trainer selftest` trains on where no dataset is given. A scene fixes colours, background and camera, its frames
the pose; all follow from their numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from posecore.camera import Camera, look_at, project_cam
from posecore.codec import encode, encode_real
from posecore.dataset import Manifest, ShardWriter, write_manifest
from posecore.sample import VISIBLE, RealFrame, Sample, Subject, inside_frame, make_key, tight_box
from posecore.skeleton import Skeleton, load_skeleton
from posecore.transforms import matrix_from_rotvec, rotation_6d_from_matrix, transform_points


def write_line_figures(
    folder: Path, scenes: int = 6, frames: int = 2, shards: int = 2, skeleton: str = "human", size: int = 64
) -> Path:
    """A labelled dataset of line figures.

    Args:
        frames: of each scene. size: side of the pictures in pixels.

    Returns:
        Its folder.
    """

    def record(scene: int, frame: int) -> tuple[str, dict[str, bytes]]:
        sample = painted_sample(scene, frame, load_skeleton(skeleton), size)
        return sample.key, encode(sample)

    return write_dataset(folder, "synthetic", _in_shards(record, scenes, frames, shards))


def write_line_clips(
    folder: Path, clips: int = 4, frames: int = 8, shards: int = 2, skeleton: str = "human", size: int = 64
) -> Path:
    """Line figures without labels, as if packed from video.

    Args:
        frames: of each clip. size: side of the pictures in pixels.

    Returns:
        Its folder.
    """

    def record(clip: int, frame: int) -> tuple[str, dict[str, bytes]]:
        image = painted_sample(100 + clip, frame, load_skeleton(skeleton), size).image
        key = f"{clip:06d}-{frame:05d}"
        real = RealFrame(key, image, f"clip-{clip}", frame, frame / 25, (0, 0, size, size), "x.mp4")
        return key, encode_real(real)

    return write_dataset(folder, "real", _in_shards(record, clips, frames, shards))


def painted_sample(
    scene: int, frame: int, skeleton: Skeleton, size: int = 64, view: int = 0, is_moving: bool = True
) -> Sample:
    """One person, animal or whatever the skeleton is, drawn limb by limb; the scene fixes colours, the frame the
    pose, the view the side that is seen."""
    look, motion = np.random.default_rng([1, scene]), np.random.default_rng([2, scene, frame])
    local = matrix_from_rotvec(motion.normal(0, 0.25 if is_moving else 0, (skeleton.num_joints, 3)))
    rotations = local.copy()
    joints_world = np.zeros((skeleton.num_joints, 3))
    for joint in skeleton.walk_order:
        parent = skeleton.parents[joint]
        if parent < 0:
            joints_world[joint] = skeleton.rest_m[joint]
            continue
        rotations[joint] = rotations[parent] @ local[joint]
        offset = skeleton.rest_m[joint] - skeleton.rest_m[parent]
        joints_world[joint] = joints_world[parent] + rotations[parent] @ offset
    middle = joints_world.mean(axis=0)
    azimuth = look.uniform(-1, 1) + 1.2 * view
    reach = 2.6 * np.ptp(skeleton.rest_m, axis=0).max()
    position = middle + reach * np.array([np.sin(azimuth), -np.cos(azimuth), 0.2])
    focal = 1.5 * size
    camera = Camera(
        size, size, np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1.0]]), look_at(position, middle)
    )
    joints_cam = transform_points(camera.cam_from_world, joints_world)
    joints_px = project_cam(camera.K, joints_cam)
    image = cv2.resize(look.integers(0, 256, (6, 6, 3), dtype=np.uint8), (size, size), interpolation=cv2.INTER_CUBIC)
    mask = np.zeros((size, size), np.uint8)
    for a, b in skeleton.edges:
        colour = look.integers(0, 256, 3).tolist()
        ends = [tuple(np.round(16 * (joints_px[joint] - 0.5)).astype(int).tolist()) for joint in (a, b)]
        cv2.line(image, *ends, colour, max(2, size // 16), cv2.LINE_AA, 4)
        cv2.line(mask, *ends, 1, max(2, size // 16), cv2.LINE_8, 4)
    subject = Subject(
        id=1,
        kind=skeleton.superset,
        species="line figure",
        skeleton=skeleton.name,
        joints_px=joints_px,
        joints_cam_m=joints_cam,
        joints_world_m=joints_world,
        rotations=rotation_6d_from_matrix(local),
        visibility=np.where(inside_frame(joints_px, size, size), VISIBLE, 0).astype(np.uint8),
        box_px=tight_box(mask == 1),
        occlusion=0.0,
        truncation=0.0,
        shape={},
    )
    return Sample(make_key(scene, frame, view), scene, frame, view, image, mask, camera, (subject,), {"seed": scene})


def _in_shards(
    record: Callable[[int, int], tuple[str, dict[str, bytes]]], groups: int, frames: int, shards: int
) -> list[list[tuple[str, dict[str, bytes]]]]:
    """The records of all frames of all groups, a group's in one shard."""
    rows: list[list[tuple[str, dict[str, bytes]]]] = [[] for _ in range(shards)]
    for group in range(groups):
        rows[group * shards // groups] += [record(group, frame) for frame in range(frames)]
    return rows


def write_dataset(folder: Path, kind: str, records: list[list[tuple[str, dict[str, bytes]]]]) -> Path:
    """Write shards, one list of (key, members) each, and their manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = []
    for number, shard in enumerate(records):
        with ShardWriter(folder / f"test-{number:06d}.tar") as writer:
            for key, members in shard:
                writer.add(key, members)
        shards.append(writer.shard)
    write_manifest(folder, Manifest(name="test", kind=kind, shards=tuple(shards)))
    return folder
