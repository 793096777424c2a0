"""From shards to batches: endless, shuffled, exactly resumable streams, and fixed evaluation sets.

A frame's way: `shard_source` reads it and groups it with those of its scene or clip, `shard_stream` decides when it
comes, `pairs` makes a training pair of it and stacks pairs into a `Batch`. This module puts them together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from posecore.dataset import read_manifest
from posecore.errors import UserError
from posecore.skeleton import Skeleton
from trainer.data.backgrounds import load_backgrounds
from trainer.data.batch import Batch
from trainer.data.config import CropConfig, DataConfig
from trainer.data.frames import Frame, azimuth_is_within
from trainer.data.pairs import Pair, collate_pairs, evaluation_pair, framed_pose, labelled_pair, real_pair
from trainer.data.shard_source import ShardSource
from trainer.data.shard_stream import BatchSequence, Item, Stream

Datasets = str | Path | Sequence[str]
"""A dataset's folder or URL, or several, each with its share of the frames or without: "data/a=0.7", "data/b=0.3"."""


def synthetic_stream(
    datasets: Datasets,
    skeleton: Skeleton,
    data: DataConfig,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
    partner_every: int = 1,
    accumulate: int = 1,
) -> Stream:
    """Endless labelled batches.

    Args:
        datasets: of kind "synthetic".
        skeleton: the joints to train; each dataset's stored skeleton is mapped onto it.
        seed: of order and augmentation. rank, world_size: this process among those of a distributed training.
        partner_every: steps from one that renders, and so needs partners, to the next; batches between have none.
        accumulate: batches of a rank in a step.

    Raises:
        UserError: a dataset is missing, damaged, of the wrong kind, or of another body plan than `skeleton`.
    """
    sources, shares = _open(datasets, "synthetic", skeleton, data)
    backgrounds = [picture for source in sources for picture in load_backgrounds(source, data)]

    def make(item: Item) -> Pair:
        return labelled_pair(item.group, item.index, item.chance, skeleton, data, backgrounds, item.with_partner)

    def admits(frame: Frame, taken: int) -> bool:
        return data.curriculum is None or azimuth_is_within(frame, data.curriculum.limit_deg(taken))

    size, buffer = data.synthetic_batch_size, data.shuffle_buffer
    order = (seed, rank, world_size, buffer, admits, partner_every, accumulate)
    return Stream(BatchSequence(sources, shares, make, collate_pairs, size, *order), data)


def real_stream(
    datasets: Datasets,
    data: DataConfig,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
    with_neighbours: bool = False,
    with_views: bool = False,
) -> Stream:
    """Endless unlabelled batches of frames x and partners x' from the same clip, at least `pair_min_gap_frames`
    apart.

    Where a clip has no frame that far away (a still), x' is a warped and masked copy of x.

    Args:
        with_neighbours: give the frames before and after x as well.
        with_views: give another calibrated view of x's moment as well.

    Raises:
        UserError: a dataset is missing, damaged, or not of kind "real"; or none has the views that are wanted.
    """
    sources, shares = _open(datasets, "real", None, data)
    if with_views and not any(source.manifest.has_views for source in sources):
        folders = ", ".join(str(source.folder) for source in sources)
        raise UserError(
            f"{folders}: no moment was seen by several calibrated cameras; pack it with --calibration, or set "
            "losses.views=0"
        )

    def make(item: Item) -> Pair:
        return real_pair(item.group, item.index, item.chance, data, with_neighbours, with_views)

    size, buffer = data.real_batch_size, data.shuffle_buffer
    return Stream(BatchSequence(sources, shares, make, collate_pairs, size, seed, rank, world_size, buffer), data)


def pose_prior_stream(
    datasets: Datasets, skeleton: Skeleton, data: DataConfig, seed: int, rank: int = 0, world_size: int = 1
) -> Stream:
    """Endless batches of poses alone, float32 [B, K, 2] normalised, framed by the same random crops as the images.

    The discriminator sees framing as well as pose: a prior that is framed otherwise would teach it the framing.
    """
    sources, shares = _open(datasets, "synthetic", skeleton, data, pixels=False)

    def make(item: Item) -> np.ndarray:
        return framed_pose(item.group[item.index], item.chance, skeleton, data)

    size, buffer = data.prior_batch_size, data.shuffle_buffer
    return Stream(BatchSequence(sources, shares, make, _stack_poses, size, seed, rank, world_size, buffer), data)


