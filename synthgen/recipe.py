"""Recipes: what may vary in a dataset, as strict YAML. recipes/humans_dr.yaml shows every field with comments.

Models are frozen and refuse unknown keys; the support of every distribution is checked against what its field allows.
Angles in degrees, lengths in metres, shares 0..1.
"""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from posecore.resources import resource_dir
from posecore.settings import load_settings
from synthgen.distributions import Choice, Constant, Normal, Uniform, names, number
from synthgen.subjects.quadruped import SPECIES

_TAGS = frozenset({"uniform", "log_uniform", "normal", "choice"})  # of distributions


def _even(*options: str) -> Choice:
    return Choice(tuple((option, 1.0) for option in options))


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ImageRecipe(_Strict):
    """Size in pixels, file format, JPEG quality, and the layers stored besides image and mask."""

    width: int = Field(256, ge=16, le=4096)
    height: int = Field(256, ge=16, le=4096)
    format: Literal["jpg", "png"] = "jpg"
    quality: int = Field(92, ge=1, le=100)
    layers: tuple[Literal["depth", "normal", "parts"], ...] = ()


class EngineRecipe(_Strict):
    """The renderer and its quality. `device: auto` takes a GPU if Blender finds one."""

    name: Literal["cycles", "painter"] = "cycles"
    samples: int = Field(4, ge=1, le=4096)
    denoise: bool = True
    bounces: int = Field(2, ge=0, le=64)
    device: Literal["auto", "cpu", "gpu"] = "auto"


class MaterialRecipe(_Strict):
    """Random procedural surfaces: hue is drawn evenly, saturation and value as given."""

    pattern: names("plain", "noise", "stripes", "checker", "cells", "gradient", "bricks") = _even("plain", "noise")
    saturation: number(0, 1) = Uniform(0, 0.9)
    value: number(0, 1) = Uniform(0.08, 0.95)
    repeats_per_m: number(0.01, 500) = Uniform(2, 30)
    roughness: number(0, 1) = Uniform(0.4, 1)
    bump: number(0, 1) = Constant(0)


class PoseRecipe(_Strict):
    """Where a subject's poses come from and how they are varied."""

    clips: names() = Field(description="names of motion clips, weighted")
    mixed_lower_body: number(0, 1) = Constant(0.0)
    mirrored: number(0, 1) = Constant(0.5)
    jitter_deg: number(0, 90) = Constant(6.0)
    heading_deg: number(-180, 180) = Constant(0.0)
    hand_curl: number(0, 1) = Uniform(0.05, 0.7)
    step_m: number(0, 2) = Uniform(0, 0.25)


class HumanShapeRecipe(_Strict):
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


class ClothesRecipe(_Strict):
    """What people wear; the top `none` is for men and becomes a tank top on others.

    Lengths run from the shortest to the longest of a kind, 0..1.
    """

    top: names("none", "tank", "short", "long") = _even("tank", "short", "long")
    bottom: names("briefs", "shorts", "trousers", "skirt") = _even("shorts", "trousers")
    sleeve: number(0, 1) = Uniform(0, 1)
    leg: number(0, 1) = Uniform(0, 1)
    hem: number(0, 1) = Uniform(0, 1)
    neckline: number(0, 1) = Uniform(0, 1)
    looseness: number(0, 1) = Uniform(0, 1)
    tucked: number(0, 1) = Constant(0.3)
    shoes: number(0, 1) = Constant(0.8)
    boots: number(0, 1) = Constant(0)
    hair: names("bald", "short", "bob", "long") = _even("short", "bob", "long")
    hair_volume: number(0, 1) = Uniform(0, 1)
    hair_length: number(0, 1) = Uniform(0, 1)
    hat: names("none", "beanie", "cap") = _even("none")
    thickness_m: number(0.001, 0.03) = Uniform(0.003, 0.012)
    fabric: MaterialRecipe = MaterialRecipe()


