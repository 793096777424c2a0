"""LSP and its extension: two shapes of joints.mat, opposite meanings of the third value, PCK of the torso."""

import numpy as np
import pytest

from posecore.errors import UserError
from trainer.benchmarks.lsp import LSP, LSPET

savemat = pytest.importorskip("scipy.io").savemat

RIGHT_HIP, LEFT_SHOULDER = 2, 9


def places(count):
    """[count, 14, 2], from 1."""
    return 11 + np.stack([2.0 * np.arange(14), 3.0 * np.arange(14)], 1) + np.arange(count)[:, None, None]


@pytest.fixture
def extended(tmp_path, picture_at):
    seen = np.ones((3, 14, 1))
    seen[1, 5] = 0
    savemat(tmp_path / "joints.mat", {"joints": np.moveaxis(np.concatenate([places(3), seen], 2), 0, 2)})
    for number in (1, 2):
        picture_at(tmp_path / "images" / f"im{number:05d}.jpg")
    return tmp_path


def test_the_extension_marks_what_is_seen(extended, read):
    _, samples, left_out = read(LSPET, extended)
    assert [sample.key for sample in samples] == ["im00001", "im00002"]
    assert left_out == {"pictures that are not there": 1}
    np.testing.assert_allclose(samples[0].joints_px, places(1)[0] - 0.5)
    assert np.isnan(samples[1].joints_px[5]).all() and np.isfinite(samples[1].joints_px).all(1).sum() == 13
    x, y, width, height = samples[0].box_px
    (left, top), (right, bottom) = samples[0].joints_px.min(0), samples[0].joints_px.max(0)
    assert x < left and y < top and x + width > right and y + height > bottom


def test_pictures_of_the_high_resolution_release_are_found(extended, picture_at, read):
    picture_at(extended / "im00003.png")
    assert len(read(LSPET, extended)[1]) == 3


def test_the_limit_is_a_fifth_of_the_torso(extended, read, answers_of):
    opened, samples, _ = read(LSPET, extended)
    torso = np.linalg.norm(samples[0].joints_px[RIGHT_HIP] - samples[0].joints_px[LEFT_SHOULDER])
    assert samples[0].scale_px == pytest.approx(torso)
    within = answers_of(opened, samples, "human", off_px=(0.199 * torso, 0.0))
    beyond = answers_of(opened, samples, "human", off_px=(0.201 * torso, 0.0))
    assert LSPET.score(within)["pck_torso_020"]["value"] == 1
    assert LSPET.score(beyond)["pck_torso_020"]["value"] == 0


def test_lsp_marks_what_is_hidden_and_tests_on_the_second_half(tmp_path, picture_at, read):
    hidden = np.zeros((1002, 14, 1))
    hidden[1000, 3] = 1
    savemat(tmp_path / "joints.mat", {"joints": np.moveaxis(np.concatenate([places(1002), hidden], 2), (0, 2), (2, 0))})
    for number in (1000, 1001, 1002):
        picture_at(tmp_path / "images" / f"im{number:04d}.jpg")
    _, samples, _ = read(LSP, tmp_path)
    assert [sample.key for sample in samples] == ["im1001", "im1002"]
    assert np.isfinite(samples[0].joints_px).all()
    assert not samples[0].visible[3] and samples[0].visible.sum() == 13
    assert [sample.key for sample in read(LSP, tmp_path, split="all")[1]] == ["im1000", "im1001", "im1002"]


def test_the_other_release_is_refused(extended, read):
    with pytest.raises(UserError, match=r"joints are \(14, 3, 3\), lsp has 3 x 14 x pictures"):
        read(LSP, extended)
