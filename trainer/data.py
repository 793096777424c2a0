"""From shards to batches: endless, shuffled, exactly resumable streams, and fixed evaluation sets.

A pass over a dataset yields every usable frame once as x, over all ranks and workers together; the order differs from
pass to pass and follows from the seed alone. The unit that is held in memory is a block of shards (all of them,
decoded, if they fit into `cache_limit_mb`), shuffled as a whole, so that a position is three integers: pass, block,
place in the block. Frames of one scene and view, or of one clip, form a group: x' is another frame of x's group, cut
out by the very same crop, which keeps the background still. What chance does to a sample depends on (seed, pass, key)
only, never on the worker that makes it. Resuming with the same number of ranks and workers continues with the very
next sample; another number is refused.
"""

from __future__ import annotations

import hashlib
import io
import logging
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import fsspec
import numpy as np
import torch
from torchdata.stateful_dataloader import StatefulDataLoader

from posecore.camera import project_cam
from posecore.codec import decode, decode_image, image_member, read_meta
from posecore.dataset import Manifest, join_url, read_manifest, read_records
from posecore.errors import UserError
from posecore.sample import OUTSIDE, Sample, Subject, inside_frame
from posecore.skeleton import Skeleton, joint_map, load_skeleton, rotation_map
from posecore.transforms import matrix_from_rotation_6d
from trainer.augment import (
    Labels,
    Warp,
    apply_photometric,
    centre_warp,
    clean_plate,
    draw_photometric,
    hide_cut_out_joints,
    jitter,
    masked_copy,
    swap_background,
    warp_image,
    warp_labels,
)
from trainer.batch import Batch
from trainer.data_config import CropConfig, DataConfig

logger = logging.getLogger(__name__)

_MIN_DEPTH_M = 0.05
_LABELS_MB = 0.006  # of one frame in memory without its pixels
_MAX_BACKGROUNDS = 256
_FRAMES_PER_PLATE = 9


