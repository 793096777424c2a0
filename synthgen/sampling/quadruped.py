"""Chooses animals: species, build, coat, and how they hold themselves in each frame."""

from dataclasses import fields

import numpy as np

from synthgen.distributions import Choice
from synthgen.randomness import Draws
from synthgen.recipe.quadruped import QuadrupedPoseRecipe, QuadrupedRecipe
from synthgen.sampling.coat import sample_coat
from synthgen.scene import QuadrupedSpec
from synthgen.subjects.animals.gaits import GAITS
from synthgen.subjects.animals.pose import LEGS, QuadrupedPose, clip_sources
from synthgen.subjects.animals.rig import BONES
from synthgen.subjects.animals.shape import ADDITIONS, GROWTHS, QuadrupedShape, limits
from synthgen.subjects.animals.species import species
from synthgen.subjects.animals.subject import TEXTURE_ASSET, TEXTURED_BASE

# Angles and other additions to a build spread by so much for each unit of build_sigma.
_SPREADS = {
    "neck_raise_deg": 80.0, "tail_raise_deg": 150.0, "hind_tuck_deg": 40.0, "hump": 0.6, "belly": 1.5,
}  # fmt: skip
# The tail's and the legs' ends turn freely; the rest of a pose's jitter is small where a bone carries much.
_JITTER_SHARES = {
    "pelvis": 0.3, "spine": 0.4, "scapula": 0.5, "hip": 0.3, "neck": 0.7, "ear": 2.0, "tail": 1.5, "jaw": 0.0,
}  # fmt: skip


def sample_quadruped(recipe: QuadrupedRecipe, draws: Draws) -> QuadrupedSpec:
    name = draws.choice("species", recipe.species)
    shape = _sample_shape(name, recipe, draws)
    has_photo = shape.base == TEXTURED_BASE
    coat, materials = sample_coat(recipe.coat, name, has_photo, TEXTURE_ASSET, draws.within("coat"))
    return QuadrupedSpec("quadruped", name, shape, coat, materials)


def _sample_shape(name: str, recipe: QuadrupedRecipe, draws: Draws) -> QuadrupedShape:
    """The species' build, perhaps on the way to another species of the same base, and varied."""
    own = species()[name].shape
    alike = [other for other in recipe.species.names if species()[other].shape.base == own.base]
    other = species()[draws.choice("other_species", Choice(tuple((each, 1.0) for each in alike)))].shape
    share = draws.uniform("between_share", 0, 0.5) if draws.chance("between_species", recipe.between_species) else 0.0
    sigma = draws.number("build_sigma", recipe.build_sigma)
    values = {"base": own.base}
    for item in fields(QuadrupedShape)[1:]:
        low, high = limits(item.name)
        start, end = getattr(own, item.name), getattr(other, item.name)
        deviation = sigma * draws.stream(f"build-{item.name}").normal()
        if item.name in ADDITIONS:
            value = start + share * (end - start) + _SPREADS.get(item.name, 0.0) * deviation
        elif item.name in GROWTHS:
            value = (start + share * (end - start)) * np.exp(deviation)
        else:
            value = start ** (1 - share) * end**share * np.exp(deviation)
        values[item.name] = float(np.clip(value, low, high))
    if draws.chance("ear_flop_varies", recipe.ear_flop_varies):
        values["ear_flop"] = draws.uniform("ear_flop")
    return QuadrupedShape(**values)


def sample_quadruped_pose(
    recipe: QuadrupedRecipe, shape: QuadrupedShape, heading_deg: float, moves: bool, draws: Draws
) -> QuadrupedPose:
    """A pose.

    Args:
        shape: of the animal: its base says which clips are its own kind's.
        moves: whether the frames of the scene follow it in time; then it is one motion, not a blend of two.
    """
    pose = recipe.pose
    sigma_rad = np.radians(draws.number("jitter_deg", pose.jitter_deg))
    turns = draws.stream("jitter").normal(0, sigma_rad, (len(BONES), 3)) * [1, 0.5, 0.5]
    is_blended = draws.chance("blended", pose.blended) and not moves
    raises = draws.chance("raised_leg", pose.raised_leg)
    return QuadrupedPose(
        motion=_sample_motion(pose, shape.base, draws),
        phase=draws.uniform("phase"),
        blend_motion=_sample_motion(pose, shape.base, draws.within("blend")) if is_blended else None,
        blend_phase=draws.uniform("blend_phase") if is_blended else 0.0,
        blend_share=draws.uniform("blend_share", 0, 0.5) if is_blended else 0.0,
        stride=draws.number("stride", pose.stride),
        mirrored=draws.chance("mirrored", pose.mirrored),
        head_yaw_deg=draws.number("head_yaw_deg", pose.head_yaw_deg),
        head_pitch_deg=draws.number("head_pitch_deg", pose.head_pitch_deg),
        tail_lift_deg=draws.number("tail_lift_deg", pose.tail_lift_deg),
        tail_swing_deg=draws.number("tail_swing_deg", pose.tail_swing_deg),
        spine_bend_deg=draws.number("spine_bend_deg", pose.spine_bend_deg),
        mouth_open=draws.number("mouth_open", pose.mouth_open),
        raised_leg=LEGS[draws.stream("which_leg").integers(len(LEGS))] if raises else None,
        raised_share=draws.uniform("raised_share", 0.3, 1) if raises else 0.0,
        jitter={
            name: tuple((_jitter_share(name) * turn).tolist())
            for name, turn in zip(BONES, turns, strict=True)
            if _jitter_share(name)
        },
        heading_deg=heading_deg,
        moves=moves,
    )


def _sample_motion(pose: QuadrupedPoseRecipe, base: str, draws: Draws) -> str:
    """A gait or stance, or a clip of the action, mostly one of the animal's own kind."""
    action = draws.choice("action", pose.actions)
    own, all_sources = clip_sources(action, base)
    from_clip = draws.chance("clips", pose.clips)
    sources = all_sources if draws.chance("foreign_clips", pose.foreign_clips) else own
    pick = draws.uniform("clip_source")
    if action in GAITS and not (from_clip and sources):
        return action
    return sources[int(pick * len(sources))]


def _jitter_share(bone: str) -> float:
    return next((share for stem, share in _JITTER_SHARES.items() if bone.startswith(stem)), 1.0)
