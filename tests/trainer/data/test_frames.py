"""Labels of stored frames in the joints of the trained skeleton."""

import pytest
import torch

from posecore.errors import UserError
from posecore.sample import VISIBLE
from posecore.skeleton import load_skeleton
from posecore.viewpoint import camera_angles_deg
from trainer.data.streams import load_evaluation_set

H36M = load_skeleton("h36m17")


def test_rotations_and_template_offsets_give_the_joints_of_the_trained_skeleton(painted_dataset):
    """h36m17 bones that run between joints which the superset drives by one rotation keep their template's offset."""
    (batch,) = load_evaluation_set(painted_dataset(scenes=2), H36M, 64)
    for name in ("left_knee", "right_elbow", "left_ankle", "right_wrist"):
        joint = H36M.index(name)
        parent = H36M.parents[joint]
        offset = torch.tensor(H36M.rest_m[joint] - H36M.rest_m[parent], dtype=torch.float32)
        expected = batch.joints_cam[:, parent] + batch.rotations_cam[:, parent] @ offset
        torch.testing.assert_close(batch.joints_cam[:, joint], expected, atol=1e-4, rtol=0)


def test_animals_map_to_their_own_skeletons_only(painted_dataset):
    folder = painted_dataset(skeleton="quadruped")
    (batch,) = load_evaluation_set(folder, load_skeleton("ap10k17"), 32)
    assert batch.joints.shape[1] == 17
    assert (batch.visibility == VISIBLE).float().mean() > 0.5
    with pytest.raises(UserError, match="quadruped"):
        load_evaluation_set(folder, H36M, 32)


def test_a_batch_tells_species_and_from_where_each_subject_is_seen(painted_dataset, paint):
    (batch,) = load_evaluation_set(painted_dataset(scenes=3, frames=1), H36M, 32)
    assert batch.species == ("line figure",) * 3
    for row in range(3):
        sample = paint(row, 0, load_skeleton("human"))
        expected = camera_angles_deg(sample.subjects[0], sample.camera)
        assert (batch.azimuth_deg[row].item(), batch.elevation_deg[row].item()) == pytest.approx(expected, abs=1e-4)
