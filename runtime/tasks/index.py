"""The embeddings of a scene's tiles on disk, searched without loading them all.

``NAME.npy`` holds (n, dim) float16 unit vectors. ``NAME.jsonl`` says what they are: its first line the package, the
dimension, the count and the SHA-256 of the vectors, then a line a tile with ``id``, ``tile`` [row, col], ``edge_px``
and ``ring`` (longitude and latitude of its corners, or null), in the order of the vectors.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from exporters.file_hash import sha256_of

from ..cosines import cosines
from ..errors import StoreError
from ..pipeline.files import whole_path
from ..records import FloatArray

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class IndexedTile:
    """A tile of the index. ``ring_deg``: corners, None where its scene has no place."""

    tile_id: str
    row_px: int
    col_px: int
    edge_px: int
    ring_deg: tuple[tuple[float, float], ...] | None


@dataclass(frozen=True, slots=True)
class Hit:
    """A tile and how near it is to what was asked for: the cosine of the angle between the two."""

    tile: IndexedTile
    cosine: float


class IndexWriter:
    """Takes vectors as they come and keeps none of them."""

    def __init__(self, vectors: IO[bytes], tiles: IO[str]) -> None:
        self._vectors = vectors
        self._tiles = tiles
        self.count = 0

    def add(self, tile: IndexedTile, vector: FloatArray) -> None:
        """One tile."""
        self._vectors.write(vector.astype("<f2").tobytes())
        line = {
            "id": tile.tile_id,
            "tile": [tile.row_px, tile.col_px],
            "edge_px": tile.edge_px,
            "ring": None if tile.ring_deg is None else [[round(x, 7), round(y, 7)] for x, y in tile.ring_deg],
        }
        self._tiles.write(json.dumps(line) + "\n")
        self.count += 1


@contextmanager
def index_writer(target: Path, *, dim: int, package: str) -> Iterator[IndexWriter]:
    """A writer whose index is ``target`` (``NAME.npy``) and ``NAME.jsonl`` when the block ends well, else neither.

    The vectors appear last and carry the hash that the lines name, so that no reader takes halves of two runs for one.
    Raises ``StoreError``.
    """
    with (
        tempfile.TemporaryFile(dir=target.parent) as rows,
        tempfile.TemporaryFile("w+", dir=target.parent, encoding="utf-8") as body,
    ):
        writer = IndexWriter(rows, body)
        yield writer
        rows.seek(0)
        body.seek(0)
        with whole_path(target) as vectors, whole_path(target.with_suffix(".jsonl")) as lines:
            with vectors.open("wb") as file:
                table = {"descr": "<f2", "fortran_order": False, "shape": (writer.count, dim)}
                np.lib.format.write_array_header_1_0(file, table)
                shutil.copyfileobj(rows, file, 2**20)
            head = {"schema": SCHEMA, "package": package, "dim": dim, "tiles": writer.count}
            with lines.open("w", encoding="utf-8") as text:
                text.write(json.dumps({**head, "vectors_sha256": sha256_of(vectors)}) + "\n")
                shutil.copyfileobj(body, text, 2**20)


@dataclass(frozen=True, slots=True, eq=False)
class TileIndex:
    """An index that was written by ``index_writer``. ``vectors``: (n, dim) float16, left on disk."""

    package: str
    tiles: tuple[IndexedTile, ...]
    vectors: NDArray[np.float16]

    @classmethod
    def open(cls, path: Path) -> TileIndex:
        """Read ``NAME.npy`` and ``NAME.jsonl``. Raises ``StoreError`` where they are not a pair or are damaged."""
        try:
            with path.with_suffix(".jsonl").open(encoding="utf-8") as file:
                head = json.loads(file.readline())
                tiles = tuple(_tile(json.loads(line)) for line in file)
            vectors = np.load(path, mmap_mode="r", allow_pickle=False)
            sound = (head["tiles"], head["dim"]) == vectors.shape and len(tiles) == head["tiles"]
            if not sound or head["vectors_sha256"] != sha256_of(path):
                raise ValueError("its two files are not of one run")
            return cls(str(head["package"]), tiles, vectors)
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            raise StoreError(f"{path} is no index of tiles: {error}. Make it again with subsolar infer.") from error

    def best(self, query: FloatArray, count: int) -> list[Hit]:
        """The ``count`` tiles nearest to ``query``, (dim,), nearest first; ties in the order of the tiles.

        Raises ``StoreError`` for a query of another length or without direction.
        """
        length = float(np.linalg.norm(query))
        if query.shape != self.vectors.shape[1:] or not np.isfinite(length) or length == 0:
            raise StoreError(
                f"The query has shape {query.shape} and length {length:g}; this index holds unit vectors of "
                f"{self.vectors.shape[1]}. Embed it with {self.package}."
            )
        cosine = cosines(self.vectors, query)
        order = np.argsort(-cosine, kind="stable")[:count]
        return [Hit(self.tiles[at], float(cosine[at])) for at in order.tolist()]


def _tile(line: dict[str, Any]) -> IndexedTile:
    row, col = (int(value) for value in line["tile"])
    ring = line["ring"]
    places = None if ring is None else tuple((float(x), float(y)) for x, y in ring)
    return IndexedTile(str(line["id"]), row, col, int(line["edge_px"]), places)
