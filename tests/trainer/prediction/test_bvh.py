"""BVH: what a reader of the format, and Blender, compute from the file are the predicted joints."""

import json
import subprocess
import sys

import numpy as np
import pytest

from posecore.errors import UserError
from posecore.skeleton import Skeleton, load_skeleton
from posecore.transforms import matrix_from_rotation_6d, matrix_from_rotvec, rotation_6d_from_matrix, rotvec_from_matrix
from trainer.prediction.bvh import at_even_rate, euler_zxy_deg, write_bvh

H36M = load_skeleton("h36m17")
PX_PER_M = 80.0

IN_BLENDER = """
import json, sys
import bpy
import addon_utils  # bpy brings it
addon_utils.enable("io_anim_bvh")
bpy.ops.import_anim.bvh(filepath=sys.argv[1], global_scale=0.01, use_fps_scale=False, update_scene_fps=True)
armature, scene = bpy.context.object, bpy.context.scene
frames = []
for frame in range(1, int(sys.argv[2]) + 1):
    scene.frame_set(frame)
    frames.append({bone.name: list(armature.matrix_world @ bone.head) for bone in armature.pose.bones})
print("FOUND" + json.dumps({"fps": scene.render.fps / scene.render.fps_base, "frames": frames}))
"""


def read_bvh(text: str) -> tuple[list[str], list[int], np.ndarray, np.ndarray]:
    """An independent, minimal reader: names, parents, offsets [J, 3], frames [T, 3 + 3 J]."""
    names, parents, offsets, stack, in_end = [], [], [], [], False
    head, _, motion = text.partition("MOTION")
    for line in head.split("\n"):
        word, *rest = line.split() or [""]
        if word in ("ROOT", "JOINT"):
            parents.append(stack[-1] if stack else -1)
            names.append(rest[0])
        elif word == "End":
            in_end = True
        elif word == "{":
            stack.append(-2 if in_end else len(names) - 1)
        elif word == "}":
            in_end = False
            stack.pop()
        elif word == "OFFSET" and not in_end:
            offsets.append([float(value) for value in rest])
    frames = [[float(value) for value in line.split()] for line in motion.strip().split("\n")[2:]]
    return names, parents, np.array(offsets), np.array(frames)


def axis_turn(axis: int, degrees: float) -> np.ndarray:
    return matrix_from_rotvec(np.deg2rad(degrees) * np.eye(3)[axis])


def places_by_reader(text: str, skeleton: Skeleton = H36M) -> np.ndarray:
    """[T, K, 3] metres in BVH axes, joints in the skeleton's order."""
    names, parents, offsets, frames = read_bvh(text)
    assert sorted(names) == sorted(skeleton.joints)
    result = []
    for frame in frames:
        turns, places = [], []
        for joint, parent in enumerate(parents):
            z, x, y = frame[3 + 3 * joint : 6 + 3 * joint]
            local = axis_turn(2, z) @ axis_turn(0, x) @ axis_turn(1, y)
            turns.append(local if parent < 0 else turns[parent] @ local)
            places.append(frame[:3] if parent < 0 else places[parent] + turns[parent] @ offsets[joint])
        result.append([places[names.index(name)] for name in skeleton.joints])
    return np.array(result) / 100


@pytest.mark.parametrize("skeleton_name", ["h36m17", "ap10k17", "smpl24"])
def test_a_reader_of_the_file_finds_the_predicted_joints(tmp_path, posed, skeleton_name):
    """Of a body 1.1 times the template's: bones have the predicted lengths."""
    predictions = [posed(seed, 1.1, skeleton_name) for seed in range(3)]
    write_bvh(tmp_path / "a.bvh", predictions, rate=50)
    text = (tmp_path / "a.bvh").read_text()
    assert "Frame Time: 0.020000" in text
    found = places_by_reader(text, load_skeleton(skeleton_name))
    for places, prediction in zip(found, predictions, strict=True):
        places = places * [1, -1, -1]
        np.testing.assert_allclose(places - places[0], prediction.joints_cam_m - prediction.joints_cam_m[0], atol=1e-4)
        moved = (places[:, :2] - found[0, 0, :2] * [1, -1]) * PX_PER_M
        np.testing.assert_allclose(moved, prediction.keypoints[:, :2] - predictions[0].keypoints[0, :2], atol=0.02)


