"""The scale of the normalisation inside the first convolution: the same answers, one pass over the tiles less."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from exporters import graph  # noqa: E402
from exporters.fold import fold_scale, with_offset  # noqa: E402
from exporters.registry import build_network  # noqa: E402

MEAN, STD = (0.3, 0.4, 0.5), (0.2, 0.1, 0.25)
SCALE = [1.0 / (255.0 * deviation) for deviation in STD]


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "mobilenet_v3_large"])
def test_folding_changes_no_answer_not_even_at_the_borders(name: str) -> None:
    torch.manual_seed(1)
    fused = graph.fuse_batch_norms(build_network(name, classes=10).eval())
    folded = fold_scale(fused, SCALE)
    assert folded is not None
    tiles = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        plain = graph.with_normalisation(fused, MEAN, STD)(tiles)
        torch.testing.assert_close(with_offset(folded, MEAN)(tiles), plain, rtol=1e-4, atol=1e-6)


def takes_its_input_twice(conv: Any) -> Any:
    graph_of = torch.fx.Graph()
    tiles = graph_of.placeholder("tiles")
    graph_of.output(graph_of.call_function(torch.add, (graph_of.call_module("first", (tiles,)), tiles)))
    return torch.fx.GraphModule({"first": conv}, graph_of)


def test_what_is_not_linear_in_its_input_alone_is_left_as_it_is() -> None:
    conv = torch.nn.Conv2d(3, 4, 3, padding=1)
    grouped = torch.nn.Conv2d(3, 3, 3, padding=1, groups=3)
    mirrored = torch.nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")
    traced = [torch.nn.Sequential(grouped), torch.nn.Sequential(mirrored), takes_its_input_twice(conv)]
    for network in (*traced, torch.nn.Sequential(torch.nn.ReLU(), conv)):
        assert fold_scale(graph.fuse_batch_norms(network), SCALE) is None
    assert fold_scale(conv, SCALE) is None
    assert fold_scale(graph.fuse_batch_norms(torch.nn.Sequential(conv)), SCALE[:2]) is None
