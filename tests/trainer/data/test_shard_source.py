"""Reading shards: one clear line for damage, and folders and URLs alike."""

import io
import tarfile

import fsspec
import pytest
import torch

from posecore.errors import UserError
from posecore.skeleton import load_skeleton
from trainer.data.config import DataConfig
from trainer.data.streams import real_stream, synthetic_stream

H36M = load_skeleton("h36m17")
SMALL = {"input_size_px": 32, "synthetic_batch_size": 4, "real_batch_size": 4, "prior_batch_size": 4}
CACHED = DataConfig(**SMALL)
STREAMED = DataConfig(**SMALL, cache_limit_mb=0, shuffle_buffer=4)


def test_a_truncated_shard_is_one_line_that_names_shard_and_key(painted_dataset):
    folder = painted_dataset(scenes=4, shards=1)
    shard = folder / "test-000000.tar"
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size * 2 // 3])
    with pytest.raises(UserError, match=r"test-000000\.tar.*0000") as caught:
        next(synthetic_stream(folder, H36M, CACHED, seed=0))
    assert "\n" not in str(caught.value)


def test_damage_met_by_a_worker_process_is_still_one_line(painted_dataset):
    folder = painted_dataset(scenes=4, shards=2)
    data = DataConfig(**SMALL, cache_limit_mb=0, num_workers=1, photometric={"background_swap_probability": 0})
    shard = folder / "test-000000.tar"
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size * 2 // 3])
    stream = synthetic_stream(folder, H36M, data, seed=0)
    with pytest.raises(UserError, match=r"test-000000\.tar") as caught:
        for _ in range(20):
            next(stream)
    assert "\n" not in str(caught.value)


def test_a_sample_without_its_mask_names_shard_key_and_member(painted_dataset):
    folder = painted_dataset(scenes=2, frames=1, shards=1)
    shard = folder / "test-000000.tar"
    # Renaming the member within the tar's header would break its checksum: rebuild the archive without it.
    kept = io.BytesIO()
    with tarfile.open(shard) as old, tarfile.open(fileobj=kept, mode="w") as new:
        for info in old:
            if info.name != "00000001-00-00.mask.png":
                new.addfile(info, old.extractfile(info))
    shard.write_bytes(kept.getvalue())
    with pytest.raises(UserError, match=r"test-000000\.tar: sample 00000001-00-00: mask\.png missing"):
        synthetic_stream(folder, H36M, CACHED, seed=0)


def test_hashes_are_compared_when_asked_for(painted_dataset):
    folder = painted_dataset(scenes=2, shards=1)
    shard = folder / "test-000000.tar"
    shard.write_bytes(shard.read_bytes() + b"\0" * 512)
    with pytest.raises(UserError, match="sha256 differs"):
        synthetic_stream(folder, H36M, DataConfig(**SMALL, verify_hashes=True), seed=0)


def test_data_of_the_wrong_kind_is_refused_with_the_command_that_makes_the_right_one(painted_dataset, painted_clips):
    with pytest.raises(UserError, match="synthgen pack"):
        real_stream(painted_dataset(), CACHED, seed=0)
    with pytest.raises(UserError, match="synthgen render"):
        synthetic_stream(painted_clips(), H36M, CACHED, seed=0)


def test_a_dataset_behind_a_url_streams_like_a_folder(painted_dataset):
    folder = painted_dataset(scenes=4)
    remote = fsspec.filesystem("memory")
    for path in folder.iterdir():
        remote.pipe(f"/bucket/{path.name}", path.read_bytes())
    near, far = (next(synthetic_stream(place, H36M, STREAMED, seed=4)) for place in (folder, "memory://bucket"))
    assert near.keys == far.keys
    assert torch.equal(near.images, far.images)
