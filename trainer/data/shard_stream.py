"""The order of training: one endless sequence of frames, the same for any number of ranks and loader processes.

A pass over a dataset yields every usable frame once as x, in an order that differs from pass to pass and follows from
the seed alone. The unit that is held in memory is a block of shards (all of them, decoded, if they fit into
`cache_limit_mb`), shuffled as a whole, so that a place in a dataset is three integers: pass, block, frame in the block.
Several datasets are woven into one sequence by their shares. The sequence is cut into batches: step n's go to ranks
0, 1, ... in turn, and within a rank to its loader processes in turn. Whoever makes a frame, what chance does to it
depends on (seed, pass, key) only. So two ranks train on just what one rank with twice as many batches a step would,
and resuming continues with the very next frame, also with other numbers of ranks, processes or frames in a batch.
"""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.random.bit_generator import ISeedSequence

from posecore.errors import UserError
from trainer.data.config import DataConfig
from trainer.data.frames import Frame, Group
from trainer.data.shard_source import ShardSource


@dataclass(frozen=True)
class Chance:
    """Generators for one sample of one pass, one for each purpose: a new knob leaves all other draws alone."""

    seed: int
    pass_number: int
    key: str

    def rng(self, purpose: str) -> np.random.Generator:
        """The generator for one purpose, anew at each call."""
        words = f"{self.seed} {self.pass_number} {self.key} {purpose}".encode()
        key = np.frombuffer(hashlib.blake2b(words, digest_size=16).digest(), np.uint64)
        return np.random.Generator(np.random.Philox(_Key(key)))


class _Key(ISeedSequence):
    """Philox takes its key as it is. Given as `key=`, numpy would first gather entropy for a seed that nobody uses."""

    def __init__(self, key: np.ndarray) -> None:
        self.key = key

    def generate_state(self, n_words: int, dtype: type = np.uint32) -> np.ndarray:
        return self.key


@dataclass(frozen=True)
class Item:
    """One frame's turn to serve as x: `group[index]`, and its chance; whether its step renders, and so needs x'."""

    group: Group
    index: int
    chance: Chance
    with_partner: bool = True


class Stream:
    """Endless batches with a position that can be saved as JSON and taken up again.

    Iterating yields what `collate` makes: a `Batch`, or for the pose prior a tensor [B, K, 2].

    Attributes:
        waited_s: seconds that the reader has waited for batches so far.
        damaged: what had to be skipped so far: location of a shard, why.
    """

    def __init__(self, sequence: BatchSequence, config: DataConfig) -> None:
        self.sequence = sequence
        self.waited_s = 0.0
        self.damaged: dict[str, str] = {}
        self._config = config
        self._position = sequence.position
        self._batches: Iterator[tuple[dict[str, Any], dict[str, str], Any]] | None = None

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Any:
        begin = time.perf_counter()
        if self._batches is None:
            self._batches = iter(self._loader())
        try:
            self._position, self.damaged, batch = next(self._batches)
        except UserError as error:
            # A worker process wraps the message in its traceback; the user needs the last line of it.
            raise UserError(str(error).strip().splitlines()[-1].removeprefix("posecore.errors.UserError: ")) from None
        self.waited_s += time.perf_counter() - begin
        return batch

    def state_dict(self) -> dict[str, Any]:
        """The position after the last batch handed out to all ranks, as plain JSON-able values; alike on all ranks."""
        return self._position

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after the batch at which `state` was taken, whoever took it.

        Raises:
            UserError: it is a position in other datasets.
        """
        self.sequence.check(state)
        self.sequence.position = self._position = state
        self._batches = None

    def _loader(self) -> torch.utils.data.DataLoader:
        workers = self._config.num_workers
        return torch.utils.data.DataLoader(
            self.sequence,
            batch_size=None,  # the sequence makes whole batches
            collate_fn=_as_it_is,
            num_workers=workers,
            prefetch_factor=self._config.prefetch_batches if workers else None,
            # Forked workers share the decoded dataset with this process instead of copying it.
            multiprocessing_context="fork" if workers else None,
            worker_init_fn=_one_thread,
            # Its own generator: the loader must not draw from the training's global one.
            generator=torch.Generator(),
        )


class BatchSequence(torch.utils.data.IterableDataset):
    """The batches of one rank, each with the position after it; see the module's text for what is promised.

    Args:
        sources: the datasets. shares: of the frames that each gives, any positive numbers.
        make: what becomes of a frame. collate: what becomes of a batch of those.
        batch_size: frames in a batch of one rank.
        rank, world_size: this process among those of a distributed training.
        shuffle_buffer: least number of frames in a block of shards, where they are not all in memory.
        admits: whether a frame may be x, after so many have been taken of its dataset; who is refused is passed over.
            The number is part of the position, so a curriculum resumes exactly.
        partner_every, accumulate: every so many-th step has partners, a step being so many batches of each rank.
            Steps are counted by the frames taken, so this too resumes exactly.
    """

    def __init__(
        self,
        sources: Sequence[ShardSource],
        shares: Sequence[float],
        make: Callable[[Item], Any],
        collate: Callable[[list[Any]], Any],
        batch_size: int,
        seed: int,
        rank: int,
        world_size: int,
        shuffle_buffer: int,
        admits: Callable[[Frame, int], bool] | None = None,
        partner_every: int = 1,
        accumulate: int = 1,
    ) -> None:
        super().__init__()
        self._admits = admits or _admit_all
        self.sources = sources
        self._shares = np.asarray(shares, float) / sum(shares)
        self._make, self._collate = make, collate
        self._batch_size = batch_size
        self._seed = seed
        self._rank, self._world_size = rank, world_size
        self._shuffle_buffer = shuffle_buffer
        self._partner_every = partner_every
        self._frames_per_step = batch_size * world_size * accumulate
        start = {"pass": 0, "block": 0, "place": 0, "taken": 0, "buffer": None}
        self.position: dict[str, Any] = {
            "datasets": [{"fingerprint": source.fingerprint, **start} for source in sources]
        }

    def check(self, position: dict[str, Any]) -> None:
        """Raises UserError if a position is one of other datasets."""
        theirs = [place["fingerprint"] for place in position["datasets"]]
        if theirs != [source.fingerprint for source in self.sources]:
            raise UserError(
                f"{', '.join(str(source.folder) for source in self.sources)}: not the data of the run that is to be "
                "resumed; give it the same datasets in the same order, or start a new run with --init"
            )

    def __iter__(self) -> Iterator[tuple[dict[str, Any], dict[str, str], Any]]:
        worker = torch.utils.data.get_worker_info()
        workers, worker_id = (1, 0) if worker is None else (worker.num_workers, worker.id)
        places = self.position["datasets"]
        walks = [
            _Walk(source, place, self._seed, self._shuffle_buffer, self._admits)
            for source, place in zip(self.sources, places, strict=True)
        ]
        number = 0
        while True:
            step = sum(walk.taken for walk in walks) // self._frames_per_step
            with_partner = step % self._partner_every == 0
            by_rank = [self._draw(walks, with_partner) for _ in range(self._world_size)]
            if number % workers == worker_id:
                batch = self._collate([self._make(item) for item in by_rank[self._rank]])
                damaged = {where: why for source in self.sources for where, why in source.damaged.items()}
                yield {"datasets": [walk.place() for walk in walks]}, damaged, batch
            number += 1

    def _draw(self, walks: list[_Walk], with_partner: bool) -> list[Item]:
        """The next batch's frames: at any time each dataset has given its share of all frames, to within one."""
        items = []
        for _ in range(self._batch_size):
            taken = np.array([walk.taken for walk in walks])
            behind = self._shares * (taken.sum() + 1) - taken
            items.append(walks[int(behind.argmax())].take(with_partner))
        return items


