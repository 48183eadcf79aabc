"""The embeddings of the tiles that a mission has seen: bounded, on disk, searched within milliseconds.

A folder holds ``index.json`` (which network, how long the vectors, how many tiles at most), ``vectors.f16`` and
``tiles.bin``: fixed rows, of which the oldest is overwritten once all are taken. A row counts only if its checksum
fits, so that one that a power cut tore is simply not there. One writer; readers open the folder again.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cosines import cosines
from .durable import write_whole
from .errors import StoreError
from .records import FloatArray, Footprint, TileRef

SCHEMA = 1
MOST_TILES = 1_000_000
FRAME_BYTE = 120
"""Longest name of a frame, as UTF-8."""
_ROW = np.dtype(
    [
        ("number", "<u8"), ("sum", "<u4"), ("frame", f"S{FRAME_BYTE}"), ("row_px", "<i4"), ("col_px", "<i4"),
        ("edge_px", "<i4"), ("longitude_deg", "<f4"), ("latitude_deg", "<f4"), ("captured_unix_s", "<f8"),
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hit:
    """A tile and how near it is to what was asked for: the cosine of the angle between the two, -1 to 1."""

    ref: TileRef
    cosine: float
    captured_unix_s: float
    longitude_deg: float
    """Of the tile's middle; NaN where its frame has no place, as the latitude."""
    latitude_deg: float


@dataclass(frozen=True, slots=True)
class _Head:
    schema: int
    network: str
    dim: int
    capacity: int


