"""Packing real footage: the mover is found and framed, backgrounds stand still, waste is counted, damage is one
line."""

import json
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from posecore.codec import decode_real
from posecore.dataset import iterate_dataset, read_manifest
from posecore.errors import UserError
from posecore.motion import find_moving_subjects
from posecore.sample import RealFrame
from synthgen.footage.pack import PackOptions, pack
from synthgen.footage.video import find_footage, read_frames

WIDTH, HEIGHT = 320, 240
RED = (220, 40, 30)


def scene_picture(person_x: int | None, swing: float = 0.0, seed: int = 0) -> np.ndarray:
    """A still, blotchy room with a red stick person, 110 px tall, whose arms and legs swing."""
    coarse = np.random.default_rng(seed).integers(110, 170, (12, 16, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    picture[::7, ::5] = 240
    if person_x is not None:
        reach = round(25 * np.sin(swing))
        hip, neck = (person_x, 140), (person_x, 90)
        cv2.line(picture, hip, neck, RED, 14)
        cv2.circle(picture, (person_x, 75), 10, RED, -1)
        for side in (-1, 1):
            cv2.line(picture, hip, (person_x + side * (8 + reach), 185), RED, 8)
            cv2.line(picture, neck, (person_x + side * (18 + reach), 120), RED, 6)
    return picture


def walking(frames: int = 40, step: float = 3.0, start: int = 80) -> list[np.ndarray]:
    return [scene_picture(round(start + step * i), 0.5 * i) for i in range(frames)]


def write_video(path: Path, pictures: list[np.ndarray], rate: int = 25) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = pictures[0].shape[1], pictures[0].shape[0], "yuv420p"
        stream.bit_rate = 8_000_000
        for picture in pictures:
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def red_pixels(frame: RealFrame) -> np.ndarray:
    """Rows and columns of the person's pixels."""
    r, g, b = (frame.image[..., channel].astype(int) for channel in range(3))
    return np.argwhere(r - np.maximum(g, b) > 80)


def real_frames(folder: Path) -> list[RealFrame]:
    return [decode_real(members) for _, members in iterate_dataset(folder)]


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield write_video(tmp_path_factory.mktemp("walk") / "walk.mp4", walking())


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
    assert read_manifest(tmp_path / "real") == read_manifest(packed)


def test_the_manifest_counts_what_was_read_kept_and_left_out(walk, tmp_path):
    still = write_video(tmp_path / "still.mp4", [scene_picture(None)] * 20)
    summary = pack([walk, still], tmp_path / "out", PackOptions(licence="CC0", min_subject_px=32))
    manifest = read_manifest(tmp_path / "out")
    assert manifest.kind == "real"
    assert summary.frames_read == 60
    assert summary.rejects["where nothing moves"] == 20
    assert manifest.rejects == summary.rejects
    assert manifest.num_samples == summary.frames_kept == summary.sources[0][2]
    assert manifest.licences[0] == {"source": "walk.mp4", "licence": "CC0"}
    assert cv2.imread(str(summary.preview)) is not None


def test_repeated_and_blurred_frames_are_dropped_and_counted(tmp_path):
    pictures = [picture for picture in walking(24) for _ in range(2)]
    pictures[21] = cv2.GaussianBlur(pictures[21], (0, 0), 8)
    summary = pack([write_video(tmp_path / "a.mp4", pictures)], tmp_path / "out", PackOptions(min_subject_px=32))
    assert summary.rejects["blurred"] >= 1
    assert summary.rejects["without movement since the last"] >= 15


def test_frames_on_either_side_of_a_cut_never_share_a_clip(tmp_path):
    other_room = [cv2.flip(255 - picture, 1) for picture in walking(30)]
    path = write_video(tmp_path / "cut.mp4", walking(30) + other_room)
    pack([path], tmp_path / "out", PackOptions(min_subject_px=32))
    for clip in {frame.clip for frame in real_frames(tmp_path / "out")}:
        numbers = [frame.frame for frame in real_frames(tmp_path / "out") if frame.clip == clip]
        assert max(numbers) < 30 or min(numbers) >= 30


def test_boxes_of_the_user_are_followed(walk, tmp_path):
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"walk.mp4": {"0": [50, 60, 60, 130], "39": [167, 60, 60, 130]}}))
    pack(
        [walk],
        tmp_path / "out",
        PackOptions(subjects="boxes", boxes=boxes, clip_frames=10, margin=1.0, min_subject_px=32),
    )
    first, last = real_frames(tmp_path / "out")[0], real_frames(tmp_path / "out")[-1]
    assert first.crop[0] < 60
    assert last.crop[0] > 100


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


