import numpy as np
import pytest

from posecore.skeleton import load_skeleton
from posecore.transforms import local_from_global, matrix_from_rotvec, rotation_6d_from_matrix, rotvec_from_matrix
from synthgen.subjects.people.mocap import DRIVERS, FIGURE_LEG_M, align, figure_joints
from synthgen.subjects.people.motion_files import (
    clip_name,
    find_motion_files,
    is_motion_file,
    read_bvh,
    read_motion,
)
from trainer.prediction.bvh import write_bvh
from trainer.prediction.predictor import Prediction

HUMAN = load_skeleton("human")
DOWN = np.array([0.0, 0.0, -1.0])
# CMU's names and tree, T-pose, inches / 0.45 as CMU has it; y up, facing +z, left = +x.
CMU = {
    "Hips": (None, (0, 0, 0)), "LHipJoint": ("Hips", (0, 0, 0)), "LeftUpLeg": ("LHipJoint", (1.4, -1.8, 0.8)),
    "LeftLeg": ("LeftUpLeg", (2.5, -6.7, 0)), "LeftFoot": ("LeftLeg", (2.6, -7.0, 0)),
    "LeftToeBase": ("LeftFoot", (0.2, -0.5, 2.1)), "RHipJoint": ("Hips", (0, 0, 0)),
    "RightUpLeg": ("RHipJoint", (-1.4, -1.8, 0.8)), "RightLeg": ("RightUpLeg", (-2.5, -6.7, 0)),
    "RightFoot": ("RightLeg", (-2.6, -7.0, 0)), "RightToeBase": ("RightFoot", (-0.2, -0.5, 2.1)),
    "LowerBack": ("Hips", (0, 0, 0)), "Spine": ("LowerBack", (0, 2.0, -0.1)), "Spine1": ("Spine", (0, 2.0, 0)),
    "Neck": ("Spine1", (0, 0, 0)), "Neck1": ("Neck", (0, 1.6, 0.2)), "Head": ("Neck1", (0, 1.7, -0.1)),
    "LeftShoulder": ("Spine1", (0, 0, 0)), "LeftArm": ("LeftShoulder", (3.3, 0.9, -0.1)),
    "LeftForeArm": ("LeftArm", (5.1, 0, 0)), "LeftHand": ("LeftForeArm", (3.3, 0, 0)),
    "RightShoulder": ("Spine1", (0, 0, 0)), "RightArm": ("RightShoulder", (-3.2, 0.9, -0.1)),
    "RightForeArm": ("RightArm", (-5.2, 0, 0)), "RightHand": ("RightForeArm", (-3.4, 0, 0)),
}  # fmt: skip
OURS_FROM_CMU = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
DRIVER_OF = {
    "Hips": "root", "Spine1": "chest", "Neck": "chest", "Head": "neck", "LeftUpLeg": "left_hip", "LeftLeg": "left_knee",
    "LeftFoot": "left_ankle", "LeftArm": "left_shoulder", "LeftForeArm": "left_elbow", "LeftHand": "left_wrist",
    "RightUpLeg": "right_hip", "RightLeg": "right_knee", "RightFoot": "right_ankle", "RightArm": "right_shoulder",
    "RightForeArm": "right_elbow", "RightHand": "right_wrist",
}  # fmt: skip


def euler_deg(rotation, order):
    """Angles about three different axes, found by Newton steps on the rotation vector: slow, but shares no code."""
    angles = np.zeros(3)

    def turned(angles):
        result = np.eye(3)
        for axis, angle in zip(order, angles, strict=True):
            result = result @ matrix_from_rotvec(np.eye(3)["XYZ".index(axis)] * angle)
        return result

    for _ in range(60):
        error = rotvec_from_matrix(turned(angles).T @ rotation)
        if np.abs(error).max() < 1e-12:
            break
        steps = [rotvec_from_matrix(turned(angles).T @ turned(angles + 1e-6 * np.eye(3)[k])) / 1e-6 for k in range(3)]
        angles = angles + np.linalg.lstsq(np.array(steps).T, error, rcond=1e-9)[0]
    assert np.allclose(turned(angles), rotation, atol=1e-9)
    return np.degrees(angles)


