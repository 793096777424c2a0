"""Visibility of figures made of boxes, where the right answer is known by hand."""

from dataclasses import replace

import numpy as np
import pytest

from posecore.camera import Camera, look_at, unproject
from posecore.sample import HIDDEN_BY_OTHER, HIDDEN_BY_SELF, OUTSIDE, VISIBLE
from synthgen.rays import RayMesh, split_quads
from synthgen.renderer import Passes
from synthgen.sampling.material import plain
from synthgen.stage import Stage, Thing
from synthgen.subjects.posed import PosedSubject
from synthgen.visibility import hidden_shares, joint_visibility

FACES = np.array([[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]])
SIZE = 100


def box(centre: tuple[float, float, float], size: tuple[float, float, float]) -> np.ndarray:
    unit = np.array([[x, y, z] for z in (-0.5, 0.5) for y in (-0.5, 0.5) for x in (-0.5, 0.5)])
    return unit * size + centre


def figure(
    boxes: list[np.ndarray], rest: list[np.ndarray], joints: np.ndarray, joints_rest: np.ndarray
) -> PosedSubject:
    return PosedSubject(
        vertices=np.concatenate(boxes).astype(np.float32),
        faces=np.concatenate([FACES + 8 * number for number in range(len(boxes))]).astype(np.int32),
        face_parts=np.zeros(6 * len(boxes), np.uint8),
        part_names=("skin",),
        rest=np.concatenate(rest).astype(np.float32),
        joints_world=joints,
        joints_rest=joints_rest,
        rotations=np.tile(np.eye(3), (len(joints), 1, 1)),
        limb_radius_m=np.full(len(joints), 0.1),
        skeleton="human",
    )


# A torso, 0.4 wide and 0.2 deep, with two hips; and a thin hand, which at rest hangs half a metre to the side.
TORSO, HIPS = box((0, 0, 1), (0.4, 0.2, 0.6)), np.array([[0.1, 0, 1.0], [-0.1, 0, 1.0]])
HAND_REST = box((0.6, 0, 1), (0.1, 0.04, 0.1))
ALONE = figure([TORSO], [TORSO], HIPS, HIPS)
HAND_ON_HIP = figure([TORSO, box((0.1, -0.13, 1), (0.1, 0.04, 0.1))], [TORSO, HAND_REST], HIPS, HIPS)


def camera_at(x: float, y: float, focal_px: float = 150) -> Camera:
    K = np.array([[focal_px, 0, SIZE / 2], [0, focal_px, SIZE / 2], [0, 0, 1]])
    return Camera(SIZE, SIZE, K, look_at(np.array([x, y, 1.0]), np.array([0, 0, 1.0])))


def thing(vertices: np.ndarray) -> Thing:
    return Thing("thing", vertices, FACES, plain((0.5, 0.5, 0.5), 1.0), smooth=False)


def stage_of(*subjects: PosedSubject, camera: Camera, things: tuple[Thing, ...] = ()) -> Stage:
    return Stage(spec=None, subjects=(subjects,), things=things, cameras=(camera,))  # only samplers read the spec


def cast(stage: Stage) -> Passes:
    """Instances and depth of a stage's first view, pixel by pixel."""
    camera = stage.cameras[0]
    row, column = np.mgrid[:SIZE, :SIZE].reshape(2, -1)
    pixels = np.stack([column, row], axis=1) + 0.5
    directions = unproject(camera.K, pixels, np.ones(len(pixels))) @ camera.cam_from_world[:3, :3]
    layers = [*stage.subjects[0], *stage.things]
    depths = np.stack(
        [
            RayMesh(one.vertices, split_quads(one.faces)[0]).first_hits(camera.position_world, directions).distance
            for one in layers
        ]
    )
    nearest = depths.argmin(axis=0)
    seen = np.isfinite(depths.min(axis=0)) & (nearest < len(stage.subjects[0]))
    instances = np.where(seen, nearest + 1, 0).astype(np.uint8).reshape(SIZE, SIZE)
    empty = np.zeros((SIZE, SIZE, 3), np.float32)
    return Passes(empty, instances, depths.min(axis=0).astype(np.float32).reshape(SIZE, SIZE), instances, empty)


def test_joints_under_their_own_flesh_are_visible_from_both_sides() -> None:
    for y in (-3, 3):
        assert joint_visibility(stage_of(ALONE, camera=camera_at(0, y)), 0, 0, 0).tolist() == [VISIBLE, VISIBLE]


