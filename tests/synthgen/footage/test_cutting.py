"""What teaches nothing is left out and counted: repeats, blur, photos that come twice, subjects too small to see."""

import json

import cv2
import numpy as np
import pytest

from synthgen.footage.options import PackOptions
from synthgen.footage.pack import pack
from tests.rooms import real_frames, scene_picture, walking


def test_repeated_frames_are_dropped(write_video, tmp_path):
    """Every picture twice, as a 25 Hz film in a 50 Hz file. A coder's key frames may differ from those before."""
    pictures = [picture for picture in walking(24) for _ in range(2)]
    path = write_video(tmp_path / "a.mp4", pictures, rate=50)
    summary = pack([path], tmp_path / "out", PackOptions(min_subject_px=32))
    assert {frame.frame // 2 for frame in real_frames(tmp_path / "out")} == set(range(24))
    assert summary.rejects["without movement since the last"] in (23, 24)


def test_a_subject_that_stands_still_for_a_while_is_kept_once(write_video, tmp_path):
    start = walking(20)
    path = write_video(tmp_path / "a.mp4", start + [start[-1]] * 10 + walking(20, start=137), rate=25)
    pack([path], tmp_path / "out", PackOptions(min_subject_px=32))
    numbers = {frame.frame for frame in real_frames(tmp_path / "out")}
    assert len(numbers & set(range(20, 30))) <= 2  # key frames
    assert numbers >= {*range(20), *range(30, 50)}


def test_blurred_frames_are_dropped(write_video, tmp_path):
    pictures = walking(30)
    for number in (8, 9, 21):
        pictures[number] = cv2.GaussianBlur(pictures[number], (0, 0), 8)
    path = write_video(tmp_path / "a.mp4", pictures, rate=25)
    summary = pack([path], tmp_path / "out", PackOptions(min_subject_px=32))
    assert summary.rejects["blurred"] == 3
    assert {frame.frame for frame in real_frames(tmp_path / "out")} == set(range(30)) - {8, 9, 21}


@pytest.fixture
def photos(tmp_path):
    """Three photos; the first again as a small JPEG, the second again in full; and one out of focus."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(5)
    rooms = [cv2.resize(rng.integers(0, 256, (30, 30, 3), dtype=np.uint8), (480, 480)) for _ in range(3)]
    for name, room in zip("abc", rooms, strict=True):
        cv2.imwrite(str(folder / f"{name}.png"), room)
    cv2.imwrite(str(folder / "d.jpg"), cv2.resize(rooms[0], (240, 240)), [cv2.IMWRITE_JPEG_QUALITY, 60])
    cv2.imwrite(str(folder / "e.png"), rooms[1])
    cv2.imwrite(str(folder / "f.png"), cv2.GaussianBlur(rooms[2], (0, 0), 40))
    return folder


def test_photos_that_come_twice_are_kept_once_and_blurred_ones_not_at_all(photos, tmp_path):
    summary = pack([photos], tmp_path / "out", PackOptions(subjects="frame", stills=True))
    assert [frame.source for frame in real_frames(tmp_path / "out")] == ["a.png", "b.png", "c.png"]
    assert summary.rejects == {"that repeat an earlier picture": 2, "blurred": 1}


def test_photos_of_one_place_in_which_somebody_moved_are_different(tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(5):
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), scene_picture(160, 0.4 * number)[..., ::-1])
    assert pack([tmp_path / "photos"], tmp_path / "out", PackOptions()).frames_kept == 5


def test_the_margin_widens_the_square_and_small_subjects_are_left_out(walk, tmp_path):
    sides = {}
    for margin in (1.0, 1.5):
        pack([walk], tmp_path / str(margin), PackOptions(min_subject_px=32, margin=margin, clip_frames=10))
        sides[margin] = np.median([frame.crop[2] for frame in real_frames(tmp_path / str(margin))])
    assert sides[1.5] / sides[1.0] == pytest.approx(1.5, abs=0.02)
    with pytest.raises(Exception, match="40 with a subject that is too small"):
        pack([walk], tmp_path / "out", PackOptions(min_subject_px=300))


def test_clips_are_no_longer_and_shards_no_fuller_than_asked(walk, tmp_path):
    pack([walk], tmp_path / "out", PackOptions(min_subject_px=32, clip_frames=8, frames_per_shard=8, quality=50))
    frames = real_frames(tmp_path / "out")
    lengths = [sum(frame.clip == clip for frame in frames) for clip in dict.fromkeys(frame.clip for frame in frames)]
    assert max(lengths) == 8
    assert len(list((tmp_path / "out").glob("*.tar"))) == len(lengths)


def test_what_remains_at_the_end_of_a_walk_shares_with_the_run_before(walk, tmp_path):
    """The walker leaves the first square after 31 frames; the rest alone would be too short for a clip."""
    boxes = {"walk.mp4": {"4": [42, 60, 100, 130], "39": [147, 60, 100, 130]}}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    options = PackOptions(subjects="boxes", boxes=tmp_path / "boxes.json", margin=1.0, min_clip_frames=12)
    summary = pack([walk], tmp_path / "out", options)
    assert (summary.clips, summary.frames_kept) == (2, 36)
