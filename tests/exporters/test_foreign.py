"""Packages around somebody else's graph: classifiers, detectors, restorers, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxslim")
pytest.importorskip("torch")
TensorProto, helper, numpy_helper = onnx.TensorProto, onnx.helper, onnx.numpy_helper

from exporters.check import check_package  # noqa: E402
from exporters.checkpoint import Checkpoint  # noqa: E402
from exporters.datasets import Chips, read_tiles  # noqa: E402
from exporters.errors import DatasetError, ExportError, PackageError  # noqa: E402
from exporters.export import export_foreign, export_network  # noqa: E402
from exporters.foreign import Feed, count_graph_macs, count_params, read_foreign, wrap  # noqa: E402
from exporters.onnx_cpu import inferrer  # noqa: E402
from exporters.package import load_package  # noqa: E402
from exporters.settings import ExportSettings  # noqa: E402
from exporters.subject import Foreign, open_source  # noqa: E402

QUICK = ExportSettings(id="theirs", batches=(1, 4), repeats=5, golden_per_class=1, proof_tiles=40)


def save(
    path: Path,
    nodes: list[Any],
    weights: dict[str, Any],
    out: list[Any],
    *,
    shape: tuple[Any, ...] = ("n", 3, 64, 64),
    kind: int = TensorProto.FLOAT,
    opset: int = 17,
    domain: str = "",
) -> Path:
    graph = helper.make_graph(
        nodes,
        "theirs",
        [helper.make_tensor_value_info("images", kind, list(shape))],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    imports = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)
    return path


def classifier(path: Path, classes: int = 10, **changes: Any) -> Path:
    """Convolution, pooling, linear layer: as a torchvision export has them, in small."""
    rng = np.random.default_rng(1)
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["a"], name="conv", strides=[4, 4]),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("GlobalAveragePool", ["b"], ["c"], name="pool"),
        helper.make_node("Flatten", ["c"], ["d"], name="flat"),
        helper.make_node("Gemm", ["d", "v"], ["out"], name="fc"),
    ]
    weights = {
        "w": rng.normal(size=(8, 3, 4, 4)).astype(np.float32),
        "v": (4 * rng.normal(size=(8, classes))).astype(np.float32),
    }
    return save(path, nodes, weights, ["n", classes], **changes)


def yolo(path: Path, classes: int = 2) -> Path:
    """A head that answers (n, 4 + classes, anchors): every anchor at its place, scores from the pixels."""
    places = np.stack(np.meshgrid(np.arange(4) * 16 + 8, np.arange(4) * 16 + 8, indexing="xy"), 0).reshape(2, 16)
    boxes = np.concatenate([places, np.full((2, 16), 12)]).astype(np.float32)[None]
    nodes = [
        helper.make_node("AveragePool", ["images"], ["p"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Conv", ["p", "w"], ["q"], name="scores"),
        helper.make_node("Sigmoid", ["q"], ["s"]),
        helper.make_node("Reshape", ["s", "shape"], ["r"]),
        helper.make_node("Mul", ["r", "zero"], ["nought"]),
        helper.make_node("ReduceSum", ["nought", "axis"], ["none"], keepdims=1),
        helper.make_node("Add", ["none", "boxes"], ["b"]),
        helper.make_node("Concat", ["b", "r"], ["out"], axis=1),
    ]
    weights = {
        "w": np.array([[8, -8, 0], [-8, 8, 0]], dtype=np.float32)[:, :, None, None],
        "shape": np.array([0, classes, 16], dtype=np.int64),
        "zero": np.float32(0.0),
        "axis": np.array([1], dtype=np.int64),
        "boxes": boxes,
    }
    return save(path, nodes, weights, ["n", 4 + classes, 16])


def subject(path: Path, chips: Chips, **given: Any) -> Foreign:
    found = open_source(str(path), chips, **given)
    assert isinstance(found, Foreign)
    return found


def test_a_foreign_classifier_becomes_a_package_that_passes_its_check(
    tmp_path: Path, chips: Chips, signing_key: Ed25519PrivateKey, trust: dict[str, Ed25519PublicKey]
) -> None:
    path = classifier(tmp_path / "Their Net.onnx")
    package = export_foreign(subject(path, chips), chips, tmp_path / "p", signing_key, settings=QUICK)
    assert (package.info.task, package.info.network, package.info.output.kind) == (
        "classification",
        "their-net.onnx",
        "probabilities",
    )
    assert package.info.params == 8 * 3 * 16 + 80
    assert package.info.gmacs * 1e9 == 8 * 16 * 16 * 48 + 80
    assert package.info.proofs[0].source == "the graph as it came"
    assert package.profile.accuracy.metric == "top1"
    np.testing.assert_allclose(package.golden.expected.sum(1), 1.0, atol=1e-5)
    result = check_package(tmp_path / "p", trust=trust, test=chips)
    assert result.golden_agreement == 1.0
    assert result.proof is not None
    assert (result.proof.tiles, result.accuracy) == (40, package.profile.accuracy.value)


def test_the_wrapped_graph_computes_what_the_foreign_one_does(tmp_path: Path, chips: Chips) -> None:
    import onnxruntime

    path = classifier(tmp_path / "c.onnx")
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    wrapped = subject(path, chips, mean=mean, std=std).model
    pixels = (chips.pixels / np.float32(255) - np.array(mean)[:, None, None]) / np.array(std)[:, None, None]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    logits = session.run(None, {"images": pixels.astype(np.float32)})[0]
    expected = np.exp(logits - logits.max(1, keepdims=True))
    found = inferrer(wrapped.SerializeToString())(chips.pixels)
    np.testing.assert_allclose(found, expected / expected.sum(1, keepdims=True), atol=1e-5)


def test_a_yolo_head_becomes_boxes_in_tile_pixels_the_best_first(
    tmp_path: Path, chips: Chips, signing_key: Ed25519PrivateKey
) -> None:
    foreign = subject(
        yolo(tmp_path / "yolo.onnx"), chips, head="yolo", classes=("red", "green"), mean=(0, 0, 0), std=(1, 1, 1)
    )
    tiles = np.zeros((1, 3, 64, 64), dtype=np.uint8)
    tiles[0, 1, 16:32, 32:48] = 255  # green at column 2, row 1
    answers = inferrer(foreign.model.SerializeToString())(tiles)
    assert answers.shape == (1, 16, 6)
    np.testing.assert_allclose(answers[0, 0], [34, 18, 46, 30, 1 / (1 + np.exp(-8)), 1], rtol=1e-4)
    assert (np.diff(answers[0, :, 4]) <= 0).all()
    package = export_foreign(foreign, chips, tmp_path / "p", signing_key, settings=QUICK)
    assert (package.info.task, package.info.output.kind, package.info.classes) == (
        "detection",
        "boxes",
        ("red", "green"),
    )
    assert package.info.proofs[0].box_iou_mean == 1.0
    assert package.profile.accuracy.metric == "box IoU with the source"
    assert package.info.stac["properties"]["mlm:tasks"] == ["object-detection"]


def test_a_restorer_is_proven_by_psnr(tmp_path: Path, chips: Chips) -> None:
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["a"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Mul", ["a", "scale"], ["out"]),
    ]
    kernel = np.zeros((3, 3, 3, 3), dtype=np.float32)
    kernel[range(3), range(3)] = 1 / 9
    path = save(tmp_path / "blur.onnx", nodes, {"w": kernel, "scale": np.float32(255)}, ["n", 3, 64, 64])
    foreign = subject(path, chips, head="image", mean=(0, 0, 0), std=(1, 1, 1))
    package = export_foreign(foreign, chips, tmp_path / "p", None, settings=QUICK)
    assert (package.info.task, package.info.proofs[0].psnr_db) == ("restoration", 99.0)
    assert load_package(tmp_path / "p", trust={}, allow_unsigned=True).golden.expected.shape == (10, 3, 64, 64)


def test_unlabelled_rasters_prove_a_foreign_graph_too(tmp_path: Path, repo: Path) -> None:
    chips = read_tiles(repo / "deploy" / "scenes", "test", edge_px=64, most=48)
    other = read_tiles(repo / "deploy" / "scenes", "train", edge_px=64, most=48)
    assert len(chips) == len(other) == 48
    assert not (chips.pixels[0] == other.pixels[0]).all()
    classes = tuple("abcdefghij")
    path = classifier(tmp_path / "c.onnx")
    package = export_network(
        None, path, tmp_path / "p", repo / "deploy" / "scenes", None, settings=QUICK, classes=classes
    )
    assert package.profile.accuracy.metric == "agreement with the source"
    assert package.info.classes == classes
    with pytest.raises(DatasetError, match="no raster"):
        read_tiles(tmp_path / "p", "test", edge_px=64)


def test_sizes_are_counted_from_the_graph(tmp_path: Path) -> None:
    wrapped = wrap(read_foreign(classifier(tmp_path / "c.onnx")), head="logits", edge_px=64, feed=Feed())
    assert (count_params(wrapped), count_graph_macs(wrapped)) == (464, 8 * 256 * 48 + 80)


def test_what_cannot_be_read_is_refused_with_the_reason(tmp_path: Path) -> None:
    plain = [helper.make_node("Relu", ["images"], ["out"])]
    odd = [helper.make_node("Fancy", ["images"], ["out"], domain="acme")]
    cases = {
        "operators outside ONNX": save(tmp_path / "a.onnx", odd, {}, ["n", 3, 64, 64], domain="acme"),
        "has opset": save(tmp_path / "b.onnx", plain, {}, ["n", 3, 64, 64], opset=11),
        "one image of floats": save(tmp_path / "c.onnx", plain, {}, ["n", 3, 64, 64], kind=TensorProto.INT64),
    }
    for reason, path in cases.items():
        with pytest.raises(ExportError, match=reason):
            read_foreign(path)
    broken = tmp_path / "d.onnx"
    broken.write_bytes(classifier(tmp_path / "e.onnx").read_bytes()[:200])
    with pytest.raises(ExportError, match="not a valid ONNX graph"):
        read_foreign(broken)
    with pytest.raises(ExportError, match="cannot be read"):
        read_foreign(tmp_path / "none.onnx")


def test_weights_in_other_files_are_refused_before_any_is_opened(tmp_path: Path) -> None:
    path = classifier(tmp_path / "c.onnx")
    model = onnx.load(path)
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "../../etc/passwd")
    model.graph.initializer[0].ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ExportError, match=r"in other files|not a valid ONNX"):
        read_foreign(path)


def test_bands_edge_head_and_classes_that_do_not_fit_are_refused(tmp_path: Path, chips: Chips) -> None:
    path = classifier(tmp_path / "c.onnx", classes=9)
    with pytest.raises(ExportError, match=r"answers \(9,\) a tile, \(10,\) is needed for 10 classes"):
        open_source(str(path), chips)
    ten = classifier(tmp_path / "ten.onnx")
    with pytest.raises(ExportError, match="The tiles have 3 bands; mean and std have 1"):
        open_source(str(ten), chips, mean=(0.5,), std=(0.5,))
    with pytest.raises(ExportError, match="answers no probabilities"):
        open_source(str(ten), chips, head="probabilities")
    with pytest.raises(ExportError, match="no normalisation"):
        open_source(str(ten), chips, std=(1.0, 0.0, 1.0))
    with pytest.raises(ExportError, match="cannot answer 'poem'"):
        open_source(str(ten), chips, head="poem")
    fixed = classifier(tmp_path / "fixed.onnx", shape=("n", 3, 32, 32))
    with pytest.raises(ExportError, match="the edge that it was exported for"):
        open_source(str(fixed), chips)


def test_a_class_list_of_another_length_than_the_data_is_refused(tmp_path: Path, chips: Chips, tiny_name: str) -> None:
    for source in (str(classifier(tmp_path / "c.onnx")), tiny_name):
        with pytest.raises(ExportError, match=r"3 classes were named.*the data has 10.*Leave --classes out"):
            open_source(source, chips, classes=("a", "b", "c"))


def test_the_classes_that_are_named_are_those_of_a_module_where_the_data_has_none(chips: Chips, tiny_name: str) -> None:
    bare = replace(chips, classes=(), labels=np.full(len(chips), -1))
    made = open_source(tiny_name, bare, classes=("a", "b", "c"))
    assert isinstance(made, Checkpoint)
    assert (made.classes, made.switches["classes"]) == (("a", "b", "c"), 3)


def test_other_tiles_than_those_of_the_proof_are_refused(
    tmp_path: Path, chips: Chips, signing_key: Ed25519PrivateKey, trust: dict[str, Ed25519PublicKey]
) -> None:
    export_foreign(subject(classifier(tmp_path / "c.onnx"), chips), chips, tmp_path / "p", signing_key, settings=QUICK)
    other = chips.take(np.arange(40)[::-1].copy(), "reversed")
    with pytest.raises(PackageError, match="other tiles than the proof"):
        check_package(tmp_path / "p", trust=trust, test=other)