def test_a_hip_seen_through_the_other_one_is_hidden_by_the_body() -> None:
    assert joint_visibility(stage_of(ALONE, camera=camera_at(3, 0)), 0, 0, 0).tolist() == [VISIBLE, HIDDEN_BY_SELF]


def test_a_hand_that_touches_the_hip_hides_it_though_it_is_near() -> None:
    seen = joint_visibility(stage_of(HAND_ON_HIP, camera=camera_at(0, -3)), 0, 0, 0)
    assert seen.tolist() == [HIDDEN_BY_SELF, VISIBLE]
    own_flesh = replace(HAND_ON_HIP, rest=HAND_ON_HIP.vertices)  # the same, were it a part of the hip
    assert joint_visibility(stage_of(own_flesh, camera=camera_at(0, -3)), 0, 0, 0).tolist() == [VISIBLE, VISIBLE]


def test_things_and_other_subjects_hide_what_is_behind_them() -> None:
    before = box((0.1, -1, 1), (0.15, 0.15, 0.15))
    camera = camera_at(0, -3)
    other = figure([before], [before], HIPS, HIPS)
    behind_thing = stage_of(ALONE, camera=camera, things=(thing(before),))
    assert joint_visibility(behind_thing, 0, 0, 0).tolist() == [HIDDEN_BY_OTHER, VISIBLE]
    assert joint_visibility(stage_of(ALONE, other, camera=camera), 0, 0, 0).tolist() == [HIDDEN_BY_OTHER, VISIBLE]


def test_a_thing_that_only_touches_from_behind_or_below_hides_nothing() -> None:
    behind = thing(box((0, 0.2, 1), (1, 0.2, 1)))
    at_joint = thing(box((0.1, 0.002, 1), (0.01, 0.01, 0.01)))
    stage = stage_of(ALONE, camera=camera_at(0, -3), things=(behind, at_joint))
    assert joint_visibility(stage, 0, 0, 0).tolist() == [VISIBLE, VISIBLE]


def test_joints_beside_the_frame_are_outside() -> None:
    seen = joint_visibility(stage_of(ALONE, camera=camera_at(0, -3, focal_px=2000)), 0, 0, 0)
    assert seen.tolist() == [OUTSIDE, OUTSIDE]


def test_nothing_in_front_is_no_occlusion_at_any_size() -> None:
    stage = stage_of(ALONE, camera=camera_at(0.5, -3), things=(thing(box((0, 0, 0), (9, 9, 1.399))),))
    assert hidden_shares(stage, 0, 0, 0, cast(stage)) == (0.0, 0.0)


@pytest.mark.parametrize("by_subject", [False, True])
def test_occlusion_is_the_share_of_pixels_behind_something(by_subject: bool) -> None:
    before = box((-0.25, -1.5, 1), (0.5, 0.1, 1))  # its right edge stands before the figure's middle
    camera = camera_at(0, -3)
    if by_subject:
        stage = stage_of(ALONE, figure([before], [before], HIPS, HIPS), camera=camera)
    else:
        stage = stage_of(ALONE, camera=camera, things=(thing(before),))
    passes = cast(stage)
    occlusion, truncation = hidden_shares(stage, 0, 0, 0, passes)
    whole = (cast(stage_of(ALONE, camera=camera)).instances == 1).sum()
    assert occlusion == 1 - (passes.instances == 1).sum() / whole and occlusion == pytest.approx(0.5, abs=0.05)
    assert truncation == 0


def test_truncation_is_the_share_of_the_area_outside_the_frame() -> None:
    camera = camera_at(0, -3)
    half = replace(camera, K=camera.K + np.array([[0, 0, SIZE / 2], [0, 0, 0], [0, 0, 0]]))  # its middle on the edge
    stage = stage_of(ALONE, camera=half)
    occlusion, truncation = hidden_shares(stage, 0, 0, 0, cast(stage))
    assert occlusion == 0 and truncation == pytest.approx(0.5, abs=0.02)


def test_a_figure_wholly_hidden_or_beside_the_frame_shows_nothing() -> None:
    camera = camera_at(0, -3)
    hidden = stage_of(ALONE, camera=camera, things=(thing(box((0, -1, 1), (2, 0.1, 2))),))
    assert hidden_shares(hidden, 0, 0, 0, cast(hidden)) == (1.0, 0.0)
    for sizes_aside in (1, 5):
        aside = replace(camera, K=camera.K + np.array([[0, 0, sizes_aside * SIZE], [0, 0, 0], [0, 0, 0]]))
        beside = stage_of(ALONE, camera=aside)
        assert hidden_shares(beside, 0, 0, 0, cast(beside))[1] == 1.0
