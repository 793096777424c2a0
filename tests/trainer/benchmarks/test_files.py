"""Files that are missing, of another kind or of another dataset: one line each."""

import pytest

from posecore.errors import UserError
from trainer.benchmarks.files import find, library, read_json, read_mat


def test_the_first_candidate_that_exists_is_taken(tmp_path):
    (tmp_path / "b").mkdir()
    assert find(tmp_path, "coco", "a", "b") == tmp_path / "b"
    with pytest.raises(UserError, match=r"found no a nor c in it; `trainer benchmarks coco`"):
        find(tmp_path, "coco", "a", "c")


def test_a_library_that_is_not_there_is_named_with_the_extra():
    with pytest.raises(UserError, match=r"needs no_such_library: pip install \"posesynth\[benchmarks\]\""):
        library("no_such_library.part")


def test_what_is_not_json_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match=r"a\.json: not a JSON file"):
        read_json(tmp_path / "a.json")


def test_what_is_not_matlab_is_refused_and_variables_are_named(tmp_path):
    io = pytest.importorskip("scipy.io")
    (tmp_path / "a.mat").write_bytes(b"MATLAB 7.3 MAT-file" + bytes(200))
    with pytest.raises(UserError, match=r"a\.mat: not a Matlab file"):
        read_mat(tmp_path / "a.mat", "joints")
    io.savemat(tmp_path / "b.mat", {"places": [1, 2]})
    with pytest.raises(UserError, match="holds no 'joints'"):
        read_mat(tmp_path / "b.mat", "joints")
