"""What of a subject a camera sees: each joint's visibility, and how much of the figure is hidden or cut off.

A joint is judged by one ray from the camera to it. Flesh and cloth round a joint do not hide it: an annotator marks a
hip under trousers as visible. So the first surface on the ray may be the joint's own flesh, which lies near the joint
now AND near it at rest; a hand on the hip is near now, but far at rest, and hides the hip. Anything else in front hides
the joint. Geometry alone decides, so the answer does not depend on the size of the picture or on the engine.
"""

from functools import lru_cache

import numpy as np

from posecore.camera import Camera, project_cam
from posecore.sample import HIDDEN_BY_OTHER, HIDDEN_BY_SELF, OUTSIDE, VISIBLE, inside_frame
from posecore.transforms import transform_points
from synthgen.rays import RayMesh, SeenMesh, split_quads
from synthgen.renderer import Passes
from synthgen.stage import Stage, Thing
from synthgen.subjects.posed import PosedSubject

# Flesh in front of a joint is its limb's radius, more if the limb is seen end on, plus cloth and hair.
_RADIUS_FACTOR = 1.5
_CLOTH_M = 0.035
_REST_FACTOR = 2.0  # skin stretches: at rest a joint's flesh may lie twice as far from it as where it counts now
_TOUCH_M = 0.005  # what touches a joint from outside, such as the floor under a toe, does not hide it

_MARGIN = 1.0  # how far outside the frame a figure is looked for, in image sizes on each side
_MOST_OUTSIDE_RAYS = 20_000


def flesh_m(limb_radius_m: np.ndarray) -> np.ndarray:
    """How far in front of each joint [J] its own flesh and cloth may lie without hiding it, m."""
    return _RADIUS_FACTOR * limb_radius_m + _CLOTH_M


def joint_visibility(stage: Stage, frame: int, view: int, number: int) -> np.ndarray:
    """Visibility [J] uint8 of the joints of subject `number` (0 and up), in the codes of posecore.sample."""
    subjects, camera = stage.subjects[frame], stage.cameras[view]
    subject, eye = subjects[number], camera.position_world
    joints_cam = transform_points(camera.cam_from_world, subject.joints_world)
    joints_px, depth_m = project_cam(camera.K, joints_cam), joints_cam[:, 2]
    towards = subject.joints_world - eye  # a ray's distance is 1 at its joint
    metres = np.linalg.norm(towards, axis=1)
    before = ~np.isnan(joints_px[:, 0])  # who is behind the camera is outside
    own, own_corners = _seen(subject, camera).first_hits(np.where(before[:, None], joints_px, 0))
    own_distance = own.distance / np.where(before, depth_m, 1)
    others = np.full(len(towards), np.inf)
    for other in subjects:
        if other is not subject:
            hits, _ = _seen(other, camera).first_hits(np.where(before[:, None], joints_px, 0))
            others = np.minimum(others, hits.distance / np.where(before, depth_m, 1))
    for mesh in _things_mesh(stage.things):
        others = np.minimum(others, mesh.first_hits(eye, towards).distance)

    flesh = flesh_m(subject.limb_radius_m)
    surface_rest = (subject.rest[own_corners] * own.weights[..., None]).sum(axis=1)
    away_at_rest = np.linalg.norm(surface_rest - subject.joints_rest, axis=1)
    is_flesh = ((1 - own_distance) * metres <= flesh) & (away_at_rest <= _REST_FACTOR * flesh)
    by_self = (own_distance < 1) & ~is_flesh
    by_other = (others < own_distance) & ((1 - others) * metres > _TOUCH_M)
    level = np.where(by_other, HIDDEN_BY_OTHER, np.where(by_self, HIDDEN_BY_SELF, VISIBLE))
    inside = inside_frame(joints_px, camera.width, camera.height)
    return np.where(inside, level, OUTSIDE).astype(np.uint8)


