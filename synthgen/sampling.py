"""Draws scenes: a recipe and a number give a SceneSpec.

All randomness of synthgen is here. A chooser chooses and a builder builds: what is chosen here is built from the
SceneSpec elsewhere.
"""

import colorsys

import numpy as np

from synthgen.randomness import Draws
from synthgen.recipe import MaterialRecipe, Recipe
from synthgen.scene import (
    CameraSpec,
    Colour,
    FrameSpec,
    HumanSpec,
    LightSpec,
    Material,
    PropSpec,
    SceneSpec,
    SensorSpec,
    WorldSpec,
)
from synthgen.subjects.human import HumanPose, HumanShape, Wardrobe
from synthgen.subjects.mocap import DRIVERS

_PROP_FORMS = ("box", "ball", "cylinder", "cone")

# Skin from very light to very dark, sRGB: a line through measured skin colours, on which the recipe draws a place.
_SKIN_LIGHT = np.array([0.93, 0.78, 0.69])
_SKIN_MIDDLE = np.array([0.74, 0.53, 0.40])
_SKIN_DARK = np.array([0.24, 0.15, 0.11])

_HAIR_COLOURS = (
    (0.05, 0.04, 0.04), (0.16, 0.10, 0.06), (0.33, 0.20, 0.11), (0.62, 0.46, 0.26), (0.42, 0.17, 0.08), (0.6, 0.6, 0.6),
)  # fmt: skip
_IRIS_COLOURS = ((0.16, 0.09, 0.05), (0.28, 0.17, 0.08), (0.3, 0.4, 0.48), (0.32, 0.38, 0.22))


def sample_scene(recipe: Recipe, scene: int, clip_durations_s: dict[str, float], attempt: int = 0) -> SceneSpec:
    """Everything about one scene.

    Args:
        scene: its number, 0 and up. attempt: 0, or how often this scene was rejected before.
        clip_durations_s: length of each motion clip that the recipe may name.
    """
    draws = Draws(recipe.seed, scene, attempt)
    cameras = tuple(_sample_camera(recipe, draws.within(f"camera-{view}")) for view in range(recipe.views_per_frame))
    return SceneSpec(
        recipe=recipe.name,
        seed=recipe.seed,
        scene=scene,
        attempt=attempt,
        width=recipe.image.width,
        height=recipe.image.height,
        subjects=(_sample_human(recipe, draws.within("human")),),
        frames=tuple(
            _sample_frame(recipe, clip_durations_s, draws, draws.within(f"frame-{frame}"))
            for frame in range(recipe.frames_per_scene)
        ),
        cameras=cameras,
        world=_sample_world(recipe, draws.within("world")),
        lights=tuple(
            _sample_light(recipe, draws.within(f"light-{light}"))
            for light in range(draws.integer("lights.count", recipe.lights.count))
        ),
        props=_sample_props(recipe, cameras[0], draws),
        sensor=_sample_sensor(recipe, draws.within("sensor")),
    )


def _sample_human(recipe: Recipe, draws: Draws) -> HumanSpec:
    shape, clothes = recipe.subject.shape, recipe.subject.clothes
    phenotypes = {name: draws.number(name, getattr(shape, name)) for name in type(shape).model_fields}
    kinds = {name: draws.choice(name, getattr(clothes, name)) for name in ("top", "bottom", "hair", "hat")}
    cuts = (
        "sleeve", "leg", "hem", "neckline", "looseness", "boots", "hair_volume", "hair_length", "thickness_m",
    )  # fmt: skip
    lengths = {name: draws.number(name, getattr(clothes, name)) for name in cuts}
    wardrobe = Wardrobe(
        **kinds,
        **lengths,
        tucked=draws.chance("tucked", clothes.tucked),
        shoes=draws.chance("shoes", clothes.shoes),
    )
    fabrics = {part: sample_material(clothes.fabric, draws.within(part)) for part in ("top", "bottom", "shoes", "hat")}
    return HumanSpec(
        kind="human",
        shape=HumanShape(**phenotypes),
        wardrobe=wardrobe,
        materials={
            "skin": _sample_skin(draws.stream("skin")),
            "lips": _sample_lips(draws.stream("skin")),
            "hair": _sample_hair(draws.stream("hair_colour")),
            "eyes": _plain((0.85, 0.83, 0.8), 0.25),
            "iris": _plain(_IRIS_COLOURS[draws.stream("iris").integers(len(_IRIS_COLOURS))], 0.2),
            **fabrics,
        },
    )


