"""JSPSR against its card: counts, scaling, propagation and losses by hand, physics, refusals, parity."""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from exporters.graph import count_macs_of
from exporters.registry import build_network, networks
from exporters.zoo.jspsr import JSPSR, ChannelAttention, SpatialPropagation, sample
from exporters.zoo.jspsr_deploy import TerrainMap
from exporters.zoo.jspsr_loss import height_loss, sobel
from exporters.zoo.jspsr_scaling import scaled, unscaled


def params(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def busy(width: int = 4, *, offsets_px: float = 0.0, **switches: object) -> JSPSR:
    """A network whose heads and normalisations do something; offsets have about that deviation."""
    torch.manual_seed(0)
    network = JSPSR(width, **switches)  # type: ignore[arg-type]
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.2)
    if network.refine is not None:
        nn.init.normal_(network.refine.mask.weight, std=0.2)
        nn.init.normal_(network.refine.offsets.weight, std=0.02 * offsets_px)
        nn.init.normal_(network.refine.offsets.bias, std=offsets_px)  # type: ignore[arg-type]
    return network.eval()


def hills(count: int, edge: int = 48, base_m: float = 100.0) -> Tensor:
    rows, cols = torch.meshgrid(torch.arange(float(edge)), torch.arange(float(edge)), indexing="ij")
    waves = [20 * torch.sin(rows / (5 + n)) * torch.cos(cols / (7 + n)) + 25 for n in range(count)]
    return base_m + torch.stack(waves)[:, None]


def test_parameters_are_those_of_the_card() -> None:
    with torch.device("meta"):
        found = [params(JSPSR(aux_bands=bands)) for bands in (0, 15, 1)]
        assert found == [29_162_435, 43_869_763, 43_858_563]
        assert params(JSPSR(8)) == 1_828_139
        assert params(build_network("jspsr")) == 29_162_435
        assert params(build_network("jspsr", size="landuse")) == 43_869_763
    assert (networks()["jspsr"].kind, networks()["jspsr"].task) == ("map", "terrain")


@pytest.mark.parametrize(("aux_bands", "gmacs", "paper"), [(0, 32.04, 66.8), (15, 43.35, 89.4)])
def test_operations_are_those_of_the_card_and_by_the_papers_counting_the_papers(
    aux_bands: int, gmacs: float, paper: float
) -> None:
    with torch.device("meta"):
        network = JSPSR(aux_bands=aux_bands)
    counted = count_macs_of(network, (4 + aux_bands, 128, 128)) / 1e9
    assert counted == pytest.approx(gmacs, rel=0.01)
    ups = [part for part in network.modules() if isinstance(part, nn.ConvTranspose2d)]
    on_output = sum((4 - 1) * up.weight.numel() * edge**2 for up, edge in zip(ups, (16, 32, 64), strict=True))
    assert 2 * (counted + on_output / 1e9) == pytest.approx(paper, rel=0.01)


def test_heights_are_scaled_as_the_card_works_out() -> None:
    heights = torch.tensor([0.0, 1.0, 100.0, 400.0])
    assert scaled(heights).tolist() == pytest.approx([0.633542, 0.635338, 0.750784, 0.892589], abs=1e-6)
    assert math.log(929 + 80) == pytest.approx(6.916715, abs=1e-6)
    span = torch.linspace(-70, 929, 1000, dtype=torch.float64)
    for scaling in ("log", "linear"):
        back = unscaled(scaled(span, scaling=scaling), scaling=scaling)
        assert float((back - span).abs().max()) <= 1e-4
    assert float(scaled(torch.tensor(933.0), high_m=933.0)) == pytest.approx(1.0)


def test_the_loss_is_the_cards() -> None:
    ramp = torch.arange(4.0).expand(1, 1, 4, 4)
    edges = sobel(ramp)
    assert edges[0, 0, :, 1:3].flatten().tolist() == pytest.approx([1.0] * 8)
    assert edges[0, 0, :, 0].tolist() == pytest.approx([0.5] * 4)  # replicated border
    assert float(edges[0, 1].abs().max()) == 0.0
    parts = height_loss(ramp, torch.zeros(1, 1, 4, 4))
    # |0, 1, 2, 3|: 1.5; squares: 14 / 4; edges: (0.5 + 1 + 1 + 0.5) / 4 on one of two channels
    assert [float(parts[key]) for key in ("l1", "l2", "edges")] == pytest.approx([1.5, 3.5, 0.375])
    assert float(parts["loss"]) == pytest.approx(1.5 + 3.5 + 0.0375)


def test_a_constant_surface_is_left_alone_by_zero_sum_weights() -> None:
    unit = SpatialPropagation(4)
    mask, still, flat = torch.rand(1, 9, 8, 8), torch.zeros(1, 16, 8, 8), torch.full((1, 1, 8, 8), 0.7)
    with torch.inference_mode():
        found = unit.propagate(flat, mask, still)
        unit.bias.fill_(0.25)
        raised = unit.propagate(flat, mask, still)
    assert float(found[..., 1:-1, 1:-1].abs().max()) <= 1e-6
    assert float(found[..., 0, :].abs().max()) > 1e-3  # beyond the border heights read 0
    assert float((raised - found - 0.25).abs().max()) <= 1e-6


