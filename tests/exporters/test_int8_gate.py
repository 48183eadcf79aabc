"""INT8 of detectors and restorers: what it may cost, which nodes it leaves alone, and how its damage is counted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
helper = onnx.helper

from exporters.damage import ENDLESS, damage, scale_of  # noqa: E402
from exporters.datasets import Chips  # noqa: E402
from exporters.errors import ExportError  # noqa: E402
from exporters.export import export_checkpoint  # noqa: E402
from exporters.float_nodes import after_choices, always_in_float, last_layers  # noqa: E402
from exporters.int8_gate import lost, restated, told  # noqa: E402
from exporters.onnx_cpu import Infer  # noqa: E402
from exporters.quantise import quantise  # noqa: E402
from exporters.records import Accuracy  # noqa: E402
from exporters.settings import ExportSettings  # noqa: E402
from exporters.tiles import Tiles  # noqa: E402

BOXES = np.array([[[4, 4, 12, 12, 0.9, 0], [20, 8, 30, 16, 0.6, 0], [1, 1, 3, 3, 0.01, 0]]], np.float32)
NODES = [
    helper.make_node("Cast", ["tiles"], ["float"], "cast", to=1),
    helper.make_node("Conv", ["float", "w"], ["a"], "first"),
    helper.make_node("Conv", ["a", "w"], ["scores"], "scores"),
    helper.make_node("TopK", ["scores", "k"], ["best", "index"], "choice"),
    helper.make_node("GatherElements", ["a", "index"], ["queries"], "gather"),
    helper.make_node("MatMul", ["queries", "w"], ["offsets"], "decoder"),
    helper.make_node("Conv", ["a", "w"], ["map"], "predictor"),
    helper.make_node("Add", ["map", "grid"], ["pixels"], "decode"),
]


def test_the_order_of_boxes_is_no_damage_and_a_box_that_moved_is() -> None:
    assert damage(BOXES, BOXES[:, [1, 0, 2]], "boxes") == 0.0
    moved = BOXES.copy()
    moved[0, 0, [0, 2]] += 4  # a third of its union is shared: both sides lose two thirds of its score
    assert damage(BOXES, moved, "boxes") == pytest.approx(0.9 * (2 / 3) / 1.5, abs=1e-6)
    faint = BOXES.copy()
    faint[0, 1, 4] = 0.3
    assert damage(BOXES, faint, "boxes") == pytest.approx(1 - (2 * 0.9 + 0.5 * 0.6 + 0.5 * 0.3) / (1.5 + 1.2), abs=1e-6)
    other = BOXES.copy()
    other[0, :, 5] = 1
    assert damage(BOXES, other, "boxes") == 1.0
    nothing = np.zeros_like(BOXES)
    assert damage(nothing, nothing, "boxes") == 0.0
    assert damage(BOXES, nothing, "boxes") == 1.0


def test_other_kinds_count_the_mean_change_of_a_tile() -> None:
    images = np.full((2, 3, 4, 4), 100.0, np.float32)
    assert damage(images, images + 1, "image") == pytest.approx(48.0)
    assert scale_of(images, "image") == pytest.approx(4800.0)
    assert scale_of(BOXES, "boxes") == 3.0


@pytest.mark.parametrize("kind", ["image", "boxes"])
def test_answers_that_are_no_numbers_are_the_worst_damage_and_keep_their_place_in_a_ranking(kind: str) -> None:
    broken = BOXES.copy()
    broken[0, 0, 0] = np.nan
    assert damage(BOXES, broken, kind) == ENDLESS
    assert np.isfinite(ENDLESS)


def amplitude() -> bytes:
    """Two layers, their squares summed, the root, and a layer: what a Fourier block does."""
    value = helper.make_tensor_value_info
    kernels = np.random.default_rng(1).normal(0, 0.2, (3, 4, 4, 3, 3)).astype(np.float32)
    weights = {"a": kernels[0][:, :3], "b": kernels[1][:, :3], "c": kernels[2][:3], "scale": np.float32(1 / 255)}
    nodes = [
        helper.make_node("Cast", ["tiles"], ["whole"], "cast", to=1),
        helper.make_node("Mul", ["whole", "scale"], ["share"], "share"),
        helper.make_node("Conv", ["share", "a"], ["real"], "real", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["share", "b"], ["imaginary"], "imaginary", pads=[1, 1, 1, 1]),
        helper.make_node("Mul", ["real", "real"], ["real2"], "square"),
        helper.make_node("Mul", ["imaginary", "imaginary"], ["imaginary2"], "square2"),
        helper.make_node("Add", ["real2", "imaginary2"], ["power"], "sum"),
        helper.make_node("Sqrt", ["power"], ["amplitude"], "root"),
        helper.make_node("Conv", ["amplitude", "c"], ["answers"], "last", pads=[1, 1, 1, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "amplitude",
        [value("tiles", 2, ["n", 3, 64, 64])],
        [value("answers", 1, ["n", 3, 64, 64])],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    content: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    ).SerializeToString()
    return content


def test_a_sum_that_eight_bits_spoil_stays_in_float_and_entropy_is_for_classes_alone(chips: Chips) -> None:
    tiles = np.concatenate([chips.pixels, chips.pixels[..., ::-1]])
    how = quantise(amplitude(), tiles, tiles[:16], target="cpu", kind="image", max_damage=60.0).how
    assert how.float_layers[0] == "sum"
    assert how.damage < min(how.damage_by_method.values())
    assert how.quantised_layers + len(how.float_layers) == 4
    assert set(how.damage_by_method) == {"minmax", "percentile-99.9", "percentile-99.99"}


def test_what_follows_a_choice_and_what_no_layer_follows_stays_in_float() -> None:
    assert after_choices(NODES) == ("choice", "gather", "decoder")
    assert last_layers(NODES) == ("decoder", "predictor")
    assert always_in_float(NODES, "mask") == ("cast", "choice", "gather", "decoder", "decode")
    assert always_in_float(NODES, "boxes") == ("cast", "choice", "gather", "decoder", "predictor", "decode")


def test_a_point_of_ap_or_a_fifth_of_a_decibel_may_be_lost_and_no_more() -> None:
    assert lost({"ap50": 0.70, "ap50_95": 0.300, "f1": 0.7}, {"ap50": 0.69, "ap50_95": 0.291, "f1": 0.1}) == ""
    assert "ap50 0.7 to 0.68" in lost({"ap50": 0.70}, {"ap50": 0.68})
    assert lost({"psnr_db": 25.0, "ssim": 0.90}, {"psnr_db": 24.85, "ssim": 0.895}) == ""
    assert "psnr_db 25 to 24.7, 0.2 is allowed" in lost({"psnr_db": 25.0}, {"psnr_db": 24.7})
    assert lost({"ap50": 0.7}, {"ap50": float("nan")})
    assert lost({"ap50": 0.7}, {})
    assert "ap50 0.7 then 0.69" in told({"ap50": 0.70}, {"ap50": 0.69}, "int8 for cpu")


def test_the_accuracy_of_an_int8_package_is_its_own() -> None:
    stated = Accuracy(
        metric="ap50", dataset="a set", n=12, value=0.7, ci95=(0.6, 0.8), recall_by_class={"ship": 0.7}, confusion=()
    )
    own = restated(stated, {"ap50": 0.69})
    assert (own.value, own.ci95, own.recall_by_class) == (0.69, (0.69, 0.69), {"ship": 0.69})
    assert restated(stated, {"f1": 0.1}) is stated


class Judged:
    """Figures that fall with each graph that is judged: the float graph comes first."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def __call__(self, answer: Infer) -> Mapping[str, float]:
        return {"ap50": self.values.pop(0)}


