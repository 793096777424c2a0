"""Packing calibrated videos: lenses are undone, stored cameras are exact, and views of one moment find each other."""

import math
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from posecore.calibration import triangulate
from posecore.camera import Camera, look_at
from posecore.codec import decode_real
from posecore.dataset import read_manifest, read_records
from posecore.errors import UserError
from posecore.pictures import Subject
from posecore.transforms import transform_points
from synthgen.footage.options import PackOptions
from synthgen.footage.pack import pack
from synthgen.footage.straight_boxes import StraightBoxes
from tests.calibrations import as_toml, calibrated
from tests.rooms import real_frames, red_pixels

POSES = [look_at(np.array([5 * math.cos(a), 5 * math.sin(a), 1.6]), np.array([0, 0, 0.9])) for a in (-0.6, 0.1, 0.8)]
CAMERAS = list(calibrated(POSES).values())
OPTIONS = PackOptions(size_px=128, clip_frames=12, window_frames=24, min_subject_px=32, frames_per_shard=1)


def balls(moment: int, num_people: int) -> np.ndarray:
    """[num_people, 3] where red balls are, in the world: they circle 3 m from each other, at other heights."""
    heights = 0.7 + 0.6 * np.arange(num_people)
    around = np.array([0.15 * moment + 0.3 * person for person in range(num_people)])
    middles = np.array([[0.0, 3.0 * person - 1.5 * (num_people - 1)] for person in range(num_people)])
    return np.column_stack([middles + 0.4 * np.column_stack([np.cos(around), np.sin(around)]), heights])


def filmed(camera_number: int, num_people: int, frames: int = 30) -> list[np.ndarray]:
    """What a camera sees of them through its lens."""
    camera = CAMERAS[camera_number]
    rng = np.random.default_rng(camera_number)
    room = cv2.resize(rng.integers(110, 170, (12, 16, 3), dtype=np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
    room[::7, ::5] = 240
    pictures = []
    for moment in range(frames):
        picture = room.copy()
        for ball in transform_points(camera.cam_from_world, balls(moment, num_people)):
            plane = camera.K @ (ball / ball[2])
            x, y = camera.distorted_px(plane[None, :2])[0] - 0.5
            radius = 0.3 * camera.K[0, 0] / ball[2]
            circle = [round(16 * float(value)) for value in (x, y, radius)]
            cv2.circle(picture, tuple(circle[:2]), circle[2], (220, 40, 30), -1, cv2.LINE_AA, 4)
        pictures.append(picture)
    return pictures


@pytest.fixture(scope="module")
def film(write_video, tmp_path_factory):
    """A folder with the cameras' videos and calibration: `film(num_people)`."""

    def make(num_people: int) -> Path:
        folder = tmp_path_factory.mktemp("film")
        for number in range(len(CAMERAS)):
            write_video(folder / f"cam{number}.mp4", filmed(number, num_people), rate=25)
        (folder / "rig.toml").write_text(as_toml(POSES))
        return folder

    return make


@pytest.fixture(scope="module")
def alone(film):
    folder = film(1)
    pack([folder], folder / "packed", replace(OPTIONS, calibration=folder / "rig.toml"))
    return folder / "packed"


def stored_camera(frame) -> Camera:
    stored = frame.extra["camera"]
    return Camera(stored["width"], stored["height"], np.array(stored["K"]), np.array(stored["cam_from_world"]))


def read_shard(path: Path) -> list:
    with open(path, "rb") as stream:
        return [decode_real(members) for _, members in read_records(stream, str(path))]


def by_moment(frames) -> dict[tuple[str, int], list]:
    together = defaultdict(list)
    for frame in frames:
        together[frame.extra["views"], frame.extra["moment"]].append(frame)
    return together


def test_stored_cameras_see_the_subject_where_it_was(alone):
    moments = by_moment(real_frames(alone))
    assert len(moments) == 30
    off = []
    for (_, moment), frames in moments.items():
        assert len({frame.extra["camera"]["name"] for frame in frames}) == len(frames) >= 2
        seen = np.stack([red_pixels(frame)[:, ::-1].mean(axis=0) + 0.5 for frame in frames])
        found = triangulate([stored_camera(frame) for frame in frames], seen, np.ones(len(seen)))
        off.append(np.linalg.norm(found - balls(moment, 1)[0]))
    assert np.median(off) < 0.01 and np.quantile(off, 0.8) < 0.03, "some crops cut the ball"


def test_views_of_a_moment_lie_in_one_shard_and_the_manifest_counts_them(alone):
    manifest = read_manifest(alone)
    assert manifest.has_views
    assert manifest.recipe["calibration"] == "rig.toml"
    counts = Counter(len(frames) for frames in by_moment(real_frames(alone)).values())
    assert manifest.statistics["moments_by_views"] == {str(count): counts[count] for count in sorted(counts)}
    assert len(manifest.shards) == 2, "24 moments of three cameras, then 6"
    shards = [read_shard(alone / shard.file) for shard in manifest.shards]
    assert not by_moment(shards[0]).keys() & by_moment(shards[1]).keys()


def test_two_subjects_are_told_apart_by_where_the_cameras_look(film):
    folder = film(2)
    pack([folder], folder / "packed", replace(OPTIONS, calibration=folder / "rig.toml"))
    shown = Counter()
    for (_, moment), frames in by_moment(real_frames(folder / "packed")).items():
        nearest = []
        for frame in frames:
            camera = stored_camera(frame)
            rays = transform_points(camera.cam_from_world, balls(moment, 2)) @ camera.K.T
            nearest.append(int(np.abs(rays[:, :2] / rays[:, 2:] - 64).max(axis=1).argmin()))
        assert len(set(nearest)) == 1
        shown[len(frames)] += 1
    assert shown[3] >= 20


def test_uncalibrated_packing_says_nothing_of_cameras(film):
    folder = film(1)
    pack([folder / "cam0.mp4"], folder / "packed", OPTIONS)
    manifest = read_manifest(folder / "packed")
    assert not manifest.has_views
    assert not {"calibration", "calibration_unit"} & manifest.recipe.keys()
    assert all(frame.extra == {} for frame in real_frames(folder / "packed"))


def test_videos_and_cameras_without_partner_are_one_line(film):
    folder = film(1)
    options = replace(OPTIONS, calibration=folder / "rig.toml")
    with pytest.raises(UserError, match="no video for camera cam1, cam2"):
        pack([folder / "cam0.mp4"], folder / "packed", options)
    (folder / "cam1.mp4").rename(folder / "other.mp4")
    with pytest.raises(UserError, match=r"no camera for other\.mp4; no video for camera cam1"):
        pack([folder], folder / "packed", options)


def test_boxes_are_brought_to_where_the_pinhole_camera_sees_them():
    camera = CAMERAS[0]
    (moved,) = StraightBoxes(_OneBox(), camera)(None)
    corner = camera.undistorted_px(np.array([[20.0, 30.0]]))[0]
    assert moved.box[0] <= corner[0] and moved.box[1] <= corner[1]
    assert np.hypot(*(np.array(moved.box[:2]) - [20, 30])) > 2


class _OneBox:
    def __call__(self, picture):
        return [Subject((20.0, 30.0, 100.0, 100.0))]
