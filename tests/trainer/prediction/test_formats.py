"""Files that other tools read, held against those tools' own layouts."""

import contextlib
import csv
import io
import json

import numpy as np
import pytest

from posecore.skeleton import load_skeleton
from trainer.prediction.formats import Seen, write_coco, write_dlc, write_json, write_table

H36M = load_skeleton("h36m17")


def seen(count: int, clip: str = "a.mp4") -> list[Seen]:
    return [Seen(f"{clip}#{i:06d}", clip, i, i / 25) for i in range(count)]


def rows_of(path) -> list[list[str]]:
    with open(path, newline="") as file:
        return list(csv.reader(file))


@pytest.fixture
def tracked(posed):
    """Subject 1 in frames 0, 1 and 3 of a clip, subject 2 in frame 1."""
    places = ((0, 1), (1, 1), (1, 2), (3, 1))
    return [posed(10 * f + i, image=f"a.mp4#{f:06d}", frame=f, time_s=f / 25, id=i) for f, i in places]


def test_json_holds_one_plain_object_a_subject(tmp_path, tracked):
    write_json(tmp_path / "new" / "p.json", tracked)
    content = json.loads((tmp_path / "new" / "p.json").read_text())
    assert [(entry["image"], entry["frame"], entry["id"]) for entry in content] == [
        ("a.mp4#000000", 0, 1), ("a.mp4#000001", 1, 1), ("a.mp4#000001", 1, 2), ("a.mp4#000003", 3, 1),
    ]  # fmt: skip
    assert {"box", "skeleton", "keypoints", "joints_cam_m", "rotations"} < set(content[0])
    np.testing.assert_allclose(content[2]["keypoints"], tracked[2].keypoints, atol=6e-4)
    np.testing.assert_allclose(content[2]["rotations"], tracked[2].rotations, atol=6e-6)
    write_json(tmp_path / "p.json", [tracked[0].in_skeleton("coco17")])
    (mapped,) = json.loads((tmp_path / "p.json").read_text())
    assert mapped["keypoints"][load_skeleton("coco17").index("left_ear")] == [None, None, 0.0]


