"""Draws scenes: a recipe and a number give a SceneSpec.

All randomness of synthgen is here. A chooser chooses and a builder builds: what is chosen here is built from the
SceneSpec elsewhere.
"""

import colorsys
from dataclasses import replace

import numpy as np

from synthgen.backdrop import photo_ids
from synthgen.forms import FORM_SIZES_M, SIMPLE_FORMS
from synthgen.randomness import Draws
from synthgen.recipe import Recipe
from synthgen.recipe.material import MaterialRecipe
from synthgen.sampling.material import as_colour, sample_laid_material, sample_material
from synthgen.sampling.subject import advance_pose, sample_pose, sample_subject
from synthgen.scene import (
    CameraSpec,
    CompanionSpec,
    FrameSpec,
    LightSpec,
    PropSpec,
    SceneSpec,
    SensorSpec,
    SubjectSpec,
    WorldSpec,
)


def sample_scene(recipe: Recipe, scene: int, clip_durations_s: dict[str, float], attempt: int = 0) -> SceneSpec:
    """Everything about one scene.

    Args:
        scene: its number, 0 and up. attempt: 0, or how often this scene was rejected before.
        clip_durations_s: length of each motion clip that the recipe may name.
    """
    draws = Draws(recipe.seed, scene, attempt)
    cameras = _sample_cameras(recipe, draws)
    count = draws.integer("group.count", recipe.group.count)
    subjects = tuple(
        sample_subject(recipe.subject, draws.within(f"subject-{n}" if n else "subject")) for n in range(count)
    )
    return SceneSpec(
        recipe=recipe.name,
        seed=recipe.seed,
        scene=scene,
        attempt=attempt,
        width=recipe.image.width,
        height=recipe.image.height,
        subjects=subjects,
        companions=tuple(_sample_companion(recipe, cameras[0], draws.within(f"subject-{n}")) for n in range(1, count)),
        frames=tuple(
            _sample_frame(recipe, clip_durations_s, subjects, frame, draws) for frame in range(recipe.frames_per_scene)
        ),
        cameras=cameras,
        world=_sample_world(recipe, draws.within("world")),
        lights=tuple(
            _sample_light(recipe, draws.within(f"light-{light}"))
            for light in range(draws.integer("lights.count", recipe.lights.count))
        ),
        props=_sample_props(recipe, cameras, draws),
        sensor=_sample_sensor(recipe, draws.within("sensor")),
    )


def _sample_frame(
    recipe: Recipe,
    clip_durations_s: dict[str, float],
    subjects: tuple[SubjectSpec, ...],
    frame: int,
    scene_draws: Draws,
) -> FrameSpec:
    """A moment: drawn anew for each frame, or the first frame's moment, `frame` ticks later."""
    moves = recipe.motion == "clip"
    frame_draws = scene_draws.within("frame-0" if moves else f"frame-{frame}")
    time_s = frame / recipe.frame_rate_hz if moves else None
    poses, positions_m = [], []
    for number, subject in enumerate(subjects):
        own_scene_draws = scene_draws.within(f"subject-{number}") if number else scene_draws
        draws = frame_draws.within(f"subject-{number}") if number else frame_draws
        pose = sample_pose(recipe.subject, subject, clip_durations_s, moves, own_scene_draws, draws)
        if number:
            turn_deg = own_scene_draws.number("turn_deg", recipe.group.turn_deg)
            pose = replace(pose, heading_deg=_wrapped_deg(pose.heading_deg + turn_deg))
        poses.append(advance_pose(pose, time_s) if time_s else pose)
        step_m = draws.number("step_m", recipe.subject.pose.step_m)
        direction = draws.uniform("step_direction", 0, 2 * np.pi)
        positions_m.append((float(step_m * np.cos(direction)), float(step_m * np.sin(direction))))
    return FrameSpec(poses=tuple(poses), positions_m=tuple(positions_m), time_s=time_s)


def _sample_companion(recipe: Recipe, camera: CameraSpec, draws: Draws) -> CompanionSpec:
    azimuth_deg = camera.azimuth_deg + draws.number("azimuth_deg", recipe.group.azimuth_deg)
    return CompanionSpec(_wrapped_deg(azimuth_deg), draws.number("gap_m", recipe.group.gap_m))


def _sample_cameras(recipe: Recipe, draws: Draws) -> tuple[CameraSpec, ...]:
    num_views = recipe.views_per_frame
    cameras = [_sample_camera(recipe, draws.within(f"camera-{view}")) for view in range(num_views)]
    jitter_deg = recipe.camera.ring_jitter_deg
    if jitter_deg is None:
        return tuple(cameras)
    for view in range(1, num_views):
        turn_deg = draws.within(f"camera-{view}").number("ring_jitter_deg", jitter_deg)
        azimuth_deg = _wrapped_deg(cameras[0].azimuth_deg + 360 * view / num_views + turn_deg)
        cameras[view] = replace(cameras[view], azimuth_deg=azimuth_deg)
    return tuple(cameras)


def _wrapped_deg(angle: float) -> float:
    """The same direction within -180..180."""
    return (angle + 180) % 360 - 180


