"""From a shard's record to a frame in memory: its pixels, and its main subject's labels in the trained joints.

Pixels stay encoded until they are needed, unless the whole dataset is held decoded. Labels are those of the whole
stored picture, before any crop; pixels: (0, 0) is the outer corner of the top-left one; cameras have OpenCV's axes.
A frame that cannot serve as x (nobody in view, too few joints in the crop, a joint at the camera) is kept and marked:
it can still be someone's partner.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from posecore.camera import Camera
from posecore.codec import decode, decode_image, image_member, read_meta
from posecore.derived_joints import derive_joints
from posecore.errors import UserError
from posecore.sample import OUTSIDE, Sample, Subject, inside_frame
from posecore.skeleton import Skeleton, load_skeleton, rotation_map
from posecore.transforms import matrix_from_rotation_6d
from posecore.viewpoint import camera_angles_deg
from trainer.data.augment import Labels, Warp, centre_warp
from trainer.data.config import DataConfig

_MIN_DEPTH_M = 0.05


@dataclass(frozen=True)
class Frame:
    """One frame as it is held in memory: its pixels still encoded, or decoded where the dataset is cached.

    Attributes:
        number: of the frame in its scene or clip.
        pixels: the record's members, or (image [H, W, 3], mask [H, W] or None), or None where only labels are needed.
        labels, subject_id: of the main subject; None and 0 for real frames.
        usable: whether it can serve as x.
        size: width, height where labels are known.
        camera: of a real frame, where it is calibrated.
        views, moment: frames of one name and moment show one subject; None where the camera is not known.
        other_views: those of other cameras, which know of none themselves.
    """

    key: str
    number: int
    pixels: dict[str, bytes] | tuple[np.ndarray, np.ndarray | None] | None
    labels: Labels | None
    subject_id: int
    usable: bool
    size: tuple[int, int] | None = None
    camera: Camera | None = None
    views: str | None = None
    moment: int | None = None
    other_views: tuple[Frame, ...] = ()


Group = tuple[Frame, ...]
"""The frames of one scene and view, or of one clip: each other's partners."""


def read_real_frame(key: str, members: dict[str, bytes]) -> tuple[Frame, str]:
    """An unlabelled frame, its pixels still encoded, and the name of its group."""
    meta = read_meta(members)
    frame = Frame(key, meta["frame"], members, None, 0, usable=True)
    if "views" in meta:
        stored = meta["camera"]
        K, cam_from_world = np.array(stored["K"]), np.array(stored["cam_from_world"])
        camera = Camera(stored["width"], stored["height"], K, cam_from_world)
        frame = replace(frame, camera=camera, views=meta["views"], moment=meta["moment"])
    return frame, meta["clip"]


def with_other_views(groups: list[Group]) -> list[Group]:
    """The same groups, each frame knowing those of its moment that other cameras took, in a fixed order."""
    together: dict[tuple[str, int], list[Frame]] = {}
    for frame in (frame for group in groups for frame in group if frame.views is not None):
        together.setdefault((frame.views, frame.moment), []).append(frame)
    if not together:
        return groups

    def complete(frame: Frame) -> Frame:
        beside = together.get((frame.views, frame.moment), [])
        return replace(frame, other_views=tuple(other for other in beside if other.key != frame.key))

    return [tuple(complete(frame) for frame in group) for group in groups]


def read_labelled_frame(key: str, members: dict[str, bytes], skeleton: Skeleton, data: DataConfig) -> tuple[Frame, str]:
    """A frame with the labels of its main subject, its pixels still encoded, and the name of its group.

    Args:
        skeleton: the joints to train.
        data: its `crop`, `input_size_px` and `min_visible_joints` decide whether the frame is usable.

    Raises:
        UserError: a member is missing or damaged, or the stored skeleton cannot express the trained one.
    """
    _require_members(key, members)
    sample = decode(members, layers=(), provenance=False)
    subject = _main_subject(sample)
    labels = None if subject is None else map_labels(sample, subject, skeleton)
    size = (sample.camera.width, sample.camera.height)
    frame = Frame(
        key=key,
        number=sample.frame,
        pixels=members,
        labels=labels,
        subject_id=0 if subject is None else subject.id,
        usable=labels is not None and _is_usable(labels, size, data),
        size=size,
    )
    return frame, f"{sample.scene}-{sample.view}"


