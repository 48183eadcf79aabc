"""INT8 by explicit QDQ: ranges from real tiles, weights per channel, and the layers that suffer most left in float.

One graph does not serve both targets. ONNX Runtime on a CPU wants uint8 activations; TensorRT's parser takes int8 with
zero point 0 alone, each Q with its own DQ, and biases in float. Both store weights as int8. See ``TARGETS``.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .damage import damage
from .errors import ExportError
from .float_nodes import WEIGHTED, always_in_float
from .onnx_cpu import batch_for, inferrer
from .onnx_runtime import import_onnxruntime
from .records import Quantisation

METHODS = ("minmax", "entropy", "percentile-99.9", "percentile-99.99")
FOR_CLASSES = ("entropy",)
"""Tried for probabilities alone: it takes seconds a tensor, of which a restorer has hundreds, and it cuts off the rare
large values that boxes and pixels are made of (a ship detector suffered five times the damage of the whole range)."""
MIN_CALIBRATION_TILES = 64
MAX_DAMAGE = 0.015
"""Damage that is accepted without keeping layers in float, as a share: see ``damage.damage`` and ``scale_of``."""
SWEEP_TILES = 64
"""Of the tiles that choose, those that each layer alone is tried on."""
KEEP = (0, 1, 2, 4, 8, 16, 32, 64, 128)
"""How many layers are tried in float, in this order, half of all at most; the first that meets the bar wins."""
_OPERATORS = ("Conv", "Gemm", "MatMul", "Add", "MaxPool")
_CALIBRATION_VALUES = 1 << 20  # of tiles whose every activation ONNX Runtime keeps in memory at once
Progress = Callable[[str], None]
Tiles = NDArray[Any]
Answers = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Target:
    """What an engine demands of a quantised graph."""

    name: str
    symmetric: bool
    operators: tuple[str, ...] = _OPERATORS


TARGETS = {"cpu": Target("cpu", symmetric=False), "tensorrt": Target("tensorrt", symmetric=True)}


@dataclass(frozen=True, slots=True)
class Quantised:
    """A quantised graph and how it came to be."""

    content: bytes
    how: Quantisation


class _Reader:
    """Feeds calibration tiles in batches of one size, as ONNX Runtime's histograms need them."""

    def __init__(self, name: str, tiles: Tiles) -> None:
        self._parts: Iterator[dict[str, Tiles]] = iter([{name: part} for part in _in_equal_parts(tiles, 32)])

    def get_next(self) -> dict[str, Tiles] | None:
        return next(self._parts, None)

    def __iter__(self) -> Iterator[dict[str, Tiles]]:
        return self._parts


def _in_equal_parts(tiles: Tiles, most: int) -> Iterator[Tiles]:
    size = next(size for size in range(min(most, len(tiles)), 0, -1) if len(tiles) % size == 0)
    return (tiles[start : start + size] for start in range(0, len(tiles), size))


