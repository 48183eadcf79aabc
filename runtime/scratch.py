"""Memory that is used again: fresh pages cost more than the pixels that are copied into them."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .records import UInt8Array

_SAMPLE: list[UInt8Array] = [np.empty(1, dtype=np.uint8)]
_ALONE = sys.getrefcount(_SAMPLE[0])
"""References to an array that only its list holds."""


class Scratch:
    """Hands out arrays, and takes the memory of an earlier one as soon as nobody holds it or a view of it any more.

    Whoever keeps an array keeps it for good: there is nothing to give back. Holds at most ``most`` arrays.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: list[UInt8Array] = []

    def take(self, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """An array of that shape; its values are whatever they were."""
        kind = np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        for position in range(len(self._held)):
            if len(self._held[position]) >= size and sys.getrefcount(self._held[position]) == _ALONE:
                return self._held[position][:size].view(kind).reshape(shape)
        fresh: UInt8Array = np.empty(size, dtype=np.uint8)
        if len(self._held) == self._most:
            self._held.pop(0)
        self._held.append(fresh)
        return fresh.view(kind).reshape(shape)
