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


def test_people_stand_on_the_ground(stages: list[Stage]) -> None:
    for stage in stages:
        for frame in stage.subjects:
            assert frame[0].vertices[:, 2].min() == pytest.approx(0, abs=1e-5)


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


def test_the_same_spec_gives_the_same_geometry(library: SubjectLibrary, tiny_recipe: Recipe) -> None:
    spec = sample_scene(tiny_recipe, 1, library.clip_durations_s)
    first, second = build_stage(spec, library), build_stage(replace(spec), library)
    np.testing.assert_array_equal(first.subjects[1][0].vertices, second.subjects[1][0].vertices)
    np.testing.assert_array_equal(first.cameras[0].cam_from_world, second.cameras[0].cam_from_world)