def test_the_plain_table_has_a_line_for_each_subject_and_joint(tmp_path, tracked):
    write_table(tmp_path / "t.csv", [*tracked, tracked[0].in_skeleton("coco17")])
    with open(tmp_path / "t.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 * 17
    row, joint = rows[2 * 17 + 6], 6
    assert (row["image"], row["clip"], row["frame"], row["id"]) == ("a.mp4#000001", "a.mp4", "1", "2")
    assert row["joint"] == H36M.joints[joint]
    found = [float(row[name]) for name in ("x", "y", "confidence", "x_cam_m", "y_cam_m", "z_cam_m")]
    np.testing.assert_allclose(found, [*tracked[2].keypoints[joint], *tracked[2].joints_cam_m[joint]], atol=6e-4)
    ear = next(row for row in rows if row["joint"] == "left_ear")
    assert (ear["x"], ear["y"], ear["z_cam_m"], ear["confidence"]) == ("", "", "", "0.000")


def test_deeplabcut_s_csv_of_one_animal(tmp_path, tracked):
    """As DeepLabCut's analyze_videos writes it: three header lines, one line a frame, empty for NaN."""
    alone = [one for one in tracked if one.id == 1]
    write_dlc(tmp_path / "d.csv", alone, seen(5), scorer="posesynth_run")
    rows = rows_of(tmp_path / "d.csv")
    assert rows[0] == ["scorer"] + ["posesynth_run"] * 51
    assert rows[1] == ["bodyparts"] + [joint for joint in H36M.joints for _ in range(3)]
    assert rows[2] == ["coords"] + ["x", "y", "likelihood"] * 17
    assert [row[0] for row in rows[3:]] == ["0", "1", "2", "3", "4"]
    assert rows[5][1:] == rows[7][1:] == [""] * 51
    values = np.array(rows[6][1:], dtype=float).reshape(17, 3)
    np.testing.assert_allclose(values, alone[2].keypoints - [0.5, 0.5, 0], atol=6e-4)


def test_deeplabcut_s_csv_of_several_animals(tmp_path, tracked):
    write_dlc(tmp_path / "d.csv", tracked, seen(4), scorer="s")
    rows = rows_of(tmp_path / "d.csv")
    assert [row[0] for row in rows] == ["scorer", "individuals", "bodyparts", "coords", "0", "1", "2", "3"]
    assert rows[1][1:] == ["individual1"] * 51 + ["individual2"] * 51
    assert rows[4][52:] == [""] * 51
    both = np.array(rows[5][1:], dtype=float).reshape(2, 17, 3)
    np.testing.assert_allclose(both[1], tracked[2].keypoints - [0.5, 0.5, 0], atol=6e-4)


def test_deeplabcut_s_csv_of_pictures_goes_by_their_names(tmp_path, posed):
    pictures = [Seen(name, name, 0, 0.0) for name in ("x.png", "y.png")]
    write_dlc(tmp_path / "d.csv", [posed(0, image="y.png").in_skeleton("coco17")], pictures, scorer="s")
    rows = rows_of(tmp_path / "d.csv")
    assert [row[0] for row in rows[3:]] == ["x.png", "y.png"]
    ear = 1 + 3 * load_skeleton("coco17").index("left_ear")
    assert rows[4][ear : ear + 3] == ["", "", ""]


def test_coco_s_tools_score_the_results_against_the_truth(tmp_path, posed):
    """The truth written by hand in COCO's layout; the predicted poses are it, so the average precision is 1."""
    coco_tools = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    coco17 = load_skeleton("coco17")
    names = ["000000000007.jpg", "000000000012.jpg"]
    found = [posed(i, image=name).in_skeleton("coco17") for i, name in enumerate(names)]
    write_coco(tmp_path / "r.json", found, [Seen(name, name, 0, 0.0) for name in names])
    results = json.loads((tmp_path / "r.json").read_text())
    assert [(entry["image_id"], entry["category_id"], entry["file_name"]) for entry in results] == [
        (7, 1, names[0]), (12, 1, names[1]),
    ]  # fmt: skip
    assert results[0]["score"] == pytest.approx(found[0].score, abs=1e-5)
    ear = 3 * coco17.index("left_ear")
    assert results[0]["keypoints"][ear : ear + 3] == [0, 0, 0]

    annotations = []
    for number, (entry, one) in enumerate(zip(results, found, strict=True), start=1):
        known = np.isfinite(one.keypoints[:, 0])
        truth = np.where(known[:, None], np.c_[one.keypoints[:, :2] - 0.5, np.full(17, 2)], 0)
        annotations.append({
            "id": number, "image_id": entry["image_id"], "category_id": 1, "iscrowd": 0, "area": 9e3,
            "bbox": list(one.box), "keypoints": truth.ravel().tolist(), "num_keypoints": int(known.sum()),
        })  # fmt: skip
    images = [
        {"id": entry["image_id"], "width": 400, "height": 300, "file_name": entry["file_name"]} for entry in results
    ]
    category = {"id": 1, "name": "person", "keypoints": list(coco17.joints), "skeleton": []}
    dataset = {"info": {}, "images": images, "annotations": annotations, "categories": [category]}
    (tmp_path / "truth.json").write_text(json.dumps(dataset))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco_tools.COCO(str(tmp_path / "truth.json"))
        judge = COCOeval(truth, truth.loadRes(str(tmp_path / "r.json")), "keypoints")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    assert judge.stats[0] == pytest.approx(1.0)


def test_images_whose_names_are_no_numbers_are_counted(tmp_path, posed):
    pictures = [Seen(name, name, 0, 0.0) for name in ("7.png", "x.png", "y.png")]
    write_coco(tmp_path / "r.json", [posed(0, image="y.png", category=18)], pictures)
    (entry,) = json.loads((tmp_path / "r.json").read_text())
    assert (entry["image_id"], entry["category_id"]) == (3, 18)