def write_file(path, local, root, skeleton=None, order="ZYX", dt=0.01, moving=False, turn=None):
    """A BVH file with local rotations [T,J,3,3] and root positions [T,3], all in the file's axes."""
    skeleton = skeleton or CMU
    turn = np.eye(3) if turn is None else turn
    names = list(skeleton)
    rotations = " ".join(f"{axis}rotation" for axis in order)
    written = []

    def block(name, depth):
        parent, offset = skeleton[name]
        written.append(name)
        pad, places = "  " * depth, "Xposition Yposition Zposition "
        has_place = parent is None or moving
        yield f"{pad}{'ROOT' if parent is None else 'JOINT'} {name}"
        yield f"{pad}{{\n{pad}  OFFSET {' '.join(map(str, turn @ np.array(offset, float)))}"
        yield f"{pad}  CHANNELS {6 if has_place else 3} {places if has_place else ''}{rotations}"
        children = [child for child, (above, _) in skeleton.items() if above == name]
        for child in children:
            yield from block(child, depth + 1)
        if not children:
            yield f"{pad}  End Site\n{pad}  {{\n{pad}    OFFSET 0 0 1\n{pad}  }}"
        yield f"{pad}}}"

    lines = ["HIERARCHY", *block(names[0], 0), "MOTION", f"Frames: {len(local)}", f"Frame Time: {dt}"]
    for frame, place in zip(local, root, strict=True):
        values = []
        for name in written:
            if skeleton[name][0] is None:
                values += [*place]
            elif moving:
                values += [*(turn @ np.array(skeleton[name][1], float))]
            values += [*euler_deg(frame[names.index(name)], order)]
        lines.append(" ".join(f"{value:.9f}" for value in values))
    path.write_text("\r\n".join(lines) + "\r\n")
    return path


def still(skeleton=None, frames=2):
    return np.tile(np.eye(3), (frames, len(skeleton or CMU), 1, 1)), np.zeros((frames, 3))


def cmu_local(pose):
    """Local rotations [J,3,3] in CMU's axes and tree that give the drivers' global rotations [D,3,3]."""
    names = list(CMU)
    turned = {}
    for name, (parent, _) in CMU.items():
        driver = DRIVER_OF.get(name)
        if driver is None:
            turned[name] = turned[parent]
            continue
        rotation = pose[DRIVERS.index(driver)]
        limb = next((child for child, (above, _) in CMU.items() if above == name), None)
        if "Hand" in name or "Arm" in name or "Leg" in name:
            offset = OURS_FROM_CMU @ np.array(CMU[name if "Hand" in name else limb][1], float)
            rotation = rotation @ align(DOWN, offset).T
        turned[name] = OURS_FROM_CMU.T @ rotation @ OURS_FROM_CMU
    parents = tuple(-1 if parent is None else names.index(parent) for parent, _ in CMU.values())
    return local_from_global(np.array([turned[name] for name in names]), parents)


@pytest.mark.parametrize("order", ["ZYX", "XYZ", "YXZ"])
def test_a_packaged_clip_written_as_bvh_reads_back_as_the_same_poses(library, tmp_path, order):
    clip = library.clips["cartwheel"]
    poses = clip.rotations[5:30:6]
    path = write_file(
        tmp_path / "wheel.bvh", [cmu_local(pose) for pose in poses], np.zeros((len(poses), 3)), order=order, dt=0.02
    )
    read = read_motion(path)
    assert read.name == "wheel.bvh" and read.dt_s == 0.02
    assert np.allclose(read.rotations, poses, atol=1e-6)


