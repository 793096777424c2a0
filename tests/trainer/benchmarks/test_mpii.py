"""MPII: the validation split of HRNet and MMPose, the authors' own Matlab structure, PCKh."""

import json

import numpy as np
import pytest

from posecore.errors import UserError
from trainer.benchmarks.mpii import BENCHMARK

savemat = pytest.importorskip("scipy.io").savemat

NAMES = list(BENCHMARK.joints.names)


@pytest.fixture(params=["hrnet", "mmpose"])
def validation_folder(request, tmp_path, picture_at):
    """Two people in one picture; the second one's head top is missing."""
    folder, people, heads = {
        "hrnet": ("annot", "valid.json", "gt_valid.mat"),
        "mmpose": ("annotations", "mpii_val.json", "mpii_gt_val.mat"),
    }[request.param]
    places = np.stack([np.stack([10.0 + 2 * np.arange(16), 20.0 + np.arange(16)], 1) + shift for shift in (0, 7)], -1)
    missing = np.zeros((16, 2), np.uint8)
    missing[9, 1] = 1
    head_boxes = np.zeros((2, 2, 2))
    head_boxes[1, :, 0], head_boxes[1, :, 1] = (30.0, 40.0), (60.0, 80.0)
    (tmp_path / folder).mkdir()
    person = {"image": "015601864.jpg", "center": [594.0, 257.0], "scale": 3.021046, "joints": [], "joints_vis": []}
    (tmp_path / folder / people).write_text(json.dumps([person, person | {"scale": 1.0}]))
    savemat(tmp_path / folder / heads, {"pos_gt_src": places, "jnt_missing": missing, "headboxes_src": head_boxes})
    picture_at(tmp_path / "images" / "015601864.jpg")
    return tmp_path


def test_the_validation_split_counts_pixels_from_one(validation_folder, read):
    _, (first, second), _ = read(BENCHMARK, validation_folder)
    np.testing.assert_allclose(first.joints_px[0], [9.5, 19.5])
    assert np.isnan(second.joints_px[9]).all() and np.isfinite(second.joints_px).all(1).sum() == 15
    assert first.cluster == second.cluster
    # 0.6 of the diagonal of 30 x 40.
    assert first.scale_px == pytest.approx(30)
    x, y, width, height = second.box_px
    assert (width, height) == (200, 200)
    assert (x + 100, y + 100) == pytest.approx((593.5, 256.5 + 15))


def test_pckh_is_half_of_the_head_size_and_leaves_pelvis_and_thorax_out(validation_folder, read, answers_of):
    opened, samples, _ = read(BENCHMARK, validation_folder)
    answers = answers_of(opened, samples, "human", off_px=(20.0, 0.0))
    # Limits are 15 and 30 px: the first one's joints miss, the second one's hit (one of 14 is not labelled).
    score = BENCHMARK.score(answers)
    assert score["pckh_050"]["value"] == pytest.approx(13 / 27)
    assert not {"pelvis", "thorax"} & score["by_part"].keys()
    assert score["by_part"]["head top"]["pckh_050"]["value"] == 0
    assert score["by_part"]["wrist"]["pckh_050"]["value"] == 0.5


def test_the_thorax_is_the_middle_of_the_shoulders_also_for_h36m(validation_folder, read, answers_of):
    opened, samples, _ = read(BENCHMARK, validation_folder)
    answers = answers_of(opened, samples, "h36m17")
    assert answers.joints.unknown_to_model == ("upper neck",)
    assert "thorax" in answers.joints.names


def test_tables_of_different_lengths_are_refused(validation_folder, read):
    path = next(validation_folder.glob("annot*/*.json"))
    path.write_text(json.dumps(json.loads(path.read_text())[:1]))
    with pytest.raises(UserError, match=r"1 people, but .* has 2"):
        read(BENCHMARK, validation_folder)


def test_the_authors_structure_holds_training_pictures_only(tmp_path, picture_at, read):
    def point(number, x, y, visible):
        return {"id": number, "x": x, "y": y, "is_visible": visible}

    person = {
        "x1": 10, "y1": 10, "x2": 13, "y2": 14, "scale": 2.0, "objpos": {"x": 50, "y": 60},
        "annopoints": {"point": [point(0, 11, 21, 1), point(5, 12.5, 22, 0), point(9, 3, 4, np.array([]))]},
    }  # fmt: skip
    unlabelled = {"x1": 1, "y1": 1, "x2": 2, "y2": 2, "scale": np.array([]), "objpos": np.array([]), "annopoints": []}
    pictures = [
        {"image": {"name": "000000001.jpg"}, "annorect": person},
        {"image": {"name": "000000002.jpg"}, "annorect": unlabelled},
        {"image": {"name": "000000003.jpg"}, "annorect": person},
    ]
    savemat(
        tmp_path / "mpii_human_pose_v1_u12_1.mat",
        {"RELEASE": {"annolist": np.array(pictures, dtype=object), "img_train": np.array([1, 1, 0])}},
    )
    picture_at(tmp_path / "images" / "000000001.jpg")
    _, samples, left_out = read(BENCHMARK, tmp_path, split="train")
    (only,) = samples
    assert only.picture.is_file()
    np.testing.assert_allclose(only.joints_px[[0, 5]], [[10.5, 20.5], [12, 21.5]])
    assert np.isfinite(only.joints_px).all(1).sum() == 3
    assert only.visible[[0, 5, 9]].tolist() == [True, False, True]
    assert only.scale_px == pytest.approx(3)
    assert left_out == {"people without joints, place or scale": 1, "pictures whose labels are withheld": 1}
