"""The order of training: nothing lost or doubled, and exact resume."""

import json
from collections import Counter
from types import SimpleNamespace

import pytest
import torch

from posecore.dataset import Manifest, Shard
from posecore.errors import UserError
from posecore.skeleton import load_skeleton
from trainer.data.config import DataConfig
from trainer.data.shard_stream import ShardStream
from trainer.data.streams import synthetic_stream

H36M = load_skeleton("h36m17")
SMALL = {"input_size_px": 32, "synthetic_batch_size": 4, "real_batch_size": 4, "prior_batch_size": 4}
CACHED = DataConfig(**SMALL)
STREAMED = DataConfig(**SMALL, cache_limit_mb=0, shuffle_buffer=4)


class _Keys:
    """A source of numbered frames without files, for looking at the order alone."""

    def __init__(self, shard_sizes: list[int], is_cached: bool) -> None:
        self.folder, self.is_cached = "memory", is_cached
        self.manifest = read_only_manifest(shard_sizes)

    def groups(self, shard: int):
        return [(frame,) for frame in frames_of(self.manifest, shard)]


def read_only_manifest(shard_sizes):
    shards = tuple(Shard(f"{i}.tar", size, "") for i, size in enumerate(shard_sizes))
    return Manifest(name="memory", kind="real", shards=shards)


def frames_of(manifest, shard):
    return [SimpleNamespace(key=f"{shard}-{i}", usable=True) for i in range(manifest.shards[shard].count)]


def keys_of_passes(source, passes, rank, world_size):
    stream = ShardStream(
        source, lambda group, index, chance: (chance.pass_number, group[index].key), 5, rank, world_size, 6
    )
    found = {number: [] for number in range(passes)}
    for pass_number, key in stream:
        if pass_number >= passes:
            return found
        found[pass_number].append(key)
    raise AssertionError("a stream must not end")


@pytest.mark.parametrize("is_cached", [True, False])
@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("shard_sizes", [[5, 4, 3, 7, 2], [9]])
def test_each_pass_holds_every_sample_once_over_all_ranks_in_another_order(is_cached, world_size, shard_sizes):
    source = _Keys(shard_sizes, is_cached)
    by_rank = [keys_of_passes(source, 3, rank, world_size) for rank in range(world_size)]
    everything = sorted(frame.key for shard in range(len(shard_sizes)) for frame in frames_of(source.manifest, shard))
    passes = [[key for found in by_rank for key in found[number]] for number in range(3)]
    assert all(sorted(keys) == everything for keys in passes)
    assert passes[0] != passes[1] != passes[2]


def test_workers_together_yield_every_sample_once_a_pass(painted_dataset):
    folder = painted_dataset(scenes=8, frames=2, shards=4)
    data = DataConfig(**{**SMALL, "synthetic_batch_size": 1}, num_workers=2)
    stream = synthetic_stream(folder, H36M, data, seed=0)
    counts = Counter(next(stream).keys[0] for _ in range(16))
    assert len(counts) == 16
    assert set(counts.values()) == {1}


@pytest.mark.parametrize(
    "data", [CACHED, STREAMED, DataConfig(**SMALL, num_workers=2)], ids=["cached", "streamed", "workers"]
)
def test_a_resumed_stream_continues_with_the_very_next_batches(painted_dataset, data):
    folder = painted_dataset(scenes=6, frames=2, shards=3)
    stream = synthetic_stream(folder, H36M, data, seed=1)
    for _ in range(5):
        next(stream)
    state = json.loads(json.dumps(stream.state_dict()))
    expected = [next(stream) for _ in range(4)]
    resumed = synthetic_stream(folder, H36M, data, seed=1)
    resumed.load_state_dict(state)
    for batch in expected:
        again = next(resumed)
        assert again.keys == batch.keys
        assert torch.equal(again.images, batch.images)
        assert torch.equal(again.joints, batch.joints)


def test_the_same_sample_of_the_same_pass_is_the_same_whoever_makes_it(painted_dataset):
    folder = painted_dataset(scenes=6, frames=2, shards=3)

    def first_pass(data):
        stream = synthetic_stream(folder, H36M, data, seed=2)
        batches = [next(stream) for _ in range(3)]
        return {key: batch.images[i] for batch in batches for i, key in enumerate(batch.keys)}

    cached, streamed = first_pass(CACHED), first_pass(STREAMED)
    assert cached.keys() == streamed.keys()
    assert all(torch.equal(cached[key], streamed[key]) for key in cached)


def test_resuming_with_another_number_of_ranks_is_refused(painted_dataset):
    folder = painted_dataset()
    stream = synthetic_stream(folder, H36M, CACHED, seed=0)
    next(stream)
    other = synthetic_stream(folder, H36M, CACHED, seed=0, rank=0, world_size=2)
    other.load_state_dict(stream.state_dict())
    with pytest.raises(UserError, match="same number of ranks"):
        next(other)
