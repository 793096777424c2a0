"""DeepLabCut projects: headers of one and several animals, both kinds of index, the user's joint map, the errors."""

import numpy as np
import pytest

from posecore.errors import UserError
from trainer.benchmarks.deeplabcut import BENCHMARK

MAP = {"snout": ("nose",), "leftear": ("left_ear",), "rightear": ("right_ear",), "tailbase": ("tail_root",)}
SINGLE = """\
scorer,Pranav,Pranav,Pranav,Pranav,Pranav,Pranav,Pranav,Pranav
bodyparts,snout,snout,leftear,leftear,rightear,rightear,tailbase,tailbase
coords,x,y,x,y,x,y,x,y
labeled-data/m4s1/img0000.png,21.5,26.5,33.8,26.9,,,40.1,12.7
labeled-data/m4s1/img0001.png,10.2,28.5,19.9,29.2,12.3,28.3,45.8,22.4
"""
SEVERAL = """\
scorer,,,me,me,me,me,me,me,me,me,me,me
individuals,,,one,one,one,one,two,two,two,two,single,single
bodyparts,,,nose,nose,tail_root,tail_root,nose,nose,tail_root,tail_root,door,door
coords,,,x,y,x,y,x,y,x,y,x,y
labeled-data,cage,img07.png,1,2,11,12,21,22,31,32,5,5
labeled-data,cage,img08.png,1,2,11,12,,,,,5,5
"""


@pytest.fixture
def project(tmp_path, picture_at):
    """Writes a table: `project(text, video=)` -> the project's folder."""

    def write(text, video="m4s1"):
        path = tmp_path / "labeled-data" / video / "CollectedData_Pranav.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for name in ("img0000.png", "img0001.png", "img07.png", "img08.png"):
            picture_at(path.parent / name)
        return tmp_path

    return write


def test_one_animal_is_read_with_the_users_map(project, read):
    opened, samples, _ = read(BENCHMARK, project(SINGLE), "quadruped", joint_map=MAP)
    assert opened.joints.names == ("snout", "leftear", "rightear", "tailbase")
    assert [sample.key for sample in samples] == ["m4s1/img0000", "m4s1/img0001"]
    assert all(sample.picture.is_file() for sample in samples)
    np.testing.assert_allclose(samples[0].joints_px[0], [22.0, 27.0])
    assert np.isnan(samples[0].joints_px[2]).all() and np.isfinite(samples[1].joints_px).all()


@pytest.mark.parametrize("place", ["labeled-data", "labeled-data/m4s1/CollectedData_Pranav.csv"])
def test_the_root_may_be_the_folder_of_labels_or_the_table(project, read, place):
    assert len(read(BENCHMARK, project(SINGLE) / place, "quadruped", joint_map=MAP)[1]) == 2


def test_a_table_written_on_windows_is_read(project, read):
    text = SINGLE.replace("labeled-data/m4s1/", "labeled-data\\m4s1\\").replace("\n", "\r\n")
    assert read(BENCHMARK, project(text), "quadruped", joint_map=MAP)[1][0].picture.name == "img0000.png"


def test_several_animals_are_several_subjects_and_objects_none(project, read):
    opened, samples, left_out = read(BENCHMARK, project(SEVERAL, "cage"), "quadruped")
    assert opened.joints.names == ("nose", "tail_root")
    assert [sample.key for sample in samples] == ["cage/img07-one", "cage/img07-two", "cage/img08-one"]
    np.testing.assert_allclose(samples[1].joints_px, [[21.5, 22.5], [31.5, 32.5]])
    assert left_out == {"subjects with fewer than two labelled points": 1}


def test_names_that_are_not_ours_are_listed(project, read):
    with pytest.raises(UserError, match=r"snout, leftear, tailbase: no joint of quadruped.*--joint-map.*left_eye"):
        read(BENCHMARK, project(SINGLE), "quadruped", joint_map={"rightear": ("right_ear",)})
    with pytest.raises(UserError, match="snout: quadruped has no joint 'nos'; did you mean nose"):
        read(BENCHMARK, project(SINGLE), "quadruped", joint_map=MAP | {"snout": ("nos",)})


def test_errors_are_mean_distances_and_the_second_trusts_confident_answers_only(project, read, answers_of):
    opened, samples, _ = read(BENCHMARK, project(SINGLE), "quadruped", joint_map=MAP)
    answers = answers_of(opened, samples, "quadruped", confidence=0.9)
    answers.joints_px[:, 0] += [3, 4]
    answers.confidence[:, 0] = 0.5
    score = BENCHMARK.score(answers)
    # Seven labelled points, two of them off by 5 px.
    assert score["rmse_px"]["value"] == pytest.approx(10 / 7)
    assert score["rmse_cutoff_px"]["value"] == pytest.approx(0, abs=1e-9)
    assert score["share_kept"]["value"] == pytest.approx(5 / 7)
    assert score["by_part"]["snout"]["rmse_px"]["value"] == pytest.approx(5)
    assert score["by_part"]["snout"]["rmse_cutoff_px"] is None


def test_labels_that_a_network_doubts_are_none(project, read):
    text = """\
scorer,net,net,net,net,net,net
bodyparts,nose,nose,nose,tail_root,tail_root,tail_root
coords,x,y,likelihood,x,y,likelihood
img0000.png,1,2,0.99,11,12,0.4
img0001.png,1,2,0.99,11,12,0.7
"""
    _, samples, left_out = read(BENCHMARK, project(text), "quadruped")
    assert [sample.key for sample in samples] == ["m4s1/img0001"] and left_out.total() == 1
    assert len(read(BENCHMARK, project(text), "quadruped", cutoff=0.3)[1]) == 2


def test_predictions_for_a_video_are_no_labels(project, read):
    text = SINGLE.replace("labeled-data/m4s1/img0000.png", "0").replace("labeled-data/m4s1/img0001.png", "1")
    with pytest.raises(UserError, match=r"CollectedData_Pranav.csv:4: '0' names no picture"):
        read(BENCHMARK, project(text), "quadruped", joint_map=MAP)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "its first rows must be"),
        (SINGLE.replace("26.5", "west"), "4: snout y is 'west'"),
        (SINGLE.replace(",40.1,12.7", ""), "4: 7 cells, too few for 8 coordinates"),
        (SINGLE.replace("coords,x,y", "coords,x"), "of one length"),
    ],
)
def test_other_tables_are_refused(project, read, text, message):
    with pytest.raises(UserError, match=message):
        read(BENCHMARK, project(text), "quadruped", joint_map=MAP)
