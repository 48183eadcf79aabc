"""The geo-localisation encoder against its card: counts, hand-computed losses, what must and must not be learnt."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch  # noqa: TID253
from torch import nn  # noqa: TID253

from exporters import graph
from exporters.checkpoint import Checkpoint
from exporters.errors import CheckpointError, ExporterError
from exporters.onnx_cpu import inferrer
from exporters.registry import build_network
from exporters.zoo.geo_encoder import DinoV2, GeoEncoder, Mixer
from exporters.zoo.geo_encoder_deploy import LOCATE, companions, deploy
from exporters.zoo.geo_encoder_loss import info_nce
from exporters.zoo.geo_encoder_weights import load_dinov2

TINY = {"backbone": "vit_tiny", "rows": 56, "cols": 56, "layers": 1, "channels": 8}
EDGE = {"backbone": "conv", "rows": 32, "cols": 32, "layers": 1, "channels": 8}


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("size", "backbone", "head"),
    [("published", 86_580_480, 1_086_026), ("published-reference", 86_580_480, 2_441_562), ("uav", 22_056_576, None)],
)
def test_each_size_has_the_parameters_of_the_card(size: str, backbone: int, head: int | None) -> None:
    with torch.device("meta"):
        network = build_network("geo_encoder", size=size)
    assert count(network.get_submodule("backbone")) == backbone
    assert head is None or count(network.get_submodule("head")) == head


def test_the_query_view_multiplies_as_often_as_the_card_says() -> None:
    tokens, width, depth = 9 * 37 + 1, 768, 12
    layers = tokens * (width * 3 * width + width * width + 8 * width * width) + 2 * tokens * tokens * width
    assert depth * layers + 333 * 3 * 196 * width == pytest.approx(30.6e9, rel=0.02)


def test_the_loss_is_the_hand_computed_one() -> None:
    reference = torch.eye(2)
    query = torch.tensor([[0.9, 0.1], [0.1, 0.9]])
    assert float(info_nce(query, reference, 10.0, smoothing=0.0)) == pytest.approx(3.354e-4, rel=1e-3)
    same = torch.ones(16, 4) / 2
    assert float(info_nce(same, same, 14.3, smoothing=0.0)) == pytest.approx(math.log(16), abs=1e-5)
    kept = info_nce(query, reference, 1e6, smoothing=0.0)  # the scale stops at 100
    assert float(kept) == pytest.approx(float(info_nce(query, reference, 100.0, smoothing=0.0)))


def test_every_vector_has_length_one_and_the_backbone_stays_as_it_was() -> None:
    torch.manual_seed(0)
    network = build_network("geo_encoder", size="uav", **TINY)
    out = network(torch.randn(3, 3, 56, 56))
    torch.testing.assert_close(out.norm(dim=1), torch.ones(3), atol=1e-5, rtol=0)
    out.sum().backward()
    assert all(weight.grad is None for weight in network.get_submodule("backbone").parameters())
    assert all(weight.grad is not None for weight in network.get_submodule("head").parameters())


@pytest.mark.parametrize("shuffled", [False, True])
def test_pairs_of_features_are_learnt_by_heart_but_not_across_wrong_labels(shuffled: bool) -> None:
    torch.manual_seed(1)
    mixers = nn.ModuleList([Mixer(16, 24, layers=2, channels=12, rows=4) for _ in range(2)])
    place = torch.randn(96, 16, 24)
    views = [place + 0.1 * torch.randn_like(place) for _ in range(2)]
    order = torch.randperm(64) if shuffled else torch.arange(64)
    optimiser = torch.optim.AdamW(mixers.parameters(), 1e-3)

    def found(rows: slice, labels: torch.Tensor) -> float:
        one, other = (nn.functional.normalize(mixers[n](views[n][rows]), dim=1) for n in (0, 1))
        return float(((one @ other.T).argmax(1) == labels).float().mean())

    for _ in range(300):
        if found(slice(0, 64), order) == 1.0:
            break
        one, other = (nn.functional.normalize(mixers[n](views[n][:64]), dim=1) for n in (0, 1))
        optimiser.zero_grad()
        info_nce(one, other[order], 14.3, smoothing=0.0).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert found(slice(0, 64), order) == 1.0
    if shuffled:
        assert found(slice(64, 96), torch.arange(32)) <= 0.15  # 1 in 32 by chance


@pytest.mark.parametrize("options", [EDGE, TINY])
def test_the_graph_of_opset_18_answers_as_the_network(options: dict[str, object]) -> None:
    torch.manual_seed(2)
    network = build_network("geo_encoder", size="edge", **options)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.uniform_(-0.2, 0.2)
    checkpoint = checkpoint_of(network, options)
    source = deploy(network.eval(), checkpoint)
    edge = int(str(options["rows"]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        model = graph.simplify(graph.trace(source, edge_px=edge, bands=3, dtype="uint8", output="answers"))
    assert model.opset_import[0].version == 18
    assert not any(node.op_type == "Resize" for node in model.graph.node)
    tiles = np.random.default_rng(0).integers(0, 256, (5, 3, edge, edge), dtype=np.uint8)
    answer = inferrer(graph.serialise(model), batch=5)(tiles)
    with torch.inference_mode():
        wanted = source(torch.from_numpy(tiles)).numpy()
    assert np.abs(answer - wanted).max() <= 1e-5
    assert ((answer * wanted).sum(1)).min() >= 0.99999
    assert np.abs(np.linalg.norm(answer, axis=1) - 1).max() <= 1e-5


def test_the_package_says_how_sure_a_similarity_is() -> None:
    network = build_network("geo_encoder", size="edge", **EDGE)
    told = json.loads(companions(network, checkpoint_of(network, EDGE))[LOCATE])
    assert told == {"temperature": pytest.approx(0.07), "tile_m": 23.0, "edge_px": 32}


@pytest.mark.parametrize("wrapped", ["", "backbone."])
def test_released_weights_are_found_by_their_names(tmp_path: Path, wrapped: str) -> None:
    torch.manual_seed(3)
    released = DinoV2("vit_tiny", 518, 518)
    path = tmp_path / "weights.pth"
    torch.save({f"{wrapped}{key}": value for key, value in released.state_dict().items()}, path)
    network = load_dinov2(GeoEncoder(**TINY), path)
    stored = network.get_submodule("backbone").state_dict()
    assert all(torch.equal(stored[key], value) for key, value in released.state_dict().items())


def test_the_position_table_of_the_released_size_is_used_as_it_is() -> None:
    torch.manual_seed(4)
    backbone = DinoV2("vit_tiny", 518, 518)
    assert torch.equal(backbone.table(), backbone.pos_embed)
    small = DinoV2("vit_tiny", 56, 126)
    assert small.table().shape == (1, 1 + 4 * 9, 48)
    frozen = small.table()
    small.freeze_table()
    assert torch.equal(small.positions, frozen)


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    state = DinoV2("vit_tiny", 56, 56).state_dict()
    network = GeoEncoder(**TINY)
    for change, words in (
        ({"pos_embed": torch.zeros(1, 1370, 50)}, "no ViT that is known"),
        ({"register_tokens": torch.zeros(1)}, "with registers"),
        ({"norm.weight": torch.zeros(3)}, "the network's backbone is another"),
    ):
        torch.save({**state, **change}, path)
        with pytest.raises(CheckpointError, match=words):
            load_dinov2(network, path)
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match="not of DINOv2"):
        load_dinov2(network, path)
    with pytest.raises(CheckpointError, match="no DINOv2 backbone"):
        load_dinov2(GeoEncoder(**EDGE), path)


def test_a_size_that_the_patches_do_not_fill_is_refused() -> None:
    with pytest.raises(ExporterError, match="multiples of 14"):
        build_network("geo_encoder", rows=128)
    with pytest.raises(ExporterError, match="use one of conv"):
        build_network("geo_encoder", backbone="resnet")


def checkpoint_of(network: nn.Module, options: dict[str, object]) -> Checkpoint:
    return Checkpoint(
        network="geo_encoder",
        size="edge",
        switches=dict(options),
        kind="embedding",
        classes=(),
        edge_px=int(str(options["rows"])),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        dataset="a set",
        licence="CC-BY-4.0",
        state_dict=network.state_dict(),
        notes={"tile_m": 23.0},
    )