def _skin_colour(rng: np.random.Generator) -> np.ndarray:
    place = rng.uniform(0, 2)
    ends = (_SKIN_LIGHT, _SKIN_MIDDLE) if place < 1 else (_SKIN_MIDDLE, _SKIN_DARK)
    colour = ends[0] + (place % 1) * (ends[1] - ends[0])
    return np.clip(colour * rng.uniform(0.92, 1.08, 3), 0, 1)


def _sample_lips(rng: np.random.Generator) -> Material:
    colour = np.clip(_skin_colour(rng) * np.array([0.95, 0.68, 0.68]), 0, 1)  # the skin's own stream: the same skin
    return _plain(_colour(colour), 0.45)


def _sample_skin(rng: np.random.Generator) -> Material:
    colour = _skin_colour(rng)
    reddened = np.clip(colour * np.array([1.06, 0.93, 0.92]), 0, 1)
    return Material("noise", (_colour(colour), _colour(reddened)), 14.0, (0.0, 0.0, 0.0), float(rng.uniform(0.4, 0.7)))


def _sample_hair(rng: np.random.Generator) -> Material:
    colour = np.array(_HAIR_COLOURS[rng.integers(len(_HAIR_COLOURS))]) * rng.uniform(0.7, 1.3)
    strands = np.clip(colour * rng.uniform(1.2, 1.9), 0, 1)
    roughness = float(rng.uniform(0.35, 0.7))
    return Material("noise", (_colour(colour), _colour(strands)), 60.0, (0.0, 0.0, 0.0), roughness, bump=0.4)


def _sample_frame(recipe: Recipe, clip_durations_s: dict[str, float], scene_draws: Draws, draws: Draws) -> FrameSpec:
    pose = recipe.subject.pose
    clip, lower_clip = draws.choice("clip", pose.clips), draws.choice("lower_clip", pose.clips)
    is_mixed = draws.chance("mixed_lower_body", pose.mixed_lower_body)
    sigma_rad = np.deg2rad(draws.number("jitter_deg", pose.jitter_deg))
    turns = draws.stream("jitter").normal(0, sigma_rad, (len(DRIVERS), 3)).tolist()
    human_pose = HumanPose(
        clip=clip,
        time_s=draws.uniform("time_s", 0, clip_durations_s[clip]),
        lower_clip=lower_clip if is_mixed else None,
        lower_time_s=draws.uniform("lower_time_s", 0, clip_durations_s[lower_clip]) if is_mixed else 0.0,
        mirrored=draws.chance("mirrored", pose.mirrored),
        jitter={driver: tuple(turn) for driver, turn in zip(DRIVERS, turns, strict=True) if driver != "root"},
        hand_curl_left=draws.number("left_hand_curl", pose.hand_curl),
        hand_curl_right=draws.number("right_hand_curl", pose.hand_curl),
        heading_deg=scene_draws.number("heading_deg", pose.heading_deg),
    )
    step_m, direction = draws.number("step_m", pose.step_m), draws.uniform("step_direction", 0, 2 * np.pi)
    position = (float(step_m * np.cos(direction)), float(step_m * np.sin(direction)))
    return FrameSpec(poses=(human_pose,), positions_m=(position,))


def _sample_camera(recipe: Recipe, draws: Draws) -> CameraSpec:
    camera = recipe.camera
    return CameraSpec(
        azimuth_deg=draws.number("azimuth_deg", camera.azimuth_deg),
        elevation_deg=draws.number("elevation_deg", camera.elevation_deg),
        roll_deg=draws.number("roll_deg", camera.roll_deg),
        fov_deg=draws.number("fov_deg", camera.fov_deg),
        fill=draws.number("fill", camera.fill),
        shift=(draws.number("shift_x", camera.shift), draws.number("shift_y", camera.shift)),
    )


def _sample_world(recipe: Recipe, draws: Draws) -> WorldSpec:
    world = recipe.world
    has_floor, has_wall = draws.chance("floor", world.floor), draws.chance("wall", world.wall)
    return WorldSpec(
        hdri=draws.choice("hdri", world.hdri),
        turn_deg=draws.uniform("turn_deg", -180, 180),
        strength=draws.number("hdri_strength", world.hdri_strength),
        floor=sample_material(world.surface, draws.within("floor_surface")) if has_floor else None,
        wall=sample_material(world.surface, draws.within("wall_surface")) if has_wall else None,
        wall_distance_m=draws.number("wall_distance_m", world.wall_distance_m),
        wall_turn_deg=draws.number("wall_turn_deg", world.wall_turn_deg),
    )