def test_an_offset_of_one_to_the_right_reads_the_neighbour() -> None:
    dem = torch.rand(1, 1, 8, 8)
    still = sample(dem, torch.zeros(1, 16, 8, 8))
    assert torch.allclose(still[:, 4], dem[:, 0], atol=1e-6)  # the centre
    assert torch.allclose(still[0, 0, 1:, 1:], dem[0, 0, :-1, :-1], atol=1e-5)  # above and left
    assert torch.allclose(still[0, 5, :, :-1], dem[0, 0, :, 1:], atol=1e-5)  # right
    offsets = torch.zeros(1, 16, 8, 8)
    offsets[:, 2 * 1 + 1] = 1.0  # tap 2 of 9, above: (down, right) = (0, 1)
    moved = sample(dem, offsets)
    assert torch.allclose(moved[0, 1, 1:, :-1], dem[0, 0, :-1, 1:], atol=1e-5)
    assert torch.allclose(moved[:, 4], dem[:, 0], atol=1e-6)
    offsets = torch.zeros(1, 16, 8, 8)
    offsets[:, 2 * 4] = 1.0  # the fifth pair is tap 6, right: one down
    assert torch.allclose(sample(dem, offsets)[0, 5, :-1, :-1], dem[0, 0, 1:, 1:], atol=1e-5)


def test_sampling_is_bilinear_and_zero_beyond_the_border() -> None:
    dem = torch.arange(9.0).reshape(1, 1, 3, 3)
    offsets = torch.full((1, 16, 3, 3), 0.5)
    assert float(sample(dem, offsets)[0, 0, 1, 1]) == pytest.approx((0 + 1 + 3 + 4) / 4, abs=1e-5)
    assert float(sample(dem, torch.full((1, 16, 3, 3), 50.0))[0, :4].abs().max()) == 0.0


def test_an_untrained_network_answers_its_input() -> None:
    tile = torch.rand(2, 4, 48, 48)
    with torch.inference_mode():
        assert torch.allclose(JSPSR(4).eval()(tile), tile[:, :1], atol=1e-6)
        assert torch.allclose(JSPSR(4, refinement=False).eval()(tile), tile[:, :1], atol=1e-6)


def test_attention_sees_mean_and_maximum() -> None:
    attention = ChannelAttention(16)
    with torch.no_grad():
        attention.squeeze.weight.fill_(1 / 16)
        attention.excite.weight.fill_(1.0)
    x = torch.zeros(1, 16, 2, 2)
    x[:, :, 0, 0] = 4.0
    with torch.inference_mode():
        assert float(attention(x)[0, 0, 0, 0]) == pytest.approx(4 / (1 + math.exp(-(1 + 4))), abs=1e-5)


@pytest.mark.parametrize(
    "switches",
    [
        {"aux_bands": 15},
        {"image_bands": 0},
        {"image_bands": 0, "aux_bands": 1},
        {"fusion": "add"},
        {"refinement": False},
        {"scaling": "linear"},
    ],
)
def test_every_switch_keeps_the_shape(switches: dict[str, object]) -> None:
    network = JSPSR(4, **switches).eval()  # type: ignore[arg-type]
    with torch.inference_mode():
        assert network(torch.rand(1, 1 + sum(network.guides), 16, 24)).shape == (1, 1, 16, 24)


def test_unknown_switches_are_refused() -> None:
    with pytest.raises(ValueError, match="concat"):
        JSPSR(4, fusion="mix")
    with pytest.raises(ValueError, match="no sense"):
        JSPSR(4, high_m=-80.0)


def test_a_higher_place_has_the_same_terrain_only_higher() -> None:
    terrain = TerrainMap(busy(offsets_px=2.0), (255.0,) * 3).eval()
    tile = torch.cat([hills(1), 255 * torch.rand(1, 3, 48, 48)], dim=1)
    higher = tile.clone()
    higher[:, 0] += 512.0
    with torch.inference_mode():
        moved = terrain(higher) - terrain(tile)
    assert float((moved - 512).abs().max()) <= 0.01


def test_heights_below_the_sea_are_heights() -> None:
    tile = hills(1, base_m=-430.0)
    with torch.inference_mode():
        assert torch.allclose(TerrainMap(JSPSR(4, image_bands=0), ()).eval()(tile), tile, atol=1e-3)
        assert torch.isfinite(TerrainMap(busy(image_bands=0), ()).eval()(tile)).all()


@pytest.mark.parametrize("value", [-9999.0, 32767.0, 3.4e38, -3.4e38, float("inf")])
def test_a_tile_with_an_undeclared_value_for_no_data_is_not_answered(value: float) -> None:
    terrain = TerrainMap(busy(image_bands=0), ()).eval()
    tiles = hills(2)
    tiles[0, 0, 3, 5] = value
    with torch.inference_mode():
        found = terrain(tiles)
    assert torch.isnan(found[0]).all()
    assert torch.isfinite(found[1]).all()