def _sample_camera(recipe: Recipe, draws: Draws) -> CameraSpec:
    camera = recipe.camera
    return CameraSpec(
        azimuth_deg=draws.number("azimuth_deg", camera.azimuth_deg),
        elevation_deg=draws.number("elevation_deg", camera.elevation_deg),
        roll_deg=draws.number("roll_deg", camera.roll_deg),
        fov_deg=draws.number("fov_deg", camera.fov_deg),
        fill=draws.number("fill", camera.fill),
        shift=(draws.number("shift_x", camera.shift), draws.number("shift_y", camera.shift)),
        aims_at=draws.choice("aims_at", camera.aims_at),
    )


def _sample_world(recipe: Recipe, draws: Draws) -> WorldSpec:
    world = recipe.world
    photo = _sample_photo(recipe, draws)
    has_floor = photo is None and draws.chance("floor", world.floor)
    has_wall = photo is None and draws.chance("wall", world.wall)
    return WorldSpec(
        hdri=draws.choice("hdri", world.hdri),
        turn_deg=draws.uniform("turn_deg", -180, 180),
        strength=draws.number("hdri_strength", world.hdri_strength),
        floor=sample_laid_material(world.floor_surface or world.surface, draws.within("floor_surface"))
        if has_floor
        else None,
        wall=sample_laid_material(world.wall_surface or world.surface, draws.within("wall_surface"))
        if has_wall
        else None,
        wall_distance_m=draws.number("wall_distance_m", world.wall_distance_m),
        wall_turn_deg=draws.number("wall_turn_deg", world.wall_turn_deg),
        photo=photo,
    )


def _sample_photo(recipe: Recipe, draws: Draws) -> str | None:
    world = recipe.world
    if world.photos is None or not draws.chance("photo", world.photo):
        return None
    ids = photo_ids(world.photos)
    return ids[draws.stream("photo_number").integers(len(ids))]


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
        colour=as_colour(colorsys.hsv_to_rgb(draws.uniform("hue"), tint, 1.0)),
    )


def _sample_props(recipe: Recipe, cameras: tuple[CameraSpec, ...], draws: Draws) -> tuple[PropSpec, ...]:
    world = recipe.world
    props = []
    has_photo = _sample_photo(recipe, draws.within("world")) is not None
    for number in range(0 if has_photo else draws.integer("clutter", world.clutter)):
        clutter = draws.within(f"clutter-{number}")
        behind_deg = cameras[0].azimuth_deg + 180 + clutter.uniform("azimuth_deg", -75, 75)
        place = (behind_deg, clutter.uniform("distance_m", 0.8, 3.5), 0.0)
        form = clutter.choice("form", world.clutter_forms)
        low, high = np.array(FORM_SIZES_M[form]).T
        size = tuple(clutter.stream("size").uniform(low, high).tolist())
        turn_deg = (0.0, 0.0, clutter.uniform("turn_deg", 0, 360))
        props.append(_sample_prop("clutter", form, place, size, turn_deg, world.surface, clutter))
    for number in range(draws.integer("occluders", world.occluders)):
        occluder = draws.within(f"occluder-{number}")
        form = SIMPLE_FORMS[occluder.stream("form").integers(len(SIMPLE_FORMS))]
        place = tuple(occluder.stream("place").uniform((0, 0, 0.15), (1, 1, 0.5)).tolist())
        size = (occluder.number("size", world.occluder_size),) * 3
        turn_deg = tuple(occluder.stream("turn_deg").uniform(0, 360, 3).tolist())
        view = int(occluder.stream("view").integers(len(cameras)))
        props.append(replace(_sample_prop("occluder", form, place, size, turn_deg, world.surface, occluder), view=view))
    return tuple(props)


def _sample_prop(
    role: str,
    form: str,
    place: tuple[float, ...],
    size: tuple[float, ...],
    turn_deg: tuple[float, ...],
    surface: MaterialRecipe,
    draws: Draws,
) -> PropSpec:
    return PropSpec(
        role=role,
        form=form,
        place=place,
        size=size,
        turn_deg=turn_deg,
        material=sample_material(surface, draws.within("surface")),
    )


def _sample_sensor(recipe: Recipe, draws: Draws) -> SensorSpec:
    sensor = recipe.sensor
    spread = draws.number("white_balance", sensor.white_balance)
    is_compressed = draws.chance("compressed", sensor.compressed)
    quality = draws.number("compressed_quality", sensor.compressed_quality)
    return SensorSpec(
        exposure_ev=draws.number("exposure_ev", sensor.exposure_ev),
        white_balance=as_colour(1 + draws.stream("white_balance_gains").uniform(-spread, spread, 3)),
        contrast=draws.number("contrast", sensor.contrast),
        blur_px=draws.number("blur_px", sensor.blur_px),
        noise=draws.number("noise", sensor.noise),
        noise_seed=int(draws.stream("noise_seed").integers(2**31)),
        vignette=draws.number("vignette", sensor.vignette),
        shake_px=draws.number("shake_px", sensor.shake_px),
        shake_deg=draws.uniform("shake_deg", 0, 180),
        greyscale=draws.chance("greyscale", sensor.greyscale),
        jpeg_quality=round(quality) if is_compressed else None,
    )
