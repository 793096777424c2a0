"""What moves is found whole: two stay two, a still trunk tears nobody apart, empty frames are nobody's."""

import cv2
import numpy as np
import pytest

from posecore.motion import find_moving_subjects
from tests.rooms import RED, scene_picture


def two_walkers(frames: int = 40) -> np.ndarray:
    pictures = []
    for i in range(frames):
        picture = scene_picture(60 + i, 0.5 * i)
        other = scene_picture(260 - i // 2, 0.4 * i)
        picture[:, 200:] = other[:, 200:]
        pictures.append(cv2.resize(picture, (160, 120), interpolation=cv2.INTER_AREA))
    return np.stack(pictures)


def test_two_people_apart_become_two_tracks():
    tracks = find_moving_subjects(two_walkers(), min_frames=10)
    assert len(tracks) == 2
    centres = sorted(float((track.boxes[:, 0] + track.boxes[:, 2] / 2).mean()) for track in tracks)
    assert centres[0] == pytest.approx(40, abs=12)
    assert centres[1] == pytest.approx(125, abs=12)


def test_people_who_pass_close_by_each_other_stay_two():
    """One walks right, one left, a body's width apart when they meet: for a while they make one patch of movement."""
    pictures = []
    for i in range(60):
        picture, other = scene_picture(40 + 4 * i, 0.5 * i), np.roll(scene_picture(280 - 4 * i, 0.4 * i), 52, axis=0)
        lower = other[..., 0].astype(int) - other[..., 1:].max(axis=-1) > 80
        picture[lower] = RED
        pictures.append(cv2.resize(picture, (160, 120), interpolation=cv2.INTER_AREA))
    tracks = find_moving_subjects(np.stack(pictures), min_frames=10)
    together = [sum(track.frames[0] <= frame <= track.frames[-1] for track in tracks) for frame in (8, 50)]
    assert together == [2, 2]
    assert all(np.median(track.boxes[:, 3]) < 66 for track in tracks)


def test_frames_before_someone_comes_are_not_theirs():
    empty = [scene_picture(None)] * 15
    pictures = empty + [scene_picture(60 + 5 * i, 0.5 * i) for i in range(30)] + empty
    small = np.stack([cv2.resize(picture, (160, 120), interpolation=cv2.INTER_AREA) for picture in pictures])
    (track,) = find_moving_subjects(small, min_frames=10)
    assert track.frames[0] >= 14
    assert track.frames[-1] <= 45


def test_a_trunk_that_stays_put_does_not_tear_the_body_apart():
    """Arms and legs move about a still trunk, which the median takes for background."""
    pictures = [scene_picture(160, 0.3 * i) for i in range(40)]
    small = np.stack([cv2.resize(picture, (160, 120), interpolation=cv2.INTER_AREA) for picture in pictures])
    tracks = find_moving_subjects(small, min_frames=10)
    assert len(tracks) == 1
    assert len(tracks[0].frames) == 40
