"""Builds what a SceneSpec says, as plain geometry for every engine alike: posed subjects, things and cameras.

World metres. numpy only; nothing is drawn here and nothing is rendered.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from posecore.camera import Camera, look_at, project
from posecore.transforms import invert_rigid, matrix_from_rotvec, transform_points
from synthgen.forms import SMOOTH_FORMS, unit_form
from synthgen.library import SubjectLibrary, pose_subject
from synthgen.scene import CameraSpec, FrameSpec, Material, PropSpec, SceneSpec
from synthgen.subjects.posed import PosedSubject

_LEAST_CAMERA_HEIGHT_M = 0.1
_FRAMING_STEPS = 8
_FLOOR_SIZE_M = 60.0
_WALL_SIZE_M = 40.0
_BEYOND_CAMERAS_M = 0.5  # of walls and clutter, where other cameras than the first look on


@dataclass(frozen=True, eq=False)
class Thing:
    """An unlabelled mesh: `vertices` [V, 3], quads `faces` [F, 4] (a triangle repeats its last index), one material.

    `place` [V, 3]: where each vertex lies in the material, m; None for the vertices' own places.
    """

    name: str
    vertices: np.ndarray
    faces: np.ndarray
    material: Material
    smooth: bool
    place: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Stage:
    """A scene as geometry.

    Attributes:
        subjects: for each frame, each subject, posed. Faces, parts and rest positions are the same in all frames.
        things: floor, wall and props, the same in all frames.
        cameras: one for each view, the same in all frames.
    """

    spec: SceneSpec
    subjects: tuple[tuple[PosedSubject, ...], ...]
    things: tuple[Thing, ...]
    cameras: tuple[Camera, ...]


def build_stage(spec: SceneSpec, library: SubjectLibrary) -> Stage:
    """All geometry of a scene."""
    subjects = _stand_apart(spec, tuple(_pose_frame(spec, frame, library) for frame in spec.frames))
    points = {"subject": _outline([frame[0] for frame in subjects]), "group": _outline(sum(subjects, ()))}
    cameras = tuple(place_camera(camera, points[camera.aims_at], spec.width, spec.height) for camera in spec.cameras)
    return Stage(spec=spec, subjects=subjects, things=tuple(_things(spec, points, cameras)), cameras=cameras)


def deepest_self_penetration_m(stage: Stage) -> float:
    """How deep a limb reaches into the body, of all subjects in all frames."""
    return max(subject.self_penetration_m for frame in stage.subjects for subject in frame)


def place_camera(spec: CameraSpec, points: np.ndarray, width: int, height: int) -> Camera:
    """Stand a camera so that the points fill the picture as the spec says.

    It looks along the spec's direction; distance and sideways place are found by a few fixed-point steps on the
    projected box. A camera that would stand below 0.1 m above the ground is raised to that height and tilted back to
    its target.

    Args:
        points: [N, 3] world metres.
    """
    focal_px = 0.5 * min(width, height) / np.tan(np.deg2rad(spec.fov_deg) / 2)
    K = np.array([[focal_px, 0.0, width / 2], [0.0, focal_px, height / 2], [0.0, 0.0, 1.0]])
    azimuth, elevation = np.deg2rad(spec.azimuth_deg), np.deg2rad(spec.elevation_deg)
    towards_camera = np.array(
        [np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)]
    )
    low, high = points.min(axis=0), points.max(axis=0)
    target = (low + high) / 2
    wanted_px = spec.fill * min(width, height)
    wanted_centre = np.array([width * (0.5 + spec.shift[0]), height * (0.5 + spec.shift[1])])
    radius = np.linalg.norm(high - low) / 2
    distance = radius * focal_px * 2 / wanted_px
    for _ in range(_FRAMING_STEPS):
        position = target + distance * towards_camera
        position[2] = max(position[2], _LEAST_CAMERA_HEIGHT_M)
        camera = Camera(width, height, K, look_at(position, target, np.deg2rad(spec.roll_deg)))
        depth = transform_points(camera.cam_from_world, points)[:, 2]
        if depth.min() < 0.1 * distance:
            distance *= 1.5
            continue
        pixels = project(camera, points)
        box_low, box_high = pixels.min(axis=0), pixels.max(axis=0)
        distance *= (box_high - box_low).max() / wanted_px
        off_px = (box_low + box_high) / 2 - wanted_centre
        right_and_down = camera.cam_from_world[:2, :3]
        target = target + (off_px / focal_px * distance) @ right_and_down
    return camera


def _pose_frame(spec: SceneSpec, frame: FrameSpec, library: SubjectLibrary) -> tuple[PosedSubject, ...]:
    return tuple(
        pose_subject(library, subject, pose, position_m)
        for subject, pose, position_m in zip(spec.subjects, frame.poses, frame.positions_m, strict=True)
    )


def _outline(subjects: Sequence[PosedSubject]) -> np.ndarray:
    """[N, 3] points that tell where subjects are: every eighth vertex is enough to frame a body by."""
    return np.concatenate([subject.vertices[::8] for subject in subjects]).astype(np.float64)


def _stand_apart(spec: SceneSpec, frames: tuple[tuple[PosedSubject, ...], ...]) -> tuple[tuple[PosedSubject, ...], ...]:
    """Move the subjects after the first to where their CompanionSpecs say; over all frames none reaches into another.

    Each goes along its direction until a plane across it, `gap_m` wide, parts it from all that stand there already.
    """
    if not spec.companions:
        return frames
    taken = _outline([frame[0] for frame in frames])[:, :2]
    offsets = [np.zeros(3, np.float32)]
    for number, companion in enumerate(spec.companions, start=1):
        own = _outline([frame[number] for frame in frames])[:, :2]
        azimuth = np.deg2rad(companion.azimuth_deg)
        direction = np.array([np.sin(azimuth), -np.cos(azimuth)])
        distance_m = (taken @ direction).max() + companion.gap_m - (own @ direction).min()
        offset = distance_m * direction
        taken = np.concatenate([taken, own + offset])
        offsets.append(np.array([*offset, 0], np.float32))
    return tuple(
        tuple(
            replace(subject, vertices=subject.vertices + offset, joints_world=subject.joints_world + offset)
            for subject, offset in zip(frame, offsets, strict=True)
        )
        for frame in frames
    )


def _things(spec: SceneSpec, outlines: dict[str, np.ndarray], cameras: tuple[Camera, ...]) -> list[Thing]:
    points = outlines["group"]
    centre = np.array([*points.mean(axis=0)[:2], 0.0])
    world, things = spec.world, []
    if world.floor is not None:
        corners = _FLOOR_SIZE_M / 2 * np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
        things.append(Thing("floor", corners, np.array([[0, 1, 2, 3]]), world.floor, smooth=False))
    if world.wall is not None:
        things.append(_wall(spec, points, centre, cameras, world.wall))
    for number, prop in enumerate(spec.props):
        vertices, faces = unit_form(prop.form)
        if prop.role == "clutter":
            vertices = _place_clutter(prop, vertices, centre, points, cameras)
        else:
            aimed_at = outlines[spec.cameras[prop.view].aims_at]
            vertices = _place_occluder(prop, vertices, aimed_at, cameras[prop.view])
        things.append(Thing(f"prop-{number}", vertices, faces, prop.material, smooth=prop.form in SMOOTH_FORMS))
    return things


def _wall(
    spec: SceneSpec, points: np.ndarray, centre: np.ndarray, cameras: tuple[Camera, ...], material: Material
) -> Thing:
    forward = cameras[0].cam_from_world[2, :3] * [1, 1, 0]
    forward = matrix_from_rotvec(np.array([0, 0, np.deg2rad(spec.world.wall_turn_deg)])) @ (
        forward / np.linalg.norm(forward)
    )
    # far enough behind that no limb reaches through it and no other camera stands beyond it
    distance = ((points - centre) @ forward).max() + spec.world.wall_distance_m
    for camera in cameras[1:]:
        distance = max(distance, (camera.position_world - centre) @ forward + _BEYOND_CAMERAS_M)
    right = np.cross(forward, [0, 0, 1.0])
    low, high = -0.05, _WALL_SIZE_M / 2
    corners = [
        centre + distance * forward + side * _WALL_SIZE_M / 2 * right + [0, 0, height]
        for side, height in ((-1, low), (1, low), (1, high), (-1, high))
    ]
    place = np.array(
        [[side * _WALL_SIZE_M / 2, height, 0] for side, height in ((-1, low), (1, low), (1, high), (-1, high))]
    )
    return Thing("wall", np.array(corners), np.array([[0, 1, 2, 3]]), material, smooth=False, place=place)


def _place_clutter(
    prop: PropSpec, vertices: np.ndarray, centre: np.ndarray, points: np.ndarray, cameras: tuple[Camera, ...]
) -> np.ndarray:
    """Stand a thing on the ground; one that would stand between a later camera and the subjects goes beyond it."""
    turn = np.linalg.multi_dot([matrix_from_rotvec(a) for a in np.diag(np.deg2rad(prop.turn_deg))])
    azimuth, distance_m = np.deg2rad(prop.place[0]), prop.place[1]
    reach_m = np.linalg.norm((points - centre)[:, :2], axis=1).max()
    direction = np.array([np.sin(azimuth), -np.cos(azimuth), 0])
    from_centre_m, half_width_m = reach_m + distance_m, np.linalg.norm(prop.size[:2]) / 2
    for camera in cameras[1:]:
        to_camera = ((camera.position_world - centre) * [1, 1, 0])[:2]
        ahead_m = direction[:2] @ to_camera / np.linalg.norm(to_camera) * from_centre_m
        aside_m = np.sqrt(max(from_centre_m**2 - ahead_m**2, 0))
        if ahead_m > 0 and aside_m < reach_m + half_width_m:
            from_centre_m = max(from_centre_m, np.linalg.norm(to_camera) + half_width_m + _BEYOND_CAMERAS_M)
    scaled = vertices * prop.size
    return (scaled + np.array([0, 0, prop.size[2] / 2])) @ turn.T + centre + from_centre_m * direction


def _place_occluder(prop: PropSpec, vertices: np.ndarray, points: np.ndarray, camera: Camera) -> np.ndarray:
    """Hang a thing between a camera and the points that it aims at."""
    turn = np.linalg.multi_dot([matrix_from_rotvec(a) for a in np.diag(np.deg2rad(prop.turn_deg))])
    in_camera = transform_points(camera.cam_from_world, points)
    nearest = in_camera[:, 2].min()
    depth = nearest * (1 - 0.6 * prop.place[2])
    pixels = project(camera, points)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    pixel = low + np.array(prop.place[:2]) * (high - low)
    at = np.array([*((pixel - camera.K[:2, 2]) / camera.K[0, 0] * depth), depth])
    size_m = prop.size[0] * (high - low).max() / camera.K[0, 0] * depth
    return transform_points(invert_rigid(camera.cam_from_world), at + size_m * vertices @ turn.T)
