"""Streams: nothing lost or doubled, exact resume, consistent labels, and one clear line for damage."""

import io
import json
import tarfile
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import fsspec
import numpy as np
import pytest
import torch

from posecore.camera import project_cam
from posecore.codec import encode, encode_real
from posecore.dataset import Manifest, Shard
from posecore.errors import UserError
from posecore.sample import VISIBLE, RealFrame
from posecore.skeleton import load_skeleton
from trainer.data import _ShardStream, load_evaluation_set, pose_prior_stream, real_stream, synthetic_stream
from trainer.data_config import CropConfig, DataConfig

H36M, H36M_SUPERSET = load_skeleton("h36m17"), load_skeleton("human")
SMALL = {"input_size_px": 32, "synthetic_batch_size": 4, "real_batch_size": 4, "prior_batch_size": 4}
CACHED = DataConfig(**SMALL)
STREAMED = DataConfig(**SMALL, cache_limit_mb=0, shuffle_buffer=4)


class _Keys:
    """A source of numbered frames without files, for looking at the order alone."""

    def __init__(self, shard_sizes: list[int], is_cached: bool) -> None:
        self.folder, self.is_cached = "memory", is_cached
        self.manifest = read_only_manifest(shard_sizes)

    def groups(self, shard: int):
        return [(frame,) for frame in frames_of(self.manifest, shard)]


def read_only_manifest(shard_sizes):
    shards = tuple(Shard(f"{i}.tar", size, "") for i, size in enumerate(shard_sizes))
    return Manifest(name="memory", kind="real", shards=shards)


def frames_of(manifest, shard):
    return [SimpleNamespace(key=f"{shard}-{i}", usable=True) for i in range(manifest.shards[shard].count)]


def keys_of_passes(source, passes, rank, world_size):
    stream = _ShardStream(
        source, lambda group, index, chance: (chance.pass_number, group[index].key), 5, rank, world_size, 6
    )
    found = {number: [] for number in range(passes)}
    for pass_number, key in stream:
        if pass_number >= passes:
            return found
        found[pass_number].append(key)
    raise AssertionError("a stream must not end")


@pytest.mark.parametrize("is_cached", [True, False])
@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("shard_sizes", [[5, 4, 3, 7, 2], [9]])
def test_each_pass_holds_every_sample_once_over_all_ranks_in_another_order(is_cached, world_size, shard_sizes):
    source = _Keys(shard_sizes, is_cached)
    by_rank = [keys_of_passes(source, 3, rank, world_size) for rank in range(world_size)]
    everything = sorted(frame.key for shard in range(len(shard_sizes)) for frame in frames_of(source.manifest, shard))
    passes = [[key for found in by_rank for key in found[number]] for number in range(3)]
    assert all(sorted(keys) == everything for keys in passes)
    assert passes[0] != passes[1] != passes[2]


def test_workers_together_yield_every_sample_once_a_pass(painted_dataset):
    folder = painted_dataset(scenes=8, frames=2, shards=4)
    data = DataConfig(**{**SMALL, "synthetic_batch_size": 1}, num_workers=2)
    stream = synthetic_stream(folder, H36M, data, seed=0)
    counts = Counter(next(stream).keys[0] for _ in range(16))
    assert len(counts) == 16
    assert set(counts.values()) == {1}


@pytest.mark.parametrize(
    "data", [CACHED, STREAMED, DataConfig(**SMALL, num_workers=2)], ids=["cached", "streamed", "workers"]
)
def test_a_resumed_stream_continues_with_the_very_next_batches(painted_dataset, data):
    folder = painted_dataset(scenes=6, frames=2, shards=3)
    stream = synthetic_stream(folder, H36M, data, seed=1)
    for _ in range(5):
        next(stream)
    state = json.loads(json.dumps(stream.state_dict()))
    expected = [next(stream) for _ in range(4)]
    resumed = synthetic_stream(folder, H36M, data, seed=1)
    resumed.load_state_dict(state)
    for batch in expected:
        again = next(resumed)
        assert again.keys == batch.keys
        assert torch.equal(again.images, batch.images)
        assert torch.equal(again.joints, batch.joints)


