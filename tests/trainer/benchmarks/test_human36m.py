"""Human3.6M as its archives unpack (CDF files, videos) and as MMPose prepares it: protocol, cameras, actions."""

from fractions import Fraction

import av
import numpy as np
import pytest

from posecore.errors import UserError
from trainer.benchmarks.human36m import BENCHMARK, JOINTS_17, action_of
from trainer.benchmarks.pictures import PictureReader

cdfwrite = pytest.importorskip("cdflib.cdfwrite")

CAMERA_K = np.array([[1145.0, 0, 512.5], [0, 1143.8, 515.5], [0, 0, 1]])
FRAMES = 6


def poses(seed):
    """[frames, 32, 3] millimetres before the camera, and [frames, 32, 2] pixels."""
    rng = np.random.default_rng(seed)
    spatial = rng.normal(0, 400, (FRAMES, 32, 3)) + np.array([0, 0, 5000])
    flat = spatial @ CAMERA_K.T
    return spatial, flat[..., :2] / flat[..., 2:]


def write_cdf(path, pose):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = pose.reshape(1, len(pose), -1)
    file = cdfwrite.CDF(path, cdf_spec={"Majority": "row_major"})
    spec = {
        "Variable": "Pose",
        "Data_Type": 45,
        "Num_Elements": 1,
        "Rec_Vary": True,
        "Dim_Sizes": list(values.shape[1:]),
    }
    file.write_var(spec, var_data=values)
    file.close()


