"""The graphs of one package: what each engine gets, made from one float graph, each proven against it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import graph
from .damage import scale_of
from .datasets import Chips
from .diverge import first_divergence
from .errors import ExportError
from .int8_gate import Judge, lost, restated, told
from .measure import accuracy_of, is_labelled
from .onnx_cpu import batch_for, inferrer, version
from .prove import MAX_DROP, QUANTISED, ROUNDED_WEIGHTS, Bar, prove
from .quantise import METHODS, quantise
from .records import Accuracy, PackageInfo, Proof, Quantisation
from .tiles import Tiles

TENSORRT = "tensorrt"
_DIVERGED_RELATIVE = {"int8": 0.25, "fp16": 0.02}
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """``main`` is ``model.onnx``; ``variant`` is for TensorRT, None where ``main`` serves it too."""

    main: bytes
    accuracy: Accuracy
    variant: bytes | None
    variant_accuracy: Accuracy | None
    proofs: tuple[Proof, ...]
    how: tuple[Quantisation, ...]
    notes: tuple[str, ...] = ()
    """For the profile: what INT8 was measured to cost."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Request:
    """What is asked of a float graph."""

    info: PackageInfo
    precision: str
    targets: tuple[str, ...]
    min_tiles: int
    calibration_tiles: int
    max_damage: float
    methods: tuple[str, ...] = METHODS
    stated: Accuracy | None = None
    """Of the float graph, where it was measured elsewhere."""
    judge: Judge | None = None
    """Figures of a graph on the course's test data, where the tiles themselves have no labels."""


def make_graphs(
    model: bytes,
    request: Request,
    test: Chips | Tiles,
    calibration: Chips | Tiles | None,
    progress: Progress = lambda line: None,
) -> Made:
    """Make and prove what ``request`` asks for; ExportError where INT8 loses more than one point of accuracy."""
    batch = min(batch_for(test.pixels.shape), request.info.input.max_batch)
    answers = inferrer(model, batch=batch)(test.pixels)
    accuracy = request.stated or accuracy_of(answers, answers, test, request.info)
    maker = _Maker(model, request, test, answers, accuracy, batch, progress)
    if request.precision == "int8":
        return maker.int8(calibration)
    if TENSORRT not in request.targets or request.precision == "fp32":
        return Made(model, accuracy, None, None, (), ())
    return maker.half()