def test_pictures_of_one_shot_in_a_folder_count_as_a_video(tmp_path):
    folder = tmp_path / "shot"
    folder.mkdir()
    for number, picture in enumerate(walking(20)):
        cv2.imwrite(str(folder / f"{number:03d}.png"), picture[..., ::-1])
    pack([folder], tmp_path / "out", PackOptions(min_subject_px=32))
    frames = real_frames(tmp_path / "out")
    assert {frame.source for frame in frames} == {"shot"}
    assert len(frames) >= 16


@pytest.mark.parametrize("content", [b"", b"this is no video" * 100])
def test_a_file_that_does_not_decode_is_one_line_that_names_it(tmp_path, content):
    (tmp_path / "broken.mp4").write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.mp4: does not decode") as caught:
        pack([tmp_path / "broken.mp4"], tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert list(tmp_path.glob(".out*")) == []


def test_an_output_folder_with_content_is_refused(walk, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").write_text("keep")
    with pytest.raises(UserError, match="not an empty folder"):
        pack([walk], tmp_path / "out")


def test_missing_and_unknown_inputs_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        find_footage([tmp_path / "nothing.mp4"])
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match=r"unknown type '\.txt'"):
        find_footage([tmp_path / "notes.txt"])
    with pytest.raises(UserError, match="no video or picture"):
        find_footage([tmp_path])


def test_a_rotation_flag_turns_frames_upright(walk, tmp_path):
    """The display matrix of the track header is set to a quarter turn clockwise, as a phone held upright writes
    it."""
    content = bytearray(walk.read_bytes())
    header = content.index(b"tkhd") + 4
    quarter = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]
    content[header + 40 : header + 76] = b"".join(value.to_bytes(4, "big", signed=True) for value in quarter)
    (tmp_path / "phone.mp4").write_bytes(content)
    (upright,) = [next(read_frames(item, 960)) for item in find_footage([tmp_path / "phone.mp4"])]
    (stored,) = [next(read_frames(item, 960)) for item in find_footage([walk])]
    assert upright.image.shape == (WIDTH, HEIGHT, 3)
    assert np.abs(upright.image.astype(int) - np.rot90(stored.image, k=-1)).mean() < 1


def test_frames_are_shrunk_to_the_working_size_and_say_by_how_much(walk):
    frames = list(read_frames(find_footage([walk])[0], working_size_px=160, frame_step=4))
    assert [frame.index for frame in frames] == list(range(0, 40, 4))
    assert frames[0].image.shape == (120, 160, 3)
    assert frames[0].scale == 2


def test_a_hand_held_camera_is_stilled_within_each_clip(tmp_path):
    """The camera sways over a wide room while the person swings arms and legs in the middle."""
    rng = np.random.default_rng(3)
    room = cv2.resize(rng.integers(110, 170, (24, 32, 3), dtype=np.uint8), (560, 400), interpolation=cv2.INTER_CUBIC)
    for x, y in rng.integers(0, [540, 380], (120, 2)):
        cv2.rectangle(
            room, (int(x), int(y)), (int(x) + 9, int(y) + 9), [int(v) for v in rng.integers(90, 190, 1)] * 3, -1
        )
    pictures = []
    for i in range(40):
        x, y = round(100 + 25 * np.sin(0.15 * i)), round(70 + 8 * np.cos(0.2 * i))
        view = room[y : y + HEIGHT, x : x + WIDTH].copy()
        person = scene_picture(260 - x, 0.5 * i)
        shifted = np.roll(person, 70 - y, axis=0)
        is_person = shifted[..., 0].astype(int) - shifted[..., 1:].max(axis=-1) > 80
        view[is_person] = RED
        pictures.append(view)
    pack([write_video(tmp_path / "hand.mp4", pictures)], tmp_path / "out", PackOptions(size_px=96, min_subject_px=32))
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
