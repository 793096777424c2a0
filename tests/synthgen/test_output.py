"""Local folders and fsspec places behave alike."""

from contextlib import closing
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest

from posecore.errors import UserError
from synthgen.output import open_output


@pytest.fixture(params=["local", "memory"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "data") if request.param == "local" else f"memory://{uuid4()}/data"


def test_files_come_and_go_by_name(location: str) -> None:
    output = open_output(location)
    assert output.names() == []
    output.write("state/plan.json", b"1")
    output.write("state/plan.json", b"2")
    output.workspace.mkdir(exist_ok=True)
    (output.workspace / "a.tar").write_bytes(b"shard")
    output.take("a.tar")
    assert output.names() == ["a.tar", "state"] and output.names("state") == ["plan.json"]
    assert output.read("state/plan.json") == b"2" and output.read("a.tar") == b"shard"
    with pytest.raises(FileNotFoundError):
        output.read("b.tar")
    output.remove("state")
    output.remove("nothing")
    output.close()
    with closing(open_output(location)) as again:
        assert again.names() == ["a.tar"]
    with fsspec.open(f"{location}/a.tar") as file:
        assert file.read() == b"shard"


def test_a_remote_place_keeps_nothing_on_this_disk() -> None:
    output = open_output(f"memory://{uuid4()}")
    (output.workspace / "a.tar").write_bytes(b"shard")
    output.take("a.tar")
    assert list(output.workspace.iterdir()) == []
    output.close()
    assert not output.workspace.exists()


def test_an_unknown_protocol_is_one_clear_line() -> None:
    with pytest.raises(UserError, match=r"--out nowhere://x: .*nowhere"):
        open_output("nowhere://x")