class HumanRecipe(_Strict):
    """People on the anny body."""

    kind: Literal["human"]
    body: Literal["anny"] = "anny"
    shape: HumanShapeRecipe = HumanShapeRecipe()
    pose: PoseRecipe
    clothes: ClothesRecipe = ClothesRecipe()


class QuadrupedPoseRecipe(_Strict):
    """How animals stand and move; angles beyond the rig's joint limits are brought into them."""

    gaits: names("stand", "walk", "trot", "gallop", "sit", "lie", "graze") = _even("stand", "walk", "trot")
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


class QuadrupedRecipe(_Strict):
    """Animals: builds of one rigged dog. `build_sigma` is the spread of each factor's logarithm about its species'."""

    kind: Literal["quadruped"]
    species: names(*SPECIES) = _even(*SPECIES)
    build_sigma: number(0, 0.5) = Constant(0.08)
    ear_flop_varies: number(0, 1) = Constant(0.3)
    coat_texture: number(0, 1) = Constant(0.5)
    coat: MaterialRecipe = MaterialRecipe()
    pose: QuadrupedPoseRecipe = QuadrupedPoseRecipe()


class WorldRecipe(_Strict):
    """Surroundings and the light that they give."""

    hdri: names() = Field(description="ids of environment maps, weighted")
    hdri_strength: number(0, 20) = Uniform(0.4, 1.6)
    floor: number(0, 1) = Constant(0.8)
    wall: number(0, 1) = Constant(0.5)
    wall_distance_m: number(0.5, 50) = Uniform(1, 5)
    wall_turn_deg: number(-60, 60) = Uniform(-35, 35)
    surface: MaterialRecipe = MaterialRecipe()
    clutter: number(0, 20) = Uniform(0, 5)
    occluders: number(0, 5) = Constant(0)
    occluder_size: number(0.02, 1) = Uniform(0.1, 0.3)


class LightRecipe(_Strict):
    """Lamps besides the environment map."""

    count: number(0, 4) = Uniform(0, 2)
    kind: names("sun", "area", "point") = _even("sun", "area", "point")
    azimuth_deg: number(-180, 180) = Uniform(-180, 180)
    elevation_deg: number(0, 90) = Uniform(15, 80)
    distance_m: number(1, 30) = Uniform(2, 6)
    strength: number(0, 20) = Uniform(0.3, 2)
    size_m: number(0.01, 5) = Uniform(0.1, 1.5)
    tint: number(0, 1) = Uniform(0, 0.35)


class CameraRecipe(_Strict):
    """Where cameras stand round the subject and how much of the picture it fills."""

    azimuth_deg: number(-180, 180) = Uniform(-180, 180)
    elevation_deg: number(-60, 80) = Uniform(-10, 40)
    roll_deg: number(-180, 180) = Constant(0)
    fov_deg: number(5, 120) = Uniform(25, 60)
    fill: number(0.1, 1.5) = Uniform(0.6, 0.92)
    shift: number(-0.5, 0.5) = Uniform(-0.06, 0.06)


class SensorRecipe(_Strict):
    """What the sensor does after rendering; labels do not change."""

    exposure_ev: number(-6, 6) = Normal(0, 0.5, -1.5, 1.2)
    white_balance: number(0, 0.5) = Uniform(0, 0.12)
    contrast: number(0.3, 3) = Uniform(0.85, 1.25)
    blur_px: number(0, 10) = Uniform(0, 0.8)
    noise: number(0, 0.5) = Uniform(0, 0.03)
    vignette: number(0, 1) = Uniform(0, 0.3)


class LimitsRecipe(_Strict):
    """What a frame must show to be kept; scenes that fail are drawn anew and counted."""

    visible_px: int = Field(100, ge=0, description="least pixels of the subject")
    occlusion: float = Field(0.7, ge=0, le=1)
    truncation: float = Field(0.6, ge=0, le=1)


class Recipe(_Strict):
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
    subject: Annotated[HumanRecipe | QuadrupedRecipe, Field(discriminator="kind")]
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
