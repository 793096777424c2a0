from dataclasses import replace

import numpy as np
import pytest

from posecore.camera import project
from posecore.skeleton import load_skeleton
from synthgen.library import SubjectLibrary
from synthgen.recipe import Recipe, load_recipe
from synthgen.sampling.scene import sample_scene
from synthgen.scene import CameraSpec
from synthgen.stage import Stage, build_stage, place_camera


@pytest.fixture(scope="module")
def stages(library: SubjectLibrary) -> list[Stage]:
    recipe = load_recipe("humans_dr", ("world.wall=1", "world.occluders=1"))
    return [build_stage(sample_scene(recipe, scene, library.clip_durations_s), library) for scene in range(6)]


def test_the_subjects_box_fills_the_picture_as_the_recipe_says(stages: list[Stage]) -> None:
    for stage in stages:
        camera, spec = stage.cameras[0], stage.spec.cameras[0]
        pixels = project(camera, np.concatenate([s.vertices for frame in stage.subjects for s in frame]))
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        assert (high - low).max() / camera.width == pytest.approx(spec.fill, rel=0.05)
        np.testing.assert_allclose((low + high) / 2 / camera.width - 0.5, spec.shift, atol=0.03)


@pytest.mark.parametrize(("azimuth_deg", "side"), [(0, 1), (180, -1)])
def test_azimuth_zero_sees_the_face_and_the_left_side_on_the_right(azimuth_deg: float, side: int) -> None:
    skeleton = load_skeleton("human")
    camera = place_camera(CameraSpec(azimuth_deg, 10, 0, 40, 0.8, (0, 0)), skeleton.rest_m, 100, 100)
    pixels = project(camera, skeleton.rest_m)
    across = pixels[skeleton.index("left_shoulder"), 0] - pixels[skeleton.index("right_shoulder"), 0]
    assert across * side > 5
    nose_is_nearer = np.linalg.norm(camera.position_world - skeleton.rest_m[skeleton.index("nose")]) < np.linalg.norm(
        camera.position_world - skeleton.rest_m[skeleton.index("head")]
    )
    assert nose_is_nearer == (side > 0)


def test_a_camera_never_stands_below_the_ground() -> None:
    camera = place_camera(CameraSpec(0, -50, 0, 30, 0.5, (0, 0)), load_skeleton("human").rest_m, 64, 64)
    assert camera.position_world[2] == pytest.approx(0.1)


def test_nobody_sinks_into_the_ground_and_most_stand_on_it(stages: list[Stage]) -> None:
    lowest_m = np.array([frame[0].vertices[:, 2].min() for stage in stages for frame in stage.subjects])
    assert lowest_m.min() > -1e-4 and np.median(lowest_m) < 1e-4


def test_frames_share_the_mesh_and_differ_in_place(stages: list[Stage]) -> None:
    for stage in stages:
        first, second = stage.subjects[0][0], stage.subjects[1][0]
        np.testing.assert_array_equal(first.faces, second.faces)
        np.testing.assert_array_equal(first.rest, second.rest)
        assert np.abs(first.vertices - second.vertices).max() > 0.05


def test_the_wall_stands_behind_the_person_and_occluders_in_front(stages: list[Stage]) -> None:
    for stage in stages:
        camera = stage.cameras[0]
        forward = camera.cam_from_world[2]
        body = stage.subjects[0][0].vertices @ forward[:3] + forward[3]
        by_name = {thing.name: thing.vertices @ forward[:3] + forward[3] for thing in stage.things}
        wall = next(t for t in stage.things if t.name == "wall")
        facing = np.cross(wall.vertices[1] - wall.vertices[0], wall.vertices[3] - wall.vertices[0])
        to_wall = (stage.subjects[0][0].vertices - wall.vertices[0]) @ (facing / np.linalg.norm(facing))
        assert np.ptp(np.sign(to_wall)) == 0  # all of the body on one side
        occluders = [by_name[f"prop-{n}"] for n, prop in enumerate(stage.spec.props) if prop.role == "occluder"]
        assert occluders and all(depth.mean() < body.mean() for depth in occluders)


def test_companions_keep_their_gap(library: SubjectLibrary) -> None:
    recipe = load_recipe("humans_dr", ("group.count=4", "group.gap_m=0.3", "world.floor=0", "world.wall=0"))
    for scene in range(3):
        stage = build_stage(sample_scene(recipe, scene, library.clip_durations_s), library)
        outlines = [np.concatenate([frame[n].vertices[:, :2] for frame in stage.subjects]) for n in range(4)]
        for number, companion in enumerate(stage.spec.companions, start=1):
            azimuth = np.deg2rad(companion.azimuth_deg)
            along = np.array([np.sin(azimuth), -np.cos(azimuth)])
            before = max((outline @ along).max() for outline in outlines[:number])
            assert (outlines[number] @ along).min() - before == pytest.approx(0.3, abs=0.02)


def test_a_camera_fills_the_picture_with_what_it_aims_at(library: SubjectLibrary) -> None:
    changes = ("group.count=3", "camera.fill=0.8", "camera.shift=0")
    for aims_at, members in (("subject", slice(0, 1)), ("group", slice(0, 3))):
        recipe = load_recipe("humans_dr", (*changes, f"camera.aims_at={aims_at}"))
        stage = build_stage(sample_scene(recipe, 0, library.clip_durations_s), library)
        vertices = np.concatenate([s.vertices for frame in stage.subjects for s in frame[members]])
        pixels = project(stage.cameras[0], vertices)
        assert np.ptp(pixels, axis=0).max() / stage.spec.width == pytest.approx(0.8, rel=0.05)


def test_neither_wall_nor_clutter_stands_between_a_camera_and_the_subjects(library: SubjectLibrary) -> None:
    changes = ("views_per_frame=4", "world.wall=1", "world.clutter=8", "world.occluders=0", "group.count=1")
    recipe = load_recipe("humans_dr", changes)
    for scene in range(4):
        stage = build_stage(sample_scene(recipe, scene, library.clip_durations_s), library)
        body = stage.subjects[0][0].vertices[::40].astype(float)
        wall, *clutter = (thing for thing in stage.things if thing.name != "floor")
        across = np.cross(wall.vertices[1] - wall.vertices[0], wall.vertices[3] - wall.vertices[0])
        for camera in stage.cameras:
            sides = np.sign((np.vstack([body, camera.position_world]) - wall.vertices[0]) @ across)
            assert np.ptp(sides) == 0
        for camera in stage.cameras[1:]:
            view = body - camera.position_world
            for thing in clutter:
                place = thing.vertices.mean(axis=0) - camera.position_world
                share = (view @ place) / (view**2).sum(axis=1)
                beside_m = np.linalg.norm(place - share[:, None] * view, axis=1)
                assert not ((share > 0) & (share < 1) & (beside_m < 0.1)).any(), (scene, thing.name)


def test_the_same_spec_gives_the_same_geometry(library: SubjectLibrary, tiny_recipe: Recipe) -> None:
    spec = sample_scene(tiny_recipe, 1, library.clip_durations_s)
    first, second = build_stage(spec, library), build_stage(replace(spec), library)
    np.testing.assert_array_equal(first.subjects[1][0].vertices, second.subjects[1][0].vertices)
    np.testing.assert_array_equal(first.cameras[0].cam_from_world, second.cameras[0].cam_from_world)