class Stream:
    """Endless batches with a position that can be saved as JSON and taken up again.

    Iterating yields `Batch` (the pose prior: tensors [B, K, 2]). `state_dict` describes the place after the last
    batch handed out.
    """

    def __init__(self, dataset: _ShardStream, batch_size: int, collate: Callable, config: DataConfig) -> None:
        self.dataset = dataset
        with warnings.catch_warnings():
            # torchdata 0.11 calls a torch function that newer releases of torch have deprecated.
            warnings.filterwarnings("ignore", message="'set_vital' is deprecated")
            self._loader = StatefulDataLoader(
                dataset,
                batch_size=batch_size,
                collate_fn=collate,
                num_workers=config.num_workers,
                prefetch_factor=config.prefetch_batches if config.num_workers else None,
                # Forked workers share the decoded dataset with this process instead of copying it.
                multiprocessing_context="fork" if config.num_workers else None,
                # Its own generator: the loader must not draw from the training's global one.
                generator=torch.Generator().manual_seed(dataset.seed),
            )
        self._iterator: Iterator | None = None

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Any:
        if self._iterator is None:
            self._iterator = iter(self._loader)
        try:
            return next(self._iterator)
        except UserError as error:
            # A worker process wraps the message in its traceback; the user needs the last line of it.
            raise UserError(str(error).strip().splitlines()[-1].removeprefix("posecore.errors.UserError: ")) from None

    def state_dict(self) -> dict[str, Any]:
        """The position, as plain JSON-able values."""
        return self._loader.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after the batch at which `state` was taken; call it before the first batch is drawn."""
        self._loader.load_state_dict(state)
        self._iterator = None


def synthetic_stream(
    folder: str | Path, skeleton: Skeleton, data: DataConfig, seed: int, rank: int = 0, world_size: int = 1
) -> Stream:
    """Endless labelled batches.

    Args:
        folder: dataset of kind "synthetic", a local path or an fsspec URL.
        skeleton: the joints to train; the dataset's stored skeleton is mapped onto it.
        seed: of order and augmentation. rank, world_size: this process among those of a distributed training.

    Raises:
        UserError: the dataset is missing, damaged, of the wrong kind, or of another body plan than `skeleton`.
    """
    source = _Source(folder, "synthetic", skeleton, data)
    backgrounds = _backgrounds(source, data)

    def make(group: _Group, index: int, chance: _Chance) -> dict[str, Any]:
        return _labelled_item(group, index, chance, skeleton, data, backgrounds)

    dataset = _ShardStream(source, make, seed, rank, world_size, data.shuffle_buffer)
    return Stream(dataset, data.synthetic_batch_size, _collate_labelled, data)


def real_stream(folder: str | Path, data: DataConfig, seed: int, rank: int = 0, world_size: int = 1) -> Stream:
    """Endless unlabelled batches of frames x and partners x' from the same clip, at least `pair_min_gap_frames`
    apart.

    Where a clip has no frame that far away (a still), x' is a warped and masked copy of x.

    Raises:
        UserError: the dataset is missing, damaged, or not of kind "real".
    """
    source = _Source(folder, "real", None, data)

    def make(group: _Group, index: int, chance: _Chance) -> dict[str, Any]:
        return _real_item(group, index, chance, data)

    dataset = _ShardStream(source, make, seed, rank, world_size, data.shuffle_buffer)
    return Stream(dataset, data.real_batch_size, _collate_real, data)


def pose_prior_stream(
    folder: str | Path, skeleton: Skeleton, data: DataConfig, seed: int, rank: int = 0, world_size: int = 1
) -> Stream:
    """Endless batches of poses alone, float32 [B, K, 2] normalised, framed by the same random crops as the images.

    The discriminator sees framing as well as pose: a prior that is framed otherwise would teach it the framing.
    """
    source = _Source(folder, "synthetic", skeleton, data, pixels=False)

    def make(group: _Group, index: int, chance: _Chance) -> np.ndarray:
        frame = group[index]
        warp = _labelled_warp(frame, data, chance)
        return _normalise(warp_labels(frame.labels, warp, skeleton).joints_px, data.input_size_px)

    dataset = _ShardStream(source, make, seed, rank, world_size, data.shuffle_buffer)
    return Stream(dataset, data.prior_batch_size, lambda items: torch.from_numpy(np.stack(items)), data)


def load_evaluation_set(
    folder: str | Path,
    skeleton: Skeleton,
    size: int,
    batch_size: int = 32,
    crop: CropConfig | None = None,
    max_samples: int | None = None,
) -> list[Batch]:
    """Every usable frame of a dataset once, in order, cropped without chance; labelled or real as the dataset is.

    Args:
        size: side of the crops in pixels.
        crop: its `around` and `margin` are used; by default the subject with DataConfig's margin, and the frame for
        real data.
        max_samples: take this many frames, spread evenly over the dataset.

    Raises:
        UserError: as the streams; also if no frame is usable.
    """
    kind = read_manifest(folder).kind
    data = DataConfig(input_size_px=size, min_visible_joints=1, cache_limit_mb=0)
    crop = crop or (data.crop if kind == "synthetic" else CropConfig(around="frame", margin=1.0))
    source = _Source(folder, kind, skeleton if kind == "synthetic" else None, data)
    places = [
        (group, index)
        for shard in range(len(source.manifest.shards))
        for group in source.groups(shard)
        for index in range(len(group))
        if group[index].usable
    ]
    if not places:
        raise UserError(f"{folder}: holds no usable frame; look at it with `synthgen stats`")
    if max_samples is not None and max_samples < len(places):
        places = [places[i] for i in np.linspace(0, len(places) - 1, max_samples).round().astype(int)]
    collate = _collate_labelled if kind == "synthetic" else _collate_real
    items = [_evaluation_item(group, index, skeleton, crop, data) for group, index in places]
    return [collate(items[start : start + batch_size]) for start in range(0, len(items), batch_size)]


@dataclass(frozen=True)
class _Frame:
    """One frame as it is held in memory: its pixels still encoded, or decoded where the dataset is cached.

    Attributes:
        number: of the frame in its scene or clip.
        pixels: the record's members, or (image [H, W, 3], mask [H, W] or None), or None where only labels are needed.
        labels, subject_id: of the main subject; None and 0 for real frames.
        usable: whether it can serve as x; a frame without a subject in view can still be someone's partner.
        size: width, height where labels are known.
    """

    key: str
    number: int
    pixels: dict[str, bytes] | tuple[np.ndarray, np.ndarray | None] | None
    labels: Labels | None
    subject_id: int
    usable: bool
    size: tuple[int, int] | None = None


_Group = tuple[_Frame, ...]


@dataclass(frozen=True)
class _Chance:
    """Generators for one sample of one pass, one for each purpose: a new knob leaves all other draws alone."""

    seed: int
    pass_number: int
    key: str

    def rng(self, purpose: str) -> np.random.Generator:
        words = [self.seed, self.pass_number, zlib.crc32(self.key.encode()), zlib.crc32(purpose.encode())]
        return np.random.default_rng(words)


class _Source:
    """The groups of a dataset, shard by shard."""

    def __init__(
        self, folder: str | Path, kind: str, skeleton: Skeleton | None, data: DataConfig, pixels: bool = True
    ) -> None:
        self.folder = folder
        self.manifest = _checked_manifest(folder, kind)
        self.skeleton = skeleton
        self.data = data
        self.pixels = pixels
        self.is_cached = False
        self._groups: dict[int, list[_Group]] = {}
        if self._decoded_mb() <= data.cache_limit_mb:
            self._groups = {shard: self._load(shard, decoded=True) for shard in range(len(self.manifest.shards))}
            self.is_cached = True
            self._report_left_out([group for groups in self._groups.values() for group in groups])

    def groups(self, shard: int) -> list[_Group]:
        """The groups of one shard, from memory or read anew."""
        if self.is_cached:
            return self._groups[shard]
        groups = self._load(shard, decoded=False)
        self._report_left_out(groups)
        return groups

    def _load(self, shard: int, decoded: bool) -> list[_Group]:
        # By name, not by neighbourhood: where a scene has several views, their frames alternate.
        groups: dict[str, list[_Frame]] = {}
        for key, members in self._records(shard):
            try:
                frame, group_name = self._read(key, members, decoded)
            except UserError as error:
                raise UserError(f"{self._location(shard)}: {error}") from None
            groups.setdefault(group_name, []).append(frame)
        return [tuple(group) for group in groups.values()]

    def _records(self, shard: int) -> Iterator[tuple[str, dict[str, bytes]]]:
        entry, location = self.manifest.shards[shard], self._location(shard)
        count = 0
        try:
            with fsspec.open(location, "rb") as stream:
                if self.data.verify_hashes:
                    content = stream.read()
                    if hashlib.sha256(content).hexdigest() != entry.sha256:
                        raise UserError(f"{location}: sha256 differs from dataset.json; fetch or render it again")
                    stream = io.BytesIO(content)
                for key, members in read_records(stream, location):
                    count += 1
                    yield key, members
        except FileNotFoundError:
            raise UserError(f"{location}: missing, though dataset.json lists it; fetch or render it again") from None
        if count != entry.count:
            raise UserError(
                f"{location}: holds {count} samples, dataset.json says {entry.count} (last key {key}); render again"
            )

    def _read(self, key: str, members: dict[str, bytes], decoded: bool) -> tuple[_Frame, str]:
        """A frame and the name of its group."""
        if self.skeleton is None:
            meta = read_meta(members)
            pixels = _decode_pixels(key, members) if decoded else members
            return _Frame(key, meta["frame"], pixels, None, 0, usable=True), meta["clip"]
        _require_members(key, members)
        sample = decode(members, layers=())
        subject = _main_subject(sample)
        labels = None if subject is None else map_labels(sample, subject, self.skeleton)
        size = (sample.camera.width, sample.camera.height)
        pixels = None
        if self.pixels:
            pixels = _decode_pixels(key, members) if decoded else members
        frame = _Frame(
            key=key,
            number=sample.frame,
            pixels=pixels,
            labels=labels,
            subject_id=0 if subject is None else subject.id,
            usable=labels is not None and _is_usable(labels, size, self.data),
            size=size,
        )
        return frame, f"{sample.scene}-{sample.view}"

    def _decoded_mb(self) -> float:
        """Size of everything when decoded, pixels judged by the first record."""
        if not self.pixels:
            return self.manifest.num_samples * _LABELS_MB
        _, members = next(self._records(0))
        height, width = decode_image(image_member(members), "first").shape[:2]
        return self.manifest.num_samples * height * width * 4 / 1e6

    def _report_left_out(self, groups: list[_Group]) -> None:
        frames = [frame for group in groups for frame in group]
        left_out = sum(not frame.usable for frame in frames)
        if left_out:
            logger.warning(
                "%s: %d of %d frames left out as x: fewer than %d joints in the crop, or a joint at the camera",
                self.folder, left_out, len(frames), self.data.min_visible_joints,
            )  # fmt: skip

    def _location(self, shard: int) -> str:
        return join_url(self.folder, self.manifest.shards[shard].file)


class _ShardStream(torch.utils.data.IterableDataset):
    """Samples of a source for ever; see the module's text for what is promised."""

    def __init__(
        self, source: _Source, make: Callable, seed: int, rank: int, world_size: int, shuffle_buffer: int
    ) -> None:
        super().__init__()
        self.source = source
        self.seed = seed
        self._make = make
        self._rank, self._world_size = rank, world_size
        self._shuffle_buffer = shuffle_buffer
        self._pass, self._block, self._place = 0, 0, 0
        self._saved_consumers: int | None = None

    def __iter__(self) -> Iterator[Any]:
        worker = torch.utils.data.get_worker_info()
        workers, worker_id = (1, 0) if worker is None else (worker.num_workers, worker.id)
        consumers, consumer = self._world_size * workers, self._rank * workers + worker_id
        if self._saved_consumers not in (None, consumers):
            raise UserError(
                f"{self.source.folder}: the saved position is of {self._saved_consumers} loader processes, "
                f"now there are {consumers}; resume with the same number of ranks and data.num_workers"
            )
        self._saved_consumers = consumers
        while True:
            blocks, by_item = self._plan(consumer, consumers)
            num_items = 0
            while self._block < len(blocks):
                items = self._items(blocks[self._block], consumer if by_item else 0, consumers if by_item else 1)
                num_items += len(items)
                while self._place < len(items):
                    group, index = items[self._place]
                    self._place += 1
                    yield self._make(group, index, _Chance(self.seed, self._pass, group[index].key))
                self._block, self._place = self._block + 1, 0
            if blocks and num_items == 0 and not by_item:
                raise UserError(f"{self.source.folder}: holds no usable frame; look at it with `synthgen stats`")
            self._pass, self._block = self._pass + 1, 0

    def state_dict(self) -> dict[str, int | None]:
        return {
            "pass": self._pass,
            "block": self._block,
            "place": self._place,
            "consumers": self._saved_consumers,
        }

    def load_state_dict(self, state: dict[str, int | None]) -> None:
        self._pass, self._block, self._place = state["pass"], state["block"], state["place"]
        self._saved_consumers = state["consumers"]

    def _plan(self, consumer: int, consumers: int) -> tuple[list[list[int]], bool]:
        """This pass's blocks of shards for one consumer, and whether consumers share the blocks' items.

        Shards are dealt out whole, unless all are in memory anyway or there are fewer than consumers.
        """
        shards = self.source.manifest.shards
        rng = np.random.default_rng([self.seed, self._pass, zlib.crc32(b"shards")])
        order = rng.permutation(len(shards)).tolist()
        if self.source.is_cached:
            return [sorted(order)], True
        by_item = len(shards) < consumers
        mine = order if by_item else order[consumer::consumers]
        blocks: list[list[int]] = []
        held = self._shuffle_buffer
        for shard in mine:
            if held >= self._shuffle_buffer:
                blocks.append([])
                held = 0
            blocks[-1].append(shard)
            held += shards[shard].count
        return blocks, by_item

    def _items(self, shards: list[int], consumer: int, consumers: int) -> list[tuple[_Group, int]]:
        """The block's usable frames, shuffled, those of one consumer."""
        items = [
            (group, index)
            for shard in shards
            for group in self.source.groups(shard)
            for index in range(len(group))
            if group[index].usable
        ]
        order = np.random.default_rng([self.seed, self._pass, zlib.crc32(b"items"), *shards]).permutation(len(items))
        return [items[position] for position in order[consumer::consumers]]


