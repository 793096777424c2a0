from pathlib import Path

import pytest

from posecore.codec import image_member, read_meta
from posecore.dataset import Manifest, iterate_dataset, read_manifest, write_manifest
from posecore.errors import UserError
from synthgen.datasets.lookup import find_record, nearest_keys


def test_every_sample_is_found_with_the_members_that_reading_through_gives(people: Path, footage: Path) -> None:
    for data in (people, footage):
        for key, members in iterate_dataset(data):
            _, record = find_record(str(data), key)
            assert record.members == members and record.key == key


def test_looking_for_a_key_reads_no_other_sample(people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tarfile

    read: list[str] = []
    extract = tarfile.TarFile.extractfile

    def watched(tar: tarfile.TarFile, info: tarfile.TarInfo):
        read.append(info.name)
        return extract(tar, info)

    monkeypatch.setattr(tarfile.TarFile, "extractfile", watched)
    find_record(str(people), "00000003-01-00")
    assert read and all(name.startswith("00000003-01-00.") for name in read)


def test_an_unknown_key_names_the_nearest(people: Path) -> None:
    with pytest.raises(UserError, match="no sample '2-1'; nearest: 00000002-01-00, 00000002-00-00, 0000000"):
        find_record(str(people), "2-1")


@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [("7", "00000006-00-00"), ("00000002-01-00", "00000002-01-00"), ("nonsense", "00000000-00-00")],
)
def test_nearest_keys_go_by_their_numbers(wanted: str, nearest: str) -> None:
    keys = [f"{scene:08d}-{frame:02d}-00" for scene in (0, 2, 4, 6) for frame in range(2)]
    assert nearest_keys(wanted, keys)[0] == nearest


def test_what_is_not_there_is_one_line(people: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no dataset\.json"):
        find_record(str(tmp_path), "00000000-00-00")
    write_manifest(tmp_path, Manifest(name="x", kind="synthetic", shards=()))
    with pytest.raises(UserError, match="empty"):
        find_record(str(tmp_path), "00000000-00-00")
    write_manifest(tmp_path, read_manifest(people))
    with pytest.raises(UserError, match=r"tiny_humans-000000\.tar: missing"):
        find_record(str(tmp_path), "00000000-00-00")
    name = read_manifest(people).shards[0].file
    (tmp_path / name).write_bytes((people / name).read_bytes()[:5000])
    with pytest.raises(UserError, match="damaged or truncated"):
        find_record(str(tmp_path), "00000000-00-00")


def test_members_are_whole(people: Path) -> None:
    _, record = find_record(str(people), "00000000-00-00")
    assert read_meta(record.members)["key"] == record.key and image_member(record.members)