def test_the_same_sample_of_the_same_pass_is_the_same_whoever_makes_it(painted_dataset):
    folder = painted_dataset(scenes=6, frames=2, shards=3)

    def first_pass(data):
        stream = synthetic_stream(folder, H36M, data, seed=2)
        batches = [next(stream) for _ in range(3)]
        return {key: batch.images[i] for batch in batches for i, key in enumerate(batch.keys)}

    cached, streamed = first_pass(CACHED), first_pass(STREAMED)
    assert cached.keys() == streamed.keys()
    assert all(torch.equal(cached[key], streamed[key]) for key in cached)


def test_resuming_with_another_number_of_ranks_is_refused(painted_dataset):
    folder = painted_dataset()
    stream = synthetic_stream(folder, H36M, CACHED, seed=0)
    next(stream)
    other = synthetic_stream(folder, H36M, CACHED, seed=0, rank=0, world_size=2)
    other.load_state_dict(stream.state_dict())
    with pytest.raises(UserError, match="same number of ranks"):
        next(other)


def test_labels_of_a_batch_agree_with_each_other(painted_dataset):
    batch = next(synthetic_stream(painted_dataset(), H36M, CACHED, seed=3))
    assert batch.images.shape == batch.partners.shape == (4, 3, 32, 32)
    assert batch.images.dtype == torch.float32
    assert not batch.is_real
    assert batch.subject_mask.shape == (4, 1, 32, 32)
    for i in range(4):
        px = project_cam(batch.camera_K[i].double().numpy(), batch.joints_cam[i].double().numpy())
        np.testing.assert_allclose(2 * px / 32 - 1, batch.joints[i], atol=2e-4)
    inside = (batch.joints.abs() < 1).all(dim=-1)
    assert torch.equal(batch.joint_weight > 0, inside & (batch.visibility > 0))
    identity = batch.rotations_cam @ batch.rotations_cam.transpose(-1, -2)
    assert torch.allclose(identity, torch.eye(3).expand_as(identity), atol=1e-4)


def test_rotations_and_template_offsets_give_the_joints_of_the_trained_skeleton(painted_dataset):
    """h36m17 bones that run between joints which the superset drives by one rotation keep their template's offset."""
    (batch,) = load_evaluation_set(painted_dataset(scenes=2), H36M, 64)
    for name in ("left_knee", "right_elbow", "left_ankle", "right_wrist"):
        joint = H36M.index(name)
        parent = H36M.parents[joint]
        offset = torch.tensor(H36M.rest_m[joint] - H36M.rest_m[parent], dtype=torch.float32)
        expected = batch.joints_cam[:, parent] + batch.rotations_cam[:, parent] @ offset
        torch.testing.assert_close(batch.joints_cam[:, joint], expected, atol=1e-4, rtol=0)


def test_pairs_are_other_poses_of_the_same_scene_with_a_still_background(painted_dataset):
    data = DataConfig(
        input_size_px=64,
        synthetic_batch_size=12,
        photometric={"noise_probability": 0, "background_swap_probability": 0},
    )
    batch = next(synthetic_stream(painted_dataset(scenes=6, frames=2), H36M, data, seed=0))
    difference = (batch.images - batch.partners).abs().amax(dim=1)
    changed = (difference > 0.05).float().mean(dim=(1, 2))
    assert (changed > 0.005).all()
    assert (changed < 0.5).all()


def test_partners_come_from_the_same_view_where_a_scene_has_several(tmp_path, write_shards, paint):
    samples = [paint(0, frame, H36M_SUPERSET, view=view) for frame in range(2) for view in range(2)]
    samples = [replace(s, image=np.full_like(s.image, 60 + 100 * s.view + 20 * s.frame)) for s in samples]
    folder = write_shards(tmp_path / "views", "synthetic", [[(s.key, encode(s)) for s in samples]])
    (batch,) = load_evaluation_set(folder, H36M, 32)
    levels = (255 * torch.stack([batch.images, batch.partners]).mean(dim=(2, 3, 4))).round()
    by_key = {key: levels[:, i].tolist() for i, key in enumerate(batch.keys)}
    assert by_key["00000000-00-00"] == pytest.approx([60, 80], abs=1)
    assert by_key["00000000-01-01"] == pytest.approx([180, 160], abs=1)


