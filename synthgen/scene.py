"""What a scene is: every number that was drawn, and nothing that follows from them.

A SceneSpec is frozen and JSON-able; it travels with each sample as its provenance. Nothing right of it draws: the
same spec gives the same geometry, labels and, on one machine, the same pixels. World: z up, metres, ground at z = 0.
Angles in degrees: an azimuth of 0 looks at a subject's face when its heading is 0, and grows towards its left side
(+x). Colours are sRGB, 0..1.
"""

from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal

from pydantic import TypeAdapter

from synthgen.subjects.animals.coat import Coat
from synthgen.subjects.animals.pose import QuadrupedPose
from synthgen.subjects.animals.shape import QuadrupedShape
from synthgen.subjects.people.body import HumanShape
from synthgen.subjects.people.clothes import Wardrobe
from synthgen.subjects.people.paint import Complexion
from synthgen.subjects.people.pose import HumanPose
from synthgen.subjects.smpl.body import SmplShape
from synthgen.subjects.smpl.clothes import Outfit
from synthgen.subjects.smpl.pose import SmplPose

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Material:
    """A procedural surface.

    Attributes:
        pattern: how `colours` are laid out over the rest position of the surface, so that it moves with a body.
        repeats_per_m: how fine the pattern is. turn_deg: Euler angles of the pattern's axes.
        roughness: 0 mirror-like .. 1 matt. bump: depth of the relief that follows the fine noise, 0..1.
        texture: id of an image asset that replaces the pattern (tinted by the first colour), or None.
        sheen: how much lighter the surface is where it turns away from the eye, as hair is; 0 not at all.
    """

    pattern: Literal[
        "plain", "noise", "stripes", "checker", "cells", "gradient", "bricks", "plaid", "dots", "denim", "knit",
        "camouflage", "mottled", "grass", "planks", "tiles", "strands", "freckles",
    ]  # fmt: skip
    colours: tuple[Colour, Colour]
    repeats_per_m: float
    turn_deg: tuple[float, float, float]
    roughness: float
    bump: float = 0.0
    texture: str | None = None
    sheen: float = 0.0


@dataclass(frozen=True)
class HumanSpec:
    """Identity of a person: build, clothes, what varies over the skin, and the material of each part of the mesh."""

    kind: Literal["human"]
    species: Literal["human"]
    shape: HumanShape
    wardrobe: Wardrobe
    complexion: Complexion
    materials: dict[str, Material]


@dataclass(frozen=True)
class SmplSpec:
    """Identity of a person on a body that the user brings; `model` is the bare name of the model's file."""

    kind: Literal["human"]
    species: Literal["human"]
    model: str
    shape: SmplShape
    outfit: Outfit
    materials: dict[str, Material]


@dataclass(frozen=True)
class QuadrupedSpec:
    """Identity of an animal: species, build, coat, and the material of each part of the mesh."""

    kind: Literal["quadruped"]
    species: str
    shape: QuadrupedShape
    coat: Coat
    materials: dict[str, Material]


SubjectSpec = HumanSpec | SmplSpec | QuadrupedSpec
PoseSpec = HumanPose | SmplPose | QuadrupedPose


@dataclass(frozen=True)
class FrameSpec:
    """One moment.

    Attributes:
        poses: one for each subject. positions_m: x and y of each subject from its place in the scene.
        time_s: since the first frame, where the frames of the scene follow a motion; else None.
    """

    poses: tuple[PoseSpec, ...]
    positions_m: tuple[tuple[float, float], ...]
    time_s: float | None = None


@dataclass(frozen=True)
class CompanionSpec:
    """Where a subject after the first stands: in a direction from the first one, `gap_m` clear of all before it."""

    azimuth_deg: float
    gap_m: float


@dataclass(frozen=True)
class CameraSpec:
    """Where a camera stands round what it aims at; its distance follows from `fill`.

    Attributes:
        aims_at: the first subject, or all of them.
        fill: longer side of the box of what it aims at, over all frames, as a share of the image's shorter side.
        shift: offset of the box's centre from the image's centre, as a share of the image's width and height.
    """

    azimuth_deg: float
    elevation_deg: float
    roll_deg: float
    fov_deg: float
    fill: float
    shift: tuple[float, float]
    aims_at: Literal["subject", "group"] = "subject"