def test_holes_are_bridged_and_a_tile_of_holes_is_not_answered() -> None:
    terrain = TerrainMap(busy(), (255.0,) * 3).eval()
    tiles = torch.cat([hills(3), 255 * torch.rand(3, 3, 48, 48)], dim=1)
    tiles[0, 0, 10:14, 10:14] = float("nan")
    tiles[0, 1:, 20, 20] = float("nan")
    tiles[1, 0, :30] = float("nan")
    tiles[2, 0] = float("nan")
    with torch.inference_mode():
        found = terrain(tiles)
    assert torch.isfinite(found[0]).all()
    assert torch.isnan(found[1:]).all()
    with torch.inference_mode():
        bridged = TerrainMap(JSPSR(4), (255.0,) * 3).eval()(tiles)[0, 0, 10:14, 10:14]
    assert torch.allclose(bridged, tiles[0, 0].nanmean().expand_as(bridged), atol=1e-2)


def test_more_relief_than_the_network_knows_is_not_answered() -> None:
    terrain = TerrainMap(busy(image_bands=0), ()).eval()
    cliff = hills(1)
    cliff[..., 24:] += 900.0
    with torch.inference_mode():
        assert torch.isnan(terrain(cliff)).all()


@pytest.mark.parametrize("opset", [17, 18])
def test_onnx_runtime_answers_as_torch_does_with_wide_offsets(opset: int) -> None:
    import onnx
    import onnxruntime

    terrain = TerrainMap(busy(offsets_px=8.0), (255.0,) * 3).eval()
    tiles = torch.cat([hills(5), 255 * torch.rand(5, 3, 48, 48)], dim=1)
    tiles[4, 0, 2:6, 2:6] = float("nan")
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the older exporter is much faster, and says that it is old
        torch.onnx.export(
            terrain, (tiles[:2],), file, dynamo=False, opset_version=opset,
            input_names=["tiles"], output_names=["answers"], dynamic_axes={"tiles": {0: "n"}},
        )  # fmt: skip
        expected = terrain(tiles).numpy()
    nodes = [node.op_type for node in onnx.load_from_string(file.getvalue()).graph.node]
    assert (nodes.count("GridSample"), nodes.count("ConvTranspose"), nodes.count("DeformConv")) == (1, 3, 0)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    answers = session.run(None, {"tiles": tiles.numpy()})[0]
    assert np.isfinite(expected).all()
    assert np.abs(answers - expected).max() <= 0.02


def test_half_precision_leaves_the_propagation_in_float32() -> None:
    unit = SpatialPropagation(4)
    dem = torch.rand(1, 1, 16, 16)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert unit(dem, torch.rand(1, 8, 16, 16)).dtype == torch.float32
        whole = JSPSR(4).eval()(torch.rand(1, 4, 16, 16))
    assert whole.dtype == torch.float32


def test_a_checkpoint_becomes_a_module_whose_guides_are_scaled_by_it() -> None:
    from exporters.checkpoint import Checkpoint
    from exporters.zoo.jspsr_deploy import deploy

    network = busy(image_bands=0, aux_bands=1)
    checkpoint = Checkpoint(
        network="jspsr", size="edge", switches={}, kind="map", classes=("terrain",), bands=("dem", "canopy"),
        edge_px=48, mean=(100.0, 0.0), std=(20.0, 68.0), dtype="float32", unit="m",
        state_dict=network.state_dict(), notes={},
    )  # fmt: skip
    tall = torch.cat([hills(1), 34 * torch.rand(1, 1, 48, 48)], dim=1)
    half = torch.cat([tall[:, :1], tall[:, 1:] / 68], dim=1)
    one = deploy(network, checkpoint)
    other = deploy(network, replace(checkpoint, std=(20.0, 1.0)))
    with torch.inference_mode():
        assert torch.allclose(one(tall), other(half), atol=1e-4)


def test_buildings_that_the_picture_shows_are_taken_off_by_heart() -> None:
    rng = np.random.default_rng(0)
    truth = hills(2, edge=32).numpy()
    tiles = np.concatenate([truth, np.full((2, 3, 32, 32), 0.4)], axis=1).astype(np.float32)
    for tile in tiles:
        for _ in range(3):
            top, left = rng.integers(2, 24, 2)
            tile[0, top : top + 6, left : left + 6] += 6.0
            tile[1:, top : top + 6, left : left + 6] = 0.9
    base = tiles[:, :1].min(axis=(2, 3), keepdims=True)
    given = torch.cat([scaled(torch.from_numpy(tiles[:, :1] - base)), torch.from_numpy(tiles[:, 1:])], dim=1)
    wanted = scaled(torch.from_numpy(truth - base))
    torch.manual_seed(0)
    network = JSPSR(4)
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-6)
    for _ in range(60):
        found = network(given)
        optimiser.zero_grad()
        height_loss(found, wanted)["loss"].backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    before, after = (unscaled(x.detach()) - unscaled(wanted) for x in (given[:, :1], found))
    assert float(after.square().mean().sqrt()) < 0.5 * float(before.square().mean().sqrt())
