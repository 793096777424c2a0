"""From a frame to a training pair (x, x'): cropped, changed by chance, labelled, and stacked into batches.

x' is another frame of x's group, cut out by the very same crop, which keeps the background still; where the group has
none, a warped and masked copy of x. Both pictures get the same photometric change. Crops are square, of
`input_size_px`; labels are those of the crop. Every draw has a generator of its own purpose.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from posecore.sample import OUTSIDE
from posecore.skeleton import Skeleton
from trainer.data.augment import (
    Labels,
    Warp,
    apply_photometric,
    centre_warp,
    draw_photometric,
    hide_cut_out_joints,
    jitter,
    masked_copy,
    swap_background,
    warp_image,
    warp_labels,
    world_from_crop,
)
from trainer.data.backgrounds import random_background
from trainer.data.batch import Batch
from trainer.data.config import CropConfig, DataConfig
from trainer.data.frames import Frame, Group, frame_ids, frame_image, num_joints_inside
from trainer.data.shard_stream import Chance

_NOWHERE = np.stack([np.eye(3)] * 2)  # the rotations of who has no other view; it weighs nothing


@dataclass(frozen=True)
class Pair:
    """One item of a batch.

    Attributes:
        key: of x. image, partner: x and x', uint8 [S, S, 3]; no x' where nothing will be rendered.
        mask: bool [S, S], true on x's main subject. labels: of x. Both None for real frames.
        neighbours: frames before and after x, like x; None: not asked for. has_neighbours: else both are x itself.
        view: x's moment seen by another camera; None: not asked for. world_from_crop: [2, 3, 3] of x and of the view.
            has_view: else it is x itself.
    """

    key: str
    image: np.ndarray
    partner: np.ndarray | None
    mask: np.ndarray | None = None
    labels: Labels | None = None
    neighbours: tuple[np.ndarray, np.ndarray] | None = None
    has_neighbours: bool = False
    view: np.ndarray | None = None
    world_from_crop: np.ndarray | None = None
    has_view: bool = False


def labelled_pair(
    group: Group,
    index: int,
    chance: Chance,
    skeleton: Skeleton,
    data: DataConfig,
    backgrounds: list[np.ndarray],
    with_partner: bool = True,
) -> Pair:
    """A labelled frame as x, changed by chance.

    Args:
        backgrounds: pictures to paste the subjects on, now and then; empty for never.
        with_partner: False leaves x' out; x is the same either way.
    """
    frame, partner = group[index], None
    others = [i for i in range(len(group)) if i != index] if with_partner else []
    warp = _labelled_warp(frame, data, chance)
    image, ids = _cut_image(frame, warp), _cut_ids(frame, warp)
    if others:
        partner_rng = chance.rng("partner")
        other = group[others[partner_rng.integers(len(others))]]
        partner = _cut_image(other, warp)
    if backgrounds and chance.rng("swap").random() < data.photometric.background_swap_probability:
        background = random_background(backgrounds, data.input_size_px, chance.rng("background"))
        image = swap_background(image, ids > 0, background)
        if others:
            partner = swap_background(partner, _cut_ids(other, warp) > 0, background)
    if with_partner and not others:
        partner = masked_copy(image, data.still_mask_fraction, chance.rng("partner"))
    change = draw_photometric(data.photometric, data.input_size_px, chance.rng("photometric"))
    noise_rng = chance.rng("noise")
    return Pair(
        key=frame.key,
        image=apply_photometric(image, change, noise_rng),
        partner=apply_photometric(partner, change, noise_rng) if with_partner else None,
        mask=ids == frame.subject_id,
        labels=hide_cut_out_joints(warp_labels(frame.labels, warp, skeleton), change),
    )


def real_pair(
    group: Group,
    index: int,
    chance: Chance,
    data: DataConfig,
    with_neighbours: bool = False,
    with_views: bool = False,
) -> Pair:
    """A real frame as x, changed by chance; x' is at least `pair_min_gap_frames` away in the same clip.

    Another view of its moment has a crop and a photometric change of its own, but is mirrored where x is: see
    `trainer.data.augment.world_from_crop`.
    """
    frame = group[index]
    picture = frame_image(frame)
    warp = jitter(_real_warp(picture, data.real_crop, data), data.real_crop, chance.rng("crop"))
    far = [other for other in group if abs(other.number - frame.number) >= data.pair_min_gap_frames]
    partner_rng = chance.rng("partner")
    image = warp_image(picture, warp)
    if far:
        partner = _cut_image(far[partner_rng.integers(len(far))], warp)
    else:
        partner = masked_copy(image, data.still_mask_fraction, partner_rng)
    change = draw_photometric(data.real_photometric, data.input_size_px, chance.rng("photometric"))
    noise_rng = chance.rng("noise")
    changed = [apply_photometric(picture, change, noise_rng) for picture in (image, partner)]
    neighbours, has_neighbours = None, False
    if with_neighbours:
        around = _neighbours(group, index, data.neighbour_max_gap_frames)
        has_neighbours = around is not None
        cuts = [_cut_image(other, warp) for other in around or (frame, frame)]
        neighbours = tuple(apply_photometric(cut, change, noise_rng) for cut in cuts)
    pair = Pair(frame.key, *changed, neighbours=neighbours, has_neighbours=has_neighbours)
    if not with_views:
        return pair
    if not frame.other_views:
        return replace(pair, view=pair.image, world_from_crop=_NOWHERE)
    other = frame.other_views[chance.rng("view").integers(len(frame.other_views))]
    other_picture = frame_image(other)
    other_warp = jitter(_real_warp(other_picture, data.real_crop, data), data.real_crop, chance.rng("crop of the view"))
    other_warp = replace(other_warp, flip=warp.flip)
    change = draw_photometric(data.real_photometric, data.input_size_px, chance.rng("photometric of the view"))
    image = apply_photometric(warp_image(other_picture, other_warp), change, chance.rng("noise of the view"))
    return replace(pair, view=image, world_from_crop=_to_world((frame, warp), (other, other_warp)), has_view=True)


def evaluation_pair(
    group: Group,
    index: int,
    skeleton: Skeleton,
    crop: CropConfig,
    data: DataConfig,
    with_neighbours: bool = False,
    with_views: bool = False,
) -> Pair:
    """A frame cropped without chance, labelled if it is; x' is the frame half a group away, its view the first."""
    frame, partner = group[index], group[(index + max(1, len(group) // 2)) % len(group)]
    box = None if frame.labels is None else frame.labels.box_px
    picture = frame_image(frame)
    height, width = picture.shape[:2]
    warp = centre_warp(box, width, height, crop, data.input_size_px)
    image = warp_image(picture, warp)
    if len(group) > 1:
        partner_image = _cut_image(partner, warp)
    else:
        partner_image = masked_copy(image, data.still_mask_fraction, Chance(0, 0, frame.key).rng("partner"))
    around = _neighbours(group, index, data.neighbour_max_gap_frames) if with_neighbours else None
    neighbours = tuple(_cut_image(other, warp) for other in around or (frame, frame)) if with_neighbours else None
    view, to_world = (image, _NOWHERE) if with_views else (None, None)
    if with_views and frame.other_views:
        other = frame.other_views[0]
        other_picture = frame_image(other)
        other_warp = _real_warp(other_picture, crop, data)
        view, to_world = warp_image(other_picture, other_warp), _to_world((frame, warp), (other, other_warp))
    return Pair(
        key=frame.key,
        image=image,
        partner=partner_image,
        mask=None if frame.labels is None else _cut_ids(frame, warp) == frame.subject_id,
        labels=None if frame.labels is None else warp_labels(frame.labels, warp, skeleton),
        neighbours=neighbours,
        has_neighbours=around is not None,
        view=view,
        world_from_crop=to_world,
        has_view=with_views and bool(frame.other_views),
    )


def framed_pose(frame: Frame, chance: Chance, skeleton: Skeleton, data: DataConfig) -> np.ndarray:
    """The pose of a labelled frame alone, framed as `labelled_pair` would: float32 [K, 2] normalised."""
    warp = _labelled_warp(frame, data, chance)
    return _normalise(warp_labels(frame.labels, warp, skeleton).joints_px, data.input_size_px)


def collate_pairs(pairs: list[Pair]) -> Batch:
    """One batch of pairs that are all labelled or all real."""
    images = _stack_images([pair.image for pair in pairs])
    has_partners = pairs[0].partner is not None
    partners = _stack_images([pair.partner for pair in pairs]) if has_partners else None
    keys = tuple(pair.key for pair in pairs)
    if pairs[0].labels is None:
        more: dict[str, torch.Tensor] = {}
        if pairs[0].neighbours is not None:
            flat = _stack_images([picture for pair in pairs for picture in pair.neighbours])
            more["neighbours"] = flat.unflatten(0, (len(pairs), 2))
            more["neighbour_weight"] = torch.tensor([float(pair.has_neighbours) for pair in pairs])
        if pairs[0].view is not None:
            more["views"] = _stack_images([pair.view for pair in pairs])
            more["world_from_crop"] = torch.from_numpy(np.stack([pair.world_from_crop for pair in pairs])).float()
            more["view_weight"] = torch.tensor([float(pair.has_view) for pair in pairs])
        return Batch(images, partners, keys, is_real=True, **more)
    size = pairs[0].image.shape[0]
    labels = [pair.labels for pair in pairs]
    visibility = np.stack([label.visibility for label in labels])
    return Batch(
        images=images,
        partners=partners,
        keys=keys,
        is_real=False,
        subject_mask=torch.from_numpy(np.stack([pair.mask for pair in pairs])[:, None].astype(np.float32)),
        joints=torch.from_numpy(np.stack([_normalise(label.joints_px, size) for label in labels])),
        joint_weight=torch.from_numpy((visibility != OUTSIDE).astype(np.float32)),
        visibility=torch.from_numpy(visibility),
        joints_cam=_stack_labels(labels, "joints_cam"),
        rotations_cam=_stack_labels(labels, "rotations_cam"),
        camera_K=_stack_labels(labels, "camera_K"),
        box=_stack_labels(labels, "box_px"),
        azimuth_deg=_stack_labels(labels, "azimuth_deg"),
        elevation_deg=_stack_labels(labels, "elevation_deg"),
        species=tuple(label.species for label in labels),
    )


def _neighbours(group: Group, index: int, max_gap: int) -> tuple[Frame, Frame] | None:
    """The frames next before and after, if both lie equally far away, and not too far."""
    number = group[index].number
    before = max((frame for frame in group if frame.number < number), key=lambda frame: frame.number, default=None)
    after = min((frame for frame in group if frame.number > number), key=lambda frame: frame.number, default=None)
    if before is None or after is None:
        return None
    gap = after.number - number
    return (before, after) if gap == number - before.number and gap <= max_gap else None


def _real_warp(picture: np.ndarray, crop: CropConfig, data: DataConfig) -> Warp:
    """The crop of a real frame's picture [H, W, 3] without chance."""
    height, width = picture.shape[:2]
    return centre_warp(None, width, height, crop, data.input_size_px)


def _to_world(*crops: tuple[Frame, Warp]) -> np.ndarray:
    return np.stack([world_from_crop(frame.camera, warp) for frame, warp in crops])


def _labelled_warp(frame: Frame, data: DataConfig, chance: Chance) -> Warp:
    """A random crop round the subject; the one without chance where that would lose too many joints."""
    centre = centre_warp(frame.labels.box_px, *frame.size, data.crop, data.input_size_px)
    warp = jitter(centre, data.crop, chance.rng("crop"))
    if num_joints_inside(frame.labels, warp) < data.min_visible_joints:
        return replace(centre, flip=warp.flip)
    return warp


def _cut_image(frame: Frame, warp: Warp) -> np.ndarray:
    return warp_image(frame_image(frame), warp)


def _cut_ids(frame: Frame, warp: Warp) -> np.ndarray:
    return warp_image(frame_ids(frame), warp, smooth=False)


def _stack_images(images: list[np.ndarray]) -> torch.Tensor:
    """uint8 [S, S, 3] each -> float32 [B, 3, S, S] in [0, 1], channels last in memory, as the networks want them."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().mul_(1 / 255)


def _stack_labels(labels: list[Labels], name: str) -> torch.Tensor:
    return torch.from_numpy(np.stack([getattr(label, name) for label in labels]).astype(np.float32))


def _normalise(joints_px: np.ndarray, size: int) -> np.ndarray:
    return (2 * joints_px / size - 1).astype(np.float32)
