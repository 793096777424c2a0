"""Recipes: what may vary in a dataset, as strict YAML. recipes/humans_dr.yaml shows every field with comments.

Models are frozen and refuse unknown keys; the support of every distribution is checked against what its field allows.
Angles in degrees, lengths in metres, shares 0..1.
"""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from posecore.resources import resource_dir
from posecore.settings import load_settings
from synthgen.recipe.human import HumanRecipe
from synthgen.recipe.quadruped import QuadrupedRecipe
from synthgen.recipe.scene import CameraRecipe, GroupRecipe, LightRecipe, SensorRecipe, WorldRecipe
from synthgen.recipe.smpl import SmplRecipe
from synthgen.recipe.strict import Strict

_TAGS = frozenset({"uniform", "log_uniform", "normal", "choice"})  # of distributions


class ImageRecipe(Strict):
    """Size in pixels, file format, JPEG quality, and the layers stored besides image and mask."""

    width: int = Field(256, ge=16, le=4096)
    height: int = Field(256, ge=16, le=4096)
    format: Literal["jpg", "png"] = "jpg"
    quality: int = Field(92, ge=1, le=100)
    layers: tuple[Literal["depth", "normal", "parts"], ...] = ()


class EngineRecipe(Strict):
    """The renderer and, for Blender's, its quality. `device: auto` takes a GPU if Blender finds one."""

    name: Literal["cycles", "eevee", "pyrender", "painter"] = "cycles"
    samples: int = Field(4, ge=1, le=4096)
    denoise: bool = True
    bounces: int = Field(2, ge=0, le=64)
    device: Literal["auto", "cpu", "gpu"] = "auto"


class LimitsRecipe(Strict):
    """What each picture must show of a scene's first subject; scenes that fail are drawn anew and counted."""

    visible_px: int = Field(100, ge=0, description="least pixels of the subject")
    occlusion: float = Field(0.7, ge=0, le=1)
    truncation: float = Field(0.6, ge=0, le=1)
    self_penetration_m: float = Field(0.03, ge=0, description="deepest that a limb of anyone reaches into the body")


def _of_known_kind(subject: Any) -> Any:
    kind = _field(subject, "kind")
    if kind not in ("human", "quadruped"):
        raise ValueError(f"kind must be human or quadruped, got {kind!r}")
    return subject


def _subject_tag(subject: Any) -> str:
    """Which recipe a subject's section is: people on the packaged body or on one of the user's, or animals."""
    kind = _field(subject, "kind")
    return "smpl" if kind == "human" and _field(subject, "body") not in (None, "anny") else kind


def _field(subject: Any, name: str) -> Any:
    return subject.get(name) if isinstance(subject, dict) else getattr(subject, name, None)


SubjectRecipe = Annotated[
    Annotated[HumanRecipe, Tag("human")]
    | Annotated[SmplRecipe, Tag("smpl")]
    | Annotated[QuadrupedRecipe, Tag("quadruped")],
    Discriminator(_subject_tag),
    BeforeValidator(_of_known_kind),
]


class Recipe(Strict):
    """A whole recipe."""

    version: Literal[1]
    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    count: int = Field(ge=1, description="samples to render, rounded up to whole scenes")
    seed: int = Field(0, ge=0)
    frames_per_scene: int = Field(2, ge=1, le=100)
    views_per_frame: int = Field(1, ge=1, le=100)
    scenes_per_shard: int = Field(64, ge=1)
    image: ImageRecipe = ImageRecipe()
    engine: EngineRecipe = EngineRecipe()
    motion: Literal["still", "clip"] = "still"
    frame_rate_hz: float = Field(25.0, gt=0, le=1000, description="of the frames of a scene, if they follow a motion")
    group: GroupRecipe = GroupRecipe()
    subject: SubjectRecipe
    world: WorldRecipe
    lights: LightRecipe = LightRecipe()
    camera: CameraRecipe = CameraRecipe()
    sensor: SensorRecipe = SensorRecipe()
    limits: LimitsRecipe = LimitsRecipe()

    @property
    def samples_per_scene(self) -> int:
        return self.frames_per_scene * self.views_per_frame

    @property
    def num_scenes(self) -> int:
        return -(-self.count // self.samples_per_scene)

    def to_dict(self) -> dict[str, Any]:
        """Plain values of every field, defaults included: what dataset.json keeps."""
        return self.model_dump(mode="json")

    @property
    def hash(self) -> str:
        """sha256 over all that decides what a sample looks like: everything but the number of samples."""
        content = {name: value for name, value in self.to_dict().items() if name != "count"}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def load_recipe(name_or_path: str, overrides: tuple[str, ...] = ()) -> Recipe:
    """A packaged recipe by name, or any by path; what it `extends` is filled in.

    Args:
        overrides: "a.b=value", applied before validation.

    Raises:
        UserError: not found, or refused; one line for each problem.
    """
    return load_settings(Recipe, name_or_path, resource_dir("recipes"), "recipe", overrides, whole=_TAGS)