def frame_image(frame: Frame) -> np.ndarray:
    """Image uint8 [H, W, 3] of a frame.

    Raises:
        UserError: it cannot be decoded.
    """
    if isinstance(frame.pixels, tuple):
        return frame.pixels[0]
    return decode_image(image_member(frame.pixels), frame.key)


def frame_ids(frame: Frame) -> np.ndarray | None:
    """Instance ids uint8 [H, W] of a frame; None for a real one.

    Raises:
        UserError: they cannot be decoded.
    """
    if isinstance(frame.pixels, tuple):
        return frame.pixels[1]
    mask = frame.pixels.get("mask.png")
    return None if mask is None else decode_image(mask, frame.key, colour=False)


def map_labels(sample: Sample, subject: Subject, skeleton: Skeleton) -> Labels:
    """A stored subject's labels in the joints of the trained skeleton.

    They are those of posecore.derived_joints: K projects joints_cam onto joints_px exactly.

    Raises:
        UserError: the stored skeleton cannot express the trained one.
    """
    joints = derive_joints(subject, skeleton, sample.camera)
    azimuth_deg, elevation_deg = camera_angles_deg(subject, sample.camera)
    return Labels(
        joints_px=joints.joints_px,
        visibility=joints.visibility,
        joints_cam=joints.joints_cam_m,
        rotations_cam=_rotations_cam(sample, subject, load_skeleton(subject.skeleton), skeleton),
        camera_K=sample.camera.K.astype(np.float64),
        box_px=subject.box_px,
        azimuth_deg=azimuth_deg,
        elevation_deg=elevation_deg,
        species=subject.species,
    )


def azimuth_is_within(frame: Frame, limit_deg: float) -> bool:
    """Whether the camera stands no farther from the subject's front; subjects without a heading always pass."""
    return frame.labels is None or not abs(frame.labels.azimuth_deg) > limit_deg


def num_joints_inside(labels: Labels, warp: Warp) -> int:
    """How many joints a crop holds, of those that the stored picture shows or hides."""
    matrix = warp.matrix
    joints_px = labels.joints_px @ matrix[:, :2].T + matrix[:, 2]
    return int((inside_frame(joints_px, warp.size_px, warp.size_px) & (labels.visibility != OUTSIDE)).sum())


def _rotations_cam(sample: Sample, subject: Subject, stored: Skeleton, skeleton: Skeleton) -> np.ndarray:
    """[K, 3, 3] global rotations in the camera frame, NaN where the sample stores none."""
    if subject.rotations is None or skeleton.superset != stored.name:
        return np.full((skeleton.num_joints, 3, 3), np.nan)
    local = matrix_from_rotation_6d(subject.rotations)
    in_world = local.copy()
    for joint in stored.walk_order:
        parent = stored.parents[joint]
        if parent >= 0:
            in_world[joint] = in_world[parent] @ local[joint]
    return sample.camera.cam_from_world[:3, :3] @ in_world[list(rotation_map(stored, skeleton))]


def _main_subject(sample: Sample) -> Subject | None:
    """The first subject in view, which is the one that a scene is about, in all its frames alike; None if none is."""
    in_view = [subject for subject in sample.subjects if subject.box_px[2] > 0 and subject.box_px[3] > 0]
    return min(in_view, key=lambda subject: subject.id, default=None)


def _is_usable(labels: Labels, size: tuple[int, int], data: DataConfig) -> bool:
    if labels.joints_cam[:, 2].min() < _MIN_DEPTH_M:
        return False
    warp = centre_warp(labels.box_px, *size, data.crop, data.input_size_px)
    return num_joints_inside(labels, warp) >= data.min_visible_joints


def _require_members(key: str, members: dict[str, bytes]) -> None:
    missing = [name for name in ("mask.png", "meta.json") if name not in members]
    if not any(name.startswith("image.") for name in members):
        missing.insert(0, "image")
    if missing:
        raise UserError(f"sample {key}: {', '.join(missing)} missing; the shard is damaged, fetch or render it again")