def quantise(
    model: bytes,
    calibration: Tiles,
    choosing: Tiles,
    *,
    target: str,
    kind: str = "probabilities",
    methods: Sequence[str] = METHODS,
    max_damage: float = MAX_DAMAGE,
    progress: Progress = lambda line: None,
) -> Quantised:
    """Quantise a float graph for ``target``; the calibration method and the float layers are chosen by measurement.

    ``calibration`` gives the ranges; ``choosing``, other tiles, measures the ``damage`` to answers of ``kind``.
    ExportError for too few tiles, or a graph with nothing to quantise.
    """
    if len(calibration) < MIN_CALIBRATION_TILES:
        raise ExportError(
            f"{len(calibration)} calibration tiles are too few for ranges, {MIN_CALIBRATION_TILES} are needed. "
            "Add tiles."
        )
    source = _Source(model, TARGETS[target], kind, choosing)
    by_method: dict[str, tuple[float, Any]] = {}
    methods = [method for method in methods if kind == "probabilities" or method not in FOR_CLASSES] or list(methods)
    progress(f"{target}: calibrating on {len(calibration)} tiles by {len(methods)} methods (10 to 60 s)")
    for method, ranges in calibrate(model, calibration, methods, source.target):
        by_method[method] = source.damage(ranges, ()), ranges
        progress(f"{target}: calibration {method}, damage {by_method[method][0]:.4f}")
    best = min(by_method, key=lambda method: by_method[method][0])
    ranges = by_method[best][1]
    ranking = sweep(source, ranges, progress) if by_method[best][0] > max_damage else ()
    kept, damage = _fewest_in_float(source, ranges, ranking, by_method[best][0], max_damage, progress)
    how = Quantisation(
        target=target,
        method=best,
        calibration_tiles=len(calibration),
        float_layers=kept,
        quantised_layers=len(source.layers) - len(kept),
        damage_by_method={method: found for method, (found, _) in by_method.items()},
        damage=damage,
    )
    return Quantised(source.graph(ranges, kept), how)


