"""Judgements of runs: on datasets and benchmarks alike, kept, and made anew where the content changed."""

import json

import numpy as np
import pytest

from posecore.errors import UserError
from posecore.skeleton import load_skeleton
from trainer.ablation.judging import content_of, judge


@pytest.fixture
def coco_folder(tmp_path, paint):
    """Two line figures in COCO's layout."""
    import cv2

    from posecore.skeleton import joint_map

    to_coco = joint_map(load_skeleton("human"), load_skeleton("coco17"))
    images, annotations = [], []
    (tmp_path / "coco" / "val2017").mkdir(parents=True)
    (tmp_path / "coco" / "annotations").mkdir()
    for number in (1, 2):
        sample = paint(number, 0, load_skeleton("human"))
        name = f"{number:012d}.jpg"
        cv2.imwrite(str(tmp_path / "coco" / "val2017" / name), sample.image)
        joints = to_coco @ sample.subjects[0].joints_px - 0.5
        keypoints = np.column_stack([joints, np.full(17, 2)]).ravel().tolist()
        box = [float(side) for side in sample.subjects[0].box_px]
        images.append({"id": number, "file_name": name, "width": 64, "height": 64})
        annotations.append({"id": number, "image_id": number, "category_id": 1, "iscrowd": 0, "num_keypoints": 17,
                            "keypoints": keypoints, "bbox": box, "area": box[2] * box[3]})  # fmt: skip
    category = {"id": 1, "name": "person", "keypoints": list(load_skeleton("coco17").joints), "skeleton": []}
    content = {"images": images, "annotations": annotations, "categories": [category]}
    (tmp_path / "coco" / "annotations" / "person_keypoints_val2017.json").write_text(json.dumps(content))
    return tmp_path / "coco"


def test_a_judgement_has_a_value_for_each_subject_and_is_kept(untrained_run, painted_dataset, tmp_path):
    data = str(painted_dataset(scenes=3, frames=2))
    first = judge(untrained_run, data, tmp_path / "judged", "cpu")
    assert len(first.groups) == 6 and len(set(first.groups.tolist())) == 3
    assert first.values["error_pct"].shape == (6,)
    (kept,) = (tmp_path / "judged").iterdir()
    written = kept.stat().st_mtime_ns
    again = judge(untrained_run, data, tmp_path / "judged", "cpu")
    assert kept.stat().st_mtime_ns == written
    np.testing.assert_array_equal(again.values["flip_rate"], first.values["flip_rate"])


def test_a_benchmark_is_judged_by_name_and_folder(untrained_run, coco_folder, tmp_path):
    judged = judge(untrained_run, f"coco:{coco_folder}", tmp_path / "judged", "cpu")
    assert len(judged.groups) == 2 and np.isfinite(judged.values["error_pct"]).all()


def test_other_content_is_another_test(coco_folder):
    before = content_of(f"coco:{coco_folder}")
    assert content_of(f"coco:{coco_folder}") == before
    annotations = coco_folder / "annotations" / "person_keypoints_val2017.json"
    annotations.write_text(annotations.read_text() + " ")
    assert content_of(f"coco:{coco_folder}") != before


def test_a_test_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        content_of(f"coco:{tmp_path / 'nowhere'}")