class _Walk:
    """An endless walk through one dataset, from a place on."""

    def __init__(
        self,
        source: ShardSource,
        place: dict[str, Any],
        seed: int,
        shuffle_buffer: int,
        admits: Callable[[Frame, int], bool],
    ) -> None:
        self.source = source
        self._admits = admits
        self.taken = place["taken"]
        self._seed, self._shuffle_buffer = seed, shuffle_buffer
        self._pass, self._block, self._place = place["pass"], place["block"], place["place"]
        self._began = any((self._pass, self._block, self._place))
        # A pass ends with the blocks that it began with, whatever may be cached now; 0 is one block of all.
        self._buffer = place["buffer"] if self._began else self._own_buffer()
        self._blocks = self._plan()
        self._items: list[tuple[Group, int]] | None = None
        self._found_any = self._began

    def place(self) -> dict[str, Any]:
        """Where the walk stands, JSON-able."""
        return {
            "fingerprint": self.source.fingerprint,
            "pass": self._pass,
            "block": self._block,
            "place": self._place,
            "taken": self.taken,
            "buffer": self._buffer,
        }

    def take(self, with_partner: bool = True) -> Item:
        """The next frame.

        Raises:
            UserError: a shard is damaged, or a whole pass found no usable frame.
        """
        is_admitted = False
        while not is_admitted:
            while self._items is None or self._place >= len(self._items):
                self._step_on()
            group, index = self._items[self._place]
            self._place += 1
            is_admitted = self._admits(group[index], self.taken)
        self._found_any = True
        self.taken += 1
        return Item(group, index, Chance(self._seed, self._pass, group[index].key), with_partner)

    def _step_on(self) -> None:
        """Open the block at hand, or the one after it."""
        if self._items is not None:
            self._block, self._place = self._block + 1, 0
        if self._block >= len(self._blocks):
            if not self._found_any:
                raise UserError(f"{self.source.folder}: holds no usable frame; look at it with `synthgen stats`")
            self._pass, self._block, self._found_any = self._pass + 1, 0, False
            self._buffer = self._own_buffer()
            self._blocks = self._plan()
        if self._block + 1 < len(self._blocks):
            self.source.fetch_ahead(self._blocks[self._block + 1])
        self._items = self._shuffled(self._blocks[self._block])

    def _own_buffer(self) -> int:
        return 0 if self.source.is_cached else self._shuffle_buffer

    def _plan(self) -> list[list[int]]:
        """This pass's blocks of shards."""
        shards = self.source.manifest.shards
        order = self._rng(b"shards").permutation(len(shards)).tolist()
        if self._buffer == 0:
            return [sorted(order)]
        blocks: list[list[int]] = []
        held = self._buffer
        for shard in order:
            if held >= self._buffer:
                blocks.append([])
                held = 0
            blocks[-1].append(shard)
            held += shards[shard].count
        return blocks

    def _shuffled(self, shards: list[int]) -> list[tuple[Group, int]]:
        """A block's usable frames in this pass's order."""
        items = [
            (group, index)
            for shard in shards
            for group in self.source.groups(shard)
            for index in range(len(group))
            if group[index].usable
        ]
        return [items[position] for position in self._rng(b"items", *shards).permutation(len(items))]

    def _rng(self, purpose: bytes, *more: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, self._pass, zlib.crc32(purpose), *more])


def _admit_all(frame: Frame, taken: int) -> bool:
    return True


def _as_it_is(batch: Any) -> Any:
    return batch


def _one_thread(worker: int) -> None:
    # Threads for small pictures only get in the way of other processes. Not 1: that joins the parent's threads, which
    # a forked process does not have, and waits for ever.
    cv2.setNumThreads(0)