def test_limbs_point_where_the_files_own_joints_lie(tmp_path):
    rng = np.random.default_rng(3)
    local = matrix_from_rotvec(rng.normal(0, 0.6, (4, len(CMU), 3)))
    path = write_file(tmp_path / "any.bvh", local, rng.normal(0, 5, (4, 3)))
    clip, bvh = read_motion(path), read_bvh(path)
    places = bvh.positions @ OURS_FROM_CMU.T
    for driver, first, last in (
        ("left_hip", "LeftUpLeg", "LeftLeg"), ("right_knee", "RightLeg", "RightFoot"),
        ("left_shoulder", "LeftArm", "LeftForeArm"), ("right_elbow", "RightForeArm", "RightHand"),
    ):  # fmt: skip
        along = places[:, bvh.joints.index(last)] - places[:, bvh.joints.index(first)]
        expected = along / np.linalg.norm(along, axis=1, keepdims=True)
        assert np.allclose(clip.rotations[:, DRIVERS.index(driver)] @ DOWN, expected, atol=1e-8)


def test_the_zero_pose_of_a_t_pose_file_has_arms_out_and_legs_as_they_are_splayed(tmp_path):
    clip = read_motion(write_file(tmp_path / "t.bvh", *still()))
    assert clip.rotations[0, DRIVERS.index("left_shoulder")] @ DOWN == pytest.approx([1, 0, 0])
    assert clip.rotations[0, DRIVERS.index("right_elbow")] @ DOWN == pytest.approx([-1, 0, 0])
    assert clip.rotations[0, DRIVERS.index("left_hip")] @ DOWN == pytest.approx(
        np.array([2.5, 0, -6.7]) / 7.151, abs=1e-3
    )
    assert np.allclose(clip.rotations[0, DRIVERS.index("root")], np.eye(3))


def test_the_files_axes_follow_from_its_zero_pose(tmp_path):
    rng = np.random.default_rng(4)
    local = matrix_from_rotvec(rng.normal(0, 0.4, (3, len(CMU), 3)))
    plain = read_motion(write_file(tmp_path / "a.bvh", local, np.zeros((3, 3))))
    z_up_facing_x = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    turned = z_up_facing_x @ local @ z_up_facing_x.T
    other = read_motion(write_file(tmp_path / "b.bvh", turned, np.zeros((3, 3)), turn=z_up_facing_x))
    assert np.allclose(plain.rotations, other.rotations, atol=1e-7)


def test_a_skeleton_with_y_up_in_a_world_with_z_up_stands_all_the_same(tmp_path):
    local, _ = still(frames=3)
    plain = read_motion(write_file(tmp_path / "a.bvh", local, [[0, 14, 0]] * 3))
    local[:, 0] = matrix_from_rotvec(np.array([np.pi / 2, 0, 0]))
    assert np.allclose(read_motion(write_file(tmp_path / "b.bvh", local, [[0, 0, 14]] * 3)).rotations, plain.rotations)
    lying = read_motion(write_file(tmp_path / "c.bvh", local, [[0, 2, 0]] * 3))
    assert lying.rotations[0, 0] @ [0, 0, 1] == pytest.approx([0, -1, 0])


def test_mixamo_names_and_joints_with_places_read_the_same(tmp_path):
    rng = np.random.default_rng(5)
    local = matrix_from_rotvec(rng.normal(0, 0.4, (3, len(CMU), 3)))
    plain = read_motion(write_file(tmp_path / "a.bvh", local, np.zeros((3, 3))))
    mixamo = {f"mixamorig:{name}": (parent and f"mixamorig:{parent}", at) for name, (parent, at) in CMU.items()}
    other = read_motion(write_file(tmp_path / "b.bvh", local, np.zeros((3, 3)), mixamo, moving=True))
    assert np.allclose(plain.rotations, other.rotations, atol=1e-7)


