"""Small datasets on disk: line figures with exact labels, through posecore's codec; and a run without training."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from posecore.codec import encode_real, sample_meta
from posecore.dataset import MOMENTS_BY_VIEWS, read_manifest, write_manifest
from posecore.sample import RealFrame, Sample
from posecore.skeleton import load_skeleton
from trainer.data.line_figures import painted_sample, write_dataset, write_line_clips, write_line_figures


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
        return write_line_figures(tmp_path_factory.mktemp("painted"), scenes, frames, shards, skeleton, size)

    return make


@pytest.fixture(scope="session")
def painted_clips(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make an unlabelled dataset: `painted_clips(clips=, frames=, shards=, size=, skeleton=)` -> its folder."""

    def make(clips: int = 4, frames: int = 8, shards: int = 2, size: int = 64, skeleton: str = "human") -> Path:
        return write_line_clips(tmp_path_factory.mktemp("clips"), clips, frames, shards, skeleton, size)

    return make


@pytest.fixture(scope="session")
def painted_views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unlabelled clips of one person, eight moments, each seen by two calibrated cameras."""
    records = []
    for view in range(2):
        for moment in range(8):
            sample = painted_sample(100, moment, load_skeleton("human"), 64, view=view)
            camera = sample_meta(sample)["camera"] | {"name": f"cam{view}"}
            key = f"{view:08d}-{moment:02d}-00"
            extra = {"camera": camera, "moment": moment, "views": "000000"}
            real = RealFrame(key, sample.image, f"cam{view}", moment, moment / 25, (0, 0, 64, 64), "x.mp4", extra)
            records.append((key, encode_real(real)))
    folder = write_dataset(tmp_path_factory.mktemp("views") / "views", "real", [records])
    write_manifest(folder, replace(read_manifest(folder), statistics={MOMENTS_BY_VIEWS: {"2": 8}}))
    return folder


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
