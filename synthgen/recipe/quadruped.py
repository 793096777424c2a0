"""What animals may look like and do."""

from typing import Literal

from synthgen.distributions import Constant, LogUniform, Uniform, names, number
from synthgen.recipe.strict import Strict, even
from synthgen.subjects.animals.coat import KINDS
from synthgen.subjects.animals.pose import ACTIONS
from synthgen.subjects.animals.species import species

_SPECIES = tuple(species())


class QuadrupedPoseRecipe(Strict):
    """How animals stand and move; angles beyond the rig's joint limits are brought into them."""

    actions: names(*ACTIONS) = even("stand", "walk", "trot", "idle")
    clips: number(0, 1) = Constant(0.6)
    foreign_clips: number(0, 1) = Constant(0.15)
    blended: number(0, 1) = Constant(0.2)
    mirrored: number(0, 1) = Constant(0.5)
    stride: number(0, 1.5) = Uniform(0.6, 1.15)
    raised_leg: number(0, 1) = Constant(0.05)
    head_yaw_deg: number(-90, 90) = Uniform(-40, 40)
    head_pitch_deg: number(-60, 60) = Uniform(-20, 30)
    tail_lift_deg: number(-90, 120) = Uniform(-20, 60)
    tail_swing_deg: number(-90, 90) = Uniform(-40, 40)
    spine_bend_deg: number(-40, 40) = Uniform(-15, 15)
    mouth_open: number(0, 1) = Uniform(0, 0.6)
    jitter_deg: number(0, 30) = Constant(3)
    heading_deg: number(-180, 180) = Constant(0)
    step_m: number(0, 2) = Uniform(0, 0.2)


class CoatRecipe(Strict):
    """Coats: the species' own (assets/coats.yaml), or random ones."""

    typical: number(0, 1) = Constant(0.75)
    colour_sigma: number(0, 1) = Uniform(0.03, 0.15)
    photo: number(0, 1) = Constant(0.4)
    hairs_per_m: number(10, 500) = Uniform(100, 250)
    roughness: number(0, 1) = Uniform(0.6, 1)
    bump: number(0, 1) = Uniform(0, 0.5)
    sheen: number(0, 2) = Uniform(0, 0.8)
    any_colour: number(0, 1) = Constant(0.3)
    saturation: number(0, 1) = Uniform(0.05, 0.6)
    value: number(0, 1) = Uniform(0.08, 0.9)
    regions: number(0, 10) = Uniform(0, 5)
    markings: names(*KINDS) = even(*KINDS)
    repeats: number(0.3, 30) = LogUniform(1, 16)
    cover: number(0, 1) = Uniform(0.2, 0.7)
    irregularity: number(0, 1) = Uniform(0.1, 1)


class QuadrupedRecipe(Strict):
    """Animals: species are builds of few bases. `build_sigma` is the spread of the logarithms of their factors."""

    kind: Literal["quadruped"]
    species: names(*_SPECIES) = even(*_SPECIES)
    between_species: number(0, 1) = Constant(0.2)
    build_sigma: number(0, 0.5) = Constant(0.06)
    ear_flop_varies: number(0, 1) = Constant(0.2)
    coat: CoatRecipe = CoatRecipe()
    pose: QuadrupedPoseRecipe = QuadrupedPoseRecipe()
