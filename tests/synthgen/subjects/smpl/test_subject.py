import contextlib
import io
import os
import pickle
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import smplx
import torch
from smplx.utils import Struct

from posecore.skeleton import load_skeleton, mirror_name
from posecore.transforms import global_from_local, local_from_global, matrix_from_rotvec
from synthgen.subjects.people.free_pose import FreePose
from synthgen.subjects.people.mocap import DRIVERS, Clip
from synthgen.subjects.people.motion_files import read_motion
from synthgen.subjects.people.pose import HandPose, strike
from synthgen.subjects.smpl.bake import WORLD_FROM_MODEL, bake_in_this_process, read_model_file
from synthgen.subjects.smpl.body import SmplBody, SmplShape, expression_offset, move_points, shape_smpl
from synthgen.subjects.smpl.clothes import PART_NAMES, Outfit
from synthgen.subjects.smpl.pose import SmplPose, joint_rotations, smpl_rotations
from synthgen.subjects.smpl.subject import pose_smpl
from tests.synthgen.subjects.smpl.made_smpl import made_model, write_npz, write_pickle

HUMAN = load_skeleton("human")
DOWN = np.array([0.0, 0.0, -1.0])
KINDS = ("smpl", "smplh", "smplx")


@pytest.fixture(scope="module")
def models():
    return {kind: made_model(kind) for kind in KINDS}


