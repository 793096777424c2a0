"""Overlays: the right frames at the right times, in forms that can be looked at."""

import av
import cv2
import numpy as np
import pytest

from posecore.errors import UserError
from posecore.overlay import SIDE_COLOURS
from posecore.pictures import Picture
from posecore.skeleton import load_skeleton
from trainer.prediction.overlay import draw_predictions, write_overlay

H36M = load_skeleton("h36m17")


def pictures(count: int, photo: np.ndarray, clip: str = "a.mp4", step_s: float = 0.1) -> list[Picture]:
    return [Picture(f"{clip}#{i:06d}", photo, clip=clip, frame=i, time_s=i * step_s) for i in range(count)]


def times_of(path) -> list[float]:
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


@pytest.mark.parametrize("scale", [0.25, 1.0, 8.0])
def test_lines_grow_with_the_subject_not_with_the_picture(posed, scale):
    """A leg's width, measured across its middle, stays the same part of the subject's box from 75 to 2400 px."""
    one = posed(0)
    keypoints = one.keypoints.copy()
    hip, knee = H36M.index("left_hip"), H36M.index("left_knee")
    keypoints[:, :2], keypoints[:, 2] = np.nan, 1.0
    keypoints[[hip, knee], :2] = np.array([[100, 50], [100, 250]]) * scale
    box = tuple(scale * np.array([0.0, 0, 200, 300]))
    scaled = type(one)(**{**one.__dict__, "keypoints": keypoints, "box": box})
    canvas = np.full((round(310 * scale), round(600 * scale), 3), 90, np.uint8)
    drawn = draw_predictions(canvas, [scaled])
    row = drawn[round(150 * scale)].astype(int)
    orange = np.abs(row - SIDE_COLOURS["left"]).max(axis=1) < 60
    assert max(1, 0.5 * 3 * scale) <= orange.sum() <= max(2, 2.1 * 3 * scale)


def test_the_unsure_fade_and_boxes_bear_their_ids(posed, photo):
    one = posed(0)
    joints = one.keypoints.copy()
    sure, unsure = joints.copy(), joints.copy()
    sure[:, 2], unsure[:, 2] = 0.9, 0.05
    box = (20.0, 10.0, 150.0, 120.0)

    def drawn(keypoints, **options):
        prediction = type(one)(**{**one.__dict__, "keypoints": keypoints, "box": box})
        return np.abs(draw_predictions(photo, [prediction], **options).astype(int) - photo)

    assert 0.15 < drawn(unsure).sum() / drawn(sure).sum() < 0.4
    outlined = drawn(sure, with_boxes=True).max(axis=2) > 20
    assert outlined[10, 40:160].mean() > 0.9
    assert not np.array_equal(photo, draw_predictions(photo, [one]))


def test_a_video_keeps_every_frame_at_its_own_time(tmp_path, photo, posed):
    frames = pictures(4, photo)
    uneven = [Picture(p.name, p.image, clip=p.clip, frame=p.frame, time_s=t) for p, t in
              zip(frames, (0.0, 0.1, 0.15, 0.6), strict=True)]  # fmt: skip
    write_overlay(tmp_path / "a.mp4", [(picture, [posed(0)]) for picture in uneven], rate=10)
    np.testing.assert_allclose(times_of(tmp_path / "a.mp4"), [0.0, 0.1, 0.15, 0.6], atol=1e-3)


def test_clips_of_other_sizes_follow_one_another_in_one_video(tmp_path, photo, posed):
    narrow = np.ascontiguousarray(photo[:, :101])
    drawn = [(picture, []) for picture in [*pictures(3, photo), *pictures(2, narrow, "b.mp4")]]
    write_overlay(tmp_path / "a.mp4", drawn, rate=10)
    np.testing.assert_allclose(times_of(tmp_path / "a.mp4"), [0.0, 0.1, 0.2, 0.3, 0.4], atol=1e-3)
    with av.open(str(tmp_path / "a.mp4")) as container:
        *_, last = (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))
    assert last.shape == photo.shape
    assert last[:, :60].min() > 235  # letterboxed, not stretched
    assert last[:, 70:170].min() < 200


def test_stills_in_a_video_pass_at_the_given_rate(tmp_path, photo):
    stills = [Picture(name, photo, clip=name) for name in ("x.png", "y.png", "z.png")]
    write_overlay(tmp_path / "a.mp4", [(picture, []) for picture in stills], rate=5)
    np.testing.assert_allclose(times_of(tmp_path / "a.mp4"), [0.0, 0.2, 0.4], atol=1e-3)


def test_one_picture_many_pictures_and_folders(tmp_path, photo, posed):
    frames = [(picture, [posed(0)]) for picture in pictures(100, photo)]
    write_overlay(tmp_path / "one.png", frames[:1])
    assert cv2.imread(str(tmp_path / "one.png")).shape == photo.shape
    write_overlay(tmp_path / "many.jpg", frames)
    sheet = cv2.imread(str(tmp_path / "many.jpg"))
    assert 5 * 180 < sheet.shape[0] < 5 * 260 and sheet.shape[1] > 8 * 256
    write_overlay(tmp_path / "folder", frames[:2])
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["a.mp4-000000.png", "a.mp4-000001.png"]


def test_what_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path, photo):
    with pytest.raises(UserError, match=r"x\.txt: an overlay is"):
        write_overlay(tmp_path / "x.txt", [])
    with pytest.raises(UserError, match=r"x\.avi: videos are written as \.m4v \.mkv"):
        write_overlay(tmp_path / "x.avi", [])
    for name in ("x.mp4", "x.png"):
        with pytest.raises(UserError, match="nothing to draw"):
            write_overlay(tmp_path / name, [])
    assert list(tmp_path.iterdir()) == []
