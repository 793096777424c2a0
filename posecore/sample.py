"""One sample: an image with exact labels, and one real, unlabelled frame.

Visibility of a joint: 0 outside the frame, 1 hidden by something else, 2 hidden by the subject itself, 3 visible.
Positions are true coordinates also outside the frame; what is missing is absent, never 0 or -1.
Pixels: x right, y down, (0, 0) is the outer corner of the top-left pixel. Camera frame: OpenCV axes. World: z up.
Lengths in metres.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from posecore.camera import Camera, project_cam
from posecore.errors import UserError
from posecore.skeleton import load_skeleton
from posecore.transforms import transform_points

FORMAT_VERSION = 1

OUTSIDE, HIDDEN_BY_OTHER, HIDDEN_BY_SELF, VISIBLE = 0, 1, 2, 3

REPROJECTION_TOLERANCE_PX = 0.01


@dataclass(frozen=True)
class Subject:
    """One labelled human or animal of an image.

    Attributes:
        id: its value in the instance mask, 1 and up.
        kind: "human" or "quadruped". species: "human", "dog", ...
        skeleton: name of the stored skeleton; J is its number of joints.
        joints_px: [J, 2] projections. joints_cam_m, joints_world_m: [J, 3] metres.
        rotations: [J, 6] local rotations in 6D form (first two columns), relative to the rest pose, or None.
        visibility: [J] uint8, see the module's text.
        box_px: [4] x, y, width, height: tight around the visible mask.
        occlusion: share of the subject's pixels inside the frame that something else hides. truncation: share of its
            silhouette that lies outside the frame. Both 0..1.
        shape: named parameters of the body.
    """

    id: int
    kind: str
    species: str
    skeleton: str
    joints_px: np.ndarray
    joints_cam_m: np.ndarray
    joints_world_m: np.ndarray
    rotations: np.ndarray | None
    visibility: np.ndarray
    box_px: np.ndarray
    occlusion: float
    truncation: float
    shape: dict[str, float]


@dataclass(frozen=True)
class Sample:
    """One rendered view.

    Attributes:
        image: [H, W, 3] uint8 RGB. mask: [H, W] uint8 instance ids, 0 is background.
        depth_m: [H, W] float16 planar metres, infinite where there is nothing. normal: [H, W, 3] uint8, world axes from
            -1..1 to 0..255. parts: [H, W] uint8. Each None where the recipe did not ask for it.
        provenance: recipe, seed, the whole SceneSpec, assets and versions: enough to make the sample again.
    """

    key: str
    scene: int
    frame: int
    view: int
    image: np.ndarray
    mask: np.ndarray
    camera: Camera
    subjects: tuple[Subject, ...]
    provenance: dict[str, Any]
    depth_m: np.ndarray | None = None
    normal: np.ndarray | None = None
    parts: np.ndarray | None = None


@dataclass(frozen=True)
class RealFrame:
    """One unlabelled frame of a clip.

    Attributes:
        image: [H, W, 3] uint8 RGB. crop: x, y, width, height in pixels of the source.
        frame: number of the frame in its source. time_s: its time stamp.
        extra: more fields of meta.json. Of a calibrated camera: "camera" (as a Sample's, of the stored picture, and its
            "name"), "moment" (frame number), "views": frames of one name and moment show one subject.
    """

    key: str
    image: np.ndarray
    clip: str
    frame: int
    time_s: float
    crop: tuple[float, float, float, float]
    source: str
    extra: dict[str, Any] = field(default_factory=dict)


def make_key(scene: int, frame: int, view: int) -> str:
    """Key of a sample in its shard; no dots, sorts by scene, frame, view."""
    return f"{scene:08d}-{frame:02d}-{view:02d}"


def split_key(key: str) -> tuple[int, int, int]:
    """Scene, frame and view of a key.

    Raises:
        UserError: it is not such a key.
    """
    try:
        scene, frame, view = (int(part) for part in key.split("-"))
    except ValueError:
        raise UserError(f"{key!r} is not a sample key; keys look like {make_key(12, 0, 0)}") from None
    return scene, frame, view


def validate(sample: Sample) -> list[str]:
    """Everything that is wrong with a sample, one line each; empty if it is sound.

    Checked: shapes agree, the camera is a rigid transform, 3D projects onto 2D within 0.01 px, the two 3D forms agree,
    visibility agrees with the frame, boxes are tight around the mask, and no coordinate is NaN.
    """
    problems: list[str] = []
    camera = sample.camera
    if sample.image.shape != (camera.height, camera.width, 3):
        problems.append(f"image is {sample.image.shape}, the camera says {camera.height} x {camera.width} x 3")
    if sample.mask.shape != (camera.height, camera.width):
        return [*problems, f"mask is {sample.mask.shape}, the camera says {camera.height} x {camera.width}"]
    rotation = camera.cam_from_world[:3, :3]
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6) or np.linalg.det(rotation) < 0:
        problems.append("cam_from_world is not a rigid transform")
    unknown = set(np.unique(sample.mask)) - {0} - {s.id for s in sample.subjects}
    if unknown:
        problems.append(f"mask has ids {sorted(int(i) for i in unknown)} that no subject bears")
    for subject in sample.subjects:
        problems += [f"subject {subject.id}: {problem}" for problem in _validate_subject(sample, subject)]
    return problems


def tight_box(mask: np.ndarray) -> np.ndarray:
    """[4] x, y, width, height around the true pixels of a boolean mask [H, W], pixel edges; zeros if there are none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return np.zeros(4)
    x, y = columns[0], rows[0]
    return np.array([x, y, columns[-1] + 1 - x, rows[-1] + 1 - y], dtype=np.float64)