def map_labels(sample: Sample, subject: Subject, skeleton: Skeleton) -> Labels:
    """A stored subject's labels in the joints of the trained skeleton.

    Positions are weighted means in 3D, projected anew, so that K projects joints_cam onto joints_px exactly. A joint
    is as visible as the least visible one that it is made of.

    Raises:
        UserError: the stored skeleton cannot express the trained one.
    """
    stored = load_skeleton(subject.skeleton)
    weights = _joint_weights(stored.name, skeleton.name)
    if np.isnan(weights).any():
        missing = [skeleton.joints[k] for k in np.flatnonzero(np.isnan(weights).any(axis=1))]
        raise UserError(
            f"sample {sample.key}: its skeleton {stored.name} cannot give {skeleton.name}'s {', '.join(missing[:3])}; "
            f"train a skeleton of the {stored.superset}"
        )
    joints_cam = weights @ subject.joints_cam_m
    joints_px = project_cam(sample.camera.K, joints_cam)
    visibility = np.where(weights > 0, subject.visibility, 255).min(axis=1)
    inside = inside_frame(joints_px, sample.camera.width, sample.camera.height)
    # A mean of joints can lie inside though one of them is outside; it is then known, but not seen: hidden.
    visibility = np.where(inside, np.maximum(visibility, 1), OUTSIDE).astype(np.uint8)
    return Labels(
        joints_px=joints_px,
        visibility=visibility,
        joints_cam=joints_cam,
        rotations_cam=_rotations_cam(sample, subject, stored, skeleton),
        camera_K=sample.camera.K.astype(np.float64),
        box_px=subject.box_px,
    )


