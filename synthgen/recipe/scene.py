"""What may surround a subject: others of its kind, the world, lamps, cameras and their sensors."""

from pydantic import Field, model_validator

from synthgen.distributions import Constant, Normal, Uniform, names, number, support
from synthgen.forms import FORM_SIZES_M, SIMPLE_FORMS
from synthgen.recipe.material import MaterialRecipe
from synthgen.recipe.strict import Strict, even


class GroupRecipe(Strict):
    """How many subjects share a scene, and where the others stand round the first; they never reach into each other.

    `azimuth_deg` is told from the first camera: 0 stands before the first subject, 90 and 270 beside it, 180 behind.
    """

    count: number(1, 8) = Constant(1)
    azimuth_deg: number(0, 360) = Uniform(35, 325)
    gap_m: number(0, 20) = Uniform(0.1, 1.2)
    turn_deg: number(-180, 180) = Uniform(-180, 180)


class WorldRecipe(Strict):
    """Surroundings and the light that they give."""

    hdri: names() = Field(description="ids of environment maps, weighted")
    hdri_strength: number(0, 20) = Uniform(0.4, 1.6)
    floor: number(0, 1) = Constant(0.8)
    wall: number(0, 1) = Constant(0.5)
    wall_distance_m: number(0.5, 50) = Uniform(1, 5)
    wall_turn_deg: number(-60, 60) = Uniform(-35, 35)
    surface: MaterialRecipe = MaterialRecipe()
    floor_surface: MaterialRecipe | None = None
    wall_surface: MaterialRecipe | None = None
    photos: str | None = None
    photo: number(0, 1) = Constant(0)
    clutter: number(0, 20) = Uniform(0, 5)
    clutter_forms: names(*FORM_SIZES_M) = even(*SIMPLE_FORMS)
    occluders: number(0, 5) = Constant(0)
    occluder_size: number(0.02, 1) = Uniform(0.1, 0.3)

    @model_validator(mode="after")
    def _photos_come_from_somewhere(self) -> "WorldRecipe":
        if self.photos is None and support(self.photo)[1] > 0:
            raise ValueError("photo is above 0, but there is no folder of photos: set photos, or photo to 0")
        return self


class LightRecipe(Strict):
    """Lamps besides the environment map."""

    count: number(0, 4) = Uniform(0, 2)
    kind: names("sun", "area", "point") = even("sun", "area", "point")
    azimuth_deg: number(-180, 180) = Uniform(-180, 180)
    elevation_deg: number(0, 90) = Uniform(15, 80)
    distance_m: number(1, 30) = Uniform(2, 6)
    strength: number(0, 20) = Uniform(0.3, 2)
    size_m: number(0.01, 5) = Uniform(0.1, 1.5)
    tint: number(0, 1) = Uniform(0, 0.35)


class CameraRecipe(Strict):
    """Where cameras stand round the subjects, and how much of the picture what they aim at fills.

    With `ring_jitter_deg` the views after the first stand evenly round the scene, each turned by that much; without it
    each stands where `azimuth_deg` says.
    """

    aims_at: names("subject", "group") = even("subject")

    azimuth_deg: number(-180, 180) = Uniform(-180, 180)
    ring_jitter_deg: number(-180, 180) | None = None
    elevation_deg: number(-60, 80) = Uniform(-10, 40)
    roll_deg: number(-180, 180) = Constant(0)
    fov_deg: number(5, 120) = Uniform(25, 60)
    fill: number(0.1, 1.5) = Uniform(0.6, 0.92)
    shift: number(-0.5, 0.5) = Uniform(-0.06, 0.06)


class SensorRecipe(Strict):
    """What the sensor does after rendering; labels do not change."""

    exposure_ev: number(-6, 6) = Normal(0, 0.5, -1.5, 1.2)
    white_balance: number(0, 0.5) = Uniform(0, 0.12)
    contrast: number(0.3, 3) = Uniform(0.85, 1.25)
    blur_px: number(0, 10) = Uniform(0, 0.8)
    shake_px: number(0, 100) = Constant(0)
    noise: number(0, 0.5) = Uniform(0, 0.03)
    vignette: number(0, 1) = Uniform(0, 0.3)
    greyscale: number(0, 1) = Constant(0)
    compressed: number(0, 1) = Constant(0)
    compressed_quality: number(1, 100) = Uniform(20, 70)