def inside_frame(joints_px: np.ndarray, width: int, height: int) -> np.ndarray:
    """[J] bool: which positions [J, 2] lie within the image."""
    x, y = joints_px[:, 0], joints_px[:, 1]
    return (x >= 0) & (x < width) & (y >= 0) & (y < height)


def _validate_subject(sample: Sample, subject: Subject) -> list[str]:
    num_joints = load_skeleton(subject.skeleton).num_joints
    shapes = {
        "joints_px": (num_joints, 2),
        "joints_cam_m": (num_joints, 3),
        "joints_world_m": (num_joints, 3),
        "visibility": (num_joints,),
        "box_px": (4,),
    }
    if subject.rotations is not None:
        shapes["rotations"] = (num_joints, 6)
    for name, shape in shapes.items():
        if getattr(subject, name).shape != shape:
            return [f"{name} is {getattr(subject, name).shape}, expected {shape}"]
    problems = []
    for name in shapes:
        if not np.isfinite(getattr(subject, name)).all():
            problems.append(f"{name} has values that are not finite")
    camera = sample.camera
    projected = project_cam(camera.K, subject.joints_cam_m)
    error_px = np.nanmax(np.linalg.norm(projected - subject.joints_px, axis=1))
    if not error_px <= REPROJECTION_TOLERANCE_PX:
        problems.append(f"3D joints project {error_px:.3f} px away from the 2D joints")
    in_camera = transform_points(camera.cam_from_world, subject.joints_world_m)
    error_m = np.abs(in_camera - subject.joints_cam_m).max()
    if not error_m <= 1e-4:
        problems.append(f"world and camera joints disagree by {error_m:.4f} m")
    if not np.isin(subject.visibility, (OUTSIDE, HIDDEN_BY_OTHER, HIDDEN_BY_SELF, VISIBLE)).all():
        problems.append(f"visibility has values other than 0..3: {sorted(set(subject.visibility.tolist()))}")
    inside = inside_frame(subject.joints_px, camera.width, camera.height)
    if ((subject.visibility == OUTSIDE) == inside).any():
        problems.append("visibility 0 and lying outside the frame do not agree")
    if not np.array_equal(subject.box_px, tight_box(sample.mask == subject.id)):
        problems.append(f"box {subject.box_px.tolist()} is not tight around the mask")
    for name in ("occlusion", "truncation"):
        if not 0 <= getattr(subject, name) <= 1:
            problems.append(f"{name} is {getattr(subject, name)}, not within 0..1")
    return problems
