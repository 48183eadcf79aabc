"""CAB-HL against its card: counts, attention by hand, roles of the sensors, 3-D convolutions as 2-D ones, parity."""

from __future__ import annotations

import copy
import io
import warnings

import numpy as np
import pytest
import torch  # noqa: TID253
from torch import nn  # noqa: TID253

from exporters.graph import count_macs_of
from exporters.registry import build_network, networks
from exporters.zoo.cab_hl import CABHL, CAM, DepthConv, HsiBlock, LidarBlock, attend, fold
from exporters.zoo.cab_hl_baseline import fit_kernel_machine
from exporters.zoo.cab_hl_deploy import LandCover
from exporters.zoo.cab_hl_loss import class_weights, land_cover_loss


def params(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def seen(network: nn.Module) -> nn.Module:
    """The network as if it had been trained: its normalisations have seen something."""
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.2)
            module.running_mean.normal_(0.0, 0.2)
            module.running_var.uniform_(0.5, 2.0)
    return network.eval()


def test_parameters_and_operations_are_those_of_the_card() -> None:
    assert params(CABHL()) == 153_683
    assert [params(CABHL(classes)) for classes in (7, 6)] == [153_163, 153_098]
    assert params(CABHL(stages=3)) == 241_601
    assert params(CABHL(feat=16)) == 531_263
    assert params(HsiBlock()) == 11_658
    assert params(LidarBlock(1, 30)) + params(LidarBlock(30, 30)) == 101_360
    with torch.device("meta"):
        assert count_macs_of(CABHL(), (31, 8, 8)) / 1e6 == pytest.approx(52.7, rel=0.01)
    assert params(build_network("cab_hl", size="edge", bands=40)) == params(CABHL(components=16))
    assert networks()["cab_hl"].kind == "probabilities"


def test_attention_weighs_as_the_card_works_out() -> None:
    query, key, value = torch.eye(2), torch.diag(torch.tensor([1.0, 2.0])), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    answer = attend(query, key, value)
    assert answer.flatten().tolist() == pytest.approx([1.6605, 2.6605, 2.6089, 3.6089], abs=1e-4)


def test_elevation_answers_and_the_spectrum_asks() -> None:
    torch.manual_seed(0)
    cam = CAM(6, 5, 16, 4).eval()
    asking, answering = torch.randn(2, 6, 4, 4), torch.randn(2, 5, 4, 4)
    order = torch.randperm(16)

    def permuted(x: torch.Tensor) -> torch.Tensor:
        return x.flatten(2)[:, :, order].reshape(x.shape)

    with torch.inference_mode():
        flat = cam(asking, answering[:, :, :1, :1].expand(2, 5, 4, 4)).flatten(2)
        torch.testing.assert_close(flat, flat[:, :, :1].expand_as(flat), atol=1e-6, rtol=0)
        usual = cam(asking, answering)
        torch.testing.assert_close(cam(asking, permuted(answering)), usual, atol=1e-6, rtol=0)
        torch.testing.assert_close(cam(permuted(asking), answering), permuted(usual), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("channels_in", "channels", "kernel"), [(1, 8, 7), (1, 32, 3), (16, 32, 1), (112, 1, 3)])
def test_a_3d_convolution_is_exactly_one_of_planes(channels_in: int, channels: int, kernel: int) -> None:
    torch.manual_seed(0)
    conv, cube = DepthConv(channels_in, channels, kernel), torch.randn(2, channels_in, 9, 6, 5)
    with torch.inference_mode():
        by_planes = conv(cube)
        conv.planes = False
        as_such = conv(cube)
    assert float((by_planes - as_such).abs().max() / as_such.abs().max()) < 2e-6


@pytest.mark.parametrize("switches", [{}, {"feat": 2}, {"lidar": False}, {"attention": False}, {"stages": 3}])
def test_a_folded_network_answers_the_same_whatever_its_switches(switches: dict[str, object]) -> None:
    torch.manual_seed(0)
    network = seen(CABHL(5, components=6, bands=12, lidar_bands=2, **switches))  # type: ignore[arg-type]
    assert isinstance(network, CABHL)
    network.set_projection(torch.randn(6, 12), torch.randn(6), torch.tensor([[0.0, -1.0], [20.0, 3.0]]))
    patches = torch.rand(3, 14, 4, 4)
    with torch.inference_mode():
        expected = network(patches)
        folded = fold(copy.deepcopy(network))
        assert not any(isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d) for module in folded.modules())
        assert expected.shape == (3, 5)
        torch.testing.assert_close(folded(patches), expected, atol=1e-5, rtol=1e-5)
        blind = patches.clone()
        blind[:, 12:] += 1.0
        assert torch.equal(network(blind), expected) == (switches.get("lidar") is False)


