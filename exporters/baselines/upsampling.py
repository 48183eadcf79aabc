"""Heights on a finer grid without learning: two cubic interpolations, and a ground filter.

Pixels are areas: those of the fine grid divide those of the coarse one, so their centres are half a pixel apart. Keys
is cubic convolution (IEEE TASSP 29(6), 1981), what image libraries call bicubic; the spline (Unser, IEEE Signal
Processing Magazine 16(6), 1999) is what scipy's ``zoom`` of order 3 does, and slightly sharper.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError

Float64Array = NDArray[np.float64]
KERNELS = ("keys", "spline")
_KEYS = -0.5
"""The parameter of Keys' kernel with which quadratic surfaces come out exactly."""


def cubic(coarse: NDArray[np.floating[Any]], factor: int, *, kernel: str = "keys") -> Float64Array:
    """(rows, cols) to (rows x factor, cols x factor); the border is repeated outwards.

    >>> cubic(np.arange(5.0).reshape(1, 5), 2)[0, 4:6]
    array([1.75, 2.25])
    """
    if kernel not in KERNELS:
        raise DatasetError(f"There is no kernel {kernel!r}. Use one of {', '.join(KERNELS)}.")
    down, across = (_table(size, factor, kernel) for size in coarse.shape)
    fine: Float64Array = down @ coarse.astype(np.float64) @ across.T
    return fine


def opened(heights: NDArray[np.floating[Any]], window_px: int) -> Float64Array:
    """Grey opening: what stands out of the ground and is narrower than the window, an odd number of px, is cut off.

    The classical way from surface to terrain (Zhang et al., IEEE TGRS 41(4), 2003), with one window.
    """
    low = _extreme(heights.astype(np.float64), window_px, np.min)
    return _extreme(low, window_px, np.max)


def _table(size: int, factor: int, kernel: str) -> Float64Array:
    """(size x factor, size): what each coarse value adds to each fine one."""
    fine = (np.arange(size * factor) + 0.5) / factor - 0.5
    if kernel == "keys":
        return _weights(fine, size, _keys)
    whole = _weights(np.arange(size, dtype=np.float64), size, _b_spline)
    table: Float64Array = np.linalg.solve(whole.T, _weights(fine, size, _b_spline).T).T
    return table


def _weights(places: Float64Array, size: int, kernel: Callable[[Float64Array], Float64Array]) -> Float64Array:
    first = np.floor(places).astype(np.int64)
    table = np.zeros((len(places), size))
    for step in range(-1, 3):
        at = np.clip(first + step, 0, size - 1)
        np.add.at(table, (np.arange(len(places)), at), kernel(np.abs(places - first - step)))
    return table


def _keys(x: Float64Array) -> Float64Array:
    near = (_KEYS + 2) * x**3 - (_KEYS + 3) * x**2 + 1
    far = _KEYS * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _b_spline(x: Float64Array) -> Float64Array:
    return np.where(x <= 1, 2 / 3 - x**2 + x**3 / 2, np.where(x < 2, (2 - x) ** 3 / 6, 0.0))


def _extreme(values: Float64Array, window_px: int, choose: Callable[..., Any]) -> Float64Array:
    from numpy.lib.stride_tricks import sliding_window_view

    half = window_px // 2
    for axis in (0, 1):
        pad = [(half, half) if axis == here else (0, 0) for here in (0, 1)]
        windows = sliding_window_view(np.pad(values, pad, mode="edge"), 2 * half + 1, axis=axis)
        values = choose(windows, axis=-1)
    return values
