from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from exporters.errors import ExportError
from exporters.graph import count_macs_of, serialise, simplify, trace
from exporters.onnx_cpu import inferrer
from exporters.readers.haze import smooth_field
from exporters.registry import build_network

torch = pytest.importorskip("torch")

from exporters.zoo.dwtma_net import DWB, MAB, SAOD, WDM, DilateRes, DWTMANet, SKFusion, restore_any_size  # noqa: E402
from exporters.zoo.dwtma_net_deploy import Restorer, deploy_at  # noqa: E402
from exporters.zoo.dwtma_net_fourier import FAM, lower_fourier  # noqa: E402
from exporters.zoo.dwtma_net_haar import DWT, IDWT  # noqa: E402
from exporters.zoo.dwtma_net_loss import dehazing_loss  # noqa: E402

PARTS = {
    24: {SAOD: 43_776, DilateRes: 15_624, MAB: 40_408},
    48: {SAOD: 175_104, DilateRes: 62_352, MAB: 157_999, SKFusion: 864},
    96: {SAOD: 700_416, DilateRes: 249_120, MAB: 624_733},
}
EDGE: dict[str, Any] = {"widths": (8, 16, 32, 16, 8), "depths": (1, 1, 2, 1, 1)}
SMALL: dict[str, Any] = {"widths": (8, 8, 8, 8, 8), "depths": (1, 1, 1, 1, 1)}


