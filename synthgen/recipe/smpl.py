"""What people on the user's own SMPL, SMPL-H or SMPL-X bodies may look like, wear and do."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from synthgen.distributions import Choice, Constant, Normal, Uniform, names, number
from synthgen.recipe.human import PoseRecipe
from synthgen.recipe.material import MaterialRecipe
from synthgen.recipe.strict import Strict, even
from synthgen.subjects.people.motion_files import clip_name
from synthgen.subjects.smpl.bake import TITLES


class OutfitRecipe(Strict):
    """Clothes cut from the body itself. Lengths run from the shortest to the longest of a kind, 0..1."""

    top: names("none", "tank", "short", "long") = even("tank", "short", "long")
    bottom: names("briefs", "shorts", "trousers") = even("shorts", "trousers")
    sleeve: number(0, 1) = Uniform(0, 1)
    leg: number(0, 1) = Uniform(0, 1)
    hem: number(0, 1) = Uniform(0, 1)
    shoes: number(0, 1) = Constant(0.8)
    hair: names("bald", "short") = even("bald", "short")
    hair_volume: number(0, 1) = Uniform(0, 1)
    thickness_m: number(0.001, 0.03) = Uniform(0.003, 0.012)
    fabric: MaterialRecipe = MaterialRecipe()
    shoe_fabric: MaterialRecipe = MaterialRecipe()


class SmplRecipe(Strict):
    """People on bodies of model files that the user brings; `model` is one path or several, weighted (women and men).

    Paths start at the working directory. Each of the first `num_betas` shape coefficients is drawn from `betas`; SMPL-X
    also has a face: its first ten expression coefficients and its jaw.
    """

    kind: Literal["human"]
    body: Literal["smpl", "smplh", "smplx"]
    model: names() = Field(description="paths of model files, weighted")
    num_betas: int = Field(10, ge=0, le=300)
    betas: number(-5, 5) = Normal(0, 1, -3, 3)
    expression: number(-5, 5) | None = None
    jaw_deg: number(0, 40) | None = None
    pose: PoseRecipe
    clothes: OutfitRecipe = OutfitRecipe()

    @field_validator("body", mode="before")
    @classmethod
    def _is_a_known_body(cls, body: object) -> object:
        if body not in TITLES:
            raise ValueError(f"must be anny, {', '.join(TITLES)}, got {body!r}")
        return body

    @field_validator("model")
    @classmethod
    def _name_files_apart(cls, model: Choice) -> Choice:
        known: dict[str, str] = {}
        for name in model.names:
            if known.setdefault(clip_name(name), name) != name:
                raise ValueError(f"{known[clip_name(name)]} and {name} bear the same file name: rename one of them")
        return model

    @model_validator(mode="after")
    def _only_smplx_has_a_face(self) -> "SmplRecipe":
        if self.body != "smplx" and (self.expression, self.jaw_deg) != (None, None):
            raise ValueError(f"body {self.body} has no face: only smplx takes expression and jaw_deg")
        return self
