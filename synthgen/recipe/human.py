"""What people may look like, wear and do."""

from typing import Literal, get_args

from pydantic import Field, field_validator

from synthgen.distributions import Choice, Constant, Uniform, names, number
from synthgen.recipe.material import MaterialRecipe
from synthgen.recipe.strict import Strict, even
from synthgen.subjects.people.headwear import HairKind
from synthgen.subjects.people.motion_files import clip_name, find_motion_files, is_motion_file
from synthgen.subjects.people.pose_families import ARMS, HANDS, POSTURES


class PoseRecipe(Strict):
    """Where a subject's poses come from and how they are varied.

    With probability `free` the joint angles of pelvis and legs (`postures`) and of the arms (`arms`) are drawn by
    family within anatomical limits instead; the family "clip" leaves them to the clip.
    A clip that ends in .bvh or .npz or has a slash is the user's own: a file, a folder or a glob, from the working
    directory on. The files of a folder or glob are listed when the recipe is loaded, and share its weight.
    """

    clips: names() = Field(description="names of motion clips, weighted")
    mixed_lower_body: number(0, 1) = Constant(0.0)
    blended: number(0, 1) = Constant(0.0)
    free: number(0, 1) = Constant(0.0)
    postures: names("clip", *POSTURES) = even("clip", *POSTURES)
    arms: names("clip", *ARMS) = even("clip", *ARMS)
    one_sided: number(0, 1) = Constant(0.3)
    mirrored: number(0, 1) = Constant(0.5)
    jitter_deg: number(0, 90) = Constant(6.0)
    heading_deg: number(-180, 180) = Constant(0.0)
    hands: names(*HANDS) = even(*HANDS)
    gaze_deg: number(0, 40) = Uniform(0, 25)
    step_m: number(0, 2) = Uniform(0, 0.25)

    @field_validator("clips")
    @classmethod
    def _list_motion_files(cls, clips: Choice) -> Choice:
        weights: dict[str, float] = {}
        for name, weight in clips.weights:
            files = find_motion_files(name) if is_motion_file(name) else (name,)
            for file in files:
                weights[file] = weights.get(file, 0) + weight / len(files)
        known: dict[str, str] = {}
        for name in weights:
            other = known.setdefault(clip_name(name), name)
            if other != name:
                raise ValueError(f"{other} and {name} would both be clip {clip_name(name)!r}: rename one of the files")
        return Choice(tuple(weights.items()))


class HumanShapeRecipe(Strict):
    """The body's phenotypes, each 0..1: gender 0 male, 1 female; age 0 baby, 1/3 child, 2/3 young adult, 1 old."""

    gender: number(0, 1) = Uniform(0, 1)
    age: number(0, 1) = Uniform(0.3, 1)
    muscle: number(0, 1) = Uniform(0.2, 0.9)
    weight: number(0, 1) = Uniform(0.2, 0.9)
    height: number(0, 1) = Uniform(0.2, 0.9)
    proportions: number(0, 1) = Uniform(0.3, 0.9)
    african: number(0, 1) = Uniform(0.01, 1)
    asian: number(0, 1) = Uniform(0.01, 1)
    caucasian: number(0, 1) = Uniform(0.01, 1)
    changes: number(0, 200) = Uniform(0, 60)
    change_strength: number(0, 1) = Constant(0.3)


class LooksRecipe(Strict):
    """Skin, hair colour and what varies over a face. Tones are places on the Monk Skin Tone Scale, 1..10."""

    skin_tone: number(1, 10) = Uniform(1, 10)
    skin_roughness: number(0, 1) = Uniform(0.4, 0.7)
    blush: number(0, 1) = Uniform(0.1, 0.8)
    sockets: number(0, 1) = Uniform(0.1, 0.8)
    freckles: number(0, 1) = Constant(0.15)
    stubble: number(0, 1) = Constant(0.5)
    lip_colour: number(0, 1) = Uniform(0.3, 1)
    lipstick: number(0, 1) = Constant(0.15)
    hair_colour: names(
        "black", "dark_brown", "brown", "auburn", "red", "blond", "grey", "white", "pink", "blue", "green"
    ) = even("black", "dark_brown", "brown", "auburn", "red", "blond", "grey")


class ClothesRecipe(Strict):
    """What people wear, hair included.

    Lengths run from the shortest to the longest of a kind, 0..1. On anybody but men the top `none` becomes a tank top;
    on men skirts become shorts; only they have beards and `hair_of_men`.
    """

    top: names("none", "tank", "short", "long") = even("tank", "short", "long")
    outer: names("none", "jacket", "hoodie", "vest") = even("none")
    bottom: names("briefs", "shorts", "trousers", "leggings", "skirt") = even("shorts", "trousers")
    dress: number(0, 1) = Constant(0.5)
    sleeve: number(0, 1) = Uniform(0, 1)
    leg: number(0, 1) = Uniform(0, 1)
    hem: number(0, 1) = Uniform(0, 1)
    neckline: number(0, 1) = Uniform(0, 1)
    looseness: number(0, 1) = Uniform(0, 1)
    opening: number(0, 1) = Uniform(0, 1)
    tucked: number(0, 1) = Constant(0.3)
    socks: number(0, 1) = Constant(0.5)
    shoes: names("none", "sneakers", "boots", "sandals") = even("sneakers")
    shaft: number(0, 1) = Uniform(0, 1)
    gloves: number(0, 1) = Constant(0)
    bag: names("none", "backpack") = even("none")
    hair: names(*get_args(HairKind)) = even("short", "bob", "long", "ponytail", "bun")
    hair_of_men: names(*get_args(HairKind)) = even("bald", "buzz", "receding", "short", "parted")
    hair_volume: number(0, 1) = Uniform(0, 1)
    hair_length: number(0, 1) = Uniform(0, 1)
    fringe: number(0, 1) = Uniform(0, 1)
    brow_weight: number(0, 1) = Uniform(0, 1)
    beard: names("none", "moustache", "goatee", "full") = even("none")
    hat: names("none", "beanie", "cap", "bucket", "brimmed", "helmet") = even("none")
    glasses: names("none", "glasses", "sunglasses") = even("none")
    round_lenses: number(0, 1) = Uniform(0, 1)
    thickness_m: number(0.001, 0.03) = Uniform(0.003, 0.012)
    fabric: MaterialRecipe = MaterialRecipe()
    bottom_fabric: MaterialRecipe = MaterialRecipe()
    shoe_fabric: MaterialRecipe = MaterialRecipe()


class ExpressionRecipe(Strict):
    """The faces that people make, anew in each frame."""

    family: names(
        "neutral", "smile", "laugh", "talk", "shout", "frown", "surprise", "squint", "eyes_closed", "pucker", "random"
    ) = even("neutral")
    strength: number(0, 1) = Uniform(0.3, 1)


class HumanRecipe(Strict):
    """People on the anny body; the bodies smpl, smplh and smplx have a recipe of their own (recipe/smpl.py)."""

    kind: Literal["human"]
    body: Literal["anny"] = "anny"
    shape: HumanShapeRecipe = HumanShapeRecipe()
    pose: PoseRecipe
    looks: LooksRecipe = LooksRecipe()
    clothes: ClothesRecipe = ClothesRecipe()
    expression: ExpressionRecipe = ExpressionRecipe()