def dataset_shares(datasets: Datasets) -> list[tuple[str, float | None]]:
    """Folders and their shares, None where none is said: "A=0.7" is A with 0.7, a path may hold other equals signs.

    Raises:
        UserError: a share is not above 0, or only some of the datasets have one.
    """
    pairs = []
    for said in [datasets] if isinstance(datasets, str | Path) else datasets:
        folder, _, number = str(said).rpartition("=")
        try:
            share = float(number)
        except ValueError:
            folder, share = str(said), None
        if not folder:
            folder, share = str(said), None
        if share is not None and not 0 < share < float("inf"):
            raise UserError(f"{said}: the share after = must be above 0")
        pairs.append((folder, share))
    if len({share is None for _, share in pairs}) > 1:
        raise UserError(f"{', '.join(map(str, datasets))}: give every dataset a share (A=0.7 B=0.3), or none")
    return pairs


def _open(
    datasets: Datasets, kind: str, skeleton: Skeleton | None, data: DataConfig, pixels: bool = True
) -> tuple[list[ShardSource], list[float]]:
    """The datasets and their shares of the frames; where none are said, as many as each holds."""
    pairs = dataset_shares(datasets)
    part = data.model_copy(update={"cache_limit_mb": data.cache_limit_mb // len(pairs)})
    sources = [ShardSource(folder, kind, skeleton, part, pixels) for folder, _ in pairs]
    shares = [
        source.manifest.num_samples if share is None else share
        for source, (_, share) in zip(sources, pairs, strict=True)
    ]
    return sources, shares


def _stack_poses(poses: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(poses))


def load_gauge_set(
    datasets: Datasets,
    skeleton: Skeleton,
    data: DataConfig,
    crop: CropConfig,
    max_samples: int,
    with_neighbours: bool = False,
) -> list[Batch]:
    """What a run is watched on: so many frames of its datasets, by their shares, as `evaluation_batches` gives them.

    Frames of calibrated cameras bring another view of their moment along.

    Args:
        with_neighbours: of real frames.
    """
    pairs = dataset_shares(datasets)
    total = sum(share or 1.0 for _, share in pairs)
    data = data.model_copy(update={"min_visible_joints": 1, "cache_limit_mb": 0})
    return [
        batch
        for folder, share in pairs
        for batch in _in_order(
            folder, skeleton, crop, data, 32, max(1, round(max_samples * (share or 1.0) / total)), with_neighbours
        )
    ]


def load_evaluation_set(
    folder: str | Path,
    skeleton: Skeleton,
    size: int,
    batch_size: int = 32,
    crop: CropConfig | None = None,
    max_samples: int | None = None,
) -> list[Batch]:
    """All of `evaluation_batches`, held in memory to be gone through again and again."""
    return list(evaluation_batches(folder, skeleton, size, batch_size, crop, max_samples))


def evaluation_batches(
    folder: str | Path,
    skeleton: Skeleton,
    size: int,
    batch_size: int = 32,
    crop: CropConfig | None = None,
    max_samples: int | None = None,
) -> Iterator[Batch]:
    """Every usable frame of a dataset once, in order, cropped without chance; labelled or real as the dataset is.

    Pictures are decoded a batch at a time.

    Args:
        size: side of the crops in pixels.
        crop: its `around` and `margin` are used; by default the subject with DataConfig's margin, and the frame for
        real data.
        max_samples: take this many frames, spread evenly over the dataset.

    Raises:
        UserError: as the streams; also if no frame is usable.
    """
    data = DataConfig(input_size_px=size, min_visible_joints=1, cache_limit_mb=0)
    return _in_order(folder, skeleton, crop, data, batch_size, max_samples)


def _in_order(
    folder: str | Path,
    skeleton: Skeleton,
    crop: CropConfig | None,
    data: DataConfig,
    batch_size: int,
    max_samples: int | None,
    with_neighbours: bool = False,
) -> Iterator[Batch]:
    manifest = read_manifest(folder)
    kind = manifest.kind
    crop = crop or (data.crop if kind == "synthetic" else CropConfig(around="frame", margin=1.0))
    source = ShardSource(folder, kind, skeleton if kind == "synthetic" else None, data)
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
    for start in range(0, len(places), batch_size):
        chosen = places[start : start + batch_size]
        yield collate_pairs(
            [
                evaluation_pair(group, index, skeleton, crop, data, with_neighbours, manifest.has_views)
                for group, index in chosen
            ]
        )