@cache
def _joint_weights(stored: str, trained: str) -> np.ndarray:
    return joint_map(load_skeleton(stored), load_skeleton(trained))


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
    """The subject that fills most of the picture; None if none is in view."""
    in_view = [subject for subject in sample.subjects if subject.box_px[2] > 0 and subject.box_px[3] > 0]
    return max(in_view, key=lambda s: s.box_px[2] * s.box_px[3] * (1 - s.occlusion), default=None)


def _is_usable(labels: Labels, size: tuple[int, int], data: DataConfig) -> bool:
    if labels.joints_cam[:, 2].min() < _MIN_DEPTH_M:
        return False
    warp = centre_warp(labels.box_px, *size, data.crop, data.input_size_px)
    return _num_inside(labels, warp) >= data.min_visible_joints


def _num_inside(labels: Labels, warp: Warp) -> int:
    matrix = warp.matrix
    joints_px = labels.joints_px @ matrix[:, :2].T + matrix[:, 2]
    return int((inside_frame(joints_px, warp.size_px, warp.size_px) & (labels.visibility != OUTSIDE)).sum())


def _pixels(frame: _Frame) -> tuple[np.ndarray, np.ndarray | None]:
    """Image and mask of a frame."""
    return frame.pixels if isinstance(frame.pixels, tuple) else _decode_pixels(frame.key, frame.pixels)


