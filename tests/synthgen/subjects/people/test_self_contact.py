import numpy as np
import pytest

from posecore.transforms import matrix_from_rotvec
from synthgen.subjects.people.body import HumanShape, shape_body
from synthgen.subjects.people.mocap import DRIVERS, turn_joints
from synthgen.subjects.people.pose import bone_rotations
from synthgen.subjects.people.self_contact import clear_limbs, contact_surface, penetrations
from synthgen.subjects.skinning import bone_positions


@pytest.fixture(scope="module")
def figure(library):
    body = library.human
    vertices, heads = shape_body(body, HumanShape())
    return body, heads, contact_surface(body.bone_names, vertices, body.bone_weights, body.faces["body"], heads)


def posed(figure, turns):
    """Rotations and heads of the bones, arms out to the sides by 40 degrees but for the turns (radians)."""
    body, heads, _ = figure
    local = np.tile(np.eye(3), (len(DRIVERS), 1, 1))
    apart = {"left_shoulder": (0.0, -0.7, 0.0), "right_shoulder": (0.0, 0.7, 0.0)}
    spread = {"left_hip": (0.0, -0.15, 0.0), "right_hip": (0.0, 0.15, 0.0)}
    local = turn_joints(local, apart | spread | turns)
    for driver in range(len(DRIVERS)):  # no grandparents among the turned joints but shoulder and elbow
        if DRIVERS[driver].endswith(("elbow", "knee")):
            local[driver] = local[driver - 1] @ local[driver]
        if DRIVERS[driver].endswith(("wrist", "ankle")):
            local[driver] = local[driver - 1] @ local[driver]
    rotations = bone_rotations(body, heads, local)
    return rotations, bone_positions(heads, body.bone_parents, rotations)


def depth(figure, turns):
    rotations, positions = posed(figure, turns)
    return penetrations(figure[2], figure[1], rotations, positions)[0].max()


def test_arms_and_legs_apart_are_clear(figure):
    assert depth(figure, {}) < 0.005


def test_a_forearm_through_the_belly_is_as_deep_as_it_is(figure):
    across = {"right_shoulder": (0.0, -0.35, 0.0)}
    assert 0.04 < depth(figure, across) < 0.25
    deeper = {"right_shoulder": (0.0, -0.45, 0.0)}
    assert depth(figure, deeper) > depth(figure, across)


def test_left_and_right_are_as_deep(figure):
    left = depth(figure, {"left_shoulder": (0.0, 0.35, 0.0)})
    assert depth(figure, {"right_shoulder": (0.0, -0.35, 0.0)}) == pytest.approx(left, abs=0.012)


def test_limbs_are_turned_out_and_the_rest_stays(figure):
    body, heads, surface = figure
    rotations, positions = posed(figure, {"left_shoulder": (0.0, 0.3, 0.0), "right_hip": (0.0, -0.3, 0.0)})
    before = rotations.copy()
    left = clear_limbs(surface, heads, rotations, positions, tolerated_m=0.01)
    assert left <= 0.01
    assert penetrations(surface, heads, rotations, positions)[0].max() == pytest.approx(left)
    moved = {name for name, a, b in zip(body.bone_names, before, rotations, strict=True) if not np.allclose(a, b)}
    assert {"upperarm01.L", "wrist.L"} <= moved
    assert not {name for name in moved if name.startswith(("spine", "head", "clavicle")) or name == "upperarm01.R"}
    lengths = [np.linalg.norm(heads[body.bone("wrist.L")] - heads[body.bone("lowerarm01.L")])]
    lengths.append(np.linalg.norm(positions[body.bone("wrist.L")] - positions[body.bone("lowerarm01.L")]))
    assert lengths[1] == pytest.approx(lengths[0])


def test_a_clear_body_is_left_alone_and_turning_all_of_it_changes_nothing(figure):
    _, heads, surface = figure
    rotations, positions = posed(figure, {})
    before = rotations.copy()
    clear_limbs(surface, heads, rotations, positions, tolerated_m=0.01)
    assert np.array_equal(rotations, before)
    turn = matrix_from_rotvec(np.array([0.4, 1.0, -2.0]))
    inside, places = posed(figure, {"left_shoulder": (0.0, 0.35, 0.0)})
    depths = penetrations(surface, heads, inside, places)[0]
    turned = penetrations(surface, heads, turn @ inside, places @ turn.T)[0]
    assert turned == pytest.approx(depths, abs=1e-4)
