"""The azimuth curriculum: front first, then ever farther round, at the same frames whoever resumes."""

import json

import pytest
import torch

from posecore.errors import UserError
from posecore.skeleton import load_skeleton
from trainer.data.config import CurriculumConfig, DataConfig
from trainer.data.streams import synthetic_stream

H36M = load_skeleton("h36m17")


@pytest.fixture(scope="module")
def folder(painted_dataset):
    """Cameras of these scenes stand up to 57 degrees from the front."""
    return painted_dataset(scenes=24, frames=2, shards=3)


def widening(frames: int, **changes) -> DataConfig:
    curriculum = CurriculumConfig(azimuth_deg=(15, 60), frames=frames)
    settings = {"input_size_px": 32, "synthetic_batch_size": 4, "curriculum": curriculum}
    return DataConfig(**settings | changes)


def test_the_limit_widens_with_the_frames_taken_and_ends_with_all(folder):
    data = widening(frames=40)
    stream = synthetic_stream(folder, H36M, data, seed=0)
    seen = torch.cat([next(stream).azimuth_deg.abs() for _ in range(30)])
    limits = torch.tensor([data.curriculum.limit_deg(taken) for taken in range(len(seen))])
    assert (seen <= limits).all()
    assert seen[:8].max() < 25 and seen[40:].max() > 45
    keys = [key for _ in range(12) for key in next(stream).keys]
    assert len(set(keys)) > 40, "once the limit has passed the farthest camera, a pass holds every frame"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_resumed_within_the_curriculum_sees_the_same_frames(folder, workers):
    stream = synthetic_stream(folder, H36M, widening(frames=100), seed=3)
    for _ in range(7):
        next(stream)
    state = json.loads(json.dumps(stream.state_dict()))
    expected = [next(stream).keys for _ in range(20)]
    resumed = synthetic_stream(folder, H36M, widening(frames=100, num_workers=workers), seed=3)
    resumed.load_state_dict(state)
    assert [next(resumed).keys for _ in range(20)] == expected


def test_a_dataset_without_a_frame_within_the_limit_is_refused(folder):
    data = widening(1000, curriculum=CurriculumConfig(azimuth_deg=(0.001, 60), frames=10**6))
    with pytest.raises(UserError, match="usable"):
        next(synthetic_stream(folder, H36M, data, seed=0))