def test_the_folded_projection_is_the_matrix() -> None:
    rng = np.random.default_rng(0)
    matrix, mean = rng.normal(size=(6, 40)) / 40, rng.uniform(0, 1, 40)
    network = CABHL(3, components=6, bands=40)
    shift = torch.tensor(-matrix @ mean, dtype=torch.float32)
    network.set_projection(torch.tensor(matrix, dtype=torch.float32), shift, torch.tensor([[0.0], [1.0]]))
    cube = rng.uniform(0, 1, (40, 3, 3))
    scores = np.tensordot(matrix, cube - mean[:, None, None], axes=1)
    x = torch.tensor(cube, dtype=torch.float32)[None]
    folded = nn.functional.conv2d(x, network.projection[:, :, None, None], network.shift)[0]
    assert float(np.abs(folded.numpy() - scores).max()) <= 1e-4


def test_missing_lidar_or_another_number_of_bands_is_said_plainly() -> None:
    network = CABHL(3, components=4, bands=12)
    with pytest.raises(ValueError, match=r"12 spectral and 1 LiDAR bands, the patch has 12\. Stack the LiDAR"):
        network(torch.zeros(1, 12, 4, 4))
    with pytest.raises(ValueError, match="do not make a network"):
        CABHL(3, components=30, bands=10)


def test_the_loss_weighs_rare_classes_by_the_root_of_their_number() -> None:
    weights = class_weights([1, 4], "sqrt-inverse-frequency")
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
    first, second = np.log(1 + np.exp(-2.0)), np.log(1 + np.exp(-1.0))
    expected = (5 / 3 * first + 5 / 6 * second) / 2
    assert float(land_cover_loss(logits, labels, weights)) == pytest.approx(expected, rel=1e-5)
    plain = class_weights([3, 0, 9])
    assert plain.tolist() == [1.0, 0.0, 1.0]
    with pytest.raises(ValueError, match="inverse"):
        class_weights([1], "inverse")


def test_forty_patches_are_learned_by_heart() -> None:
    torch.manual_seed(0)
    labels = torch.arange(40) % 5
    patches = torch.randn(40, 9, 4, 4)
    patches[:, :5] += 2.0 * nn.functional.one_hot(labels, 5)[:, :, None, None]
    network = CABHL(5, components=8)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(30):
        loss = land_cover_loss(network(patches), labels, class_weights([8] * 5))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert float(loss.detach()) < 0.3
    assert bool((network(patches).argmax(1) == labels).all())


def test_onnx_runtime_answers_as_torch_does_for_any_number_of_patches() -> None:
    import onnxruntime

    torch.manual_seed(0)
    network = seen(CABHL(6, components=12, bands=50))
    assert isinstance(network, CABHL)
    network.set_projection(torch.randn(12, 50), torch.randn(12), torch.tensor([[0.0], [30.0]]))
    deployed, file = LandCover(network), io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the older exporter is much faster, and says that it is old
        torch.onnx.export(
            deployed.network, (torch.zeros(4, 51, 4, 4),), file, dynamo=False, opset_version=18,
            input_names=["tiles"], output_names=["logits"], dynamic_axes={"tiles": {0: "n"}},
        )  # fmt: skip
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    for many in (1, 7, 64):
        patches = torch.rand(many, 51, 4, 4)
        with torch.inference_mode():
            expected = network(patches).numpy()
        answer = session.run(None, {"tiles": patches.numpy()})[0]
        assert np.abs(answer - expected).max() <= 1e-5
        np.testing.assert_array_equal(answer.argmax(1), expected.argmax(1))


def test_the_kernel_machine_separates_what_a_line_cannot() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(300, 2))
    labels = (points[:, 0] * points[:, 1] > 0).astype(np.int64)
    machine = fit_kernel_machine((points[:150], labels[:150]), (points[150:200], labels[150:200]), 2)
    assert float((machine.answer(points[200:]) == labels[200:]).mean()) > 0.85
