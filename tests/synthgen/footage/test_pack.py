"""Packing real footage: the mover is found and framed, backgrounds stand still, waste and damage are counted and
named, and the dataset appears whole or not at all."""

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from posecore.dataset import read_manifest
from posecore.errors import UserError
from posecore.sample import tight_box
from synthgen.footage.options import PackOptions
from synthgen.footage.pack import pack
from tests.rooms import hand_held, real_frames, red_pixels, scene_picture, walking


@pytest.fixture(scope="module")
def packed(walk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "real"
    pack([walk], out, PackOptions(size_px=96, clip_frames=12, min_subject_px=32))
    return out


def test_the_walker_is_whole_centred_and_at_least_half_the_crop_high(packed):
    frames = real_frames(packed)
    assert len(frames) >= 36
    for frame in frames:
        pixels = red_pixels(frame)
        assert np.ptp(pixels[:, 0]) >= 48
        assert pixels.min() > 0
        assert pixels.max() < 95
        assert abs(pixels[:, 1].mean() - 48) < 24


def test_the_background_stands_still_within_a_clip_and_clips_stay_together(packed):
    frames = real_frames(packed)
    clips = [frame.clip for frame in frames]
    assert len(set(clips)) > 1
    assert [clip for i, clip in enumerate(clips) if i == 0 or clips[i - 1] != clip] == list(dict.fromkeys(clips))
    for clip in set(clips):
        members = [frame for frame in frames if frame.clip == clip]
        assert len({frame.crop for frame in members}) == 1
        assert [frame.frame for frame in members] == sorted({frame.frame for frame in members})
        top = np.stack([frame.image[:6].astype(float) for frame in members])
        assert top.std(axis=0).mean() < 3


def test_crops_are_where_their_record_says_in_pixels_of_the_source(packed):
    frame = real_frames(packed)[5]
    x, y, side, _ = frame.crop
    source = scene_picture(round(80 + 3.0 * frame.frame), 0.5 * frame.frame)
    expected = cv2.resize(
        source[round(y) : round(y + side), round(x) : round(x + side)], (96, 96), interpolation=cv2.INTER_AREA
    )
    assert np.abs(expected.astype(float) - frame.image).mean() < 8
    assert frame.time_s == pytest.approx(frame.frame / 25)


def test_packing_twice_gives_the_same_bytes(walk, packed, tmp_path):
    pack([walk], tmp_path / "real", PackOptions(size_px=96, clip_frames=12, min_subject_px=32))
    assert sorted(path.name for path in packed.iterdir()) == ["dataset.json", "preview.png", "real-000000.tar"]
    for path in packed.iterdir():
        assert (tmp_path / "real" / path.name).read_bytes() == path.read_bytes()


def test_the_manifest_counts_what_was_read_kept_and_left_out(walk, write_video, tmp_path):
    still = write_video(tmp_path / "still.mp4", [scene_picture(None)] * 20)
    summary = pack([walk, still], tmp_path / "out", PackOptions(licence="CC0", min_subject_px=32))
    manifest = read_manifest(tmp_path / "out")
    assert manifest.kind == "real"
    assert summary.frames_read == 60
    assert summary.rejects["where nothing moves"] == 20
    assert manifest.rejects == summary.rejects
    assert manifest.num_samples == summary.frames_kept == summary.sources[0].frames_kept
    assert manifest.licences[0] == {"source": "walk.mp4", "licence": "CC0"}
    assert cv2.imread(str(summary.preview)) is not None


def test_frames_on_either_side_of_a_cut_never_share_a_clip(write_video, tmp_path):
    other_room = [cv2.flip(255 - picture, 1) for picture in walking(30)]
    path = write_video(tmp_path / "cut.mp4", walking(30) + other_room)
    pack([path], tmp_path / "out", PackOptions(min_subject_px=32))
    for clip in {frame.clip for frame in real_frames(tmp_path / "out")}:
        numbers = [frame.frame for frame in real_frames(tmp_path / "out") if frame.clip == clip]
        assert max(numbers) < 30 or min(numbers) >= 30


def test_a_folder_of_unrelated_pictures_gives_one_still_each(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        picture = np.full((80 + 10 * number, 120, 3), 60 * number, np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), cv2.circle(picture, (60, 40), 20, (0, 255, 0), -1))
    summary = pack([folder], tmp_path / "out", PackOptions(size_px=64))
    frames = real_frames(tmp_path / "out")
    assert summary.clips == len({frame.clip for frame in frames}) == 4
    assert [frame.source for frame in frames] == ["0.png", "1.png", "2.png", "3.png"]


def test_pictures_of_one_shot_in_a_folder_count_as_a_video_unless_they_are_stills(tmp_path):
    folder = tmp_path / "shot"
    folder.mkdir()
    for number, picture in enumerate(walking(20)):
        cv2.imwrite(str(folder / f"{number:03d}.png"), picture[..., ::-1])
    pack([folder], tmp_path / "out", PackOptions(min_subject_px=32))
    frames = real_frames(tmp_path / "out")
    assert {frame.source for frame in frames} == {"shot"}
    assert len(frames) >= 16
    summary = pack([folder], tmp_path / "stills", PackOptions(min_subject_px=32, stills=True))
    assert summary.clips == summary.frames_kept == 20


@pytest.mark.parametrize("content", [b"", b"this is no video" * 100])
def test_a_lone_file_that_does_not_decode_is_one_line_that_names_it(tmp_path, content):
    (tmp_path / "broken.mp4").write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.mp4: does not decode") as caught:
        pack([tmp_path / "broken.mp4"], tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["broken.mp4"]


def test_damaged_files_in_a_folder_cost_only_themselves_and_are_named(walk, sound_only, tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    shutil.copy(walk, folder)
    shutil.copy(sound_only, folder)
    (folder / "a_broken.mp4").write_bytes(b"this is no video")
    (folder / "photo.png").write_bytes(b"this is no picture")
    summary = pack([folder], tmp_path / "out", PackOptions(min_subject_px=32))
    named = {one.name: one.reason for one in summary.damaged}
    assert set(named) == {"a_broken.mp4", "sound.mp4", "photo.png"}
    assert named["sound.mp4"] == "holds no video stream"
    assert named["a_broken.mp4"].startswith("does not decode as video")
    stored = read_manifest(tmp_path / "out").statistics["damaged_files"]
    assert [(one["name"], one["frames_read"]) for one in stored] == [(one.name, 0) for one in summary.damaged]
    assert str(tmp_path) not in (tmp_path / "out" / "dataset.json").read_text()
    alone = pack([walk], tmp_path / "alone" / "out", PackOptions(min_subject_px=32))
    assert summary.frames_kept == alone.frames_kept
    with pytest.raises(UserError, match=r"a_broken\.mp4: does not decode"):
        pack([folder], tmp_path / "strict", PackOptions(min_subject_px=32, strict=True))
    assert not (tmp_path / "strict").exists()


def test_a_folder_of_nothing_but_damaged_files_is_one_line(sound_only, tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "broken.mp4").write_bytes(b"this is no video")
    shutil.copy(sound_only, folder)
    with pytest.raises(UserError, match=r"none of 2 files can be read; the first: broken\.mp4 does not decode"):
        pack([folder], tmp_path / "out")


def test_a_video_that_breaks_off_keeps_the_frames_before(broken_off, tmp_path):
    summary = pack([broken_off], tmp_path / "out", PackOptions(min_subject_px=32))
    (damage,) = summary.damaged
    assert damage.name == "broken_off.mp4"
    assert 10 < damage.frames_read == summary.frames_read < 40
    assert 6 <= summary.frames_kept <= damage.frames_read
    with pytest.raises(UserError, match=r"broken_off\.mp4: does not decode as video after \d+ frames"):
        pack([broken_off], tmp_path / "strict", PackOptions(min_subject_px=32, strict=True))


def test_a_video_that_was_cut_short_is_named_and_the_frame_that_the_decoder_guessed_is_left_out(write_video, tmp_path):
    content = write_video(tmp_path / "cut.avi", walking(), rate=25).read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) * 6 // 10])
    summary = pack([tmp_path / "cut.avi"], tmp_path / "out", PackOptions(min_subject_px=32))
    assert summary.rejects["damaged"] == 1
    assert [one.reason for one in summary.damaged] == [
        f"does not decode as video after {summary.frames_read} frames (the file is cut short)"
    ]


@pytest.fixture
def listens_to_ctrl_c():
    """What was started in the background ignores Ctrl-C, and so would its tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("moment", ["while it reads", "at its end"])
def test_ctrl_c_leaves_nothing_behind(moment, walk, tmp_path, listens_to_ctrl_c):
    def stop(*_):
        signal.raise_signal(signal.SIGINT)

    when = {"on_shot": stop} if moment == "while it reads" else {"on_source": stop}
    with pytest.raises(KeyboardInterrupt):
        pack([walk], tmp_path / "deep" / "out", PackOptions(min_subject_px=32, frames_per_shard=1), **when)
    assert list((tmp_path / "deep").iterdir()) == []


def test_what_a_killed_process_left_is_no_obstacle(walk, tmp_path):
    left = tmp_path / f".out.{os.getpid()}.tmp"
    left.mkdir()
    (left / "half.tar").write_text("half")
    pack([walk], tmp_path / "out", PackOptions(min_subject_px=32))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert "half.tar" not in [path.name for path in (tmp_path / "out").iterdir()]


def test_an_output_that_holds_something_is_refused(walk, tmp_path):
    (tmp_path / "out").mkdir()
    pack([walk], tmp_path / "out", PackOptions(min_subject_px=32))  # an empty one will do
    with pytest.raises(UserError, match="not an empty folder"):
        pack([walk], tmp_path / "out")
    (tmp_path / "file").write_text("keep")
    with pytest.raises(UserError, match="not an empty folder"):
        pack([walk], tmp_path / "file")


@pytest.mark.parametrize("subjects", ["motion", "boxes"])
def test_a_hand_held_camera_is_stilled_within_each_clip(subjects, write_video, tmp_path):
    pictures = hand_held()
    options = PackOptions(size_px=96, min_subject_px=32)
    if subjects == "boxes":
        lines = ["frame,x,y,width,height"]
        for number, picture in enumerate(pictures):
            box = tight_box(picture[..., 0].astype(int) - picture[..., 1:].max(axis=-1) > 80)
            lines.append(",".join(str(value) for value in (number, *box)))
        (tmp_path / "boxes.csv").write_text("\n".join(lines))
        options = replace(options, subjects="boxes", boxes=tmp_path / "boxes.csv")
    pack([write_video(tmp_path / "hand.mp4", pictures, rate=25)], tmp_path / "out", options)
    frames = real_frames(tmp_path / "out")
    assert len(frames) >= 30
    assert all(frame.extra == {"stabilised": True} for frame in frames)
    for clip in {frame.clip for frame in frames}:
        members = [frame for frame in frames if frame.clip == clip]
        stack = np.stack([cv2.GaussianBlur(frame.image, (0, 0), 1.5).astype(float) for frame in members])
        is_person = np.zeros(stack.shape[1:3], bool)
        for frame in members:
            is_person[tuple(red_pixels(frame).T)] = True
        ground = ~cv2.dilate(is_person.astype(np.uint8), np.ones((13, 13), np.uint8)).astype(bool)
        assert stack.std(axis=0)[ground].mean() < 6
    assert all(np.ptp(red_pixels(frame)[:, 0]) >= 48 for frame in frames)