def params(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def network(seed: int = 0, **options: Any) -> torch.nn.Module:
    torch.manual_seed(seed)
    return DWTMANet(**{**SMALL, **options}).eval()


def test_parameters_and_cost_are_those_of_the_paper() -> None:
    with torch.device("meta"):
        published = build_network("dwtma_net")
        macs = count_macs_of(published, (3, 512, 512))
    assert params(published) == 8_382_051
    assert params(published) == pytest.approx(8.34e6, rel=0.01)
    assert macs == pytest.approx(188.72e9, rel=0.005)


@pytest.mark.parametrize(("channels", "parts"), PARTS.items())
def test_each_part_has_the_parameters_of_the_table(channels: int, parts: dict[Any, int]) -> None:
    assert {part: params(part(channels)) for part in parts} == parts


def test_the_joints_have_the_parameters_of_the_table() -> None:
    with torch.device("meta"):
        net = DWTMANet()
    counts = {name: params(part) for name, part in net.named_children() if not name.startswith("level")}
    assert counts == {
        "stem": 672, "out": 651, "down1": 15_072, "down2": 60_096, "up1": 18_624, "up2": 4_704,
        "skip1": 600, "skip2": 2_352, "fuse1": 864, "fuse2": 288,
    }  # fmt: skip
    assert params(WDM(24, 48)) == 15_072


def test_the_small_aod_network_counts_as_the_paper_counts_it() -> None:
    saod = SAOD(3)
    assert params(saod) == 684
    assert count_macs_of(saod, (3, 512, 512)) + 3 * (512**2 + 1) == 170_655_783


def test_the_small_aod_network_without_weights_halves_what_it_sees() -> None:
    saod = SAOD(3)
    for weight in saod.parameters():
        torch.nn.init.zeros_(weight)
    assert saod(torch.full((1, 3, 4, 4), 0.3)).flatten().tolist() == pytest.approx([0.15] * 48)


def test_haar_of_one_block_is_what_one_finds_by_hand_and_goes_back() -> None:
    block = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    bands = DWT(1)(block)
    assert bands.flatten().tolist() == [5.0, -1.0, -2.0, 0.0]
    assert IDWT(1)(bands).flatten().tolist() == [1.0, 2.0, 3.0, 4.0]
    x = torch.rand(2, 5, 16, 24)
    assert torch.allclose(IDWT(5)(DWT(5)(x)), x, atol=5e-7)
    assert float((DWT(5)(x) ** 2).sum()) == pytest.approx(float((x**2).sum()), rel=1e-5)


@pytest.mark.parametrize("size", [(60, 60), (64, 64), (120, 120), (240, 240), (256, 256), (15, 9), (9, 15)])
def test_fourier_attention_by_products_answers_as_by_fft(size: tuple[int, int]) -> None:
    torch.manual_seed(1)
    fam = FAM(6).eval()
    x = torch.randn(2, 6, *size)
    with torch.no_grad():
        by_fft = fam(x)
        lower_fourier(fam, x)
        assert float((fam(x) - by_fft).abs().max()) <= 5e-6


@pytest.mark.parametrize("size", [(16, 16), (15, 9)])
@pytest.mark.parametrize("lowered", [False, True])
def test_fourier_attention_with_identity_weights_changes_nothing(size: tuple[int, int], lowered: bool) -> None:
    fam = FAM(4).eval()
    for conv in (fam.remap[0], fam.remap[2]):
        torch.nn.init.zeros_(conv.bias)
        torch.nn.init.dirac_(conv.weight)
    x = torch.randn(1, 4, *size)
    if lowered:
        fam.lower(*size)
    with torch.no_grad():
        assert float((fam(x) - x).abs().max()) <= 1e-6


def test_the_loss_is_what_one_finds_by_hand() -> None:
    impulse = torch.zeros(1, 1, 2, 2)
    impulse[..., 0, 0] = 1.0
    assert float(dehazing_loss(impulse, torch.zeros(1, 1, 2, 2))["loss"]) == pytest.approx(0.35)
    beside = torch.zeros(1, 1, 4, 4)
    beside[..., 0, 1] = 1.0
    parts = dehazing_loss(beside, torch.zeros(1, 1, 4, 4))
    assert (float(parts["l1"]), float(parts["fourier"])) == pytest.approx((0.0625, 1.0))
    assert float(parts["loss"]) == pytest.approx(0.1625)
    assert float(dehazing_loss(beside, beside)["loss"]) == 0.0


@pytest.mark.parametrize("switch", ["dwb", "mab", "wdm", "ca", "pa", "fam"])
def test_each_module_can_be_switched_off(switch: str) -> None:
    ablated = network(**{switch: False})
    assert params(ablated) < params(network())
    with torch.no_grad():
        assert ablated(torch.rand(1, 3, 16, 24)).shape == (1, 3, 16, 24)


def test_without_any_attention_the_block_passes_what_it_expanded() -> None:
    block = MAB(8, ca=False, pa=False, fam=False).eval()
    assert block.ca is block.pa is block.fam is None
    assert block(torch.rand(1, 8, 8, 8)).shape == (1, 8, 8, 8)


def test_unsymmetric_widths_are_refused() -> None:
    with pytest.raises(ValueError, match="symmetric"):
        DWTMANet((8, 16, 32, 16, 12))


def test_an_image_of_any_size_is_padded_and_cut_back_without_a_shift() -> None:
    net = network()
    torch.nn.init.zeros_(net.out.weight)
    torch.nn.init.zeros_(net.out.bias)
    for size in ((250, 50), (40, 48), (5, 3)):
        x = torch.rand(1, 3, *size)
        with torch.no_grad():
            assert torch.equal(restore_any_size(net, x), x)


def test_wavelet_blocks_keep_a_batch_apart() -> None:
    block = DWB(4).eval()
    x = torch.rand(3, 4, 8, 8)
    with torch.no_grad():
        alone = torch.cat([block(x[place : place + 1]) for place in range(3)])
        assert torch.allclose(block(x), alone, atol=1e-6)


def synthetic_pairs(count: int, edge_px: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth scenes with blocks, transmission 0.3 to 0.9, airlight 0.9: (hazy, clear)."""
    rng = np.random.default_rng(seed)
    scenes = []
    for _ in range(count):
        scene = np.stack([0.6 * smooth_field(edge_px, edge_px, rng) for _ in range(3)])
        for _ in range(5):
            row, col = rng.integers(0, edge_px - 8, 2)
            scene[:, row : row + 8, col : col + 8] = rng.uniform(0.0, 0.8, (3, 1, 1))
        scenes.append(scene)
    clear = torch.from_numpy(np.stack(scenes)).float()
    t = np.stack([0.3 + 0.6 * smooth_field(edge_px, edge_px, rng) for _ in range(count)])
    transmission = torch.from_numpy(t).float()[:, None]
    return clear * transmission + 0.9 * (1.0 - transmission), clear


def psnr(restored: torch.Tensor, clear: torch.Tensor) -> float:
    return -10.0 * math.log10(float(((restored.clamp(0, 1) - clear) ** 2).mean()))


def test_a_few_images_are_learned_by_heart_short_form() -> None:
    """The long form, 30 dB at the published width on 8 images, is part of `make bench-zoo-dwtma-net`."""
    hazy, clear = synthetic_pairs(3, 24, seed=3)
    net = network(seed=0, **EDGE).train()
    optimiser = torch.optim.AdamW(net.parameters(), lr=4e-3)
    for _ in range(60):
        loss = dehazing_loss(net(hazy), clear)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    net.train()  # statistics of these four images, as in the steps
    with torch.no_grad():
        assert psnr(net(hazy), clear) > psnr(hazy, clear) + 6.0


@pytest.fixture(scope="module")
def exported() -> tuple[Restorer, bytes]:
    deployed = deploy_at(network(seed=5), 64)
    return deployed, serialise(simplify(trace(deployed, edge_px=64, bands=3)))


def test_the_exported_graph_answers_as_the_network_with_its_fft(exported: tuple[Restorer, bytes]) -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64), dtype=np.uint8)
    with torch.no_grad():
        expected = Restorer(network(seed=5))(torch.from_numpy(tiles)).numpy()
    answer = inferrer(exported[1], batch=3)(tiles)
    assert answer.dtype == np.float32
    assert np.abs(answer - expected).max() / 255.0 <= 1e-4


def test_the_exported_graph_holds_nothing_that_engines_stumble_over(exported: tuple[Restorer, bytes]) -> None:
    import onnx

    model = onnx.load_from_string(exported[1])
    assert {entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")} == {18}
    kinds = {node.op_type for node in model.graph.node}
    assert not kinds & {"DFT", "STFT", "Loop", "If", "Cos", "Sin", "ScatterND", "ConstantOfShape"}
    types = {item.data_type for item in model.graph.initializer}
    assert not types & {onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128}


def test_deploying_changes_no_weight_and_leaves_the_network_as_it_was() -> None:
    net = network()
    deployed = deploy_at(net, 16)
    assert not any(block.size_px for block in net.modules() if isinstance(block, FAM))
    assert deployed.network.state_dict().keys() == net.state_dict().keys()


def test_a_tile_that_is_no_multiple_of_eight_is_refused() -> None:
    with pytest.raises(ExportError, match=r"250 px do not fit.*multiple of 8"):
        deploy_at(network(), 250)