class TextIndex:
    """See the module. ``network``: what made the vectors, id and hash of its package; others cannot be compared."""

    def __init__(self, folder: Path, head: _Head, vectors: Any, rows: Any) -> None:
        self.folder, self.network, self.dim, self.capacity = folder, head.network, head.dim, head.capacity
        self._vectors, self._rows = vectors, rows
        numbers = rows["number"].copy()
        for place in np.flatnonzero(numbers):
            if _sum(rows[place], vectors[place]) != rows["sum"][place]:
                numbers[place] = 0
        self._numbers: NDArray[np.uint64] = numbers
        self._next = int(numbers.max(initial=0)) + 1

    @classmethod
    def open(cls, folder: Path, *, network: str, dim: int, capacity: int = 100_000) -> TextIndex:
        """The index in ``folder``, made where there is none. Raises ``StoreError`` if it is of another network."""
        if not 0 < capacity <= MOST_TILES or dim < 1:
            raise StoreError(f"An index of {capacity} tiles of {dim} values cannot be kept. Use 1 to {MOST_TILES}.")
        try:
            head = _Head(SCHEMA, network, dim, capacity)
            path = folder / "index.json"
            if not path.is_file():
                folder.mkdir(parents=True, exist_ok=True)
                for name, size_byte in (("vectors.f16", 2 * dim), ("tiles.bin", _ROW.itemsize)):
                    with (folder / name).open("wb") as file:
                        file.truncate(size_byte * capacity)
                write_whole(path, json.dumps(asdict(head)))
            return cls._opened(folder, path, head, "r+")
        except OSError as error:
            raise StoreError(
                f"The index in {folder} cannot be kept: {error}. Free space or give another folder."
            ) from error

    @classmethod
    def read(cls, folder: Path) -> TextIndex:
        """The index in ``folder``, to be searched alone. Raises ``StoreError``."""
        try:
            return cls._opened(folder, folder / "index.json", None, "r")
        except OSError as error:
            raise StoreError(
                f"There is no index in {folder}: {error}. Make one with subsolar query --index."
            ) from error

    @classmethod
    def _opened(cls, folder: Path, path: Path, wanted: _Head | None, mode: Any) -> TextIndex:
        try:
            head = _Head(**json.loads(path.read_text(encoding="utf-8")))
            if head.schema != SCHEMA:
                raise ValueError(f"schema {head.schema}, expected {SCHEMA}")
            vectors = np.memmap(folder / "vectors.f16", "<f2", mode, shape=(head.capacity, head.dim))
            rows = np.memmap(folder / "tiles.bin", _ROW, mode, shape=(head.capacity,))
        except (ValueError, TypeError) as error:
            raise StoreError(f"{path} is no index of tiles: {error}. Remove the folder; it fills again.") from error
        if wanted is not None and (head.network, head.dim) != (wanted.network, wanted.dim):
            raise StoreError(
                f"The index in {folder} was made by {head.network} ({head.dim} values), not by {wanted.network} "
                f"({wanted.dim}). Vectors of two networks cannot be compared: remove the folder or give another one."
            )
        return cls(folder, head, vectors, rows)

    def __len__(self) -> int:
        return int(np.count_nonzero(self._numbers))

    def add(
        self,
        refs: Sequence[TileRef],
        vectors: FloatArray,
        *,
        captured_unix_s: float,
        footprints: Sequence[Footprint | None] | None = None,
    ) -> None:
        """Keep (n, dim) unit vectors of ``refs``, the oldest tiles making room. Safe on disk after ``flush``."""
        if vectors.shape != (len(refs), self.dim) or not np.isfinite(vectors).all():
            raise StoreError(f"{len(refs)} tiles came with vectors {vectors.shape}; finite (n, {self.dim}) are needed.")
        for at, ref in enumerate(refs):
            name = ref.frame_id.encode()
            if len(name) > FRAME_BYTE:
                raise StoreError(f"The frame's name {ref.frame_id!r:.60} has more than {FRAME_BYTE} bytes. Rename it.")
            place = (self._next - 1) % self.capacity
            longitude_deg, latitude_deg = _middle(None if footprints is None else footprints[at])
            self._vectors[place] = vectors[at]
            self._rows[place] = (
                self._next, 0, name, ref.row_px, ref.col_px, ref.edge_px, longitude_deg, latitude_deg, captured_unix_s
            )  # fmt: skip
            self._rows["sum"][place] = _sum(self._rows[place], self._vectors[place])
            self._numbers[place] = self._next
            self._next += 1

    def flush(self) -> None:
        """Have what was added written to disk; once a slot."""
        self._vectors.flush()
        self._rows.flush()

    def cosines(self, query: FloatArray) -> FloatArray:
        """(capacity,): of each row with ``query`` (dim,); rows that hold no tile mean nothing."""
        length = float(np.linalg.norm(query))
        if query.shape != (self.dim,) or not np.isfinite(length) or length == 0.0:
            raise StoreError(
                f"The query has shape {query.shape} and length {length:g}; give ({self.dim},) with a length."
            )
        return cosines(self._vectors, query)

    def middle(self, query: FloatArray) -> float:
        """The median cosine of all tiles with ``query`` (dim,); 0 where there are none."""
        held = self.cosines(query)[self._numbers > 0]
        return float(np.median(held)) if len(held) else 0.0

    def search(self, query: FloatArray, count: int, *, frame_id: str = "") -> list[Hit]:
        """The ``count`` tiles nearest to ``query`` (dim,), of one frame if named; nearest first, then newest."""
        wanted = self._numbers > 0
        if frame_id:
            wanted &= self._rows["frame"] == frame_id.encode()
        near_by = np.where(wanted, self.cosines(query), np.float32(-np.inf))
        count = min(count, int(np.count_nonzero(wanted)))
        if count < 1:
            return []
        near = np.flatnonzero(near_by >= np.partition(near_by, -count)[-count])
        order = near[np.lexsort((-self._numbers[near].astype(np.int64), -near_by[near]))][:count]
        return [self._hit(int(place), float(near_by[place])) for place in order]

    def newest(self, count: int, *, frame_id: str = "") -> tuple[list[Hit], FloatArray]:
        """The ``count`` tiles that came last, of one frame if named, newest first, with their vectors (n, dim).

        Nothing was asked, so their cosine is 0.
        """
        wanted = self._numbers > 0
        if frame_id:
            wanted &= self._rows["frame"] == frame_id.encode()
        places = np.flatnonzero(wanted)
        places = places[np.argsort(-self._numbers[places].astype(np.int64))][:count]
        vectors = np.asarray(self._vectors[places], dtype=np.float32)
        return [self._hit(int(place), 0.0) for place in places], vectors

    def _hit(self, place: int, cosine: float) -> Hit:
        row = self._rows[place]
        ref = TileRef(row["frame"].decode(), int(row["row_px"]), int(row["col_px"]), int(row["edge_px"]))
        return Hit(ref, cosine, float(row["captured_unix_s"]), float(row["longitude_deg"]), float(row["latitude_deg"]))


def _sum(row: Any, vector: NDArray[np.float16]) -> int:
    bare = row.copy()
    bare["sum"] = 0
    return zlib.crc32(bare.tobytes(), zlib.crc32(vector.tobytes()))


def _middle(place: Footprint | None) -> tuple[float, float]:
    if place is None:
        return float("nan"), float("nan")
    longitude_deg, latitude_deg = np.mean(place.ring_deg[:-1], axis=0).tolist()
    return longitude_deg, latitude_deg