def _decode_pixels(key: str, members: dict[str, bytes]) -> tuple[np.ndarray, np.ndarray | None]:
    image = decode_image(image_member(members), key)
    return image, decode_image(members["mask.png"], key, colour=False) if "mask.png" in members else None


def _labelled_warp(frame: _Frame, data: DataConfig, chance: _Chance) -> Warp:
    centre = centre_warp(frame.labels.box_px, *frame.size, data.crop, data.input_size_px)
    warp = jitter(centre, data.crop, chance.rng("crop"))
    if _num_inside(frame.labels, warp) < data.min_visible_joints:
        return replace(centre, flip=warp.flip)
    return warp


def _labelled_item(
    group: _Group, index: int, chance: _Chance, skeleton: Skeleton, data: DataConfig, backgrounds: list[np.ndarray]
) -> dict[str, Any]:
    frame, others = group[index], [i for i in range(len(group)) if i != index]
    warp = _labelled_warp(frame, data, chance)
    partner_rng = chance.rng("partner")
    image, ids = _cut(frame, warp)
    if others:
        partner, partner_ids = _cut(group[others[partner_rng.integers(len(others))]], warp)
    if backgrounds and chance.rng("swap").random() < data.photometric.background_swap_probability:
        background = _random_background(backgrounds, data.input_size_px, chance.rng("background"))
        image = swap_background(image, ids > 0, background)
        if others:
            partner = swap_background(partner, partner_ids > 0, background)
    if not others:
        partner = masked_copy(image, data.still_mask_fraction, partner_rng)
    change = draw_photometric(data.photometric, data.input_size_px, chance.rng("photometric"))
    noise_rng = chance.rng("noise")
    labels = hide_cut_out_joints(warp_labels(frame.labels, warp, skeleton), change)
    return {
        "key": frame.key,
        "image": apply_photometric(image, change, noise_rng),
        "partner": apply_photometric(partner, change, noise_rng),
        "mask": ids == frame.subject_id,
        "labels": labels,
    }