def write_video(path, frames):
    """Frame number n is grey of level 20 n."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(50))
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(frames):
            image = np.full((64, 64, 3), 20 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(params=["MyPoseFeatures/{}", "Poses_{}"])
def archives(request, tmp_path):
    sequences = {
        "S9": ("Directions 1.54138969", "Walking.60457274", "_ALL.54138969"),
        "S11": ("Directions.54138969", "TakingPhoto 1.54138969"),
    }
    for subject, names in sequences.items():
        for number, name in enumerate(names):
            spatial, flat = poses([len(subject), number])
            for kind, pose in (("D2_Positions", flat), ("D3_Positions_mono", spatial)):
                write_cdf(tmp_path / subject / request.param.format(kind) / f"{name}.cdf", pose)
            write_video(tmp_path / subject / "Videos" / f"{name}.mp4", FRAMES)
    return tmp_path


def test_sequences_of_the_protocol_are_read_at_the_stride(archives, read):
    _, samples, left_out = read(BENCHMARK, archives, stride=4)
    assert [sample.key for sample in samples] == [
        f"{name}#{frame:06d}"
        for name in ("S9/Directions 1.54138969", "S9/Walking.60457274", "S11/TakingPhoto 1.54138969")
        for frame in (0, 4)
    ]
    assert {sample.group for sample in samples} == {"Directions", "Walking", "Photo"}
    assert left_out == {"sequences whose video is known to be corrupt": 1}
    assert BENCHMARK.stride == 64


def test_joints_are_the_seventeen_in_pixels_and_metres(archives, read):
    _, samples, _ = read(BENCHMARK, archives, stride=1)
    spatial, flat = poses([2, 0])
    np.testing.assert_allclose(samples[3].joints_px, flat[3, list(JOINTS_17)])
    np.testing.assert_allclose(samples[3].joints_cam_m, spatial[3, list(JOINTS_17)] / 1000)
    np.testing.assert_allclose(samples[3].camera_K, CAMERA_K, rtol=1e-9, atol=1e-6)


def test_the_picture_is_the_frame_of_the_video(archives, read):
    _, samples, _ = read(BENCHMARK, archives, stride=2)
    reader = PictureReader()
    levels = [reader.read(sample).mean() for sample in samples[:3]]
    np.testing.assert_allclose(levels, [0, 40, 80], atol=3)


def test_p1_moves_the_pelvis_and_p2_forgives_rotation_and_scale(archives, read, answers_of):
    opened, samples, _ = read(BENCHMARK, archives, stride=1)
    off = BENCHMARK.score(answers_of(opened, samples, "h36m17", off_m=(0.03, 0.0, 0.04)))
    # Sixteen of seventeen joints are off by 50 mm; the pelvis is the origin.
    assert off["mpjpe_p1_mm"]["value"] == pytest.approx(50 * 16 / 17)
    assert 0 < off["mpjpe_p2_mm"]["value"] < off["mpjpe_p1_mm"]["value"]
    answers = answers_of(opened, samples, "h36m17")
    answers.joints_cam_m[:] *= 1.3
    scaled = BENCHMARK.score(answers)
    assert scaled["mpjpe_p1_mm"]["value"] > 50
    assert scaled["mpjpe_p2_mm"]["value"] == pytest.approx(0, abs=1e-6)


def test_actions_count_alike_however_long(archives, read, answers_of):
    opened, samples, _ = read(BENCHMARK, archives, stride=1)
    chosen = [sample for sample in samples if sample.group == "Walking"]
    chosen += [sample for sample in samples if sample.group == "Directions"][:1]
    answers = answers_of(opened, chosen, "h36m17")
    answers.joints_cam_m[:-1, 1:] += [0.017, 0, 0]
    score = BENCHMARK.score(answers)
    assert score["by_action"]["Walking"]["mpjpe_p1_mm"]["value"] == pytest.approx(16)
    assert score["by_action"]["Directions"]["mpjpe_p1_mm"]["value"] == pytest.approx(0)
    assert score["mpjpe_p1_mm"]["value"] == pytest.approx(8)


def test_a_model_without_a_pelvis_gives_no_3d(archives, read, answers_of):
    opened, samples, _ = read(BENCHMARK, archives, stride=4)
    assert BENCHMARK.score(answers_of(opened, samples, "coco17")) == {"mpjpe_p1_mm": None, "mpjpe_p2_mm": None}


def test_mmposes_table_reads_the_same(tmp_path, read, picture_at):
    spatial, flat = poses(5)
    names = [f"S9/S9_Posing_1.54138969/S9_Posing_1.54138969_{5 * row + 1:06d}.jpg" for row in range(FRAMES)]
    ones = np.ones((FRAMES, 17, 1))
    (tmp_path / "annotation_body3d" / "fps10").mkdir(parents=True)
    np.savez(
        tmp_path / "annotation_body3d" / "fps10" / "h36m_test.npz",
        imgname=np.array(names), center=np.zeros((FRAMES, 2)), scale=np.ones(FRAMES),
        part=np.concatenate([flat[:, list(JOINTS_17)], ones], 2),
        S=np.concatenate([spatial[:, list(JOINTS_17)] / 1000, ones], 2),
    )  # fmt: skip
    for name in names:
        picture_at(tmp_path / "images" / name)
    _, samples, _ = read(BENCHMARK, tmp_path, stride=8)
    # Every fifth frame of the video is there: of 0, 5, 10, ..., 25 the first at or after each multiple of 8.
    assert [sample.key[-6:] for sample in samples] == ["000000", "000010", "000020", "000025"]
    assert samples[1].picture == tmp_path / "images" / names[2] and samples[1].picture.is_file()
    np.testing.assert_allclose(samples[1].joints_px, flat[2, list(JOINTS_17)])
    np.testing.assert_allclose(samples[1].joints_cam_m, spatial[2, list(JOINTS_17)] / 1000)
    assert samples[1].group == "Posing" and samples[1].cluster == "S9/Posing_1"


def test_a_missing_video_is_named(archives, read):
    (archives / "S9" / "Videos" / "Walking.60457274.mp4").unlink()
    with pytest.raises(UserError, match=r"Videos/Walking.60457274.mp4"):
        read(BENCHMARK, archives)


def test_tables_that_do_not_belong_together_are_refused(archives, read):
    path = next(path for path in archives.rglob("Walking.60457274.cdf") if "D3_Positions_mono" in path.parent.name)
    path.unlink()
    write_cdf(path, poses(99)[0])
    with pytest.raises(UserError, match="no camera brings its 3D joints onto its 2D joints"):
        read(BENCHMARK, archives)


def test_repetitions_and_other_names_are_one_action():
    assert [action_of(name) for name in ("Walking", "Walking 1", "WalkingDog 2", "TakingPhoto_1")] == [
        "Walking", "Walking", "WalkDog", "Photo",
    ]  # fmt: skip