def _fewest_in_float(
    source: _Source, ranges: Any, ranking: Sequence[str], plain: float, max_damage: float, progress: Progress
) -> tuple[tuple[str, ...], float]:
    best: tuple[tuple[str, ...], float] = (), plain
    for count in [count for count in KEEP[1:] if count <= max(len(ranking) // 2, 1)] if ranking else ():
        kept = tuple(ranking[:count])
        damage = source.damage(ranges, kept)
        progress(f"{source.target.name}: {count} of {len(ranking)} layers in float, damage {damage:.4g}")
        if damage < best[1]:
            best = kept, damage
        if damage <= max_damage:
            break
    return best


def sweep(source: _Source, ranges: Any, progress: Progress = lambda line: None) -> tuple[str, ...]:
    """The layers by the damage that each does when it alone is quantised, worst first."""
    damages = {}
    started_s = time.monotonic()
    for count, layer in enumerate(source.layers, start=1):
        damages[layer] = source.damage(ranges, [other for other in source.layers if other != layer], SWEEP_TILES)
        if count % 16 == 0 or count == len(source.layers):
            left_s = (time.monotonic() - started_s) * (len(source.layers) / count - 1)
            progress(
                f"{source.target.name}: sensitivity of {count} of {len(source.layers)} layers, {left_s:.0f} s left"
            )
    return tuple(sorted(damages, key=lambda layer: -damages[layer]))


class _Source:
    """A float graph, its answers, and what quantising it does to them.

    ``layers``: all that is quantised, sums and pools too. A sum of squares, before a root, bears eight bits as badly
    as any product, and one between two layers in float would be rounded for nothing.
    """

    def __init__(self, model: bytes, target: Target, kind: str, tiles: Tiles) -> None:
        import onnx

        self.model, self.target, self.kind, self.tiles = model, target, kind, tiles
        self.answers = self._answers(model, tiles)
        nodes = list(onnx.load_from_string(model).graph.node)
        self.outside = always_in_float(nodes, kind)
        inside = [node for node in nodes if node.op_type in target.operators and node.name not in self.outside]
        self.layers = tuple(node.name for node in inside)
        if not any(node.op_type in WEIGHTED for node in inside):
            raise ExportError("The graph has no convolution and no matrix product to quantise. Export it as fp32.")

    def graph(self, ranges: Any, in_float: Iterable[str]) -> bytes:
        return insert_qdq(self.model, ranges, self.target, (*self.outside, *in_float))

    def damage(self, ranges: Any, in_float: Iterable[str], most: int | None = None) -> float:
        """On the first ``most`` tiles, or all."""
        answers = self._answers(self.graph(ranges, in_float), self.tiles[:most])
        return damage(self.answers[:most], answers, self.kind)

    @staticmethod
    def _answers(content: bytes, tiles: Tiles) -> Answers:
        return inferrer(content, batch=batch_for(tiles.shape))(tiles)


def calibrate(model: bytes, tiles: Tiles, methods: Sequence[str], target: Target) -> Iterator[tuple[str, Any]]:
    """Each method with the range of every activation on ``tiles``, as ONNX Runtime's ``TensorsData``.

    ``percentile-P`` keeps P percent of the values; all percentiles share one pass over the tiles.
    """
    if unknown := [method for method in methods if method not in METHODS]:
        raise ExportError(f"There is no calibration method {unknown[0]!r}. Use one of {', '.join(METHODS)}.")
    percentiles = [method for method in methods if method.startswith("percentile")]
    for method in [method for method in methods if method not in percentiles] + percentiles[:1]:
        with _calibrator(model, method, target) as calibrator, contextlib.redirect_stdout(io.StringIO()):
            name = calibrator.model.graph.input[0].name
            at_once = max(1, _CALIBRATION_VALUES // int(np.prod(tiles.shape[1:])))
            for part in _in_equal_parts(tiles, at_once):
                calibrator.collect_data(_Reader(name, part))
            for shared in percentiles if method in percentiles else [method]:
                if shared in percentiles:
                    calibrator.collector.percentile = float(shared.partition("-")[2])
                yield shared, calibrator.compute_data()


@contextlib.contextmanager
def _calibrator(model: bytes, method: str, target: Target) -> Iterator[Any]:
    import_onnxruntime()
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    kind, _, percentile = method.partition("-")
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "minmax": (CalibrationMethod.MinMax, {}),
        "entropy": (CalibrationMethod.Entropy, {"num_bins": 512}),
        "percentile": (CalibrationMethod.Percentile, {"num_bins": 2048, "percentile": float(percentile or 100)}),
    }
    with tempfile.TemporaryDirectory(prefix="subsolar-calibrate-") as folder:
        source = Path(folder, "source.onnx")
        source.write_bytes(model)
        yield create_calibrator(
            source,
            list(target.operators),
            augmented_model_path=str(Path(folder, "augmented.onnx")),
            calibrate_method=kinds[kind][0],
            extra_options={"symmetric": target.symmetric, **kinds[kind][1]},
        )


def insert_qdq(model: bytes, ranges: Any, target: Target, in_float: Sequence[str]) -> bytes:
    """The graph with Q and DQ around what is not in ``in_float``."""
    import onnx

    import_onnxruntime()
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    options: dict[str, Any] = {"ActivationSymmetric": target.symmetric, "WeightSymmetric": True}
    if target.symmetric:
        options |= {"QuantizeBias": False, "DedicatedQDQPair": True}
    quantizer = QDQQuantizer(
        onnx.load_from_string(model),
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8 if target.symmetric else QuantType.QUInt8,
        tensors_range=ranges,
        nodes_to_quantize=[],
        nodes_to_exclude=list(in_float),
        op_types_to_quantize=list(target.operators),
        extra_options=options,
    )
    quantizer.quantize_model()
    quantised = quantizer.model.model
    ordered = list(_in_order(quantised.graph))
    del quantised.graph.node[:]
    quantised.graph.node.extend(ordered)
    content: bytes = quantised.SerializeToString(deterministic=True)
    return content


def _in_order(graph: Any) -> Iterator[Any]:
    """The nodes such that each follows what it needs: the quantiser appends its own at the end."""
    made = {tensor.name for tensor in graph.initializer} | {entry.name for entry in graph.input} | {""}
    waiting = list(graph.node)
    while waiting:
        ready = [node for node in waiting if set(node.input) <= made]
        if not ready:
            raise ExportError(f"The quantised graph has a cycle at {waiting[0].name}. Report this network.")
        yield from ready
        made.update(output for node in ready for output in node.output)
        placed = {id(node) for node in ready}
        waiting = [node for node in waiting if id(node) not in placed]
