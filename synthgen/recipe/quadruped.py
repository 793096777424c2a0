"""What animals may look like and do."""

from typing import Literal

from synthgen.distributions import Constant, Uniform, names, number
from synthgen.recipe.material import MaterialRecipe
from synthgen.recipe.strict import Strict, even
from synthgen.subjects.quadruped import SPECIES


class QuadrupedPoseRecipe(Strict):
    """How animals stand and move; angles beyond the rig's joint limits are brought into them."""

    gaits: names("stand", "walk", "trot", "gallop", "sit", "lie", "graze") = even("stand", "walk", "trot")
    stride: number(0, 1.5) = Uniform(0.5, 1.2)
    head_yaw_deg: number(-90, 90) = Uniform(-40, 40)
    head_pitch_deg: number(-60, 60) = Uniform(-20, 30)
    tail_lift_deg: number(-90, 120) = Uniform(-20, 60)
    tail_swing_deg: number(-90, 90) = Uniform(-40, 40)
    spine_bend_deg: number(-40, 40) = Uniform(-15, 15)
    mouth_open: number(0, 1) = Uniform(0, 0.6)
    jitter_deg: number(0, 30) = Constant(3)
    heading_deg: number(-180, 180) = Constant(0)
    step_m: number(0, 2) = Uniform(0, 0.2)


class QuadrupedRecipe(Strict):
    """Animals: builds of one rigged dog. `build_sigma` is the spread of each factor's logarithm about its species'."""

    kind: Literal["quadruped"]
    species: names(*SPECIES) = even(*SPECIES)
    build_sigma: number(0, 0.5) = Constant(0.08)
    ear_flop_varies: number(0, 1) = Constant(0.3)
    coat_texture: number(0, 1) = Constant(0.5)
    coat: MaterialRecipe = MaterialRecipe()
    pose: QuadrupedPoseRecipe = QuadrupedPoseRecipe()
