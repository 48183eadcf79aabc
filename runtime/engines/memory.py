"""How much memory loaded packages may take together, refused before it is taken."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from exporters.package import ModelPackage

from ..errors import EngineError

_WEIGHT_COPIES = 4
"""ONNX Runtime holds 2 to 4 times the fp32 weights after loading: file, graph, packed kernels (measured, ResNet-18)."""
_ACTIVATION_COPIES = 16
"""Of a tile as float32: what a pass through the pool's networks took per tile of a batch, at most."""
_DENSE_COPIES = 64
"""The same of a network that works at the full size of its tiles to answer a picture (the dehazer: some 20)."""
DENSE_KINDS = ("image", "mask", "map")
_FIXED_BYTE = 8 * 2**20


def expected_byte(package: ModelPackage, batch: int) -> int:
    """An upper estimate of what a loaded package takes, from its parameters and the batch it is to run.

    Holds for the networks that ship on the CPU provider; others are measured once loaded (``MemoryBudget.correct``).
    """
    info = package.info
    tile_byte = len(info.bands) * info.input.tile_edge_px**2 * 4
    copies = _DENSE_COPIES if info.output.kind in DENSE_KINDS else _ACTIVATION_COPIES
    return _FIXED_BYTE + _WEIGHT_COPIES * 4 * info.params + copies * batch * tile_byte


@dataclass
class MemoryBudget:
    """Bytes that engines may hold together."""

    limit_byte: int
    _held: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def held_byte(self) -> int:
        """What is given out."""
        with self._lock:
            return sum(self._held.values())

    def take(self, name: str, size_byte: int) -> None:
        """Give ``size_byte`` to ``name``. Raises ``EngineError``, and gives nothing, if that exceeds the limit."""
        with self._lock:
            others = sum(size for other, size in self._held.items() if other != name)
            if others + size_byte > self.limit_byte:
                held = ", ".join(f"{other} {size / 2**20:.0f} MiB" for other, size in sorted(self._held.items()))
                raise EngineError(
                    f"{name} needs {size_byte / 2**20:.0f} MiB, but {(self.limit_byte - others) / 2**20:.0f} of "
                    f"{self.limit_byte / 2**20:.0f} MiB are left (held: {held or 'nothing'}). "
                    "Unload a package, lower the batch or raise the limit."
                )
            self._held[name] = size_byte

    def correct(self, name: str, size_byte: int) -> None:
        """Replace an estimate by what was measured. Raises ``EngineError`` if that is too much: unload it."""
        self.take(name, size_byte)

    def give_back(self, name: str) -> None:
        """``name`` holds nothing any more."""
        with self._lock:
            self._held.pop(name, None)

    def keep_only(self, names: Iterable[str]) -> None:
        """All but ``names`` hold nothing any more."""
        with self._lock:
            self._held = {name: size for name, size in self._held.items() if name in set(names)}

    @contextmanager
    def taking(self, name: str, size_byte: int) -> Iterator[None]:
        """Take while loading; given back if the block fails."""
        self.take(name, size_byte)
        try:
            yield
        except BaseException:
            self.give_back(name)
            raise


def machine_limit_byte(share_frac: float = 0.5) -> int:
    """What engines may take of this machine's memory where nobody says."""
    return int(share_frac * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def return_freed() -> None:
    """Give back to the system what was freed. By itself the C library keeps what a graph took while it was prepared.

    That was three times the graph's size, as measured; a C library without ``malloc_trim`` keeps it.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def resident_byte() -> int:
    """Resident memory of this process (Linux ``/proc/self/statm``)."""
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
