"""From shards to batches: endless, shuffled, exactly resumable streams, and fixed evaluation sets.

A frame's way: `shard_source` reads it and groups it with those of its scene or clip, `shard_stream` decides when it
comes, `pairs` makes a training pair of it and stacks pairs into a `Batch`. This module puts them together.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from posecore.dataset import read_manifest
from posecore.errors import UserError
from posecore.skeleton import Skeleton
from trainer.data.backgrounds import load_backgrounds
from trainer.data.batch import Batch
from trainer.data.config import CropConfig, DataConfig
from trainer.data.frames import Group
from trainer.data.pairs import Pair, collate_pairs, evaluation_pair, framed_pose, labelled_pair, real_pair
from trainer.data.shard_source import ShardSource
from trainer.data.shard_stream import Chance, ShardStream, Stream


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
    source = ShardSource(folder, "synthetic", skeleton, data)
    backgrounds = load_backgrounds(source, data)

    def make(group: Group, index: int, chance: Chance) -> Pair:
        return labelled_pair(group, index, chance, skeleton, data, backgrounds)

    dataset = ShardStream(source, make, seed, rank, world_size, data.shuffle_buffer)
    return Stream(dataset, data.synthetic_batch_size, collate_pairs, data)


def real_stream(folder: str | Path, data: DataConfig, seed: int, rank: int = 0, world_size: int = 1) -> Stream:
    """Endless unlabelled batches of frames x and partners x' from the same clip, at least `pair_min_gap_frames`
    apart.

    Where a clip has no frame that far away (a still), x' is a warped and masked copy of x.

    Raises:
        UserError: the dataset is missing, damaged, or not of kind "real".
    """
    source = ShardSource(folder, "real", None, data)

    def make(group: Group, index: int, chance: Chance) -> Pair:
        return real_pair(group, index, chance, data)

    dataset = ShardStream(source, make, seed, rank, world_size, data.shuffle_buffer)
    return Stream(dataset, data.real_batch_size, collate_pairs, data)


def pose_prior_stream(
    folder: str | Path, skeleton: Skeleton, data: DataConfig, seed: int, rank: int = 0, world_size: int = 1
) -> Stream:
    """Endless batches of poses alone, float32 [B, K, 2] normalised, framed by the same random crops as the images.

    The discriminator sees framing as well as pose: a prior that is framed otherwise would teach it the framing.
    """
    source = ShardSource(folder, "synthetic", skeleton, data, pixels=False)

    def make(group: Group, index: int, chance: Chance) -> np.ndarray:
        return framed_pose(group[index], chance, skeleton, data)

    dataset = ShardStream(source, make, seed, rank, world_size, data.shuffle_buffer)
    return Stream(dataset, data.prior_batch_size, lambda items: torch.from_numpy(np.stack(items)), data)


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
    kind = read_manifest(folder).kind
    data = DataConfig(input_size_px=size, min_visible_joints=1, cache_limit_mb=0)
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
        yield collate_pairs([evaluation_pair(group, index, skeleton, crop, data) for group, index in chosen])