@dataclass(frozen=True)
class WorldSpec:
    """Surroundings: an environment map for light and distance, and the surfaces near the subjects.

    Attributes:
        hdri: id of an environment map. turn_deg: its rotation about z. strength: factor on its light.
        floor, wall: materials, or None for none. The wall stands behind the subjects as the first camera sees them,
            `wall_distance_m` away and turned by `wall_turn_deg`.
        photo: id of one of the user's photos, which the first camera sees behind everything, not the map; or None.
    """

    hdri: str
    turn_deg: float
    strength: float
    floor: Material | None
    wall: Material | None
    wall_distance_m: float
    wall_turn_deg: float
    photo: str | None = None


@dataclass(frozen=True)
class LightSpec:
    """A lamp. `strength` is the irradiance at the subjects, relative to a sunny day's 1.0; `size_m` softens shadows."""

    kind: Literal["sun", "area", "point"]
    azimuth_deg: float
    elevation_deg: float
    distance_m: float
    strength: float
    size_m: float
    colour: Colour


@dataclass(frozen=True)
class PropSpec:
    """A thing that is not labelled.

    Attributes:
        role: "clutter" stands on the ground behind the subjects as the first camera sees them; "occluder" hangs between
            a camera and what it aims at. view: number of that camera.
        place: clutter: azimuth (degrees) and distance (m) from the scene's centre, unused; occluder: horizontal and
            vertical place within the box of what the camera aims at, 0..1, and how far towards the camera, 0..1.
        size_m: width, depth, height for clutter. For an occluder its share of that box, three numbers alike.
    """

    role: Literal["clutter", "occluder"]
    form: Literal[
        "box", "ball", "cylinder", "cone", "table", "chair", "sofa", "shelf", "pole", "plant", "tree", "barrier"
    ]
    place: tuple[float, float, float]
    size: tuple[float, float, float]
    turn_deg: tuple[float, float, float]
    material: Material
    view: int = 0


@dataclass(frozen=True)
class SensorSpec:
    """What the camera's sensor does to the picture after rendering; labels do not change.

    Attributes:
        exposure_ev: stops above an exposure that brings the picture to middle grey.
        white_balance: gains of red, green and blue. contrast: slope about middle grey, 1 leaves it.
        blur_px: Gaussian sigma. shake_px, shake_deg: length and direction (0 along x, towards y) of the camera's
            movement while the shutter is open; the labels are those of its middle.
        noise: sigma of Gaussian noise at white, of the range 0..1. noise_seed: of that noise.
        vignette: darkening in the corners, 0..1. greyscale: no colour.
        jpeg_quality: of a compression that the picture went through before it was stored, or None.
    """

    exposure_ev: float
    white_balance: Colour
    contrast: float
    blur_px: float
    noise: float
    noise_seed: int
    vignette: float
    shake_px: float = 0.0
    shake_deg: float = 0.0
    greyscale: bool = False
    jpeg_quality: int | None = None


@dataclass(frozen=True)
class SceneSpec:
    """Everything drawn for one scene. `attempt` counts how often the scene was rejected before."""

    recipe: str
    seed: int
    scene: int
    attempt: int
    width: int
    height: int
    subjects: tuple[SubjectSpec, ...]
    companions: tuple[CompanionSpec, ...]
    frames: tuple[FrameSpec, ...]
    cameras: tuple[CameraSpec, ...]
    world: WorldSpec
    lights: tuple[LightSpec, ...]
    props: tuple[PropSpec, ...]
    sensor: SensorSpec


def scene_to_dict(spec: SceneSpec) -> dict[str, Any]:
    """Plain JSON values of a spec, exact."""
    return asdict(spec)


def scene_from_dict(content: dict[str, Any]) -> SceneSpec:
    """The spec that `scene_to_dict` gave. Raises pydantic.ValidationError if it is not one."""
    return _spec_adapter().validate_python(content)


@cache
def _spec_adapter() -> TypeAdapter[SceneSpec]:  # takes 40 ms to build
    return TypeAdapter(SceneSpec)
