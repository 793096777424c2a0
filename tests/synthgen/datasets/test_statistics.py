"""What is counted is what is there, and distances are what they say."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from posecore.camera import Camera, look_at, project
from posecore.codec import encode
from posecore.dataset import Manifest, ShardWriter, write_manifest
from posecore.errors import UserError
from posecore.sample import Sample
from posecore.skeleton import load_skeleton
from posecore.transforms import matrix_from_rotvec, rotation_6d_from_matrix, transform_points
from synthgen.datasets.statistics import (
    BODY_REACH_M,
    MOST_BINS,
    DatasetStatistics,
    Histogram,
    Quantity,
    binned,
    distances,
    gather,
    to_json,
)
from synthgen.datasets.statistics_page import write_page
from tests.posecore.samples import make_sample

HUMAN = load_skeleton("human")


def seen_from(azimuth_deg: float, elevation_deg: float, roll_deg: float = 0.0, heading_deg: float = 0.0) -> Sample:
    """The template person at rest, turned by a heading, under a camera that stands 4 m from its pelvis."""
    sample = make_sample(size=64)
    turn = matrix_from_rotvec(np.array([0, 0, np.deg2rad(heading_deg)]))
    world = HUMAN.rest_m @ turn.T
    azimuth, elevation = np.deg2rad([azimuth_deg + heading_deg, elevation_deg])
    direction = np.array([np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)])
    pelvis = world[HUMAN.index("pelvis")]
    pose = look_at(pelvis + 4 * direction, pelvis, np.deg2rad(roll_deg))
    camera = Camera(64, 64, sample.camera.K, pose)
    rotations = np.tile(rotation_6d_from_matrix(np.eye(3)), (HUMAN.num_joints, 1))
    rotations[HUMAN.parents.index(-1)] = rotation_6d_from_matrix(turn)
    subject = replace(
        sample.subjects[0],
        joints_world_m=world,
        joints_cam_m=transform_points(pose, world),
        joints_px=project(camera, world),
        rotations=rotations,
    )
    return replace(sample, camera=camera, subjects=(subject,))


def dataset(folder: Path, samples: list[Sample], name: str = "made") -> str:
    folder.mkdir()
    with ShardWriter(folder / f"{name}-000000.tar") as writer:
        for number, sample in enumerate(samples):
            key = f"{number:08d}-00-00"
            writer.add(key, encode(replace(sample, key=key, scene=number, frame=0), "png"))
    write_manifest(folder, Manifest(name=name, kind="synthetic", shards=(writer.shard,)))
    return str(folder)


@pytest.mark.parametrize(
    ("azimuth", "elevation", "roll", "heading"), [(0, 5, 0, 0), (90, 20, 10, 0), (-135, -10, -20, 70)]
)
def test_cameras_are_measured_about_the_subject(
    tmp_path: Path, azimuth: float, elevation: float, roll: float, heading: float
) -> None:
    found = gather(dataset(tmp_path / "data", [seen_from(azimuth + 1, elevation + 1, roll + 1, heading)])).histograms
    for name, expected, step in (
        ("azimuth_deg", azimuth, 10),
        ("elevation_deg", elevation, 2.5),
        ("roll_deg", roll, 2.5),
    ):
        (number,) = found[name].counts
        assert number * step <= expected + 1 < (number + 1) * step
    assert found["distance_m"].least == pytest.approx(4)
    assert found["fov_deg"].least == pytest.approx(np.degrees(2 * np.arctan(0.5 / 1.2)))


def test_joint_angles_are_those_of_the_pose(tmp_path: Path) -> None:
    sample = seen_from(0, 0)
    world = sample.subjects[0].joints_world_m.copy()
    shoulder, elbow, wrist = (HUMAN.index(f"left_{name}") for name in ("shoulder", "elbow", "wrist"))
    world[elbow], world[wrist] = world[shoulder] + [0.3, 0, 0], world[shoulder] + [0.3, -0.25, 0]
    bent = replace(sample.subjects[0], joints_world_m=world)
    found = gather(dataset(tmp_path / "data", [replace(sample, subjects=(bent,))])).histograms["elbow_deg"]
    assert found.observations == 2 and found.most == pytest.approx(90)


def test_poses_about_the_body_do_not_depend_on_the_heading(tmp_path: Path) -> None:
    first, second = (
        gather(dataset(tmp_path / str(heading), [seen_from(30, 10, heading_deg=heading)])) for heading in (0, 120)
    )
    for name in ("front", "side"):
        assert np.abs(first.maps[name] - second.maps[name]).sum() <= 4  # a joint on a cell's edge may change cells
    front = first.maps["front"]
    rows, columns = np.nonzero(front)
    head = HUMAN.rest_m[HUMAN.index("head_top")] - HUMAN.rest_m[HUMAN.index("pelvis")]
    assert rows.min() == int((1 - head[2] / BODY_REACH_M) / 2 * len(front))
    assert abs((columns + 0.5).mean() - len(front) / 2) < 1  # left and right alike


def test_visibility_colours_and_sizes_are_counted(tmp_path: Path) -> None:
    sample = make_sample(size=64)
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 255
    found = gather(dataset(tmp_path / "data", [replace(sample, image=red)] * 3))
    levels = sample.subjects[0].visibility
    assert np.array_equal(found.visibility["human"].argmax(axis=1), levels)
    assert found.visibility["human"].sum() == 3 * HUMAN.num_joints
    assert list(found.histograms["hue_deg"].counts) == [0] and found.histograms["saturation"].least > 0.999
    assert found.histograms["brightness"].least == pytest.approx(0.299, abs=0.002)
    assert found.histograms["size_px"].least == found.histograms["size_px"].most == 48
    assert found.maps["mask"].max() == 3 and found.num_subjects == 3 and found.num_scenes == 3


def test_log_bins_and_angles_that_run_round_are_binned_in_their_own_way() -> None:
    sizes = Histogram(Quantity("size", "", "", "", 0.5, is_log=True))
    sizes.add(np.array([1.0, 1.3, 2.0, 64.0, np.nan]))
    edges, shares, _ = binned(sizes)
    assert edges[0] == 1 and edges[-1] > 64 and shares[0] == 0.5 and sizes.observations == 4
    angles = Histogram(Quantity("angle", "", "", "", 10, period=360, low=-180))
    angles.add(np.array([179.0, 181.0, -179.0]))
    edges, shares, _ = binned(angles)
    assert (edges[0], edges[-1], len(shares)) == (-180, 180, 36)
    assert shares[-1] == pytest.approx(1 / 3) and shares[0] == pytest.approx(2 / 3)


def test_no_range_however_wide_gives_more_bins_than_a_plot_can_show() -> None:
    histogram = Histogram(Quantity("x", "", "", "", 0.1))
    histogram.add(np.array([0.0, 1e5]))
    histogram.add(np.linspace(0, 1e4, 1000))
    _, shares, _ = binned(histogram)
    assert len(shares) <= MOST_BINS and shares.sum() == pytest.approx(1)
    assert histogram.quantile(0.5) == pytest.approx(5e3, rel=0.01)


def statistics_of(values: np.ndarray) -> DatasetStatistics:
    statistics = DatasetStatistics(Manifest(name="x", kind="synthetic", shards=()), "x")
    statistics.histogram("elbow_deg").add(values)
    return statistics


def test_distances_run_from_zero_to_one_and_know_what_chance_gives() -> None:
    rng = np.random.default_rng(0)
    same = [statistics_of(rng.normal(60, 20, 400)) for _ in range(20)]
    found = [distances(a, b)[0] for a, b in zip(same[::2], same[1::2], strict=True)]
    by_chance = np.mean([distance.by_chance for distance in found])
    assert np.mean([distance.value for distance in found]) == pytest.approx(by_chance, rel=0.15)
    assert distances(same[0], same[0])[0].value == 0
    apart = distances(statistics_of(np.full(50, 10.0)), statistics_of(np.full(50, 100.0)))[0]
    assert apart.value == pytest.approx(1) and apart.title.startswith("Elbow")


class Links(HTMLParser):
    """Everything that a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        names = {"src", "href"} if tag in ("img", "link", "script") else {"src"}
        self.loaded += [value for name, value in attributes if name in names and value]


