"""INT8: two graphs for two engines, chosen by measurement, refused where accuracy is lost, with the layer named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
TensorProto, numpy_helper = onnx.TensorProto, onnx.numpy_helper

from exporters.check import check_package  # noqa: E402
from exporters.datasets import Chips  # noqa: E402
from exporters.diverge import first_divergence, layer_differences  # noqa: E402
from exporters.engine_graphs import Request, make_graphs  # noqa: E402
from exporters.errors import ExportError, PackageError  # noqa: E402
from exporters.graph import float32_weights, in_half, serialise  # noqa: E402
from exporters.lint import lint  # noqa: E402
from exporters.onnx_cpu import inferrer  # noqa: E402
from exporters.package import ModelPackage, load_package  # noqa: E402
from exporters.quantise import METHODS, quantise  # noqa: E402


@pytest.fixture(scope="module")
def shipped(repo: Path) -> ModelPackage:
    return load_package(repo / "deploy/packages/eurosat-mobilenet-v2", trust=repo / "deploy/keys")


@pytest.fixture(scope="module")
def plain(shipped: ModelPackage) -> bytes:
    """The float graph that ships, its weights in float32."""
    return float32_weights(shipped.read_onnx())


@pytest.fixture(scope="module")
def many(chips: Chips) -> Chips:
    """Real chips and their mirror images, for ranges: 80, of which half choose."""
    pixels = np.concatenate(
        [chips.pixels, chips.pixels[:, :, :, ::-1], chips.pixels[:, :, ::-1], chips.pixels[:, :, ::-1, ::-1]]
    )
    return Chips("mirrored", np.ascontiguousarray(pixels), np.tile(chips.labels, 4), chips.classes)


def request(package: ModelPackage, **changes: object) -> Request:
    made = Request(
        info=package.info,
        precision="int8",
        targets=("cpu",),
        min_tiles=40,
        calibration_tiles=80,
        max_damage=10.0,
        methods=("minmax",),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def pair(plain: bytes, many: Chips) -> tuple[bytes, bytes]:
    """Both INT8 graphs by one method, no sweep."""
    made = [
        quantise(plain, many.pixels[:80], many.pixels[80:], target=target, methods=["percentile-99.99"], max_damage=1.0)
        for target in ("cpu", "tensorrt")
    ]
    return made[0].content, made[1].content


def q_nodes(content: bytes) -> list[tuple[str, set[int], bool]]:
    """(operator, element types, zero point nought) of each Q and DQ."""
    model = onnx.load_from_string(content)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return [
        (node.op_type, {stored[node.input[2]].dtype.name}, bool((stored[node.input[2]] == 0).all()))
        for node in model.graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
    ]


def test_half_weights_come_back_as_the_same_function(shipped: ModelPackage, plain: bytes, chips: Chips) -> None:
    np.testing.assert_allclose(inferrer(plain)(chips.pixels), inferrer(shipped.read_onnx())(chips.pixels), atol=1e-6)


def test_the_graph_for_the_cpu_has_uint8_activations_and_int8_weights_per_channel(
    pair: tuple[bytes, bytes], plain: bytes
) -> None:
    kinds = {kind for operator, found, _ in q_nodes(pair[0]) for kind in found if operator == "QuantizeLinear"}
    assert kinds == {"uint8"}
    model = onnx.load_from_string(pair[0])
    assert len(pair[0]) < 0.32 * len(plain)
    scales = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    weight_scales = [
        scales[node.input[1]].size
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in scales and scales[node.input[0]].ndim == 4
    ]
    assert len(weight_scales) > 40
    assert min(weight_scales) > 1


def test_the_graph_for_tensorrt_is_symmetric_int8_and_breaks_no_rule(pair: tuple[bytes, bytes]) -> None:
    found = q_nodes(pair[1])
    assert {kind for _, kinds, _ in found for kind in kinds} == {"int8"}
    assert all(nought for *_, nought in found)
    assert [str(issue) for issue in lint(pair[1]) if issue.severity == "error"] == []
    assert any(issue.rule == "qdq-type" for issue in lint(pair[0])), "the CPU's graph is not for TensorRT"


def test_int8_keeps_the_answers_of_real_tiles(pair: tuple[bytes, bytes], plain: bytes, chips: Chips) -> None:
    before = inferrer(plain)(chips.pixels).argmax(1)
    for content in pair:
        assert (inferrer(content)(chips.pixels).argmax(1) == before).mean() >= 0.95


def test_the_method_is_chosen_by_the_damage_it_does_and_layers_stay_in_float_until_the_bar_is_met(
    plain: bytes, many: Chips
) -> None:
    said: list[str] = []
    made = quantise(
        plain,
        many.pixels[:80],
        many.pixels[80:88],
        target="cpu",
        methods=["minmax", "percentile-99.99"],
        max_damage=0.012,
        progress=said.append,
    )
    how = made.how
    assert how.method == min(how.damage_by_method, key=lambda method: how.damage_by_method[method])
    assert how.damage < how.damage_by_method[how.method]
    assert 0 < len(how.float_layers) <= 16
    assert how.quantised_layers + len(how.float_layers) == 53 + 10  # its sums too
    assert any("s left" in line for line in said)
    inside = {
        node.name
        for node in onnx.load_from_string(made.content).graph.node
        if node.op_type == "Conv" and not node.input[0].endswith("DequantizeLinear_Output")
    }
    assert set(how.float_layers) & inside


def test_int8_that_loses_more_than_a_point_is_refused_with_the_first_layer_to_part(
    shipped: ModelPackage, plain: bytes, many: Chips, chips: Chips
) -> None:
    dark = replace(many, pixels=(many.pixels // 64).astype(np.uint8))  # ranges of tiles nobody will see
    with pytest.raises(ExportError, match=r"loses .* points .* The first layer to part is .*Nothing was written"):
        make_graphs(plain, request(shipped), chips, dark)


def test_calibration_that_does_not_fit_is_refused(
    shipped: ModelPackage, plain: bytes, many: Chips, chips: Chips
) -> None:
    with pytest.raises(ExportError, match="real tiles"):
        make_graphs(plain, request(shipped), chips, None)
    with pytest.raises(ExportError, match="its own bands and size"):
        make_graphs(plain, request(shipped), chips, replace(many, pixels=many.pixels[:, :2]))
    with pytest.raises(ExportError, match="10 calibration tiles are too few"):
        quantise(plain, many.pixels[:10], many.pixels[10:20], target="cpu")
    with pytest.raises(ExportError, match="no calibration method 'dice'"):
        quantise(plain, many.pixels[:80], many.pixels[80:90], target="cpu", methods=["dice"])
    assert len(METHODS) >= 4


def test_the_half_graph_computes_in_float16_and_agrees(shipped: ModelPackage, plain: bytes, chips: Chips) -> None:
    content = serialise(in_half(onnx.load_from_string(plain)))
    model = onnx.load_from_string(content)
    weights = [tensor for tensor in model.graph.initializer if len(tensor.dims) == 4]
    assert {tensor.data_type for tensor in weights} == {TensorProto.FLOAT16}
    assert not [issue for issue in lint(content) if issue.severity == "error"]
    asked = request(shipped, precision="fp16", targets=("cpu", "tensorrt"))
    for stored in (plain, shipped.read_onnx()):  # whether weights came as float32 or as float16 behind casts
        made = make_graphs(stored, asked, chips, None)
        assert made.variant == content
        assert made.proofs[0].top1_agreement == 1.0
        assert made.main is stored


def test_the_first_layer_that_differs_is_found_where_it_was_broken(plain: bytes, chips: Chips) -> None:
    model = onnx.load_from_string(plain)
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    broken = stored[convs[7].input[1]]
    broken.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(broken) * np.float32(1.5), broken.name))
    found = first_divergence(plain, model.SerializeToString(), chips.pixels[:2])
    assert found is not None
    assert (found.layer, found.operator) == (convs[7].name, "Conv")
    assert found.relative > 0.1
    assert first_divergence(plain, plain, chips.pixels[:2]) is None
    assert all(layer.relative == 0.0 for layer in layer_differences(plain, plain, chips.pixels[:1]))


def test_a_package_carries_both_graphs_and_each_engine_gets_its_own(
    tmp_path: Path,
    shipped: ModelPackage,
    plain: bytes,
    many: Chips,
    chips: Chips,
    signing_key: Ed25519PrivateKey,
    trust: dict[str, Ed25519PublicKey],
) -> None:
    from exporters.export import Draft, _finish
    from exporters.settings import ExportSettings

    settings = ExportSettings(
        id="both",
        precision="int8",
        batches=(1, 4, 8),
        repeats=5,
        proof_tiles=40,
        calibration_tiles=80,
        max_damage=10.0,
        calibration_methods=("percentile-99.99",),
    )
    draft = Draft(replace(shipped.info, proofs=()), plain, shipped.info.proofs, "0" * 64, inferrer(plain)(chips.pixels))
    package = _finish(draft, chips, many, settings, lambda line: None).write(tmp_path / "both", signing_key, False)
    assert package.info.precision == "int8"
    assert [how.target for how in package.info.quantisation] == ["cpu", "tensorrt"]
    assert package.read_onnx("cuda") == package.read_onnx("cpu") != package.read_onnx("tensorrt")
    assert (
        package.golden_for("tensorrt").mismatch(inferrer(package.read_onnx("tensorrt"))(package.golden.tiles)) is None
    )
    assert package.profile.notes[0].startswith("INT8 is ")
    assert package.info.tensorrt is not None
    assert (package.info.tensorrt.result, package.info.tensorrt.errors) == ("not built: no device", ())
    result = check_package(tmp_path / "both", trust=trust, test=chips)
    assert result.proof is not None
    assert result.golden_agreement is not None
    assert result.golden_agreement >= 0.9
    assert result.tensorrt_issues == 0
    assert b"CycloneDX" in package.read("sbom.json")
    (package.path / "model.tensorrt.onnx").unlink()
    with pytest.raises(PackageError, match=r"model\.tensorrt\.onnx is missing"):
        load_package(package.path, trust=trust)
