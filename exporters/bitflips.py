"""Single flipped bits in the weights of a loaded package: how many change an answer, and how many are caught.

Two guards stand one behind the other. A bit that flips on disk or on the way changes a hash, and the package does not
load. A bit that flips in memory, after the hash was checked, is for the golden tiles, which run on the weights as
loaded. This injects the second kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ExportError
from .onnx_cpu import inferrer
from .package import ModelPackage


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipReport:
    """Counts of injected flips. ``harmful``: those that change a top-1 of the witnesses, or stop the graph loading."""

    flips: int
    harmful: int
    harmful_caught: int
    golden_changed: int
    """Flips that change the top-1 of a golden tile."""
    golden_caught: int
    caught: int
    """All that the self-test refused, harmful or not."""

    @property
    def caught_of_harmful_frac(self) -> float:
        """Share of the harmful flips that the self-test refuses."""
        return self.harmful_caught / self.harmful if self.harmful else 1.0

    @property
    def caught_of_golden_frac(self) -> float:
        """The same for flips that change a golden top-1."""
        return self.golden_caught / self.golden_changed if self.golden_changed else 1.0


def inject_flips(
    package: ModelPackage,
    witnesses: NDArray[Any],
    *,
    flips: int = 1000,
    seed: int = 0,
    engine: str = "cpu",
    progress: Callable[[str], None] = lambda line: None,
) -> FlipReport:
    """Flip one bit of the weights at a time, load the graph as if the hash had been checked before, and run both sets.

    ``witnesses``: tiles other than the golden ones; a flip that changes the top-1 of any is harmful.
    """
    content = package.read_onnx(engine)
    golden = package.golden_for(engine)
    before = inferrer(content)(witnesses).argmax(1)
    counts = np.zeros(5, dtype=np.int64)
    for number, damaged in enumerate(_damaged(content, flips, seed), start=1):
        counts += _outcome(damaged, golden.tiles, golden.expected, golden.mismatch, witnesses, before)
        if number % 100 == 0:
            progress(f"{number} of {flips} flips: {counts[0]} harmful, {counts[1]} of them caught")
    harmful, harmful_caught, changed, changed_caught, caught = (int(count) for count in counts)
    return FlipReport(
        flips=flips,
        harmful=harmful,
        harmful_caught=harmful_caught,
        golden_changed=changed,
        golden_caught=changed_caught,
        caught=caught,
    )


def _outcome(
    damaged: bytes,
    tiles: NDArray[Any],
    expected: NDArray[np.float32],
    mismatch: Callable[[NDArray[np.float32]], str | None],
    witnesses: NDArray[Any],
    before: NDArray[np.int64],
) -> NDArray[np.int64]:
    try:
        infer = inferrer(damaged)
        answers, witnessed = infer(tiles), infer(witnesses)
    except ExportError:  # it does not even load
        return np.array([1, 1, 1, 1, 1], dtype=np.int64)
    caught = mismatch(answers) is not None
    with np.errstate(invalid="ignore"):
        changed = bool((answers.argmax(1) != expected.argmax(1)).any() or not np.isfinite(answers).all())
        harmful = bool((witnessed.argmax(1) != before).any() or not np.isfinite(witnessed).all())
    return np.array([harmful, harmful and caught, changed, changed and caught, caught], dtype=np.int64)


def _damaged(content: bytes, flips: int, seed: int) -> Iterator[bytes]:
    """The graph with one bit of its weights flipped, each bit as likely as the other."""
    import onnx

    rng = np.random.default_rng(seed)
    model = onnx.load_from_string(content)
    weights = [tensor for tensor in model.graph.initializer if len(tensor.raw_data) >= 256]
    if not weights:
        raise ExportError("The graph holds no weights to flip bits of. Give a package with a network.")
    share = np.array([len(tensor.raw_data) for tensor in weights], dtype=np.float64)
    for index in rng.choice(len(weights), size=flips, p=share / share.sum()):
        tensor = weights[int(index)]
        whole = tensor.raw_data
        damaged = bytearray(whole)
        damaged[int(rng.integers(len(damaged)))] ^= 1 << int(rng.integers(8))
        tensor.raw_data = bytes(damaged)
        yield model.SerializeToString()
        tensor.raw_data = whole