def _sample_light(recipe: Recipe, draws: Draws) -> LightSpec:
    lights = recipe.lights
    tint = draws.number("tint", lights.tint)
    return LightSpec(
        kind=draws.choice("kind", lights.kind),
        azimuth_deg=draws.number("azimuth_deg", lights.azimuth_deg),
        elevation_deg=draws.number("elevation_deg", lights.elevation_deg),
        distance_m=draws.number("distance_m", lights.distance_m),
        strength=draws.number("strength", lights.strength),
        size_m=draws.number("size_m", lights.size_m),
        colour=_colour(colorsys.hsv_to_rgb(draws.uniform("hue"), tint, 1.0)),
    )


def _sample_props(recipe: Recipe, camera: CameraSpec, draws: Draws) -> tuple[PropSpec, ...]:
    world = recipe.world
    props = []
    for number in range(draws.integer("clutter", world.clutter)):
        clutter = draws.within(f"clutter-{number}")
        behind_deg = camera.azimuth_deg + 180 + clutter.uniform("azimuth_deg", -75, 75)
        place = (behind_deg, clutter.uniform("distance_m", 0.8, 3.5), 0.0)
        size = tuple(clutter.stream("size").uniform(0.15, 1.0, 3).tolist())
        turn_deg = (0.0, 0.0, clutter.uniform("turn_deg", 0, 360))
        props.append(_sample_prop("clutter", place, size, turn_deg, world.surface, clutter))
    for number in range(draws.integer("occluders", world.occluders)):
        occluder = draws.within(f"occluder-{number}")
        place = tuple(occluder.stream("place").uniform((0, 0, 0.15), (1, 1, 0.5)).tolist())
        size = (occluder.number("size", world.occluder_size),) * 3
        turn_deg = tuple(occluder.stream("turn_deg").uniform(0, 360, 3).tolist())
        props.append(_sample_prop("occluder", place, size, turn_deg, world.surface, occluder))
    return tuple(props)


def _sample_prop(
    role: str,
    place: tuple[float, ...],
    size: tuple[float, ...],
    turn_deg: tuple[float, ...],
    surface: MaterialRecipe,
    draws: Draws,
) -> PropSpec:
    return PropSpec(
        role=role,
        form=_PROP_FORMS[draws.stream("form").integers(len(_PROP_FORMS))],
        place=place,
        size=size,
        turn_deg=turn_deg,
        material=sample_material(surface, draws.within("surface")),
    )


def _sample_sensor(recipe: Recipe, draws: Draws) -> SensorSpec:
    sensor = recipe.sensor
    spread = draws.number("white_balance", sensor.white_balance)
    return SensorSpec(
        exposure_ev=draws.number("exposure_ev", sensor.exposure_ev),
        white_balance=_colour(1 + draws.stream("white_balance_gains").uniform(-spread, spread, 3)),
        contrast=draws.number("contrast", sensor.contrast),
        blur_px=draws.number("blur_px", sensor.blur_px),
        noise=draws.number("noise", sensor.noise),
        noise_seed=int(draws.stream("noise_seed").integers(2**31)),
        vignette=draws.number("vignette", sensor.vignette),
    )


def sample_material(recipe: MaterialRecipe, draws: Draws) -> Material:
    """A random procedural surface."""
    first, second = (
        _colour(
            colorsys.hsv_to_rgb(
                draws.uniform(f"hue-{number}"),
                draws.number(f"saturation-{number}", recipe.saturation),
                draws.number(f"value-{number}", recipe.value),
            )
        )
        for number in range(2)
    )
    return Material(
        pattern=draws.choice("pattern", recipe.pattern),
        colours=(first, second),
        repeats_per_m=draws.number("repeats_per_m", recipe.repeats_per_m),
        turn_deg=tuple(draws.stream("turn_deg").uniform(0, 360, 3).tolist()),
        roughness=draws.number("roughness", recipe.roughness),
        bump=draws.number("bump", recipe.bump),
    )


def _plain(colour: Colour, roughness: float) -> Material:
    return Material("plain", (colour, colour), 1.0, (0.0, 0.0, 0.0), roughness)


def _colour(values: np.ndarray | tuple[float, ...]) -> Colour:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
