from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from exporters.errors import ExporterError
from exporters.graph import count_macs, count_macs_of
from exporters.registry import build_network, network_named, networks, size_of
from exporters.subject import refuse_mix_up
from exporters.zoo_table import zoo_row

torch = pytest.importorskip("torch")

# a handful of the keys of torchvision's state dicts, with their shapes at 1000 classes
TORCHVISION_KEYS = {
    "resnet18": {
        "conv1.weight": (64, 3, 7, 7),
        "bn1.running_mean": (64,),
        "layer1.0.conv1.weight": (64, 64, 3, 3),
        "layer2.0.downsample.0.weight": (128, 64, 1, 1),
        "layer2.0.downsample.1.num_batches_tracked": (),
        "layer4.1.bn2.bias": (512,),
        "fc.weight": (1000, 512),
    },
    "mobilenet_v2": {
        "features.0.0.weight": (32, 3, 3, 3),
        "features.1.conv.0.0.weight": (32, 1, 3, 3),
        "features.1.conv.1.weight": (16, 32, 1, 1),
        "features.2.conv.0.0.weight": (96, 16, 1, 1),
        "features.2.conv.1.1.running_var": (96,),
        "features.2.conv.3.weight": (24,),
        "features.18.1.bias": (1280,),
        "classifier.1.weight": (1000, 1280),
    },
    "mobilenet_v3_large": {
        "features.0.0.weight": (16, 3, 3, 3),
        "features.1.block.0.0.weight": (16, 1, 3, 3),
        "features.1.block.1.0.weight": (16, 16, 1, 1),
        "features.4.block.2.fc1.weight": (24, 72, 1, 1),
        "features.4.block.2.fc2.bias": (72,),
        "features.15.block.3.1.weight": (160,),
        "features.16.0.weight": (960, 160, 1, 1),
        "classifier.0.weight": (1280, 960),
        "classifier.3.bias": (1000,),
    },
}
KEY_COUNTS = {"resnet18": 122, "mobilenet_v2": 314, "mobilenet_v3_large": 312}


def test_parameters_and_costs_are_the_published_ones() -> None:
    rows = {name: zoo_row(network_named(name)) for name in TORCHVISION_KEYS}
    assert {name: round(row.params / 1e6, 2) for name, row in rows.items()} == {
        "mobilenet_v3_large": 5.48,
        "mobilenet_v2": 3.50,
        "resnet18": 11.69,
    }
    for row in rows.values():
        assert row.params_paper is not None
        assert row.params == pytest.approx(row.params_paper, rel=0.002)
        assert row.gmacs == pytest.approx(row.gmacs_paper, rel=0.01)


@pytest.mark.parametrize("name", sorted(TORCHVISION_KEYS))
def test_state_dict_keys_are_those_of_torchvision(name: str) -> None:
    own = {key: tuple(value.shape) for key, value in build_network(name, classes=1000).state_dict().items()}
    assert len(own) == KEY_COUNTS[name]
    assert {key: own.get(key) for key in TORCHVISION_KEYS[name]} == TORCHVISION_KEYS[name]


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_large", "resnet18"])
def test_the_stem_stride_changes_the_cost_but_no_parameter(name: str) -> None:
    fine, coarse = (build_network(name, classes=10, stem_stride=stride) for stride in (1, 2))
    shapes = [{key: value.shape for key, value in network.state_dict().items()} for network in (fine, coarse)]
    assert shapes[0] == shapes[1]
    assert count_macs(fine, edge_px=64) > 3.5 * count_macs(coarse, edge_px=64)


def test_an_unknown_network_names_the_ones_there_are() -> None:
    with pytest.raises(ExporterError, match=r"no network named 'vgg'.*mobilenet_v2.*resnet18"):
        network_named("vgg")


def test_entries_need_no_torch() -> None:
    code = "import sys; from exporters.registry import networks; networks(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["mobilenet-v2", "mobilenetv2", "MobileNet_V2"])
def test_a_network_that_is_nearly_one_of_the_zoo_is_answered_with_that_one(name: str) -> None:
    with pytest.raises(ExporterError, match=rf"no network named '{name}' in the zoo\. Did you mean mobilenet_v2\?"):
        network_named(name)


def test_every_entry_is_whole() -> None:
    for network in networks().values():
        assert "published" in network.sizes, network.name
        for size in network.sizes.values():
            assert len(size.input) >= 2, network.name


def test_an_unknown_size_or_switch_names_the_ones_there_are() -> None:
    with pytest.raises(ExporterError, match=r"resnet18 has no size 'huge'\. Use one of published"):
        size_of(network_named("resnet18"), "huge")
    with pytest.raises(ExporterError, match=r"resnet18 cannot be made.*It takes classes, stem_stride"):
        build_network("resnet18", colour="red")


def test_all_kinds_of_layers_are_counted() -> None:
    class Mixed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = torch.nn.ConvTranspose2d(8, 4, 2, 2)
            self.line = torch.nn.Conv1d(4, 4, 3, padding=1)
            self.attend = torch.nn.MultiheadAttention(4, 2, batch_first=True)
            self.walk = torch.nn.LSTM(4, 16, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rows = self.line(self.up(x).flatten(2)).transpose(1, 2)
            return self.walk(self.attend(rows, rows, rows)[0])[0]

    up, line, products, gates = (
        25 * 8 * 4 * 4,
        100 * 4 * 4 * 3,
        100 * 4 * 12 + 2 * 100 * 100 * 4 + 100 * 16,
        100 * 64 * 20,
    )
    assert count_macs_of(Mixed(), (8, 5, 5)) == up + line + products + gates


def test_a_network_that_is_called_with_more_than_one_tensor_brings_its_example() -> None:
    class Pair(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 5)

        def example_inputs(self, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.zeros(shape), torch.zeros(shape)

        def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            return self.layer(one) + self.layer(other)

    assert count_macs_of(Pair(), (2, 3)) == 2 * 2 * 3 * 5


def test_a_network_of_ones_own_is_found_by_its_import_path(tiny_name: str) -> None:
    assert type(build_network(tiny_name, classes=4)).__name__ == "TinyNetwork"
    with pytest.raises(ExporterError, match="no network at 'tiny_network:Missing'"):
        build_network("tiny_network:Missing", classes=4)


def test_a_state_dict_of_a_network_that_is_nearly_one_of_the_zoo_is_refused_before_any_data_is_read(
    tmp_path: Path,
) -> None:
    torch.save({"weight": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(ExporterError, match=r"Did you mean mobilenet_v2\?"):
        refuse_mix_up(str(tmp_path / "weights.pt"), "mobilenet-v2")
