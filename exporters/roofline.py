"""How near a network runs to what the machine can do: measured peaks of arithmetic and memory, and the share reached.

The roofline (Williams et al., CACM 52(4), 2009): no computation of F operations over B bytes takes less than
max(F / peak FLOP/s, B / peak byte/s). Both peaks are our own probes: a large float32 matrix product, and the triad of
STREAM (McCalpin, 1995). B counts what cannot be avoided: weights once a batch, tiles in, answers out.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .onnx_cpu import open_session

_PRODUCT = base64.b64decode(
    "CAg6kAEKLwoBcxIBYiIPQ29uc3RhbnRPZlNoYXBlKhYKBXZhbHVlKgoIARABSgQAAAA/oAEEChEKAWEKAWISAWMiBk1hdE11bBIB"
    "ZyoZCAIQB0IBc0oQAAQAAAAAAAAABAAAAAAAAFoVCgFhEhAKDggBEgoKAxIBbQoDCIAIYhUKAWMSEAoOCAESCgoDEgFtCgMIgAhC"
    "BAoAEBI="
)
"""An ONNX graph: (m, 1024) float32 times a constant (1024, 1024); spelled out, because a board has no ``onnx``."""


@dataclass(frozen=True, slots=True)
class Peaks:
    """Per second of the clock they were measured with."""

    flop_hz: float
    byte_hz: float


def measure_peaks(
    *, clock: Callable[[], float] = time.process_time, rows: int = 1024, values: int = 1 << 23, repeats: int = 5
) -> Peaks:
    """Best of some repeats of a matrix product of ``rows`` x 1024 x 1024 and of a triad over three arrays.

    Both run on one thread. The product runs in ONNX Runtime, as the networks do: what another BLAS reaches on this
    processor is no ceiling for it.
    """
    session = open_session(_PRODUCT)
    left = np.linspace(-1.0, 1.0, rows * 1024, dtype=np.float32).reshape(rows, 1024)
    product_s = _fastest_s(lambda: session.run(None, {"a": left}), clock, repeats)
    a, b = np.ones(values, dtype=np.float32), np.ones(values, dtype=np.float32)
    out = np.zeros_like(a)

    def triad() -> None:
        np.multiply(b, np.float32(3.0), out=out)
        np.add(out, a, out=out)

    triad_s = _fastest_s(triad, clock, repeats)
    return Peaks(flop_hz=2.0 * rows * 1024**2 / product_s, byte_hz=5.0 * 4.0 * values / triad_s)


def roofline_frac(*, peaks: Peaks, tile_s: float, batch: int, flop: float, weights_byte: int, tile_byte: int) -> float:
    """Least time the roofline allows for a tile, divided by the time it took.

    ``flop`` is per tile, ``weights_byte`` per batch, ``tile_byte`` (in and out) per tile.

    >>> roofline_frac(peaks=Peaks(1e9, 1e9), tile_s=0.004, batch=1, flop=2e6, weights_byte=0, tile_byte=0)
    0.5
    """
    least_s = max(flop / peaks.flop_hz, (weights_byte / batch + tile_byte) / peaks.byte_hz)
    return least_s / tile_s


def _fastest_s(work: Callable[[], object], clock: Callable[[], float], repeats: int) -> float:
    work()
    best = float("inf")
    for _ in range(repeats):
        begin_s = clock()
        work()
        best = min(best, clock() - begin_s)
    return max(best, 1e-9)
