"""SSA-Net against its card: counts, attention and losses by hand, dates that are not alike, folding, parity."""

from __future__ import annotations

import copy
import io
import warnings

import numpy as np
import pytest
import torch  # noqa: TID253
from torch import nn  # noqa: TID253

from exporters.metrics.change import Counts
from exporters.registry import build_network, networks
from exporters.zoo.sdenet_operations import convolution_macs, published_operations
from exporters.zoo.ssa_net import SSANet, fold, ssif
from exporters.zoo.ssa_net_deploy import ChangeMask
from exporters.zoo.ssa_net_loss import change_loss, dice_loss


def params(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def small(**switches: object) -> SSANet:
    """A narrow network whose normalisations have seen something."""
    torch.manual_seed(0)
    network = SSANet(8, **switches)  # type: ignore[arg-type]
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.2)
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0.0, 0.2)
            module.running_var.uniform_(0.5, 2.0)
    return network.eval()


def test_parameters_are_those_of_the_card() -> None:
    network = SSANet()
    assert params(network) == 3_543_617
    assert params(network.encoder_a) == params(network.encoder_b) == 1_236_512
    assert params(SSANet(attention=False)) == 3_543_617
    assert [round(params(SSANet(groups=groups)) / 1e6, 2) for groups in (1, 4, 8)] == [5.31, 2.66, 2.22]
    assert params(build_network("ssa_net", size="edge")) == 891_361
    assert networks()["ssa_net"].kind == "mask"


def test_operations_counted_as_the_paper_counts_them_are_the_papers() -> None:
    network, pair = SSANet().eval(), torch.zeros(1, 6, 256, 256)
    assert published_operations(network, pair) / 1e9 == pytest.approx(6.65, rel=1e-3)
    assert convolution_macs(network, pair) / 1e9 == pytest.approx(4.88, rel=0.01)


def test_attention_weighs_as_the_card_works_out() -> None:
    one = ssif(torch.tensor([[[[0.0, 0.0], [0.0, 4.0]]]]))
    assert one.flatten().tolist() == pytest.approx([0.0, 0.0, 0.0, 3.5232], abs=1e-3)
    two = ssif(torch.tensor([[[[1.0, 3.0]], [[5.0, 7.0]]]]))
    assert two.flatten().tolist() == pytest.approx([0.8176, 2.4527, 4.0879, 5.7230], abs=1e-3)
    for value in (0.0, 1.0):
        assert torch.isfinite(ssif(torch.full((1, 2, 4, 4), value))).all()


def test_attention_survives_half_precision() -> None:
    x = torch.randn(1, 8, 16, 16, generator=torch.Generator().manual_seed(0)) * 300
    assert torch.isfinite(ssif(x.half())).all()


def test_the_loss_is_the_cards() -> None:
    truth, probability = torch.tensor([[1.0, 0, 0, 1]]), torch.tensor([[0.9, 0.2, 0.1, 0.6]])
    assert float(dice_loss(probability, truth)) == pytest.approx(0.068323, abs=1e-6)
    loss = change_loss(torch.logit(probability)[:, None, None], truth[:, None, None])
    assert float(loss) == pytest.approx(0.304496, abs=1e-6)
    assert float(dice_loss(torch.full((1, 4), 0.5), torch.zeros(1, 4))) == 1.0


def test_the_dates_are_not_alike() -> None:
    network, pair = small(), torch.rand(1, 6, 32, 32)
    with torch.inference_mode():
        answer = network(pair)
        swapped = network(torch.cat([pair[:, 3:], pair[:, :3]], dim=1))
        assert not torch.allclose(answer, swapped, atol=1e-4)
    with torch.no_grad():
        next(network.encoder_b.parameters()).add_(0.1)
        assert not torch.allclose(answer, network(pair), atol=1e-4)


def test_equal_dates_through_equal_encoders_leave_nothing_to_see() -> None:
    network, date = small(), torch.rand(1, 3, 128, 128)
    network.encoder_b.load_state_dict(network.encoder_a.state_dict())
    with torch.inference_mode():
        for a, b in zip(network.encoder_a(date), network.encoder_b(date), strict=True):
            assert float((a - b).abs().max()) == 0.0
        answer = network(torch.cat([date, date], dim=1))[0, 0]
    # constant but for the 16 px pattern of four transposed convolutions with stride 2
    torch.testing.assert_close(answer[48:64, 48:64], answer[64:80, 64:80], atol=1e-5, rtol=0)
    torch.testing.assert_close(answer[48:64, 48:64], answer[48:64, 64:80], atol=1e-5, rtol=0)


def test_a_folded_network_answers_the_same() -> None:
    network, pair = small(), torch.rand(2, 6, 32, 32)
    with torch.inference_mode():
        expected = network(pair)
        folded = fold(copy.deepcopy(network))
        assert not any(type(module).__name__ == "CSHConv" for module in folded.modules())
        assert float((folded(pair) - expected).abs().max()) <= 1e-4


@pytest.mark.parametrize("switches", [{"conv": "plain"}, {"attention": False}, {"groups": 1}])
def test_every_switch_keeps_the_shape(switches: dict[str, object]) -> None:
    with torch.inference_mode():
        assert small(**switches)(torch.zeros(1, 6, 32, 48)).shape == (1, 1, 32, 48)


def test_an_unknown_convolution_is_refused() -> None:
    with pytest.raises(ValueError, match="csh"):
        SSANet(8, conv="ghost")


@pytest.mark.parametrize("opset", [17, 18])
def test_onnx_runtime_answers_as_torch_does(opset: int) -> None:
    import onnxruntime

    mask = ChangeMask(small()).eval()
    tiles = np.random.default_rng(0).integers(0, 256, (3, 6, 64, 64)).astype(np.uint8)
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the older exporter is much faster, and says that it is old
        torch.onnx.export(
            mask, (torch.from_numpy(tiles[:2]),), file, dynamo=False, opset_version=opset,
            input_names=["tiles"], output_names=["scores"], dynamic_axes={"tiles": {0: "n"}},
        )  # fmt: skip
        expected = mask(torch.from_numpy(tiles)).numpy()
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    answers = session.run(None, {"tiles": tiles})[0]
    assert np.abs(answers - expected).max() <= 1e-5
    np.testing.assert_allclose(answers.sum(axis=1), 1.0, atol=1e-6)


def test_four_synthetic_pairs_are_learned_by_heart() -> None:
    rng = np.random.default_rng(0)
    pairs = rng.uniform(0.2, 0.5, (4, 6, 64, 64)).astype(np.float32)
    pairs[:, 3:] = pairs[:, :3]
    truth = np.zeros((4, 1, 64, 64), dtype=np.float32)
    for number in range(4):
        top, left = rng.integers(8, 40, 2)
        pairs[number, 3:, top : top + 16, left : left + 16] = 0.9
        truth[number, 0, top : top + 16, left : left + 16] = 1.0
    torch.manual_seed(0)
    network, x, y = SSANet(8), torch.from_numpy(pairs), torch.from_numpy(truth)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(40):
        logits = network(x)
        optimiser.zero_grad()
        change_loss(logits, y).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    found = Counts.of((logits.detach() > 0).numpy(), truth > 0.5)
    assert found.f1 >= 0.95