RIGS = {
    "unreal": {"LeftUpLeg": "thigh_l", "LeftLeg": "calf_l", "LeftFoot": "foot_l", "LeftShoulder": "clavicle_l",
               "LeftArm": "upperarm_l", "LeftForeArm": "lowerarm_l", "LeftHand": "hand_l", "Head": "head"},
    "blender": {"LeftUpLeg": "thigh.L", "LeftLeg": "shin.L", "LeftFoot": "foot.L", "LeftShoulder": "shoulder.L",
                "LeftArm": "upper_arm.L", "LeftForeArm": "forearm.L", "LeftHand": "hand.L", "Head": "head"},
    "biped": {"LeftUpLeg": "Bip01 L Thigh", "LeftLeg": "Bip01 L Calf", "LeftFoot": "Bip01 L Foot",
              "LeftShoulder": "Bip01 L Clavicle", "LeftArm": "Bip01 L UpperArm", "LeftForeArm": "Bip01 L Forearm",
              "LeftHand": "Bip01 L Hand", "Head": "Bip01 Head"},
    "smpl": {"LeftUpLeg": "left_hip", "LeftLeg": "left_knee", "LeftFoot": "left_ankle", "LeftToeBase": "left_foot",
             "LeftShoulder": "left_collar", "LeftArm": "left_shoulder", "LeftForeArm": "left_elbow",
             "LeftHand": "left_wrist", "Head": "head"},
}  # fmt: skip


@pytest.mark.parametrize("rig", RIGS)
def test_other_rigs_names_read_the_same(tmp_path, rig):
    names = dict(RIGS[rig])
    swapped = str.maketrans("lL", "rR")
    for ours, theirs in RIGS[rig].items():
        if ours != "Head":
            side = theirs.replace("left", "right") if "left" in theirs else None
            right = side or (
                theirs[:-1] + theirs[-1].translate(swapped) if theirs[-2] in "._" else theirs.replace(" L ", " R ")
            )
            names[ours.replace("Left", "Right")] = right
    renamed = {names.get(name, name): (names.get(parent, parent), at) for name, (parent, at) in CMU.items()}
    local = matrix_from_rotvec(np.random.default_rng(7).normal(0, 0.4, (3, len(CMU), 3)))
    plain = read_motion(write_file(tmp_path / "a.bvh", local, np.zeros((3, 3))))
    other = read_motion(write_file(tmp_path / "b.bvh", local, np.zeros((3, 3)), renamed))
    assert np.allclose(plain.rotations, other.rotations, atol=1e-7)


def test_the_root_is_scaled_to_the_packaged_clips_leg_and_starts_over_the_origin_on_the_ground(tmp_path):
    local, root = still(frames=3)
    root[:, 0], root[:, 1] = (10, 12, 14), (40, 41, 40)
    clip = read_motion(write_file(tmp_path / "walk.bvh", local, root))
    metres = FIGURE_LEG_M / (np.hypot(2.5, 6.7) + np.hypot(2.6, 7.0))
    assert clip.root_m[:, 0] == pytest.approx([0, 2 * metres, 4 * metres])
    assert clip.root_m[1, 2] - clip.root_m[0, 2] == pytest.approx(metres)
    ankle = figure_joints(clip.rotations[0])[DRIVERS.index("left_ankle")]
    assert clip.root_m[0, 2] + ankle[2] == pytest.approx(0.07)