def test_animals_have_markings_and_colours_of_coats(animals: Path) -> None:
    statistics = gather(str(animals))
    coats = statistics.categories["markings of coats"]
    assert coats.total() == len(statistics.swatches["coat"]) >= 3
    assert "fur" not in statistics.swatches


@pytest.mark.parametrize("name", ["animals", "footage"])
def test_the_page_of_any_dataset_loads_nothing_from_elsewhere(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    statistics = gather(str(request.getfixturevalue(name)))
    write_page(statistics, None, tmp_path / "stats.html")
    text = (tmp_path / "stats.html").read_text()
    links = Links()
    links.feed(text)
    assert links.loaded and all(link.startswith("data:") for link in links.loaded)
    assert "Mean brightness" in text and ("Visibility" in text) == (name != "footage")


def test_a_comparison_shows_what_both_have_and_how_far_they_are_apart(
    people: Path, animals: Path, footage: Path, tmp_path: Path
) -> None:
    person, animal, real = (gather(str(data)) for data in (people, animals, footage))
    write_page(person, animal, tmp_path / "both.html")
    text = (tmp_path / "both.html").read_text()
    assert "Where the two differ" in text and "tiny_humans" in text and "quadrupeds" in text
    assert "Elbow, 0 is straight" not in text  # people and animals have elbows of their own
    write_page(person, real, tmp_path / "real.html")
    names = {distance.name for distance in distances(person, real)}
    assert (
        names <= {"brightness", "contrast", "sharpness", "hue_deg", "saturation", "lightness"} and "brightness" in names
    )
    assert all(0 <= distance.value <= 1 + 1e-9 for distance in distances(person, animal))


def test_details_that_few_bodies_have_are_counted_but_not_plotted(tmp_path: Path) -> None:
    samples = [make_sample(scene=number) for number in range(5)]
    shapes = [{"age": 0.1 * number} | ({"nose_hump": 0.5} if number == 3 else {}) for number in range(5)]
    data = [
        replace(sample, subjects=(replace(sample.subjects[0], shape=shape),))
        for sample, shape in zip(samples, shapes, strict=True)
    ]
    statistics = gather(dataset(tmp_path / "data", data))
    assert statistics.histograms["shape_nose_hump"].observations == 1
    write_page(statistics, None, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "<span>Age</span>" in text and "Nose hump" not in text and "1 details that vary" in text


def test_the_numbers_are_json(people: Path) -> None:
    content = json.loads(json.dumps(to_json(gather(str(people))), allow_nan=False))
    assert content["samples"] == 8 and content["scenes"] == 4
    assert sum(content["visibility"]["human"]["nose"].values()) == content["subjects"]
    elbow = content["quantities"]["elbow_deg"]
    assert elbow["observations"] == 2 * content["subjects"] and sum(elbow["shares"]) == pytest.approx(1)
    assert sum(content["categories"]["light from"].values()) == 4


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no dataset\.json"):
        gather(str(tmp_path))
    write_manifest(tmp_path, Manifest(name="x", kind="synthetic", shards=()))
    with pytest.raises(UserError, match="empty"):
        gather(str(tmp_path))
