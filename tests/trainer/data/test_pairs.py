"""Pairs: x' is another pose of the same scene or clip, in the same crop, before the same background."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from posecore.codec import encode, encode_real
from posecore.dataset import read_manifest, write_manifest
from posecore.errors import UserError
from posecore.sample import RealFrame
from posecore.skeleton import load_skeleton
from posecore.transforms import matrix_from_rotvec
from trainer.data.config import DataConfig
from trainer.data.streams import load_evaluation_set, real_stream, synthetic_stream

H36M, H36M_SUPERSET = load_skeleton("h36m17"), load_skeleton("human")
SMALL = {"input_size_px": 32, "real_batch_size": 4}


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
    grey = (batch.partners - batch.partners.mean(dim=1, keepdim=True)).abs().amax(
        dim=1
    ) < 0.05  # white balance tints it
    assert (grey.float().mean(dim=(1, 2)) > 0.3).all()


def test_neighbours_are_the_frames_next_before_and_after_in_the_same_crop(tmp_path, write_shards):
    """Each frame is of one grey level, 10 for each number; numbers 0 2 4 6 and, after a gap, 30."""
    records = []
    for place, number in enumerate((0, 2, 4, 6, 30)):
        image = np.full((32, 32, 3), 10 + 5 * number, np.uint8)
        real = RealFrame(f"00000000-{place:02d}-00", image, "c0", number, 0.0, (0, 0, 32, 32), "x")
        records.append((real.key, encode_real(real)))
    folder = write_shards(tmp_path / "clip", "real", [records])
    still = {"brightness": 0, "contrast": 0, "saturation": 0, "white_balance": 0, "grayscale_probability": 0}
    data = DataConfig(**SMALL, real_photometric=still | {"blur_probability": 0, "noise_probability": 0,
                                                         "cutout_probability": 0}, pair_min_gap_frames=1)  # fmt: skip
    seen = {}
    stream = real_stream(folder, data, seed=0, with_neighbours=True)
    for _ in range(20):
        batch = next(stream)
        levels = ((255 * batch.neighbours.mean((2, 3, 4)) - 10) / 5).round().int().tolist()
        seen |= dict(zip(batch.keys, zip(levels, batch.neighbour_weight.tolist(), strict=True), strict=True))
    assert seen == {
        "00000000-00-00": ([0, 0], 0.0),
        "00000000-01-00": ([0, 4], 1.0),
        "00000000-02-00": ([2, 6], 1.0),
        "00000000-03-00": ([6, 6], 0.0),
        "00000000-04-00": ([30, 30], 0.0),
    }


def test_asking_for_neighbours_changes_nothing_else(painted_clips):
    folder, data = painted_clips(clips=2), DataConfig(**SMALL)
    with_them, without = (next(real_stream(folder, data, 0, with_neighbours=wanted)) for wanted in (True, False))
    assert without.neighbours is None and without.neighbour_weight is None
    assert with_them.keys == without.keys
    assert torch.equal(with_them.images, without.images) and torch.equal(with_them.partners, without.partners)


@pytest.fixture(scope="session")
def filmed_by_three(tmp_path_factory, write_shards):
    """Five moments that three cameras saw, one of them only once; of grey level 20 + 40 camera + 4 moment, in 2 shards.

    A clip without cameras lies beside them.
    """
    shards = [[], []]
    for camera in range(3):
        for moment in range(5):
            if moment == 4 and camera > 0:
                continue
            cam_from_world = np.eye(4)
            cam_from_world[:3, :3] = matrix_from_rotvec(np.array([0, 0.5 * camera, 0]))
            stored = {"name": f"c{camera}", "width": 32, "height": 32, "cam_from_world": cam_from_world.tolist(),
                      "K": [[40.0, 0, 16], [0, 40, 16], [0, 0, 1]]}  # fmt: skip
            extra = {"camera": stored, "moment": moment, "views": "000000"}
            image = np.full((32, 32, 3), 20 + 40 * camera + 4 * moment, np.uint8)
            key = f"{camera:08d}-{moment:02d}-00"
            real = RealFrame(key, image, f"c{camera}", moment, 0.0, (0, 0, 32, 32), "x", extra)
            shards[0].append((key, encode_real(real)))
    for frame in range(3):
        key = f"{9:08d}-{frame:02d}-00"
        real = RealFrame(key, np.full((32, 32, 3), 250, np.uint8), "alone", frame, 0.0, (0, 0, 32, 32), "y")
        shards[1].append((key, encode_real(real)))
    folder = write_shards(tmp_path_factory.mktemp("views") / "views", "real", shards)
    manifest = replace(read_manifest(folder), statistics={"moments_by_views": {"1": 1, "3": 4}})
    write_manifest(folder, manifest)
    return folder


STILL = {"brightness": 0, "contrast": 0, "saturation": 0, "white_balance": 0, "grayscale_probability": 0,
         "blur_probability": 0, "noise_probability": 0, "cutout_probability": 0}  # fmt: skip


@pytest.mark.parametrize("cache_limit_mb", [0, 100])
def test_a_view_is_the_same_moment_from_another_camera_mirrored_alike(filmed_by_three, cache_limit_mb):
    data = DataConfig(**SMALL, real_photometric=STILL, cache_limit_mb=cache_limit_mb)
    stream = real_stream(filmed_by_three, data, seed=0, with_views=True)
    seen = {}
    for _ in range(30):
        batch = next(stream)
        levels = (255 * torch.stack([batch.images, batch.views], 1).mean((2, 3, 4))).round().int().tolist()
        for key, (own, other), has, rotations in zip(
            batch.keys, levels, batch.view_weight.tolist(), batch.world_from_crop, strict=True
        ):
            if has:
                seen.setdefault(key, set()).add(other)
                assert torch.linalg.det(rotations).tolist() == pytest.approx([1, 1], abs=1e-5)
            else:
                assert own == other and key in ("00000000-04-00", *(f"00000009-{n:02d}-00" for n in range(3)))
    assert len(seen) == 12
    for key, others in seen.items():
        camera, moment, _ = (int(part) for part in key.split("-"))
        assert others == {20 + 40 * c + 4 * moment for c in range(3) if c != camera}


def test_asking_for_views_changes_nothing_else_and_resumes(filmed_by_three):
    data = DataConfig(**SMALL)
    with_them, without = (real_stream(filmed_by_three, data, 0, with_views=wanted) for wanted in (True, False))
    for _ in range(3):
        first, second = next(with_them), next(without)
        assert second.views is None and second.view_weight is None
        assert torch.equal(first.images, second.images) and torch.equal(first.partners, second.partners)
    again = real_stream(filmed_by_three, data, 0, with_views=True)
    again.load_state_dict(with_them.state_dict())
    first, second = next(with_them), next(again)
    assert first.keys == second.keys
    assert torch.equal(first.views, second.views) and torch.equal(first.world_from_crop, second.world_from_crop)


def test_held_out_frames_bring_a_view_along_where_there_is_one(filmed_by_three, painted_clips):
    (batch,) = load_evaluation_set(filmed_by_three, H36M, 32)
    assert batch.view_weight.sum() == 12
    (plain, *_) = load_evaluation_set(painted_clips(clips=2), H36M, 32)
    assert plain.views is None


def test_views_of_footage_without_them_are_refused(painted_clips):
    with pytest.raises(
        UserError, match=r"no moment was seen by several calibrated cameras; pack it with --calibration"
    ):
        real_stream(painted_clips(clips=2), DataConfig(**SMALL), 0, with_views=True)


def test_steps_that_render_nothing_get_no_partner_and_the_same_picture(painted_dataset):
    """A batch of one rank of two is half a batch of a rank alone; both count the steps alike, also when resumed."""
    folder, data = painted_dataset(), DataConfig(**SMALL, synthetic_batch_size=4)
    all_of_them = synthetic_stream(folder, H36M, data, 0)
    some = synthetic_stream(folder, H36M, data, 0, partner_every=3, accumulate=2)
    second = synthetic_stream(folder, H36M, data, 0, rank=1, world_size=2, partner_every=3)
    for number in range(14):
        position = some.state_dict()
        full, batch = next(all_of_them), next(some)
        assert torch.equal(batch.images, full.images) and torch.equal(batch.joints, full.joints)
        if number // 2 % 3 == 0:
            assert torch.equal(batch.partners, full.partners)
        else:
            assert batch.partners is None
        if number % 2 == 1:
            assert (next(second).partners is None) == (batch.partners is None)
    resumed = synthetic_stream(folder, H36M, data, 0, partner_every=3, accumulate=2)
    resumed.load_state_dict(position)
    again = next(resumed)
    assert torch.equal(again.images, batch.images) and torch.equal(again.partners, batch.partners)
