"""Chooses animals: species, build, coat, and how they stand in each frame."""

import numpy as np

from synthgen.randomness import Draws
from synthgen.recipe.quadruped import QuadrupedRecipe
from synthgen.sampling.material import plain, sample_material
from synthgen.scene import Material, QuadrupedSpec
from synthgen.subjects.quadruped import JOINTS, SPECIES, TEXTURE_ASSET, QuadrupedPose, QuadrupedShape

# What a build may not exceed, however its factors are drawn.
_LEAST_FACTOR, _GREATEST_FACTOR = 0.35, 2.4


def sample_quadruped(recipe: QuadrupedRecipe, draws: Draws) -> QuadrupedSpec:
    species = draws.choice("species", recipe.species)
    factors = {}
    for name, value in vars(SPECIES[species]).items():
        if name in ("ear_flop", "coat_m", "mane"):
            factors[name] = value
            continue
        spread = draws.number(f"build_sigma-{name}", recipe.build_sigma)
        scaled = value * np.exp(draws.stream(f"build-{name}").normal(0, 1) * spread)
        factors[name] = float(np.clip(scaled, _LEAST_FACTOR, _GREATEST_FACTOR))
    if draws.chance("ear_flop_varies", recipe.ear_flop_varies):
        factors["ear_flop"] = draws.uniform("ear_flop")
    return QuadrupedSpec(
        kind="quadruped",
        species=species,
        shape=QuadrupedShape(**factors),
        materials={
            "fur": _sample_coat(recipe, draws),
            "mane": sample_material(recipe.coat, draws.within("mane")),
            "eyes": plain((0.1, 0.08, 0.07), 0.15),
            "iris": plain((0.16, 0.09, 0.05), 0.15),
        },
    )


def _sample_coat(recipe: QuadrupedRecipe, draws: Draws) -> Material:
    coat = sample_material(recipe.coat, draws.within("coat"))
    if not draws.chance("coat_texture", recipe.coat_texture):
        return coat
    return Material("plain", coat.colours, coat.repeats_per_m, coat.turn_deg, coat.roughness, texture=TEXTURE_ASSET)


def sample_quadruped_pose(recipe: QuadrupedRecipe, heading_deg: float, draws: Draws) -> QuadrupedPose:
    pose = recipe.pose
    sigma_deg = draws.number("jitter_deg", pose.jitter_deg)
    turns = draws.stream("jitter").normal(0, sigma_deg, len(JOINTS)).tolist()
    return QuadrupedPose(
        gait=draws.choice("gait", pose.gaits),
        phase=draws.uniform("phase"),
        stride=draws.number("stride", pose.stride),
        head_yaw_deg=draws.number("head_yaw_deg", pose.head_yaw_deg),
        head_pitch_deg=draws.number("head_pitch_deg", pose.head_pitch_deg),
        tail_lift_deg=draws.number("tail_lift_deg", pose.tail_lift_deg),
        tail_swing_deg=draws.number("tail_swing_deg", pose.tail_swing_deg),
        spine_bend_deg=draws.number("spine_bend_deg", pose.spine_bend_deg),
        mouth_open=draws.number("mouth_open", pose.mouth_open),
        jitter_deg=dict(zip(JOINTS, turns, strict=True)),
        heading_deg=heading_deg,
    )
