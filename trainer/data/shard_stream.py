"""The order of training: endless, shuffled passes over a dataset's shards, exactly resumable.

A pass over a dataset yields every usable frame once as x, over all ranks and workers together; the order differs from
pass to pass and follows from the seed alone. The unit that is held in memory is a block of shards (all of them,
decoded, if they fit into `cache_limit_mb`), shuffled as a whole, so that a position is three integers: pass, block,
place in the block. What chance does to a frame depends on (seed, pass, key) only, never on the worker that makes it.
Resuming with the same number of ranks and workers continues with the very next frame; another number is refused.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torchdata.stateful_dataloader import StatefulDataLoader

from posecore.errors import UserError
from trainer.data.config import DataConfig
from trainer.data.frames import Group
from trainer.data.shard_source import ShardSource


class Stream:
    """Endless batches with a position that can be saved as JSON and taken up again.

    Iterating yields `Batch` (the pose prior: tensors [B, K, 2]). `state_dict` describes the place after the last
    batch handed out.
    """

    def __init__(self, dataset: ShardStream, batch_size: int, collate: Callable, config: DataConfig) -> None:
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


class ShardStream(torch.utils.data.IterableDataset):
    """What `make` makes of the frames of a source, for ever; see the module's text for what is promised.

    Args:
        make: called with a group, the index of the frame in it that serves as x, and that frame's chance.
        rank, world_size: this process among those of a distributed training.
        shuffle_buffer: least number of frames in a block of shards, where they are not all in memory.
    """

    def __init__(
        self,
        source: ShardSource,
        make: Callable[[Group, int, Chance], Any],
        seed: int,
        rank: int,
        world_size: int,
        shuffle_buffer: int,
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
                    yield self._make(group, index, Chance(self.seed, self._pass, group[index].key))
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

    def _items(self, shards: list[int], consumer: int, consumers: int) -> list[tuple[Group, int]]:
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


@dataclass(frozen=True)
class Chance:
    """Generators for one sample of one pass, one for each purpose: a new knob leaves all other draws alone."""

    seed: int
    pass_number: int
    key: str

    def rng(self, purpose: str) -> np.random.Generator:
        """The generator for one purpose, anew at each call."""
        words = [self.seed, self.pass_number, zlib.crc32(self.key.encode()), zlib.crc32(purpose.encode())]
        return np.random.default_rng(words)