@pytest.fixture(scope="module")
def bodies(models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("smpl")
    for kind, model in models.items():
        bake_in_this_process(write_npz(folder / f"{kind}.npz", model), kind, folder / f"{kind}-baked.npz")
    return {kind: SmplBody.load(folder / f"{kind}-baked.npz") for kind in KINDS}


@pytest.fixture(scope="module")
def clips():
    rng = np.random.default_rng(1)
    standing = np.tile(np.eye(3), (3, len(DRIVERS), 1, 1))
    moving = global_from_local(
        matrix_from_rotvec(rng.normal(0, 0.3, (3, len(DRIVERS), 3))), (-1, 0, 1, 0, 3, 4, 0, 6, 7, 1, 9, 10, 1, 12, 13)
    )
    root_m = np.tile([0.0, 0.0, 0.9], (3, 1))
    return {"stand": Clip("stand", 0.1, root_m, standing), "move": Clip("move", 0.1, root_m, moving)}


def reference(kind, model, betas, expression, rotvecs, folder):
    """Vertices and joints of smplx's own forward pass, turned into our axes about the root at rest."""
    hands = {} if kind == "smpl" else {"use_pca": False, "flat_hand_mean": True}
    with contextlib.redirect_stdout(io.StringIO()):
        if kind == "smplx":
            net = smplx.SMPLX(str(write_npz(folder / "m.npz", model)), num_betas=10, num_expression_coeffs=10, **hands)
        else:
            net = {"smpl": smplx.SMPL, "smplh": smplx.SMPLH}[kind](
                "", data_struct=Struct(**model), num_betas=10, **hands
            )
    split = {"global_orient": 1, "body_pose": 23 if kind == "smpl" else 21}
    if kind == "smplx":
        split |= {"jaw_pose": 1, "leye_pose": 1, "reye_pose": 1}
    if kind != "smpl":
        split |= {"left_hand_pose": 15, "right_hand_pose": 15}
    pieces = np.split(rotvecs, np.cumsum(list(split.values()))[:-1])
    given = {
        name: torch.tensor(part.reshape(1, -1), dtype=torch.float32) for name, part in zip(split, pieces, strict=True)
    }
    if kind == "smplx":
        given["expression"] = torch.tensor([expression], dtype=torch.float32)
    with torch.no_grad():
        out = net(betas=torch.tensor([betas], dtype=torch.float32), **given)
    return out.vertices[0].numpy() @ WORLD_FROM_MODEL.T, out.joints[0, : len(rotvecs)].numpy() @ WORLD_FROM_MODEL.T


@pytest.mark.parametrize("kind", KINDS)
def test_vertices_and_joints_are_those_of_smplx(models, bodies, kind, tmp_path):
    rng = np.random.default_rng(2)
    body = bodies[kind]
    for _ in range(3):
        rotvecs = rng.normal(0, 0.5, (len(body.joints), 3))
        betas = tuple(rng.normal(0, 1.5, 10))
        expression = tuple(rng.normal(0, 1, 10)) if kind == "smplx" else ()
        expected_vertices, expected_joints = reference(kind, models[kind], betas, expression, rotvecs, tmp_path)
        local = WORLD_FROM_MODEL @ matrix_from_rotvec(rotvecs) @ WORLD_FROM_MODEL.T
        vertices, joints = shape_smpl(body, betas)
        joints = joints + expression_offset(body, expression, body.joint_expression_offsets)
        rotations = global_from_local(local, tuple(body.parents))
        points, positions = move_points(
            body, vertices, np.arange(len(vertices)), body.weights, joints, expression, rotations
        )
        assert np.abs(points - expected_vertices).max() < 1e-5
        assert np.abs(positions - expected_joints).max() < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_joints_of_the_label_are_the_models_own(bodies, clips, kind):
    body = bodies[kind]
    posed = pose_smpl(body, clips, SmplShape((1.0, -1.0)), Outfit(), SmplPose("move", 0.1))
    _, joints = shape_smpl(body, (1.0, -1.0))
    lengths = np.linalg.norm(joints[1:22] - joints[body.parents[1:22]], axis=1)
    found = np.linalg.norm(posed.joints_world[1:22] - posed.joints_world[body.parents[1:22]], axis=1)
    assert np.allclose(found, lengths, atol=1e-6)
    assert np.isfinite(posed.joints_world).all() and len(posed.joints_world) == HUMAN.num_joints


@pytest.mark.parametrize("kind", KINDS)
def test_limbs_point_where_the_drivers_do(bodies, clips, kind):
    clip = clips["move"]
    body = bodies[kind]
    joints = body.joint_template
    rotations = joint_rotations(body, joints, clip.rotations[1], SmplPose("move", 0.1))
    for driver, last in (
        ("left_hip", "left_knee"),
        ("right_knee", "right_ankle"),
        ("left_shoulder", "left_elbow"),
        ("right_elbow", "right_wrist"),
    ):
        bone = joints[body.joint(last)] - joints[body.joint(driver)]
        turned = rotations[body.joint(driver)] @ bone / np.linalg.norm(bone)
        assert np.allclose(turned, clip.rotations[1, DRIVERS.index(driver)] @ DOWN, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_labelled_rotations_turn_the_skeletons_a_pose(bodies, clips, kind):
    posed = pose_smpl(bodies[kind], clips, SmplShape(), Outfit(), SmplPose("move", 0.05, heading_deg=70))
    turned = global_from_local(posed.rotations, HUMAN.parents)
    assert np.allclose(turned @ np.swapaxes(turned, 1, 2), np.eye(3), atol=1e-6)
    for first, last in (
        ("left_hip", "left_knee"),
        ("right_knee", "right_ankle"),
        ("left_shoulder", "left_elbow"),
        ("right_elbow", "right_wrist"),
    ):
        a, b = HUMAN.index(first), HUMAN.index(last)
        rest = HUMAN.rest_m[b] - HUMAN.rest_m[a]
        along = posed.joints_world[b] - posed.joints_world[a]
        assert np.allclose(turned[a] @ rest / np.linalg.norm(rest), along / np.linalg.norm(along), atol=1e-6)


def test_a_standing_person_faces_minus_y_with_the_left_side_at_plus_x_and_touches_the_ground(bodies, clips):
    posed = pose_smpl(bodies["smplx"], clips, SmplShape(), Outfit(), SmplPose("stand", 0.0), (2.0, 3.0))
    joints = dict(zip(HUMAN.joints, posed.joints_world, strict=True))
    assert joints["left_hip"][0] > joints["right_hip"][0]
    assert joints["nose"][1] < joints["head"][1]
    assert joints["left_wrist"][2] < joints["left_shoulder"][2] - 0.3
    assert joints["pelvis"][:2] == pytest.approx([2, 3])
    assert posed.vertices[:, 2].min() == pytest.approx(0, abs=1e-6)
    assert joints["head_top"][2] > joints["nose"][2]


def test_a_sequence_moves_on_and_a_lying_person_rests_on_the_ground(bodies, clips):
    body = bodies["smplx"]
    lying = FreePose("lie_on_back", "hang", "hang", "ground", {"root": (-90.0, 0.0, 0.0), "left_hip": (30.0, 0.0, 0.0)})
    frames = [
        pose_smpl(body, clips, SmplShape(), Outfit(), SmplPose("move", 0.0, free=lying, elapsed_s=elapsed))
        for elapsed in (0.0, 0.1)
    ]
    for posed in frames:
        assert posed.vertices[:, 2].min() == pytest.approx(0, abs=1e-6)
        assert posed.joints_world[[HUMAN.index(name) for name in ("pelvis", "neck", "head")], 2].max() < 0.6
    walking = Clip("walk", 0.1, np.array([[0, -0.1 * t, 0.9] for t in range(5)]), np.tile(np.eye(3), (5, 15, 1, 1)))
    begin, end = (
        pose_smpl(body, {"walk": walking}, SmplShape(), Outfit(), SmplPose("walk", 0.0, elapsed_s=elapsed), (1.0, 2.0))
        for elapsed in (0.0, 0.2)
    )
    assert begin.joints_world[0, :2] == pytest.approx([1, 2])
    assert end.joints_world[0, 1] < 1.85


def test_fingers_close_towards_the_palm(bodies, clips):
    body = bodies["smplx"]

    def middle_links(curl):
        hand = HandPose((0.0, curl, curl, curl, curl), spread=0.0)
        pose = SmplPose("stand", 0.0, left_hand=hand, right_hand=hand)
        rotations = joint_rotations(body, body.joint_template, clips["stand"].rotations[0], pose)
        return [rotations[body.joint(f"{side}_middle2")] @ [x, 0, 0] for side, x in (("left", 1.0), ("right", -1.0))]

    # Arms hang down with the palms towards the thighs.
    for straight in middle_links(0.0):
        assert straight == pytest.approx([0, 0, -1], abs=0.15)
    left, right = middle_links(0.5)
    assert left[0] < -0.8 and right[0] > 0.8


def test_a_mirrored_pose_mirrors_the_hands(bodies, clips):
    body = bodies["smplh"]
    fist, open_hand = HandPose((1.0,) * 5, 0.0, 1.0), HandPose((0.0,) * 5)
    plain = SmplPose("stand", 0.0, left_hand=fist, right_hand=open_hand)
    turned = {
        mirrored: joint_rotations(
            body, body.joint_template, clips["stand"].rotations[0], replace(plain, mirrored=mirrored)
        )
        for mirrored in (False, True)
    }
    flip = np.diag([-1.0, 1.0, 1.0])
    for finger in ("thumb3", "index2", "pinky1"):
        left, right = body.joint(f"left_{finger}"), body.joint(f"right_{finger}")
        assert np.allclose(turned[True][right], flip @ turned[False][left] @ flip, atol=0.05)


def test_the_jaw_of_smplx_opens_downwards_and_its_expression_moves_the_face_alone(bodies, clips):
    body = bodies["smplx"]
    opened = joint_rotations(body, body.joint_template, clips["stand"].rotations[0], SmplPose("stand", 0.0, jaw_deg=20))
    assert (opened[body.joint("jaw")] @ [0, -1.0, 0])[2] < -0.3
    plain = pose_smpl(body, clips, SmplShape(), Outfit(hair="bald"), SmplPose("stand", 0.0))
    smiling = pose_smpl(body, clips, SmplShape(), Outfit(hair="bald"), SmplPose("stand", 0.0, expression=(2.0,)))
    moved = np.linalg.norm(plain.vertices - smiling.vertices, axis=1) > 1e-5
    assert 10 < moved.sum() < 0.2 * len(moved)
    assert plain.vertices[moved, 2].min() > plain.joints_world[HUMAN.index("neck"), 2] - 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_clothes_cover_what_they_should(bodies, clips, kind):
    def area(outfit, part):
        posed = pose_smpl(bodies[kind], clips, SmplShape(), outfit, SmplPose("stand", 0.0))
        corners = posed.vertices[posed.faces[posed.face_parts == PART_NAMES.index(part)]].astype(float)
        return np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2

    bare = Outfit(top="none", bottom="briefs", shoes=False, hair="bald")
    assert area(bare, "top") == area(bare, "shoes") == area(bare, "hair") == 0
    dressed = Outfit(top="long", bottom="trousers", sleeve=1.0, leg=1.0)
    assert area(dressed, "skin") < 0.45 * area(bare, "skin")
    assert area(Outfit(top="short"), "top") < area(Outfit(top="long"), "top")
    assert area(Outfit(bottom="shorts"), "bottom") < area(Outfit(bottom="trousers"), "bottom")
    for part in ("top", "bottom", "shoes", "hair"):
        assert area(dressed, part) > 0


def test_the_eyes_of_smplx_are_bare_whatever_is_worn(bodies, clips):
    eyes = [PART_NAMES.index(part) for part in ("eyes", "iris")]
    counts = {
        top: np.isin(
            pose_smpl(bodies["smplx"], clips, SmplShape(), Outfit(top=top), SmplPose("stand", 0.0)).face_parts, eyes
        ).sum()
        for top in ("none", "long")
    }
    assert counts["none"] == counts["long"] > 0


def recorded_clip(folder, num_joints):
    """An AMASS file of small turns in all joints but the hinges, which have limits, and its rotation vectors."""
    vectors = np.random.default_rng(5).normal(0, 0.12, (6, num_joints, 3))
    vectors[:, [4, 5, 18, 19]] = 0
    vectors[:, 0] = [np.pi / 2, 0, 0]
    np.savez(folder / "m.npz", poses=vectors.reshape(6, -1), trans=np.zeros((6, 3)), mocap_framerate=10.0)
    return {"m.npz": read_motion(folder / "m.npz")}, vectors


@pytest.mark.parametrize(("kind", "num_joints"), [("smpl", 24), ("smplh", 52), ("smplx", 55)])
def test_a_motion_recorded_on_the_same_model_is_taken_over_joint_by_joint(bodies, tmp_path, kind, num_joints):
    body = bodies[kind]
    clips, vectors = recorded_clip(tmp_path, num_joints)
    pose = SmplPose("m.npz", 0.3)
    rotations = smpl_rotations(body, body.joint_template, clips, strike(clips, pose).drivers, pose)
    expected = WORLD_FROM_MODEL @ matrix_from_rotvec(vectors[3]) @ WORLD_FROM_MODEL.T
    found = local_from_global(rotations, tuple(body.parents))
    compared = slice(1, 22 if kind == "smpl" else num_joints)
    assert np.allclose(found[compared], expected[compared], atol=1e-6)


def test_a_recorded_motion_mirrors_and_leaves_jitter_its_say(bodies, tmp_path):
    body = bodies["smplx"]
    clips, _ = recorded_clip(tmp_path, 55)
    pose = SmplPose("m.npz", 0.3)
    plain, mirrored, jittered = (
        smpl_rotations(body, body.joint_template, clips, strike(clips, changed).drivers, changed)
        for changed in (pose, replace(pose, mirrored=True), replace(pose, jitter={"chest": (0.2, 0.0, 0.0)}))
    )
    flip = np.diag([-1.0, 1.0, 1.0])
    for name in ("spine2", "left_collar", "left_shoulder", "right_index2", "jaw"):
        other = mirrored[body.joint(mirror_name(name))]
        assert np.allclose(other, flip @ plain[body.joint(name)] @ flip, atol=0.03), name
    assert not np.allclose(jittered[body.joint("spine2")], plain[body.joint("spine2")], atol=0.05)
    assert np.allclose(jittered[body.joint("left_knee")], plain[body.joint("left_knee")], atol=1e-9)


def test_too_many_coefficients_are_refused(bodies, clips):
    with pytest.raises(ValueError, match="betas: 11 coefficients, but this smpl model has 10"):
        pose_smpl(bodies["smpl"], clips, SmplShape((0.0,) * 11), Outfit(), SmplPose("stand", 0.0))
    with pytest.raises(ValueError, match="expression: 1 coefficients, but this smpl model has 0"):
        pose_smpl(bodies["smpl"], clips, SmplShape(), Outfit(), SmplPose("stand", 0.0, expression=(1.0,)))


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_an_official_style_pickle_reads_without_chumpy_or_scipy(models, tmp_path, monkeypatch, protocol):
    chumpy, sparse = types.ModuleType("chumpy.ch"), types.ModuleType("scipy.sparse._csc")

    class Ch:
        def __init__(self, x):
            self.x = x

    class csc_matrix:
        def __init__(self, dense):
            rows, columns = np.nonzero(dense.T)[::-1]
            self.indptr = np.concatenate([[0], np.cumsum(np.bincount(columns, minlength=dense.shape[1]))])
            self.indices, self.data, self._shape = rows, dense[rows, columns], dense.shape

    for module, kind in ((chumpy, Ch), (sparse, csc_matrix)):
        kind.__module__, kind.__qualname__ = module.__name__, kind.__name__
        setattr(module, kind.__name__, kind)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
        patch.setitem(sys.modules, "chumpy.ch", chumpy)
        patch.setitem(sys.modules, "scipy.sparse._csc", sparse)
        model = models["smpl"]
        content = {
            **model,
            "shapedirs": Ch(model["shapedirs"]),
            "J_regressor": csc_matrix(model["J_regressor"]),
            "bs_style": "lbs",
        }
        path = write_pickle(tmp_path / "model.pkl", content, protocol)
    read = read_model_file(path, "smpl")
    for name in ("shapedirs", "J_regressor", "v_template", "f"):
        assert np.array_equal(read[name], model[name])


class _Attack:
    def __reduce__(self):
        return os.system, ("touch attacked",)


def test_a_pickle_that_would_run_code_runs_none(models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({**models["smpl"], "v_template": _Attack()}))
    with pytest.raises(
        ValueError, match=r"model\.pkl: not a readable model pickle \(an array in it is a posix\.system\)"
    ):
        read_model_file(path, "smpl")
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("posedirs"), "no posedirs in it, so it is no SMPL model"),
        (
            lambda m: m.update(posedirs=m["posedirs"][..., :9]),
            r"posedirs has the shape \(6890, 3, 9\), expected \(6890, 3, 207\)",
        ),
        (lambda m: m.update(weights=m["weights"] * 0.5), "rows of weights do not sum to 1"),
        (lambda m: m.update(f=m["f"] + 6000), "f names vertices that are not there"),
        (lambda m: m.update(v_template=m["v_template"] * np.nan), "v_template holds values that are not finite"),
        (
            lambda m: m.update(v_template=m["v_template"][:100]),
            "100 vertices and 24 joints, but SMPL has 6890 and 24; it is another model",
        ),
        (lambda m: m.update(kintree_table=m["kintree_table"][:, ::-1]), "kintree_table is not SMPL's tree"),
    ],
)
def test_a_wrong_model_file_is_one_clear_line(models, tmp_path, change, message):
    model = dict(models["smpl"])
    change(model)
    with pytest.raises(ValueError, match=rf"odd\.npz: .*{message}") as caught:
        read_model_file(write_npz(tmp_path / "odd.npz", model), "smpl")
    assert "\n" not in str(caught.value)


def test_a_model_of_another_kind_is_named(models, tmp_path):
    with pytest.raises(ValueError, match=r"it is a SMPL-X model: set subject\.body=smplx"):
        read_model_file(write_npz(tmp_path / "m.npz", models["smplx"]), "smplh")
    (tmp_path / "noise.npz").write_bytes(b"noise")
    with pytest.raises(ValueError, match=r"noise\.npz: not a readable npz"):
        read_model_file(tmp_path / "noise.npz", "smplx")


def test_numbers_outside_their_range_are_refused():
    with pytest.raises(ValueError, match=r"Outfit\.sleeve=2"):
        Outfit(sleeve=2.0)
    with pytest.raises(ValueError, match=r"Outfit\.top='poncho': choose one of none, tank"):
        Outfit(top="poncho")