@pytest.fixture(scope="module")
def told_of(chips: Chips, tiny_name: str) -> dict[str, Any]:
    torch = pytest.importorskip("torch")
    from exporters.checkpoint import Checkpoint
    from exporters.registry import build_network

    torch.manual_seed(3)
    name = "kind_networks:Kind"
    switches: dict[str, Any] = {"kind": "boxes", "channels": 5}
    checkpoint = Checkpoint(
        network=name,
        switches=switches,
        kind="boxes",
        classes=("thing",),
        edge_px=32,
        mean=(0.4,) * 3,
        std=(0.2,) * 3,
        licence="CC-BY-4.0",
        state_dict=build_network(name, **switches).state_dict(),
        notes={"metric": "ap50", "test": {"ap50": 0.71}},
    )
    tiles = Tiles("forty tiles", np.ascontiguousarray(chips.pixels[:, :, :32, :32]))
    turned = Tiles("turned", np.ascontiguousarray(np.concatenate([tiles.pixels[..., ::-1]] * 4)))
    settings = ExportSettings(
        id="kind",
        batches=(1, 2),
        repeats=5,
        precision="int8",
        calibration_tiles=64,
        calibration_methods=("minmax",),
        max_damage=1e9,
    )
    return {
        "checkpoint": checkpoint,
        "test": tiles,
        "key": None,
        "calibration": turned,
        "settings": settings,
    }


def test_int8_of_a_detector_ships_with_its_own_average_precision(tmp_path: Path, told_of: dict[str, Any]) -> None:
    package = export_checkpoint(out=tmp_path / "p", judge=Judged(0.70, 0.695, 0.692), **told_of)
    assert (package.profile.accuracy.metric, package.profile.accuracy.value) == ("ap50", 0.695)
    assert package.info.variants[0].accuracy.value == 0.692
    assert any("float32 then int8 for cpu: ap50 0.7 then 0.695" in note for note in package.profile.notes)


def test_int8_of_a_detector_that_loses_more_than_a_point_is_refused(tmp_path: Path, told_of: dict[str, Any]) -> None:
    with pytest.raises(ExportError, match=r"ap50 0\.7 to 0\.65, 0\.01 is allowed.*Nothing was written"):
        export_checkpoint(out=tmp_path / "p", judge=Judged(0.70, 0.65), **told_of)
    assert not (tmp_path / "p").exists()