def _real_item(group: _Group, index: int, chance: _Chance, data: DataConfig) -> dict[str, Any]:
    frame = group[index]
    height, width = _pixels(frame)[0].shape[:2]
    centre = centre_warp(None, width, height, data.real_crop, data.input_size_px)
    warp = jitter(centre, data.real_crop, chance.rng("crop"))
    far = [other for other in group if abs(other.number - frame.number) >= data.pair_min_gap_frames]
    partner_rng = chance.rng("partner")
    image, _ = _cut(frame, warp)
    if far:
        partner, _ = _cut(far[partner_rng.integers(len(far))], warp)
    else:
        partner = masked_copy(image, data.still_mask_fraction, partner_rng)
    change = draw_photometric(data.real_photometric, data.input_size_px, chance.rng("photometric"))
    noise_rng = chance.rng("noise")
    return {
        "key": frame.key,
        "image": apply_photometric(image, change, noise_rng),
        "partner": apply_photometric(partner, change, noise_rng),
    }


def _evaluation_item(
    group: _Group, index: int, skeleton: Skeleton, crop: CropConfig, data: DataConfig
) -> dict[str, Any]:
    """A frame cropped without chance; x' is the frame half a group away."""
    frame, partner = group[index], group[(index + max(1, len(group) // 2)) % len(group)]
    box = None if frame.labels is None else frame.labels.box_px
    height, width = _pixels(frame)[0].shape[:2]
    warp = centre_warp(box, width, height, crop, data.input_size_px)
    image, ids = _cut(frame, warp)
    if len(group) > 1:
        partner_image, _ = _cut(partner, warp)
    else:
        partner_image = masked_copy(image, data.still_mask_fraction, _Chance(0, 0, frame.key).rng("partner"))
    item = {
        "key": frame.key,
        "image": image.astype(np.float32) / 255,
        "partner": partner_image.astype(np.float32) / 255,
    }
    if frame.labels is not None:
        item |= {"mask": ids == frame.subject_id, "labels": warp_labels(frame.labels, warp, skeleton)}
    return item


def _cut(frame: _Frame, warp: Warp) -> tuple[np.ndarray, np.ndarray | None]:
    """Crop of a frame's image and of its instance ids."""
    image, mask = _pixels(frame)
    return warp_image(image, warp), None if mask is None else warp_image(mask, warp, smooth=False)


def _backgrounds(source: _Source, data: DataConfig) -> list[np.ndarray]:
    """Pictures without subjects to paste subjects on, the same for every rank and worker.

    From `background_folder` each clip's median, which its moving subject leaves; otherwise the first scenes' own
    pictures, their subjects painted over.
    """
    if data.photometric.background_swap_probability == 0:
        return []
    if data.background_folder is not None:
        real = _Source(data.background_folder, "real", None, data)
        groups = [group for shard in range(min(4, len(real.manifest.shards))) for group in real.groups(shard)]
        plates = []
        for group in _spread(groups, _MAX_BACKGROUNDS):
            plates.append(
                np.median([_pixels(f)[0] for f in _spread(group, _FRAMES_PER_PLATE)], axis=0).astype(np.uint8)
            )
    else:
        pictures = [_pixels(group[0]) for group in _spread(source.groups(0), _MAX_BACKGROUNDS)]
        plates = [clean_plate(image, mask > 0) for image, mask in pictures]
    limit = 2 * data.input_size_px
    return [plate if max(plate.shape) <= limit else _shrink(plate, limit) for plate in plates]


def _random_background(backgrounds: list[np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray:
    """A random square of a random picture, mirrored half of the time."""
    picture = backgrounds[rng.integers(len(backgrounds))]
    height, width = picture.shape[:2]
    side = min(width, height) * rng.uniform(0.5, 1.0)
    centre = rng.uniform(side / 2, [width - side / 2, height - side / 2])
    return warp_image(picture, Warp((centre[0], centre[1]), side, size, flip=bool(rng.random() < 0.5)))


def _collate_labelled(items: list[dict[str, Any]]) -> Batch:
    size = items[0]["image"].shape[0]
    labels: list[Labels] = [item["labels"] for item in items]
    visibility = np.stack([label.visibility for label in labels])
    return Batch(
        images=_stack_images(items, "image"),
        partners=_stack_images(items, "partner"),
        keys=tuple(item["key"] for item in items),
        is_real=False,
        subject_mask=torch.from_numpy(np.stack([item["mask"] for item in items])[:, None].astype(np.float32)),
        joints=torch.from_numpy(np.stack([_normalise(label.joints_px, size) for label in labels])),
        joint_weight=torch.from_numpy((visibility != OUTSIDE).astype(np.float32)),
        visibility=torch.from_numpy(visibility),
        joints_cam=_stack_labels(labels, "joints_cam"),
        rotations_cam=_stack_labels(labels, "rotations_cam"),
        camera_K=_stack_labels(labels, "camera_K"),
        box=_stack_labels(labels, "box_px"),
    )


def _collate_real(items: list[dict[str, Any]]) -> Batch:
    return Batch(
        images=_stack_images(items, "image"),
        partners=_stack_images(items, "partner"),
        keys=tuple(item["key"] for item in items),
        is_real=True,
    )


def _stack_images(items: list[dict[str, Any]], name: str) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.stack([item[name] for item in items]).transpose(0, 3, 1, 2)))


def _stack_labels(labels: list[Labels], name: str) -> torch.Tensor:
    return torch.from_numpy(np.stack([getattr(label, name) for label in labels]).astype(np.float32))


def _normalise(joints_px: np.ndarray, size: int) -> np.ndarray:
    return (2 * joints_px / size - 1).astype(np.float32)


def _checked_manifest(folder: str | Path, kind: str) -> Manifest:
    manifest = read_manifest(folder)
    if manifest.kind != kind:
        makes = {"synthetic": "`synthgen render`", "real": "`synthgen pack`"}[kind]
        raise UserError(f"{folder}: holds {manifest.kind} data, {kind} data is needed here; make it with {makes}")
    if not manifest.shards:
        raise UserError(f"{folder}: dataset.json lists no shards; render or pack it again")
    return manifest


def _require_members(key: str, members: dict[str, bytes]) -> None:
    missing = [name for name in ("mask.png", "meta.json") if name not in members]
    if not any(name.startswith("image.") for name in members):
        missing.insert(0, "image")
    if missing:
        raise UserError(f"sample {key}: {', '.join(missing)} missing; the shard is damaged, fetch or render it again")


def _spread(things: Any, most: int) -> list[Any]:
    """At most so many of them, evenly spread, in order."""
    if len(things) <= most:
        return list(things)
    return [things[i] for i in np.linspace(0, len(things) - 1, most).round().astype(int)]


def _shrink(picture: np.ndarray, longest: int) -> np.ndarray:
    factor = longest / max(picture.shape)
    size = (round(picture.shape[1] * factor), round(picture.shape[0] * factor))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