def test_the_clip_begins_over_the_origin_and_stands_on_the_floor(tmp_path, posed):
    write_bvh(tmp_path / "a.bvh", [posed(seed) for seed in range(3)])
    found = places_by_reader((tmp_path / "a.bvh").read_text())
    np.testing.assert_allclose(found[0, H36M.parents.index(-1), [0, 2]], 0, atol=1e-6)
    assert found[..., 1].min() == pytest.approx(0, abs=1e-4)


def test_angles_rebuild_their_rotation_also_when_locked():
    rotations = matrix_from_rotvec(np.random.default_rng(0).normal(0, 2, (50, 3)))
    rotations = np.concatenate([rotations, [axis_turn(2, 30) @ axis_turn(0, 90) @ axis_turn(1, 20)]])
    for rotation, (z, x, y) in zip(rotations, euler_zxy_deg(rotations), strict=True):
        np.testing.assert_allclose(axis_turn(2, z) @ axis_turn(0, x) @ axis_turn(1, y), rotation, atol=1e-6)


def test_uneven_times_and_gaps_are_bridged_evenly(posed):
    """A steady turn and drift, seen at uneven moments with a gap, come out steady at every tick."""
    start, axis = posed(0), np.array([0.0, 0.0, 1.0])

    def at(moment: float):
        turn = rotation_6d_from_matrix(matrix_from_rotvec(np.tile(0.3 * moment * axis, (17, 1))))
        keypoints = start.keypoints + np.array([10 * moment, 0, 0])
        fields = {"frame": round(moment * 100), "time_s": moment, "keypoints": keypoints, "rotations": turn}
        return type(start)(**{**start.__dict__, **fields})

    even = at_even_rate([at(moment) for moment in (0.0, 0.1, 0.13, 0.6, 0.9, 1.0)], rate=20)
    assert [round(one.time_s, 6) for one in even] == [round(i / 20, 6) for i in range(21)]
    for one in even:
        np.testing.assert_allclose(one.keypoints, at(one.time_s).keypoints, atol=1e-9)
        angle = rotvec_from_matrix(matrix_from_rotation_6d(one.rotations))[:, 2]
        np.testing.assert_allclose(angle, 0.3 * one.time_s, atol=1e-3)
    assert len(at_even_rate([at(0.5)], rate=20)) == 1


def test_a_skeleton_without_rotations_is_refused(tmp_path, posed):
    with pytest.raises(UserError, match="carries no rotations"):
        write_bvh(tmp_path / "a.bvh", [posed(0).in_skeleton("coco17")])
    with pytest.raises(UserError, match="no frame"):
        write_bvh(tmp_path / "a.bvh", [])
    assert not (tmp_path / "a.bvh").exists()


@pytest.mark.blender
def test_blender_opens_the_file_and_finds_the_predicted_joints(tmp_path, posed):
    predictions = [posed(seed, size=0.9) for seed in range(3)]
    write_bvh(tmp_path / "a.bvh", predictions, rate=30)
    # A process of its own: an importer changes Blender's scene and settings.
    command = [sys.executable, "-c", IN_BLENDER, str(tmp_path / "a.bvh"), "3"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = json.loads(output.partition("FOUND")[2].partition("\n")[0])
    assert found["fps"] == pytest.approx(30, rel=1e-4)
    heights = []
    for frame, prediction in zip(found["frames"], predictions, strict=True):
        # Blender stands the file's y up along its own z: x right, y away from the camera, z up.
        places = np.array([frame[name] for name in H36M.joints])
        expected = prediction.joints_cam_m[:, [0, 2, 1]] * [1, 1, -1]
        np.testing.assert_allclose(places - places[0], expected - expected[0], atol=2e-4)
        heights.append(places[:, 2].min())
    assert min(heights) == pytest.approx(0, abs=1e-3)
