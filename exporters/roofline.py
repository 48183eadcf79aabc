"""How near a network runs to what the machine can do: measured peaks of arithmetic and memory, and the share reached.

The roofline (Williams et al., CACM 52(4), 2009): no computation of F operations over B bytes takes less than
max(F / peak FLOP/s, B / peak byte/s). Both peaks are our own probes: a large float32 matrix product, and the triad of
STREAM (McCalpin, 1995). B counts what cannot be avoided: weights once a batch, tiles in, answers out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Peaks:
    """Per second of the clock they were measured with."""

    flop_hz: float
    byte_hz: float


def measure_peaks(
    *, clock: Callable[[], float] = time.process_time, edge: int = 1024, values: int = 1 << 23, repeats: int = 5
) -> Peaks:
    """Best of some repeats of a matrix product (``edge`` cubed) and of a triad over three arrays of ``values``.

    With CPU seconds as the clock this is what one core does, whatever number of threads numpy takes.
    """
    left = np.linspace(-1.0, 1.0, edge * edge, dtype=np.float32).reshape(edge, edge)
    product_s = _fastest_s(lambda: left @ left, clock, repeats)
    a, b = np.ones(values, dtype=np.float32), np.ones(values, dtype=np.float32)
    out = np.zeros_like(a)

    def triad() -> None:
        np.multiply(b, np.float32(3.0), out=out)
        np.add(out, a, out=out)

    triad_s = _fastest_s(triad, clock, repeats)
    return Peaks(flop_hz=2.0 * edge**3 / product_s, byte_hz=5.0 * 4.0 * values / triad_s)


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