def test_what_the_trainer_writes_as_bvh_reads_back_with_the_same_limbs(tmp_path):
    skeleton = load_skeleton("h36m17")
    rng = np.random.default_rng(6)
    local = matrix_from_rotvec(rng.normal(0, 0.3, (3, skeleton.num_joints, 3)))
    joints, turned = np.zeros((3, skeleton.num_joints, 3)), np.array(local)
    for joint in skeleton.walk_order[1:]:
        parent = skeleton.parents[joint]
        turned[:, joint] = turned[:, parent] @ local[:, joint]
        joints[:, joint] = joints[:, parent] + turned[:, parent] @ (skeleton.rest_m[joint] - skeleton.rest_m[parent])
    predictions = [
        Prediction("a.jpg", (0, 0, 9, 9), "h36m17", np.ones((17, 3)), place, rotation_6d_from_matrix(turn))
        for place, turn in zip(joints, local, strict=True)
    ]
    write_bvh(tmp_path / "predicted.bvh", predictions, rate=30)
    clip = read_motion(tmp_path / "predicted.bvh")
    assert clip.duration_s == pytest.approx(2 / 30, abs=1e-5)
    camera = np.array(
        [[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]
    )  # the camera's y down, z forward, as the file's y up, in ours
    ends = {
        "left_hip": "left_knee",
        "right_knee": "right_ankle",
        "left_shoulder": "left_elbow",
        "right_elbow": "right_wrist",
    }
    for driver, last in ends.items():
        along = (joints[:, skeleton.index(last)] - joints[:, skeleton.index(driver)]) @ camera.T
        expected = along / np.linalg.norm(along, axis=1, keepdims=True)
        assert np.allclose(clip.rotations[:, DRIVERS.index(driver)] @ DOWN, expected, atol=1e-3), driver


def smpl_poses(pose, width):
    """SMPL rotation vectors [width] whose limbs are those of a driver pose, its arms out at rest."""
    parents = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
    of = {"chest": (9, 12, 13, 14), "neck": (15,), "left_hip": (1,), "left_knee": (4,), "left_ankle": (7, 10),
          "right_hip": (2,), "right_knee": (5,), "right_ankle": (8, 11), "left_shoulder": (16,), "left_elbow": (18,),
          "left_wrist": (20,), "right_shoulder": (17,), "right_elbow": (19,), "right_wrist": (21,)}  # fmt: skip
    turned = np.tile(pose[0], (22, 1, 1))
    for driver, joints in of.items():
        rotation = pose[DRIVERS.index(driver)]
        if driver.split("_")[-1] in ("shoulder", "elbow", "wrist"):
            side = 1.0 if driver.startswith("left") else -1.0
            rotation = rotation @ matrix_from_rotvec(np.array([0, side * np.pi / 2, 0]))
        turned[list(joints)] = rotation
    y_up_to_z_up = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    vectors = rotvec_from_matrix(local_from_global(turned @ y_up_to_z_up, parents)).ravel()
    return np.concatenate([vectors, np.zeros(width - len(vectors))])


@pytest.mark.parametrize(
    ("width", "rate_name"), [(72, "mocap_framerate"), (156, "mocap_framerate"), (165, "mocap_frame_rate")]
)
def test_a_packaged_clip_written_as_amass_npz_reads_back_as_the_same_poses(library, tmp_path, width, rate_name):
    clip = library.clips["kick"]
    poses = clip.rotations[::9]
    vectors = np.array([smpl_poses(pose, width) for pose in poses])
    place = np.tile([4.0, 5.0, 0.9], (len(poses), 1))
    np.savez(tmp_path / "kick_poses.npz", poses=vectors, trans=place, **{rate_name: 120.0}, gender="neutral")
    read = read_motion(tmp_path / "kick_poses.npz")
    assert read.dt_s == pytest.approx(1 / 120)
    assert np.allclose(read.rotations, poses, atol=1e-9)
    assert read.root_m[0, :2] == pytest.approx([0, 0])
    assert read.joints == HUMAN.joints[:22]  # no fingers and no face were recorded


def test_missing_joints_are_named_with_what_the_file_has(tmp_path):
    without = {
        name.replace("LeftLeg", "Bone7"): (p and p.replace("LeftLeg", "Bone7"), at) for name, (p, at) in CMU.items()
    }
    path = write_file(tmp_path / "odd.bvh", *still(without), without)
    with pytest.raises(
        ValueError, match=r"odd\.bvh: found no joint for left_knee; .*leftleg; the file has Hips.*Bone7"
    ):
        read_motion(path)


def test_a_zero_pose_that_does_not_stand_is_refused(tmp_path):
    sitting = {**CMU, "LeftLeg": ("LeftUpLeg", (0, 0, 7)), "LeftFoot": ("LeftLeg", (0, 0, 7)),
               "RightLeg": ("RightUpLeg", (0, 0, 7)), "RightFoot": ("RightLeg", (0, 0, 7))}  # fmt: skip
    with pytest.raises(ValueError, match="does not stand upright"):
        read_motion(write_file(tmp_path / "sit.bvh", *still(sitting), sitting))


def test_joints_that_coincide_are_named(tmp_path):
    crushed = {**CMU, "LeftHand": ("LeftForeArm", (0, 0, 0))}
    with pytest.raises(ValueError, match="LeftForeArm and LeftHand lie at the same place"):
        read_motion(write_file(tmp_path / "crushed.bvh", *still(crushed), crushed))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("MOTION", ""), "no MOTION section"),
        (lambda text: text[:-40], r"numbers after Frame Time, expected 2 frames x \d+ channels; is the file cut off"),
        (
            lambda text: text.replace("OFFSET 0.0 2.0", "OFFSET 2.0", 1),
            "line .* is no line of a BVH hierarchy: 'OFFSET",
        ),
        (lambda text: text.replace("Xrotation", "Wrotation", 1), "line .* is no line of a BVH hierarchy: 'CHANNELS"),
        (lambda text: text.replace("0.000000000", "zero", 1), "holds what is no number"),
        (lambda text: text.replace("Frame Time: 0.01", "Frame Time: 0"), "time between frames must be above 0"),
        (lambda text: text.replace("0.000000000", "nan", 1), "not finite"),
        (lambda text: text.replace("Frames:", "Frame:"), "must begin with Frames:"),
        (lambda text: "HIERARCHY\nMOTION\nFrames: 2\nFrame Time: 1\n", "no joint"),
    ],
)
def test_a_broken_bvh_file_is_one_clear_line(tmp_path, change, message):
    path = write_file(tmp_path / "walk.bvh", *still())
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=rf"walk\.bvh: .*{message}") as caught:
        read_motion(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"trans": np.zeros((3, 3)), "mocap_framerate": 30}, "no poses in it"),
        ({"poses": np.zeros((3, 156)), "trans": np.zeros((3, 3))}, "no mocap_framerate"),
        ({"poses": np.zeros((3, 60)), "trans": np.zeros((3, 3)), "mocap_framerate": 30}, r"poses \(3, 60\)"),
        ({"poses": np.zeros((3, 72)), "trans": np.zeros((3, 3)), "mocap_framerate": 0}, "must be above 0"),
        ({"poses": np.zeros((1, 72)), "trans": np.zeros((1, 3)), "mocap_framerate": 30}, "at least 2"),
        ({"poses": np.full((3, 72), np.nan), "trans": np.zeros((3, 3)), "mocap_framerate": 30}, "not finite"),
        ({"poses": np.array([{}], object), "trans": np.zeros((3, 3)), "mocap_framerate": 30}, "not a readable npz"),
    ],
)
def test_a_wrong_npz_is_one_clear_line(tmp_path, content, message):
    np.savez(tmp_path / "m.npz", **content)
    with pytest.raises(ValueError, match=rf"m\.npz: .*{message}") as caught:
        read_motion(tmp_path / "m.npz")
    assert "\n" not in str(caught.value)


