"""From files to files, as the command line does it: every input, every kind of boxes, every output, and one line for
what cannot be."""

import csv
import json

import av
import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from posecore.errors import UserError
from trainer.cli import app
from trainer.prediction.predict import Outputs, predict_files


@pytest.fixture
def run(untrained_run, tmp_path, monkeypatch):
    """`run(*arguments)` -> (what the command printed, the JSON it wrote)."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        result = CliRunner().invoke(
            app,
            [
                "predict",
                "--checkpoint",
                str(untrained_run),
                "--out",
                "out.json",
                "--device",
                "cpu",
                *map(str, arguments),
            ],
            catch_exceptions=False,
        )
        assert result.exit_code == 0, result.output
        return result.output, json.loads((tmp_path / "out.json").read_text())

    return command


@pytest.fixture
def clip(photo, write_video, tmp_path):
    """Six frames, 240 x 180, 10 a second."""
    return write_video(tmp_path / "clip.mp4", [np.roll(photo, 4 * i, axis=1) for i in range(6)])


def test_pictures_folders_videos_and_datasets_go_in_together(
    run, clip, photo, tmp_path, painted_clips, painted_dataset
):
    folder = tmp_path / "folder"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), photo)
    cv2.imwrite(str(tmp_path / "b.jpg"), photo[:, :150])
    labelled = painted_dataset(scenes=1, frames=2, shards=1)
    real = painted_clips(clips=1, frames=2, shards=1)
    printed, found = run("b.jpg", folder, clip, real, labelled)
    assert [entry["image"] for entry in found] == [
        "b.jpg", "a.png", *(f"clip.mp4#{i:06d}" for i in range(6)),
        f"{real}/000000-00000", f"{real}/000000-00001", f"{labelled}/00000000-00-00", f"{labelled}/00000000-01-00",
    ]  # fmt: skip
    assert printed.startswith("12 poses in 12 pictures (")
    assert "images/s): out.json" in printed
    assert found[0]["box"] == [0, 0, 150, 180]
    assert found[-1]["box"] != [0, 0, 64, 64]  # a labelled dataset knows where its subject is
    assert np.array(found[0]["keypoints"]).shape == (17, 3)


def test_all_outputs_of_a_tracked_smoothed_clip_at_once(run, clip, tmp_path):
    rows = [{"image": f"clip.mp4#{i:06d}", "box": [10 + 4 * i + 90 * k, 20, 80, 120], "id": k + 3}
            for i in range(6) for k in range(2) if (i, k) != (2, 0)]  # fmt: skip
    (tmp_path / "boxes.json").write_text(json.dumps(rows))
    _, found = run(
        clip, "--boxes", "boxes.json", "--smooth", 0.5, "--flip-test", "--skeleton", "coco17", "--csv", "t.csv",
        "--dlc-csv", "d.csv", "--coco", "c.json", "--bvh", "motion", "--overlay", "o.mp4", "--batch-size", 3,
    )  # fmt: skip
    assert len(found) == 11 and {entry["skeleton"] for entry in found} == {"coco17"}
    assert [entry["id"] for entry in found[:5]] == [3, 4, 3, 4, 4]
    assert (tmp_path / "t.csv").read_text().count("\n") == 1 + 11 * 17
    assert len(json.loads((tmp_path / "c.json").read_text())) == 11
    with open(tmp_path / "d.csv", newline="") as file:
        assert [row[0] for row in csv.reader(file)] == [
            "scorer", "individuals", "bodyparts", "coords", *map(str, range(6)),
        ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "motion").iterdir()) == ["clip-3.bvh", "clip-4.bvh"]
    assert "Frames: 6" in (tmp_path / "motion" / "clip-3.bvh").read_text()
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert len(list(container.decode(video=0))) == 6


def test_smoothing_and_flipping_change_what_they_should(run, clip, tmp_path):
    def places(*options):
        return np.array([entry["keypoints"] for entry in run(clip, *options)[1]])

    plain, smooth = places(), places("--smooth", 0.8)
    assert np.abs(plain - places("--flip-test")).max() > 0.5
    np.testing.assert_array_equal(plain[..., 2], smooth[..., 2])
    jerk = [np.abs(np.diff(one[..., :2], n=3, axis=0)).mean() for one in (plain, smooth)]
    assert jerk[1] < 0.5 * jerk[0]


def test_boxes_of_detectors_are_filtered_linked_and_counted(run, clip, tmp_path):
    found = [{"image_id": i, "category_id": 1, "bbox": [10 + i, 10, 80, 90], "score": 0.8} for i in range(5)]
    found += [{"image_id": i, "category_id": 3, "bbox": [120 - i, 30, 60, 60], "score": 0.4} for i in range(6)]
    found += [{"image_id": 0, "category_id": 3, "bbox": [900, 30, 60, 60], "score": 0.9}]
    (tmp_path / "d.json").write_text(json.dumps(found))
    printed, people = run(clip, "--boxes", "d.json", "--box-category", 1)
    assert [entry["id"] for entry in people] == [1] * 5
    assert "; nobody in 1 of them" in printed
    printed, _ = run(clip, "--boxes", "d.json", "--box-category", 3)
    assert printed.startswith("6 poses in 6 pictures") and "; boxes beside their picture, left out: 1" in printed
    _, sure = run(clip, "--boxes", "d.json", "--box-category", 1, "--min-box-score", 0.5)
    assert [entry["box_score"] for entry in sure] == [0.8] * 5


def test_boxes_from_alpha_and_the_whole_frame(run, photo, tmp_path, painted_dataset):
    alpha = np.zeros(photo.shape[:2], np.uint8)
    alpha[30:150, 60:120] = 255
    cv2.imwrite(str(tmp_path / "cut.png"), np.dstack([photo, alpha]))
    assert run("cut.png", "--boxes", "alpha")[1][0]["box"] == [60, 30, 60, 120]
    assert run("cut.png", "--boxes", "frame")[1][0]["box"] == [0, 0, 240, 180]
    labelled = painted_dataset(scenes=1, frames=1, shards=1)
    assert run(labelled, "--boxes", "frame")[1][0]["box"] == [0, 0, 64, 64]


def test_what_moves_is_found_in_a_video_and_in_a_folder_of_its_frames(run, photo, write_video, tmp_path):
    images = []
    for i in range(24):
        image = cv2.GaussianBlur(photo, (0, 0), 9)
        cv2.rectangle(image, (20 + 6 * i, 60), (60 + 6 * i, 150), (250, 250, 250), -1)
        images.append(image)
    write_video(tmp_path / "walk.mp4", images, rate=25)
    (tmp_path / "frames").mkdir()
    for i, image in enumerate(images):
        cv2.imwrite(str(tmp_path / "frames" / f"{i:03d}.png"), image)
    for arguments, names in ((["walk.mp4"], "walk.mp4#000012"), (["frames", "--fps", 25], "012.png")):
        _, found = run(*arguments, "--boxes", "motion", "--bvh", "walk.bvh")
        assert {entry["id"] for entry in found} == {1}
        x, _, width, _ = next(entry["box"] for entry in found if entry["image"] == names)
        assert abs(x + width / 2 - (40 + 6 * 12)) < 12
        assert "Frame Time: 0.04" in (tmp_path / "walk.bvh").read_text()


def test_several_clips_have_files_of_their_own(run, clip, photo, write_video, tmp_path):
    other = write_video(tmp_path / "other.mov", [photo] * 4)
    cv2.imwrite(str(tmp_path / "still.png"), photo)
    _, found = run(clip, other, "still.png", "--dlc-csv", "dlc", "--bvh", "bvh")
    assert len(found) == 11
    assert sorted(path.name for path in (tmp_path / "dlc").iterdir()) == ["clip.csv", "other.csv", "pictures.csv"]
    assert sorted(path.name for path in (tmp_path / "bvh").iterdir()) == ["clip-1.bvh", "other-1.bvh", "still-1.bvh"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["clip.mp4", "--boxes", "nowhere"], "--boxes nowhere: no such file, and none of alpha, motion, frame"),
        (["clip.mp4", "--boxes", "alpha"], "clip.mp4#000000: has no alpha channel"),
        (["clip.mp4", "--boxes", "foreign.json"], "none of its boxes fits a picture: it says x.png"),
        (
            ["clip.mp4", "clip2.mp4", "--boxes", "bare.csv"],
            "numbers frames but names no clip, so it fits one input only",
        ),
        (["clip.mp4", "clip2.mp4", "--boxes", "coco.json"], "numbers frames but names no clip"),
        (["clip.mp4", "clip2.mp4", "--bvh", "a.bvh"], "here are 2 in 2; give a folder"),
        (["clip.mp4", "clip2.mp4", "--dlc-csv", "a.csv"], "here are 2; give a folder"),
        (["clip.mp4", "--overlay", "a.txt"], "an overlay is a picture"),
        (["clip.mp4", "--skeleton", "ap10k17"], "not of the human"),
        (["clip.mp4", "--skeleton", "coco"], "unknown skeleton 'coco'"),
        (["none.png"], "none.png: no such file"),
    ],
)
def test_what_cannot_be_is_one_line(untrained_run, clip, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip2.mp4").write_bytes(clip.read_bytes())
    (tmp_path / "foreign.json").write_text('{"x.png": [0, 0, 9, 9]}')
    (tmp_path / "coco.json").write_text('[{"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "score": 1}]')
    (tmp_path / "bare.csv").write_text("x,y,width,height\n0,0,9,9\n")
    with pytest.raises(UserError) as raised:
        CliRunner().invoke(
            app, ["predict", "--checkpoint", str(untrained_run), "--out", "o.json", *arguments], catch_exceptions=False
        )
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_output_that_needs_a_folder_does_not_cost_the_json(untrained_run, clip, tmp_path):
    other = tmp_path / "other.mp4"
    other.write_bytes(clip.read_bytes())
    with pytest.raises(UserError, match="give a folder"):
        predict_files(
            untrained_run, [clip, other], tmp_path / "o.json", outputs=Outputs(bvh=tmp_path / "a.bvh"), device="cpu"
        )
    assert len(json.loads((tmp_path / "o.json").read_text())) == 12
