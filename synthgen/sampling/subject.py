"""Chooses subjects; the one place that knows which kind is chosen where."""

from dataclasses import replace

from synthgen.randomness import Draws
from synthgen.recipe.human import HumanRecipe
from synthgen.recipe.quadruped import QuadrupedRecipe
from synthgen.recipe.smpl import SmplRecipe
from synthgen.sampling.human import sample_face, sample_human
from synthgen.sampling.human_pose import sample_human_pose
from synthgen.sampling.quadruped import sample_quadruped, sample_quadruped_pose
from synthgen.sampling.smpl import sample_smpl, sample_smpl_pose
from synthgen.scene import PoseSpec, SubjectSpec
from synthgen.subjects.animals.pose import QuadrupedPose
from synthgen.subjects.people.pose import HumanPose


def sample_subject(recipe: HumanRecipe | SmplRecipe | QuadrupedRecipe, draws: Draws) -> SubjectSpec:
    """Everything about a subject that the frames of a scene share."""
    match recipe:
        case HumanRecipe():
            return sample_human(recipe, draws)
        case SmplRecipe():
            return sample_smpl(recipe, draws)
        case QuadrupedRecipe():
            return sample_quadruped(recipe, draws)


def sample_pose(
    recipe: HumanRecipe | SmplRecipe | QuadrupedRecipe,
    subject: SubjectSpec,
    clip_durations_s: dict[str, float],
    moves: bool,
    scene_draws: Draws,
    draws: Draws,
) -> PoseSpec:
    """A subject's pose in one frame.

    Args:
        subject: whose pose.
        moves: whether the frames of the scene follow one motion.
        scene_draws: what the frames share (the heading). draws: what is the frame's own.
    """
    heading_deg = scene_draws.number("heading_deg", recipe.pose.heading_deg)
    match recipe:
        case HumanRecipe():
            pose = sample_human_pose(recipe.pose, clip_durations_s, heading_deg, moves, draws)
            return replace(pose, face=sample_face(recipe.expression, draws))
        case SmplRecipe():
            return sample_smpl_pose(recipe, clip_durations_s, heading_deg, moves, draws)
        case QuadrupedRecipe():
            return sample_quadruped_pose(recipe, subject.shape, heading_deg, moves, draws)


def advance_pose(pose: PoseSpec, seconds: float) -> PoseSpec:
    """The same motion that many seconds later."""
    match pose:
        case HumanPose() | QuadrupedPose():
            return replace(pose, elapsed_s=seconds)
