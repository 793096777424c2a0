"""Boxes round what moves: in pixels of the picture at hand, one id a subject, steady in size."""

import cv2
import numpy as np
import pytest

from posecore.errors import UserError
from trainer.prediction import motion_boxes
from trainer.prediction.motion_boxes import find_motion_boxes
from trainer.prediction.pictures import find_sources, read_pictures

WIDTH, HEIGHT = 320, 240
RED = (220, 40, 30)


def room(seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(110, 170, (12, 16, 3), dtype=np.uint8)
    return cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def with_walker(picture: np.ndarray, x: int, swing: float) -> np.ndarray:
    """A stick person, 120 px tall, standing at y 70..190."""
    picture, reach = picture.copy(), round(22 * np.sin(swing))
    cv2.line(picture, (x, 140), (x, 90), RED, 14)
    cv2.circle(picture, (x, 80), 10, RED, -1)
    for side in (-1, 1):
        cv2.line(picture, (x, 140), (x + side * (8 + reach), 186), RED, 8)
        cv2.line(picture, (x, 92), (x + side * (18 + reach), 125), RED, 6)
    return picture


def test_a_walker_is_boxed_through_the_clip_with_one_id(tmp_path, write_video):
    images = [with_walker(room(), 40 + 6 * i, 0.5 * i) for i in range(36)]
    sources = find_sources([write_video(tmp_path / "a.mp4", images, rate=25)])
    calls = []
    finder = find_motion_boxes(sources, lambda: calls.append(1))
    assert len(calls) == 36
    sizes = []
    for picture in list(read_pictures(sources[0]))[5:32]:
        (subject,) = finder(picture)
        x, y, width, height = subject.box
        assert subject.id == 1
        assert abs(x + width / 2 - (40 + 6 * picture.frame)) < 14
        assert abs(y + height / 2 - 130) < 16
        sizes.append(height)
    assert 100 < min(sizes) <= max(sizes) < 160
    assert max(sizes) / min(sizes) < 1.2

    # The same boxes for the same pictures at another size.
    large, small = next(read_pictures(sources[0])), next(read_pictures(sources[0], longest_px=160))
    np.testing.assert_allclose(np.array(finder(large)[0].box) / 2, finder(small)[0].box)


def test_ids_go_on_over_the_windows_of_a_long_shot_and_not_over_a_cut(tmp_path, write_video, monkeypatch):
    """One person walks to and fro for longer than a window; then comes another room."""
    monkeypatch.setattr(motion_boxes, "_WINDOW_FRAMES", 40)
    first = [with_walker(room(), round(150 + 90 * np.sin(0.12 * i)), 0.5 * i) for i in range(100)]
    bright = np.clip(room(1).astype(int) + 80, 0, 255).astype(np.uint8)
    second = [with_walker(bright, 60 + 5 * i, 0.4 * i) for i in range(30)]
    images = [cv2.resize(image, (160, 120), interpolation=cv2.INTER_AREA) for image in [*first, *second]]
    sources = find_sources([write_video(tmp_path / "a.mp4", images, rate=25)])
    finder = find_motion_boxes(sources)
    ids = [[subject.id for subject in finder(picture)] for picture in read_pictures(sources[0])]
    assert ids[30] == ids[39] == ids[40] == ids[80] == ids[99] == [1]
    assert ids[-5] == [2]


def test_a_folder_of_frames_is_a_clip_if_it_has_a_rate(tmp_path):
    for i in range(24):
        image = cv2.resize(with_walker(room(), 60 + 8 * i, 0.8 * i), (160, 120), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(tmp_path / f"{i:03d}.png"), image)
    sources = find_sources([tmp_path], stills_rate=25)
    finder = find_motion_boxes(sources)
    assert all(len(finder(picture)) == 1 for picture in list(read_pictures(sources[0]))[3:21])
    with pytest.raises(UserError, match=r"000\.png: movement is found in clips; give a video, or --fps"):
        find_motion_boxes(find_sources([tmp_path]))


def test_a_still_scene_is_one_line(tmp_path, write_video, painted_clips):
    with pytest.raises(UserError, match="nothing moves"):
        find_motion_boxes(find_sources([write_video(tmp_path / "a.mp4", [room()] * 20)]))
    with pytest.raises(UserError, match="movement is found in clips"):
        find_motion_boxes(find_sources([painted_clips(clips=1, frames=2, shards=1)]))
