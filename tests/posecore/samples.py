"""A sound sample made by hand, for the tests of what carries samples."""

import numpy as np

from posecore.camera import Camera, look_at, project
from posecore.sample import OUTSIDE, VISIBLE, Sample, Subject, inside_frame, make_key, tight_box
from posecore.skeleton import load_skeleton
from posecore.transforms import rotation_6d_from_matrix, transform_points


def make_sample(scene: int = 3, frame: int = 1, size: int = 64) -> Sample:
    """The template person in rest pose, seen from the front; random pixels, a rectangle as mask."""
    skeleton = load_skeleton("human")
    rng = np.random.default_rng(scene)
    focal = 1.2 * size
    K = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
    camera = Camera(size, size, K, look_at(np.array([0.4, -2.6, 1.1]), np.array([0, 0, 0.9])))
    joints_px = project(camera, skeleton.rest_m)
    mask = np.zeros((size, size), np.uint8)
    mask[size // 8 : -size // 8, size // 4 : -size // 4] = 1
    inside = inside_frame(joints_px, size, size)
    subject = Subject(
        id=1,
        kind="human",
        species="human",
        skeleton="human",
        joints_px=joints_px,
        joints_cam_m=transform_points(camera.cam_from_world, skeleton.rest_m),
        joints_world_m=skeleton.rest_m,
        rotations=np.tile(rotation_6d_from_matrix(np.eye(3)), (skeleton.num_joints, 1)),
        visibility=np.where(inside, VISIBLE, OUTSIDE).astype(np.uint8),
        box_px=tight_box(mask == 1),
        occlusion=0.0,
        truncation=0.25,
        shape={"age": 0.7},
    )
    return Sample(
        key=make_key(scene, frame, 0),
        scene=scene,
        frame=frame,
        view=0,
        image=rng.integers(0, 256, (size, size, 3), dtype=np.uint8),
        mask=mask,
        camera=camera,
        subjects=(subject,),
        provenance={"recipe": "by hand", "recipe_hash": "0", "seed": 1},
    )
