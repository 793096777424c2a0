"""The order of training: nothing lost or doubled, mixing by shares, and exact resume, whoever resumes."""

import hashlib
import json
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from posecore.dataset import Manifest, Shard
from posecore.errors import UserError
from posecore.skeleton import load_skeleton
from trainer.data.config import DataConfig
from trainer.data.shard_stream import BatchSequence, Chance, Stream
from trainer.data.streams import dataset_shares, synthetic_stream

H36M = load_skeleton("h36m17")
SMALL = {"input_size_px": 32, "synthetic_batch_size": 4, "real_batch_size": 4, "prior_batch_size": 4}
CACHED = DataConfig(**SMALL)
STREAMED = DataConfig(**SMALL, cache_limit_mb=0, shuffle_buffer=4)


class _Keys:
    """A source of numbered frames without files, for looking at the order alone."""

    def __init__(self, shard_sizes: list[int], is_cached: bool, name: str = "memory") -> None:
        self.folder, self.is_cached, self.damaged, self.fingerprint = name, is_cached, {}, hash(name)
        shards = tuple(Shard(f"{i}.tar", size, "") for i, size in enumerate(shard_sizes))
        self.manifest = Manifest(name=name, kind="real", shards=shards)

    def groups(self, shard: int):
        names = [f"{self.folder} {shard}-{i}" for i in range(self.manifest.shards[shard].count)]
        return [(SimpleNamespace(key=name, usable=True),) for name in names]

    def fetch_ahead(self, shards: list[int]) -> None:
        pass

    @property
    def keys(self) -> list[str]:
        return [group[0].key for shard in range(len(self.manifest.shards)) for group in self.groups(shard)]


def batches_of(sources, rank=0, world_size=1, batch_size=1, workers=0, position=None, shares=None, buffer=6):
    """A stream whose batches are lists of (pass, key)."""
    sequence = BatchSequence(
        sources,
        shares or [1.0] * len(sources),
        lambda item: (item.chance.pass_number, item.group[item.index].key),
        list,
        batch_size,
        5,
        rank,
        world_size,
        buffer,
    )
    stream = Stream(sequence, DataConfig(num_workers=workers))
    if position is not None:
        stream.load_state_dict(json.loads(json.dumps(position)))
    return stream


def draw(stream, count):
    return [item for _ in range(count) for item in next(stream)]


