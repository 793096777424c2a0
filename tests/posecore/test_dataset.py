import gc
import io
import json
from pathlib import Path

import pytest
import webdataset

from posecore.codec import decode, encode
from posecore.dataset import (
    Manifest,
    Shard,
    ShardWriter,
    iterate_dataset,
    read_manifest,
    read_records,
    write_atomically,
    write_manifest,
)
from posecore.errors import UserError
from tests.posecore.samples import make_sample


def write_tar(path: Path, count: int = 3) -> None:
    with ShardWriter(path) as writer:
        for scene in range(count):
            sample = make_sample(scene)
            writer.add(sample.key, encode(sample))


def write_dataset(folder: Path) -> None:
    write_tar(folder / "a-000000.tar")
    write_manifest(folder, Manifest("a", "synthetic", (Shard("a-000000.tar", 3, "0"),), seed=4))


def test_a_manifest_survives_the_round_trip(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    manifest = read_manifest(tmp_path)
    assert manifest.num_samples == 3 and manifest.seed == 4 and manifest.shards[0].file == "a-000000.tar"


def test_records_come_in_order_with_all_their_members(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    records = list(iterate_dataset(tmp_path))
    assert [key for key, _ in records] == ["00000000-01-00", "00000001-01-00", "00000002-01-00"]
    assert decode(records[2][1]).scene == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves its file open
def test_the_webdataset_library_reads_the_shards(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar")
    records = list(webdataset.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False, empty_check=False))
    assert [record["__key__"] for record in records] == ["00000000-01-00", "00000001-01-00", "00000002-01-00"]
    assert decode({name: content for name, content in records[0].items() if "__" not in name}).scene == 0
    gc.collect()


def test_the_same_records_give_the_same_bytes_and_a_failed_shard_leaves_nothing(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar")
    write_tar(tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with pytest.raises(RuntimeError), ShardWriter(tmp_path / "c.tar") as writer:
        writer.add("00000000-00-00", {"a.txt": b"x"})
        raise RuntimeError
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "b.tar"]


def test_a_folder_without_a_manifest_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no dataset\.json there"):
        read_manifest(tmp_path)


def test_another_format_version_is_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    content = json.loads((tmp_path / "dataset.json").read_text()) | {"format_version": 99}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="format version 99, this program reads 1"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"format_version": 1}', '{"format_version": 1, "shards": [3]}'])
def test_a_garbled_manifest_is_one_clear_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(UserError):
        read_manifest(tmp_path)


def test_a_shard_cut_short_anywhere_is_reported_and_gives_no_half_record(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar")
    whole = (tmp_path / "a.tar").read_bytes()
    last_content = len(whole.rstrip(b"\0"))
    for length in range(700, last_content - 512, 4999):
        seen = []
        with pytest.raises(UserError, match=r"a\.tar: damaged or truncated"):
            for _, members in read_records(io.BytesIO(whole[:length]), "a.tar"):
                seen.append(set(members))
        assert all(members == {"image.jpg", "mask.png", "meta.json"} for members in seen)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    (tmp_path / "a-000000.tar").unlink()
    with pytest.raises(UserError, match=r"a-000000\.tar: missing"):
        list(iterate_dataset(tmp_path))


def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