def test_missing_and_foreign_files_are_one_clear_line(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.bvh: no such motion file"):
        read_motion(tmp_path / "gone.bvh")
    (tmp_path / "walk.fbx").write_text("x")
    with pytest.raises(ValueError, match=r"walk\.fbx: motion files end in \.bvh or \.npz"):
        read_motion(tmp_path / "walk.fbx")
    (tmp_path / "noise.npz").write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match=r"noise\.npz: not a readable npz"):
        read_motion(tmp_path / "noise.npz")


def test_names_with_a_slash_or_a_suffix_are_files_and_lose_their_folder_in_specs():
    assert is_motion_file("walk.bvh") and is_motion_file("clips/") and is_motion_file("a/*.NPZ")
    assert not is_motion_file("walk")
    assert clip_name("/home/someone/clips/walk.bvh") == "walk.bvh" and clip_name("walk") == "walk"


def test_folders_and_globs_mean_their_motion_files_in_order(tmp_path):
    for name in ("b.bvh", "a.npz", "notes.txt"):
        (tmp_path / name).touch()
    files = (str(tmp_path / "a.npz"), str(tmp_path / "b.bvh"))
    assert find_motion_files(str(tmp_path)) == files
    assert find_motion_files(f"{tmp_path}/*") == files
    assert find_motion_files(f"{tmp_path}/*.bvh") == files[1:]
    with pytest.raises(ValueError, match=r"no \.bvh or \.npz file in"):
        find_motion_files(f"{tmp_path}/*.fbx")