@pytest.mark.parametrize("is_cached", [True, False])
@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("shard_sizes", [[5, 4, 3, 7, 2], [9]])
def test_each_pass_holds_every_sample_once_over_all_ranks_in_another_order(is_cached, world_size, shard_sizes):
    source = _Keys(shard_sizes, is_cached)
    streams = [batches_of([source], rank, world_size) for rank in range(world_size)]
    drawn = [item for _ in range(3 * len(source.keys) // world_size + 1) for stream in streams for item in next(stream)]
    passes = [[key for number, key in drawn if number == wanted] for wanted in range(3)]
    assert all(sorted(keys) == sorted(source.keys) for keys in passes)
    assert passes[0] != passes[1] != passes[2]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more processes than this machine has cores
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_loader_processes_give_the_very_order_of_a_single_one(workers):
    source = _Keys([5, 4, 3, 7, 2], is_cached=False)
    assert draw(batches_of([source], workers=workers, batch_size=3), 20) == draw(batches_of([source], batch_size=3), 20)


def test_two_ranks_draw_in_each_step_what_one_rank_draws_in_two_batches():
    source = _Keys([5, 4, 3, 7, 2], is_cached=False)
    ranks = [batches_of([source], rank, 2, batch_size=3) for rank in range(2)]
    together = [item for _ in range(10) for rank in ranks for item in next(rank)]
    assert together == draw(batches_of([source], batch_size=3), 20)
    assert ranks[0].state_dict() == ranks[1].state_dict()


@pytest.mark.parametrize("is_cached", [True, False])
@pytest.mark.parametrize(("ranks", "workers", "batch_size"), [(1, 0, 3), (1, 2, 3), (2, 0, 3), (3, 1, 1), (1, 0, 7)])
def test_resuming_in_mid_pass_continues_the_order_whatever_ranks_processes_and_batches(
    is_cached, ranks, workers, batch_size
):
    source = _Keys([5, 4, 3, 7, 2], is_cached)
    whole = draw(batches_of([source]), 84)
    before = batches_of([source], batch_size=3, workers=2)
    seen = draw(before, 3)
    resumed = [
        batches_of([source], rank, ranks, batch_size, workers, position=before.state_dict()) for rank in range(ranks)
    ]
    rounds = (84 - len(seen)) // (ranks * batch_size)
    seen += [item for _ in range(rounds) for stream in resumed for item in next(stream)]
    assert seen == whole[: len(seen)]


def test_a_pass_ends_in_the_order_it_began_with_though_the_cache_or_the_buffer_changed():
    streamed, cached = (_Keys([5, 4, 3, 7, 2], is_cached) for is_cached in (False, True))
    before = batches_of([streamed], batch_size=2)
    seen = draw(before, 4)
    seen += draw(batches_of([cached], position=before.state_dict(), buffer=99), 21 + 5)
    assert [key for number, key in seen if number == 0] == [key for _, key in draw(batches_of([streamed]), 21)]
    assert sorted(Counter(key for number, key in seen if number == 0).values()) == [1] * 21


def test_datasets_are_mixed_by_their_shares_and_each_passes_through_itself_alone():
    many, few = _Keys([10, 10, 10], is_cached=False, name="many"), _Keys([6], is_cached=True, name="few")
    stream = batches_of([many, few], batch_size=10, shares=[0.7, 0.3])
    drawn = [next(stream) for _ in range(20)]
    assert all(sum("many" in key for _, key in batch) == 7 for batch in drawn)
    flat = [item for batch in drawn for item in batch]
    of_few = Counter(item for item in flat if "few" in item[1])
    assert set(of_few.values()) == {1} and len(of_few) == 60
    assert len({item for item in flat if "many" in item[1]}) == 140


def test_a_mixture_is_resumed_exactly():
    sources = [_Keys([10, 10, 10], is_cached=False, name="a"), _Keys([7], is_cached=True, name="b")]
    stream = batches_of(sources, batch_size=4, shares=[2, 1])
    draw(stream, 5)
    position = stream.state_dict()
    expected = draw(stream, 12)
    assert draw(batches_of(sources, batch_size=4, shares=[2, 1], workers=2, position=position), 12) == expected


def test_shares_are_told_from_paths():
    assert dataset_shares("data/a") == [("data/a", None)]
    assert dataset_shares(["data/a=0.7", "s3://b/day=monday=2"]) == [("data/a", 0.7), ("s3://b/day=monday", 2.0)]
    assert dataset_shares(["s3://b/day=monday"]) == [("s3://b/day=monday", None)]
    with pytest.raises(UserError, match="every dataset a share"):
        dataset_shares(["a=1", "b"])
    with pytest.raises(UserError, match="above 0"):
        dataset_shares(["a=0", "b=1"])


def test_another_dataset_than_the_saved_one_is_refused():
    stream = batches_of([_Keys([5], is_cached=True, name="a")])
    next(stream)
    with pytest.raises(UserError, match="not the data of the run"):
        batches_of([_Keys([5], is_cached=True, name="b")], position=stream.state_dict())


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
    resumed = synthetic_stream(folder, H36M, data.model_copy(update={"num_workers": 1}), seed=1)
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


def test_two_datasets_of_one_training_share_the_batches(painted_dataset):
    first, second = painted_dataset(scenes=4), painted_dataset(scenes=6)
    stream = synthetic_stream([f"{first}=1", f"{second}=3"], H36M, CACHED, seed=0)
    assert next(stream).size == 4
    taken = [place["taken"] for place in stream.state_dict()["datasets"]]
    assert taken == [1, 3]


def test_a_draw_s_generator_is_philox_with_the_hash_of_its_purpose_as_key():
    key = int.from_bytes(hashlib.blake2b(b"1 2 a crop", digest_size=16).digest(), "little")
    expected = np.random.Generator(np.random.Philox(key=key))
    assert Chance(1, 2, "a").rng("crop").random(5).tolist() == expected.random(5).tolist()


def test_draws_of_one_purpose_do_not_depend_on_others_and_differ_by_pass_key_and_seed():
    first = Chance(1, 2, "a").rng("crop").random(4).tolist()
    assert Chance(1, 2, "a").rng("crop").random(4).tolist() == first
    others = [Chance(2, 2, "a"), Chance(1, 3, "a"), Chance(1, 2, "b")]
    drawn = [chance.rng("crop").random(4).tolist() for chance in others] + [
        Chance(1, 2, "a").rng("x").random(4).tolist()
    ]
    assert first not in drawn and len({tuple(row) for row in drawn}) == 4
