"""Left is left: the left legs painted, looked at from behind and from the front, for every species."""

from dataclasses import replace

import numpy as np
import pytest

from posecore.camera import project
from posecore.skeleton import load_skeleton
from synthgen.catalog import load_library
from synthgen.engines.painter import PainterRenderer
from synthgen.library import SubjectLibrary
from synthgen.recipe import Recipe, load_recipe
from synthgen.sampling.scene import sample_scene
from synthgen.scene import CameraSpec
from synthgen.stage import build_stage
from synthgen.subjects.animals.rig import BONE
from synthgen.subjects.animals.species import species

SKELETON = load_skeleton("quadruped")
PAWS = ("front_paw", "back_paw")
ALONE = (
    "frames_per_scene=1", "group.count=1", "world.clutter=0", "world.occluders=0", "world.wall=0", "image.width=96",
    "image.height=96", "subject.between_species=0", "subject.pose.actions=stand", "subject.pose.blended=0",
    "subject.pose.jitter_deg=0", "subject.pose.raised_leg=0", "subject.pose.step_m=0", "subject.pose.head_yaw_deg=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def bases() -> SubjectLibrary:
    return load_library(load_recipe("quadrupeds"))


def standing(name: str) -> Recipe:
    return load_recipe("quadrupeds", (*ALONE, f"subject.species={name}"))


@pytest.mark.parametrize("name", species())
@pytest.mark.parametrize("azimuth_deg", [0, 180])
def test_painted_left_legs_lie_where_left_paws_are_labelled(bases, name, azimuth_deg):
    """Which skin is left follows from the bones that move it, which side of the picture that is from the rendering."""
    spec = sample_scene(standing(name), 0, {})
    camera = CameraSpec(azimuth_deg, 5, 0, 30, 0.9, (0, 0))
    stage = build_stage(replace(spec, cameras=(camera,)), bases)
    ((animal,),) = stage.subjects
    weights = bases.animals.bodies[species()[name].shape.base].weights
    sides = {side: [bone for bone_name, bone in BONE.items() if bone_name.endswith(side)] for side in ("_L", "_R")}
    height_m = animal.joints_world[:, 2].max()
    low = animal.vertices[: len(weights), 2] < 0.3 * height_m
    seen = {}
    for side, bones in sides.items():
        is_painted = np.zeros(len(animal.vertices), bool)
        is_painted[: len(weights)] = low & (weights[:, bones].sum(1) > 0.9)
        paint, other = animal.part_names.index("hooves"), animal.part_names.index("fur")
        parts = np.where(is_painted[animal.faces].all(1), paint, other).astype(np.uint8)
        renderer = PainterRenderer()
        renderer.set_stage(replace(stage, subjects=((replace(animal, face_parts=parts),),)))
        passes = renderer.render(0, 0)
        seen[side] = np.argwhere((passes.instances == 1) & (passes.parts == 1 + paint))[:, ::-1]
    assert min(len(pixels) for pixels in seen.values()) > 10
    left_of = seen["_L"][:, 0].mean() - seen["_R"][:, 0].mean()
    assert left_of < -2 if azimuth_deg == 180 else left_of > 2

    joints_px = project(stage.cameras[0], animal.joints_world)
    for paw in PAWS:
        for side, joint in (("_L", f"left_{paw}"), ("_R", f"right_{paw}")):
            point = joints_px[SKELETON.index(joint)]
            distance_px = {s: np.linalg.norm(pixels + 0.5 - point, axis=1).min() for s, pixels in seen.items()}
            assert distance_px[side] < 2 or distance_px[side] == min(distance_px.values()), joint