@dataclass(frozen=True, slots=True)
class _Proven:
    proof: Proof
    accuracy: Accuracy
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Maker:
    model: bytes
    request: Request
    test: Chips | Tiles
    answers: NDArray[np.float32]
    accuracy: Accuracy
    batch: int
    progress: Progress

    def int8(self, calibration: Chips | Tiles | None) -> Made:
        if calibration is None:
            raise ExportError("INT8 takes its ranges from real tiles. Give calibration tiles, or another precision.")
        ranges, choosing = self._split(calibration)
        kind = self.request.info.output.kind
        made = [
            quantise(
                self.model,
                ranges,
                choosing,
                target=target,
                kind=kind,
                methods=self.request.methods,
                max_damage=self.request.max_damage * scale_of(self.answers, kind),
                progress=self.progress,
            )
            for target in ("cpu", TENSORRT)
        ]
        graphs = [_named(self.model, one.content) for one in made]
        before = None if self.request.judge is None else self.request.judge(inferrer(self.model, batch=self.batch))
        found = [
            self._proven(content, f"int8 for {one.how.target}", "int8", before)
            for content, one in zip(graphs, made, strict=True)
        ]
        return Made(
            graphs[0],
            found[0].accuracy,
            graphs[1],
            found[1].accuracy,
            tuple(one.proof for one in found),
            tuple(m.how for m in made),
            tuple(note for one in found for note in one.notes),
        )

    def half(self) -> Made:
        import onnx

        content = graph.serialise(graph.in_half(onnx.load_from_string(graph.float32_weights(self.model))))
        proven = self._proven(content, "fp16 for tensorrt", "fp16")
        return Made(self.model, self.accuracy, content, proven.accuracy, (proven.proof,), ())

    def _split(self, calibration: Chips | Tiles) -> tuple[NDArray[Any], NDArray[Any]]:
        if calibration.pixels.shape[1:] != self.test.pixels.shape[1:]:
            raise ExportError(
                f"The calibration tiles are {calibration.pixels.shape[1:]}, the network takes "
                f"{self.test.pixels.shape[1:]}. Calibrate with tiles of its own bands and size."
            )
        order = np.random.default_rng(0).permutation(len(calibration))
        count = min(self.request.calibration_tiles, len(order) // 2)
        return calibration.pixels[order[:count]], calibration.pixels[order[count : 2 * count]]

    def _proven(self, content: bytes, name: str, precision: str, before: Mapping[str, float] | None = None) -> _Proven:
        """``before``: the float graph's figures on the course's test data, which then decide."""
        info, bar = self.request.info, QUANTISED if precision == "int8" else ROUNDED_WEIGHTS
        answers = inferrer(content, batch=self.batch)(self.test.pixels)
        source, target = f"onnxruntime {version()} cpu", f"{name}, onnxruntime {version()} cpu"
        accuracy = accuracy_of(answers, self.answers, self.test, info)
        drop = self.accuracy.value - accuracy.value
        notes: tuple[str, ...] = ()
        if before is not None and self.request.judge is not None:
            after = self.request.judge(inferrer(content, batch=self.batch))
            if over := lost(before, after):
                refused = self._refused(content, precision)
                raise ExportError(f"{name} loses too much on the test data: {over}. {refused}")
            accuracy = accuracy if self.request.stated is None else restated(self.accuracy, after)
            notes = (told(before, after, name),)
        elif precision == "fp16" and self.request.stated is not None:
            accuracy = self.request.stated  # the bar on its answers is what guards it
        elif drop > MAX_DROP + 1e-9 and self._is_gated(info):
            raise ExportError(
                f"{name} loses {100 * drop:.1f} points of {accuracy.metric} ({100 * self.accuracy.value:.1f} to "
                f"{100 * accuracy.value:.1f} %), {100 * MAX_DROP:g} is allowed. {self._refused(content, precision)}"
            )
        return _Proven(self._compare(answers, content, (source, target), bar, precision), accuracy, notes)

    def _refused(self, content: bytes, precision: str) -> str:
        where = self._where(content, precision)
        return f"{where} Give more calibration tiles, or export fp16. Nothing was written."

    def _is_gated(self, info: PackageInfo) -> bool:
        """Whether a drop of accuracy decides: with labels, or classes; else the bar of the kind does."""
        return is_labelled(self.test, info) or (info.output.kind == "probabilities" and self.request.stated is None)

    def _compare(
        self, answers: NDArray[np.float32], content: bytes, names: tuple[str, str], bar: Bar, precision: str
    ) -> Proof:
        request = self.request
        try:
            return prove(
                self.answers, answers, names=names, bar=bar, min_tiles=request.min_tiles, kind=request.info.output.kind
            )
        except ExportError as error:
            raise ExportError(f"{error} {self._where(content, precision)}") from error

    def _where(self, content: bytes, precision: str) -> str:
        threshold = _DIVERGED_RELATIVE[precision]
        found = first_divergence(self.model, content, self.test.pixels[: min(4, self.batch)], relative=threshold)
        if found is None:
            return f"No layer alone is off by more than {100 * threshold:g} %."
        share = f"{100 * found.relative:.0f} % of its range"
        return f"The first layer to part is {found.layer} ({found.operator}), by {share}."


def _named(source: bytes, content: bytes) -> bytes:
    """The quantised graph under the source's name and properties, checked."""
    import onnx

    properties = {entry.key: entry.value for entry in onnx.load_from_string(source).metadata_props}
    model = onnx.load_from_string(content)
    del model.graph.value_info[:]
    return graph.serialise(graph.with_metadata(model, {**properties, "precision": "int8"}))
