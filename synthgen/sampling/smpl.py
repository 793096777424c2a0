"""Chooses people on SMPL bodies: who they are, what they wear, and how they look and stand in each frame."""

from pathlib import Path

from synthgen.randomness import Draws
from synthgen.recipe.smpl import SmplRecipe
from synthgen.sampling.human import sample_hair, sample_iris, sample_skin
from synthgen.sampling.human_pose import sample_human_pose
from synthgen.sampling.material import plain, sample_material
from synthgen.scene import SmplSpec
from synthgen.subjects.smpl.body import SmplShape
from synthgen.subjects.smpl.clothes import Outfit
from synthgen.subjects.smpl.pose import SmplPose

_NUM_EXPRESSIONS = 10


def sample_smpl(recipe: SmplRecipe, draws: Draws) -> SmplSpec:
    """Everything about a person that the frames of a scene share."""
    clothes = recipe.clothes
    kinds = {name: draws.choice(name, getattr(clothes, name)) for name in ("top", "bottom", "hair")}
    cuts = ("sleeve", "leg", "hem", "hair_volume", "thickness_m")
    lengths = {name: draws.number(name, getattr(clothes, name)) for name in cuts}
    fabrics = {part: sample_material(clothes.fabric, draws.within(part)) for part in ("top", "bottom")}
    return SmplSpec(
        kind="human",
        species="human",
        model=Path(draws.choice("model", recipe.model)).name,
        shape=SmplShape(tuple(draws.number(f"beta-{k}", recipe.betas) for k in range(recipe.num_betas))),
        outfit=Outfit(**kinds, **lengths, shoes=draws.chance("shoes", clothes.shoes)),
        materials={
            "skin": sample_skin(draws.stream("skin")),
            "hair": sample_hair(draws.stream("hair_colour")),
            "eyes": plain((0.85, 0.83, 0.8), 0.25),
            "iris": sample_iris(draws.stream("iris")),
            "shoes": sample_material(clothes.shoe_fabric, draws.within("shoes")),
            **fabrics,
        },
    )


def sample_smpl_pose(
    recipe: SmplRecipe, clip_durations_s: dict[str, float], heading_deg: float, moves: bool, draws: Draws
) -> SmplPose:
    """A pose, as for every human body, and for SMPL-X a face."""
    pose = sample_human_pose(recipe.pose, clip_durations_s, heading_deg, moves, draws)
    expression, jaw_deg = (), 0.0
    if recipe.expression is not None:
        expression = tuple(draws.number(f"expression-{k}", recipe.expression) for k in range(_NUM_EXPRESSIONS))
    if recipe.jaw_deg is not None:
        jaw_deg = draws.number("jaw_deg", recipe.jaw_deg)
    return SmplPose(**vars(pose), expression=expression, jaw_deg=jaw_deg)