def test_swapped_backgrounds_are_the_same_for_both_pictures_of_a_pair(painted_dataset):
    data = DataConfig(
        input_size_px=64,
        synthetic_batch_size=12,
        photometric={"noise_probability": 0, "background_swap_probability": 1},
    )
    batch = next(synthetic_stream(painted_dataset(scenes=6, frames=2), H36M, data, seed=0))
    changed = ((batch.images - batch.partners).abs().amax(dim=1) > 0.05).float().mean(dim=(1, 2))
    assert (changed < 0.5).all()


def test_real_pairs_keep_their_distance_within_one_clip(tmp_path, write_shards):
    """Each frame is of one grey level: 100 for clip 1 and none for clip 0, plus 8 for each frame."""
    records = []
    for clip in range(2):
        for frame in range(12):
            image = np.full((32, 32, 3), 100 * clip + 8 * frame, np.uint8)
            real = RealFrame(f"{clip:08d}-{frame:02d}-00", image, f"c{clip}", frame, 0.0, (0, 0, 32, 32), "x")
            records.append((real.key, encode_real(real)))
    neutral = {"brightness": 0, "contrast": 0, "saturation": 0, "white_balance": 0, "grayscale_probability": 0}
    neutral |= {"blur_probability": 0, "noise_probability": 0, "cutout_probability": 0}
    data = DataConfig(**SMALL, pair_min_gap_frames=3, real_photometric=neutral)
    stream = real_stream(write_shards(tmp_path / "clips", "real", [records]), data, seed=0)
    for _ in range(12):
        batch = next(stream)
        assert batch.is_real
        assert batch.joints is None
        levels = (255 * torch.stack([batch.images, batch.partners]).mean(dim=(2, 3, 4))).round()
        assert ((levels[0] >= 100) == (levels[1] >= 100)).all()
        assert ((levels[0] - levels[1]).abs() >= 3 * 8).all()


def test_stills_get_a_warped_and_masked_partner(painted_clips):
    data = DataConfig(**SMALL, still_mask_fraction=0.5)
    batch = next(real_stream(painted_clips(clips=4, frames=1), data, seed=0))
    grey = (batch.partners - batch.partners.mean(dim=1, keepdim=True)).abs().amax(dim=1) < 0.02
    assert (grey.float().mean(dim=(1, 2)) > 0.3).all()


def test_the_pose_prior_has_the_framing_of_the_images(painted_dataset):
    data = DataConfig(**SMALL, crop=CropConfig(shift=0, scale=(1, 1), roll_deg=0))
    poses = next(pose_prior_stream(painted_dataset(), H36M, data, seed=0))
    assert poses.shape == (4, 17, 2)
    assert poses.dtype == torch.float32
    assert (poses.abs() < 1.05).all()


def test_an_evaluation_set_is_complete_ordered_and_always_the_same(painted_dataset):
    folder = painted_dataset(scenes=5, frames=2)
    first, second = (load_evaluation_set(folder, H36M, 48, batch_size=4) for _ in range(2))
    keys = [key for batch in first for key in batch.keys]
    assert keys == sorted(keys)
    assert len(keys) == 10
    assert all(torch.equal(a.images, b.images) for a, b in zip(first, second, strict=True))
    some = load_evaluation_set(folder, H36M, 48, max_samples=3)
    assert sum(batch.size for batch in some) == 3


def test_animals_map_to_their_own_skeletons_only(painted_dataset):
    folder = painted_dataset(skeleton="quadruped")
    (batch,) = load_evaluation_set(folder, load_skeleton("ap10k17"), 32)
    assert batch.joints.shape[1] == 17
    assert (batch.visibility == VISIBLE).float().mean() > 0.5
    with pytest.raises(UserError, match="quadruped"):
        load_evaluation_set(folder, H36M, 32)


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