def hidden_shares(stage: Stage, frame: int, view: int, number: int, passes: Passes) -> tuple[float, float]:
    """Occlusion and truncation, 0..1, of subject `number` (0 and up).

    Occlusion: the share of the figure's pixels within the frame where something nearer is seen instead. Truncation: the
    share of its whole area that lies outside the frame; what lies more than one image size outside is not counted, but
    a figure of which nothing is nearer is truncated wholly.
    """
    camera = stage.cameras[view]
    figure = _seen(stage.subjects[frame][number], camera)
    low, high = _box(camera, figure.pixels)
    mask = passes.instances == number + 1
    hidden_px = _hidden_px(figure, passes, mask, low, high)
    within_px = mask.sum() + hidden_px
    outside_px = _outside_px(figure, camera, low, high)
    occlusion = hidden_px / within_px if within_px else 1.0
    if within_px + outside_px:
        truncation = outside_px / (outside_px + within_px)
    else:
        truncation = (low < 0).any() or (high > [camera.width, camera.height]).any()
    return float(occlusion), float(truncation)


def _box(camera: Camera, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Low and high corner [2] of the box of a figure's vertices' pixels, within the frame and its margin."""
    size = np.array([camera.width, camera.height])
    least, most = -_MARGIN * size, (1 + _MARGIN) * size
    if np.isnan(pixels).any():  # part of it is behind the camera: it may reach anywhere
        return least, most
    return np.clip(pixels.min(axis=0), least, most), np.clip(pixels.max(axis=0), least, most)


def _hidden_px(figure: SeenMesh, passes: Passes, mask: np.ndarray, low: np.ndarray, high: np.ndarray) -> int:
    """Pixels where the subject would be seen if nothing stood before it: only where something nearer than its far end
    is seen within its box need a ray be cast."""
    first, last = np.maximum(np.floor(low), 0).astype(int), np.maximum(np.ceil(high), 0).astype(int)
    window = np.s_[first[1] : last[1], first[0] : last[0]]
    row, column = np.nonzero(~mask[window] & (passes.depth_m[window] < figure.farthest_m))
    row, column = row + first[1], column + first[0]
    depth_m = _depth_m(figure, np.stack([column, row], axis=1) + 0.5)
    return int((np.isfinite(depth_m) & (depth_m > passes.depth_m[row, column])).sum())


def _outside_px(figure: SeenMesh, camera: Camera, low: np.ndarray, high: np.ndarray) -> float:
    """Area in pixels that the subject covers outside the frame."""
    if (low >= 0).all() and (high <= [camera.width, camera.height]).all():
        return 0.0
    step = max(1.0, np.sqrt((high - low).prod() / _MOST_OUTSIDE_RAYS))
    x, y = (np.arange(start + step / 2, end, step) for start, end in zip(low, high, strict=True))
    pixels = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    pixels = pixels[~inside_frame(pixels, camera.width, camera.height)]
    return float(np.isfinite(_depth_m(figure, pixels)).sum() * step**2)


def _depth_m(figure: SeenMesh, pixels: np.ndarray) -> np.ndarray:
    """Planar depth [N] of a figure alone at pixels [N, 2], infinite beside it."""
    return figure.first_hits(pixels)[0].distance if len(pixels) else np.zeros(0)


# Joints, silhouettes and neighbours all ask for the same meshes.
@lru_cache(maxsize=8)
def _seen(subject: PosedSubject, camera: Camera) -> SeenMesh:
    return SeenMesh(camera, subject.vertices, subject.faces)


@lru_cache(maxsize=2)
def _things_mesh(things: tuple[Thing, ...]) -> tuple[RayMesh, ...]:
    """One mesh of all things, or none."""
    if not things:
        return ()
    firsts = np.cumsum([0, *(len(thing.vertices) for thing in things[:-1])])
    triangles = [split_quads(thing.faces)[0] + first for thing, first in zip(things, firsts, strict=True)]
    return (RayMesh(np.concatenate([thing.vertices for thing in things]), np.concatenate(triangles)),)
