"""Networks of timm and torchvision as encoders: run where these libraries are installed."""

import pytest
import torch

from posecore.errors import UserError
from posecore.skeleton import load_skeleton
from trainer.config import ModelConfig
from trainer.models.backbones import LibraryBackbone
from trainer.models.pose_model import build_pose_model

H36M = load_skeleton("h36m17")


@pytest.fixture(params=["timm", "torchvision"])
def library(request):
    pytest.importorskip(request.param)
    return request.param


def test_maps_halve_from_level_to_level_in_the_named_channels(library):
    backbone = LibraryBackbone(library, "resnet18", None, 64)
    maps = backbone(torch.rand(2, 3, 64, 64))
    assert backbone.channels == {0: 64, 1: 64, 2: 128, 3: 256, 4: 512}
    assert [tuple(m.shape[1:3]) for m in maps] == [(64, 32), (64, 16), (128, 8), (256, 4), (512, 2)]


@pytest.mark.parametrize("model", ["resnet18", "convnext_tiny"])
def test_a_model_with_a_library_s_encoder_learns_throughout(library, model):
    """ConvNeXt has no map at half the side, which the skeleton image has: the decoder goes on without."""
    torch.manual_seed(0)
    config = ModelConfig.model_validate(
        {
            "encoder": {"name": library, "model": model, "widths": (16, 16, 8, 8)},
            "skeleton_image": {"size": 32},
            "pose_head": {"width": 8},
            "uplift": {"width": 16, "blocks": 1},
            "image_renderer": {"size": 32, "width": 8},
        }
    )
    network = build_pose_model(config, H36M, 64).train()
    output = network(torch.rand(2, 3, 64, 64), blend=0.5)
    assert output.skeleton_image.shape == (2, 5, 32, 32)
    output.joints.square().mean().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.encoder.backbone.parameters())


def test_statistics_of_batch_norms_stay_in_training(library):
    backbone = LibraryBackbone(library, "resnet18", None, 64).train()
    before = {name: value.clone() for name, value in backbone.named_buffers()}
    backbone(torch.rand(4, 3, 64, 64))
    assert all(torch.equal(value, before[name]) for name, value in backbone.named_buffers())


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_weights_come_from_the_library_s_own_file(library, suffix, tmp_path):
    from safetensors.torch import save_file

    torch.manual_seed(1)
    if library == "timm":
        import timm

        whole = timm.create_model("resnet18")
    else:
        from torchvision import models

        whole = models.get_model("resnet18", weights=None)
    path = tmp_path / f"weights.{suffix}"
    stored = whole.state_dict()
    save_file(stored, path) if suffix == "safetensors" else torch.save(stored, path)
    torch.manual_seed(2)
    backbone = LibraryBackbone(library, "resnet18", path, 64)
    loaded = [value for value in backbone.state_dict().values() if value.shape == (128, 64, 3, 3)]
    assert any(torch.equal(value, stored["layer2.0.conv1.weight"]) for value in loaded)


def test_what_is_no_pyramid_unknown_or_missing_is_one_clear_line(library, tmp_path):
    with pytest.raises(UserError, match="no_such_net"):
        LibraryBackbone(library, "no_such_net", None, 64)
    with pytest.raises(UserError, match="no such file"):
        LibraryBackbone(library, "resnet18", tmp_path / "missing.pth", 64)
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "foreign.pth")
    with pytest.raises(UserError, match=r"foreign\.pth"):
        LibraryBackbone(library, "resnet18", tmp_path / "foreign.pth", 64)
    vit = {"timm": "vit_tiny_patch16_224", "torchvision": "vit_b_16"}[library]
    with pytest.raises(UserError, match=vit):
        LibraryBackbone(library, vit, None, 224)


def test_a_missing_library_names_the_extra_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match=r"posesynth\[backbones\]"):
        LibraryBackbone("timm", "resnet18", None, 64)
