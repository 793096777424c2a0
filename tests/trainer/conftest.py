"""Small datasets on disk: people drawn as thick lines from the packaged skeletons, with exact labels, through
posecore's codec."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from posecore.camera import Camera, look_at, project_cam
from posecore.codec import encode, encode_real
from posecore.dataset import Manifest, ShardWriter, write_manifest
from posecore.sample import VISIBLE, RealFrame, Sample, Subject, inside_frame, make_key, tight_box
from posecore.skeleton import Skeleton, load_skeleton
from posecore.transforms import matrix_from_rotvec, rotation_6d_from_matrix, transform_points


def painted_sample(
    scene: int, frame: int, skeleton: Skeleton, size: int = 64, view: int = 0, is_moving: bool = True
) -> Sample:
    """One person, animal or whatever the skeleton is, drawn limb by limb; the scene fixes colours, the frame the
    pose."""
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
    azimuth = look.uniform(-1, 1)
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


@pytest.fixture(scope="session")
def write_shards() -> Callable[..., Path]:
    """`write_dataset` for tests that make their own records."""
    return write_dataset


@pytest.fixture(scope="session")
def paint() -> Callable[..., Sample]:
    """`painted_sample` for tests that change it."""
    return painted_sample


@pytest.fixture(scope="session")
def painted_dataset(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make a labelled dataset: `painted_dataset(scenes=, frames=, shards=, skeleton=, size=)` -> its folder."""

    def make(scenes: int = 6, frames: int = 2, shards: int = 2, skeleton: str = "human", size: int = 64) -> Path:
        rows: list[list[tuple[str, dict[str, bytes]]]] = [[] for _ in range(shards)]
        for scene in range(scenes):
            for frame in range(frames):
                sample = painted_sample(scene, frame, load_skeleton(skeleton), size)
                rows[scene * shards // scenes].append((sample.key, encode(sample)))
        return write_dataset(tmp_path_factory.mktemp("painted"), "synthetic", rows)

    return make


@pytest.fixture(scope="session")
def painted_clips(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make an unlabelled dataset: `painted_clips(clips=, frames=, shards=, size=, skeleton=)` -> its folder."""

    def make(clips: int = 4, frames: int = 8, shards: int = 2, size: int = 64, skeleton: str = "human") -> Path:
        rows: list[list[tuple[str, dict[str, bytes]]]] = [[] for _ in range(shards)]
        for clip in range(clips):
            for frame in range(frames):
                image = painted_sample(100 + clip, frame, load_skeleton(skeleton), size).image
                real = RealFrame(
                    f"{clip:06d}-{frame:05d}", image, f"clip-{clip}", frame, frame / 25, (0, 0, size, size), "x.mp4"
                )
                rows[clip * shards // clips].append((real.key, encode_real(real)))
        return write_dataset(tmp_path_factory.mktemp("clips"), "real", rows)

    return make


@pytest.fixture(scope="session")
def untrained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder whose one checkpoint holds a small model with random weights."""
    import torch

    from trainer.config import TrainConfig
    from trainer.models.pose_model import build_pose_model
    from trainer.training.checkpoint import save_checkpoint

    config = TrainConfig.model_validate(
        {
            "stage": "pretrain",
            "data": {"input_size_px": 48},
            "model": {
                "encoder": {"name": "unet", "width": 8, "stem_stride": 2},
                "skeleton_image": {"size": 24},
                "pose_head": {"width": 8},
                "uplift": {"width": 32, "blocks": 1},
                "image_renderer": {"size": 24, "width": 8},
            },
            "schedule": {"steps": 1},
        }
    )
    torch.manual_seed(0)
    weights = build_pose_model(config.model, load_skeleton(config.skeleton), 48, pretrained=False).state_dict()
    run = tmp_path_factory.mktemp("untrained") / "run"
    run.mkdir()
    save_checkpoint(run, 1, config, {"model": weights, "ema": weights}, {}, {}, keep=1)
    return run
