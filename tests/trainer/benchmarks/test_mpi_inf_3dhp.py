"""MPI-INF-3DHP's test set: HDF5 annotations, valid frames, PCK and AUC of the universal skeleton."""

import numpy as np
import pytest

from posecore.errors import UserError
from trainer.benchmarks.mpi_inf_3dhp import BENCHMARK

h5py = pytest.importorskip("h5py")

CAMERA_K = np.array([[1500.0, 0, 1024], [0, 1500.0, 1024], [0, 0, 1]])
NAMES = list(BENCHMARK.joints.names)


@pytest.fixture(params=["", "mpi_inf_3dhp_test_set"])
def test_set(request, tmp_path, picture_at):
    for number in range(1, 7):
        rng = np.random.default_rng(number)
        spatial = rng.normal(0, 400, (4, 1, 17, 3)) + np.array([0, 0, 3000])
        flat = spatial @ CAMERA_K.T
        folder = tmp_path / request.param / f"TS{number}"
        folder.mkdir(parents=True)
        with h5py.File(folder / "annot_data.mat", "w") as file:
            file["annot3"], file["univ_annot3"] = spatial, 0.9 * spatial
            file["annot2"] = flat[..., :2] / flat[..., 2:]
            file["valid_frame"] = np.array([[1], [0], [1], [1]], float)
            file["activity_annotation"] = np.array([[1], [1], [2], [6]], float)
        for frame in (1, 3, 4):
            picture_at(folder / "imageSequence" / f"img_{frame:06d}.jpg")
    return tmp_path


def test_valid_frames_are_read_with_the_universal_skeleton(test_set, read):
    _, samples, _ = read(BENCHMARK, test_set)
    assert [sample.key for sample in samples[:4]] == ["TS1#000001", "TS1#000003", "TS1#000004", "TS2#000001"]
    assert len(samples) == 18 and all(sample.picture.is_file() for sample in samples)
    assert [sample.group for sample in samples[:3]] == ["Standing/Walking", "Exercising", "Sports"]
    np.testing.assert_allclose(samples[0].camera_K, CAMERA_K, rtol=1e-9, atol=1e-6)
    spatial = np.random.default_rng(1).normal(0, 400, (4, 1, 17, 3)) + np.array([0, 0, 3000])
    np.testing.assert_allclose(samples[1].joints_cam_m, 0.9 * spatial[2, 0] / 1000)


def test_pck_counts_fourteen_joints_below_150_mm(test_set, read, answers_of):
    opened, samples, _ = read(BENCHMARK, test_set)
    assert BENCHMARK.score(answers_of(opened, samples, "human", off_m=(0.1499, 0, 0)))["pck3d_150mm"]["value"] == 1
    assert BENCHMARK.score(answers_of(opened, samples, "human", off_m=(0, 0.1501, 0)))["pck3d_150mm"]["value"] == 0
    answers = answers_of(opened, samples, "human")
    answers.joints_cam_m[:, NAMES.index("spine")] += 1
    answers.joints_cam_m[:, NAMES.index("left_wrist")] += 1
    assert BENCHMARK.score(answers)["pck3d_150mm"]["value"] == pytest.approx(13 / 14)


def test_auc_is_the_mean_of_pck_at_31_limits(test_set, read, answers_of):
    opened, samples, _ = read(BENCHMARK, test_set)
    score = BENCHMARK.score(answers_of(opened, samples, "human", off_m=(0.0, 0.0, 0.052)))
    # 55, 60, ..., 150 mm: 20 of 31 limits.
    assert score["auc"]["value"] == pytest.approx(20 / 31)
    # A perfect answer misses the limit 0, as in the authors' code.
    assert BENCHMARK.score(answers_of(opened, samples, "human"))["auc"]["value"] == pytest.approx(30 / 31)
    assert set(score["by_sequence"]) == {f"TS{number}" for number in range(1, 7)}


def test_a_missing_sequence_is_named(test_set, read):
    next(test_set.rglob("TS4/annot_data.mat")).unlink()
    with pytest.raises(UserError, match="TS4"):
        read(BENCHMARK, test_set)


def test_matlab_files_of_the_old_kind_are_refused(test_set, read):
    next(test_set.rglob("TS2/annot_data.mat")).write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(UserError, match=r"TS2/annot_data.mat: not MPI-INF-3DHP's annotations"):
        read(BENCHMARK, test_set)
