"""From geometry and passes to a labelled sample. Joints come from the geometry; passes only tell what is seen.

A joint inside the frame is hidden if the depth pass shows a surface in front of it by more than the flesh that lies
round it. Who hides it follows from the instance pass at that pixel.
"""

import numpy as np

from posecore.camera import Camera, project, project_cam
from posecore.sample import (
    HIDDEN_BY_OTHER,
    HIDDEN_BY_SELF,
    OUTSIDE,
    VISIBLE,
    Sample,
    Subject,
    inside_frame,
    make_key,
    tight_box,
)
from posecore.transforms import rotation_6d_from_matrix, transform_points
from synthgen.raster import paint_faces
from synthgen.recipe import Recipe
from synthgen.renderer import Passes
from synthgen.scene import SceneSpec, SubjectSpec, scene_to_dict
from synthgen.sensor import develop
from synthgen.stage import Stage
from synthgen.subjects.posed import PosedSubject

# Flesh in front of a joint is its limb's radius, more if the limb is seen end on, plus cloth and hair.
_RADIUS_FACTOR = 1.5
_CLOTH_M = 0.035

_NEAREST_M = 0.05  # a joint nearer to the camera's plane has no place in the picture

_SILHOUETTE_MARGIN = 1.0
_SILHOUETTE_OVERSAMPLING = 2


def label(stage: Stage, passes: Passes, frame: int, view: int, recipe: Recipe, provenance: dict[str, object]) -> Sample:
    """The sample of one rendered view.

    Args:
        provenance: what is the same for the whole dataset; the scene's spec is added here.
    """
    spec, camera = stage.spec, stage.cameras[view]
    subjects = tuple(
        _label_subject(number, subject, posed, spec, camera, passes)
        for number, (subject, posed) in enumerate(zip(spec.subjects, stage.subjects[frame], strict=True), start=1)
        if number == 1 or _is_before(camera, posed)
    )
    layers = recipe.image.layers
    normals = np.rint((passes.normals * 0.5 + 0.5) * 255).astype(np.uint8)
    return Sample(
        key=make_key(spec.scene, frame, view),
        scene=spec.scene,
        frame=frame,
        view=view,
        image=develop(passes, spec.sensor, frame, view),
        mask=passes.instances,
        camera=camera,
        subjects=subjects,
        provenance={**provenance, "seed": spec.seed, "spec": scene_to_dict(spec)},
        depth_m=passes.depth_m.astype(np.float16) if "depth" in layers else None,
        normal=normals if "normal" in layers else None,
        parts=passes.parts if "parts" in layers else None,
    )


def reason_to_reject(sample: Sample, recipe: Recipe) -> str | None:
    """Why a sample cannot be used, in one word for the count; None if it is good.

    It must show enough of the first subject, and nobody without labels: who is partly behind the camera has none.
    """
    subject = sample.subjects[0]
    if (sample.mask == subject.id).sum() < recipe.limits.visible_px:
        return "too_small"
    if subject.occlusion > recipe.limits.occlusion:
        return "occluded"
    if subject.truncation > recipe.limits.truncation:
        return "truncated"
    if set(np.unique(sample.mask)) - {0} - {labelled.id for labelled in sample.subjects}:
        return "beside_camera"
    return None


def _is_before(camera: Camera, posed: PosedSubject) -> bool:
    """Whether all joints lie before the camera, so that each has a place in the picture's plane."""
    return bool((transform_points(camera.cam_from_world, posed.joints_world)[:, 2] > _NEAREST_M).all())


def _label_subject(
    number: int, subject: SubjectSpec, posed: PosedSubject, spec: SceneSpec, camera: Camera, passes: Passes
) -> Subject:
    joints_cam = transform_points(camera.cam_from_world, posed.joints_world)
    joints_px = project_cam(camera.K, joints_cam)
    mask = passes.instances == number
    occlusion, truncation = _hidden_shares(posed, spec, camera, mask)
    return Subject(
        id=number,
        kind=subject.kind,
        species=subject.species,
        skeleton=posed.skeleton,
        joints_px=joints_px,
        joints_cam_m=joints_cam,
        joints_world_m=posed.joints_world,
        rotations=rotation_6d_from_matrix(posed.rotations),
        visibility=_visibility(number, joints_px, joints_cam[:, 2], posed.limb_radius_m, passes),
        box_px=tight_box(mask),
        occlusion=occlusion,
        truncation=truncation,
        shape={name: float(value) for name, value in vars(subject.shape).items()},
    )


def _visibility(
    number: int, joints_px: np.ndarray, joint_depth_m: np.ndarray, limb_radius_m: np.ndarray, passes: Passes
) -> np.ndarray:
    height, width = passes.instances.shape
    inside = inside_frame(joints_px, width, height)
    column, row = np.floor(np.where(inside[:, None], joints_px, 0)).astype(int).T
    in_front_m = joint_depth_m - passes.depth_m[row, column]
    hidden = in_front_m > _RADIUS_FACTOR * limb_radius_m + _CLOTH_M
    by_self = passes.instances[row, column] == number
    level = np.where(hidden, np.where(by_self, HIDDEN_BY_SELF, HIDDEN_BY_OTHER), VISIBLE)
    return np.where(inside, level, OUTSIDE).astype(np.uint8)


def _hidden_shares(posed: PosedSubject, spec: SceneSpec, camera: Camera, mask: np.ndarray) -> tuple[float, float]:
    """Occlusion and truncation of a subject, 0..1: its visible pixels against its whole silhouette.

    Exactly 0 where nothing could hide it or no vertex projects outside the frame; else the silhouette is rasterised.
    """
    vertices = posed.vertices.astype(np.float64)
    pixels = project(camera, vertices)
    leaves_frame = not inside_frame(pixels, camera.width, camera.height).all()
    may_be_hidden = len(spec.subjects) > 1 or any(prop.role == "occluder" for prop in spec.props)
    if not leaves_frame and not may_be_hidden:
        return 0.0, 0.0
    seen = paint_faces(camera, vertices, posed.faces, _SILHOUETTE_MARGIN, _SILHOUETTE_OVERSAMPLING) >= 0
    scale = _SILHOUETTE_OVERSAMPLING
    top, left = round(camera.height * _SILHOUETTE_MARGIN) * scale, round(camera.width * _SILHOUETTE_MARGIN) * scale
    within = seen[top : top + camera.height * scale, left : left + camera.width * scale]
    inside_px, whole_px = within.sum() / scale**2, seen.sum() / scale**2
    truncation = 1 - inside_px / whole_px if leaves_frame and whole_px else 0.0
    occlusion = 1 - mask.sum() / inside_px if may_be_hidden and inside_px else 0.0
    return float(np.clip(occlusion, 0, 1)), float(np.clip(truncation, 0, 1))
