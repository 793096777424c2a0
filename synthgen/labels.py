"""From geometry and passes to a labelled sample. Joints and their visibility come from the geometry; passes give the
picture, the mask, and what is seen where a subject would be.
"""

import numpy as np

from posecore.camera import Camera, project_cam
from posecore.sample import Sample, Subject, make_key, tight_box
from posecore.transforms import rotation_6d_from_matrix, transform_points
from synthgen.recipe import Recipe
from synthgen.renderer import Passes
from synthgen.sensor import develop
from synthgen.stage import Stage
from synthgen.subjects.posed import PosedSubject
from synthgen.visibility import hidden_shares, joint_visibility

_NEAREST_M = 0.05  # a joint nearer to the camera's plane has no place in the picture


def label(stage: Stage, passes: Passes, frame: int, view: int, recipe: Recipe, provenance: dict[str, object]) -> Sample:
    """The sample of one rendered view.

    Args:
        provenance: what makes the sample again; see posecore.sample.
    """
    spec, camera = stage.spec, stage.cameras[view]
    subjects = tuple(
        _label_subject(stage, passes, frame, view, number)
        for number, posed in enumerate(stage.subjects[frame])
        if number == 0 or _is_before(camera, posed)
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
        provenance=provenance,
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


def _named_numbers(values: dict[str, object]) -> dict[str, float]:
    """Every number of a shape by name; those of a tuple bear their own names or are counted: betas_0, betas_1."""
    named: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, tuple) and value and isinstance(value[0], tuple):
            named |= {part: float(number) for part, number in value}
        elif isinstance(value, tuple):
            named |= {f"{name}_{place}": float(number) for place, number in enumerate(value)}
        elif not isinstance(value, str):  # which base an animal is made of is in the spec
            named[name] = float(value)
    return named


def _label_subject(stage: Stage, passes: Passes, frame: int, view: int, number: int) -> Subject:
    """The labels of one subject, by its number in the stage, 0 and up."""
    subject, posed, camera = stage.spec.subjects[number], stage.subjects[frame][number], stage.cameras[view]
    joints_cam = transform_points(camera.cam_from_world, posed.joints_world)
    occlusion, truncation = hidden_shares(stage, frame, view, number, passes)
    return Subject(
        id=number + 1,
        kind=subject.kind,
        species=subject.species,
        skeleton=posed.skeleton,
        joints_px=project_cam(camera.K, joints_cam),
        joints_cam_m=joints_cam,
        joints_world_m=posed.joints_world,
        rotations=rotation_6d_from_matrix(posed.rotations),
        visibility=joint_visibility(stage, frame, view, number),
        box_px=tight_box(passes.instances == number + 1),
        occlusion=occlusion,
        truncation=truncation,
        shape=_named_numbers(vars(subject.shape)),
    )
