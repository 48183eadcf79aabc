"""Which frames wait and how far each is worked off, kept through power cuts.

A slot's progress is *claimed* here before the product store commits the slot, and *applied* once it has. After a crash
the store decides: a claim whose slot it holds is applied, any other is dropped, so that no tile is lost or done twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..store.database import explain, open_database, transaction

APPLICATION_ID = 0x53554246  # "SUBF"
MIGRATIONS = (
    """
CREATE TABLE frames (
    sha256 TEXT PRIMARY KEY, frame_id TEXT NOT NULL UNIQUE, file TEXT NOT NULL, cover TEXT NOT NULL,
    captured_unix_s REAL, width_px INTEGER NOT NULL, height_px INTEGER NOT NULL, tile INTEGER NOT NULL,
    ended_tile INTEGER NOT NULL, arrived INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE seen (sha256 TEXT PRIMARY KEY, number INTEGER NOT NULL, ended TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE claims (sha256 TEXT PRIMARY KEY, slot INTEGER NOT NULL, tile INTEGER NOT NULL) STRICT, WITHOUT ROWID;
""",
    "ALTER TABLE frames ADD COLUMN overlap_px INTEGER NOT NULL DEFAULT 0;\n",
)
SEEN_MAX = 200_000
"""Hashes of finished frames that are remembered, to know a frame that comes again."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One frame with tiles left. ``arrived``: a number that grows with each frame."""

    sha256: str
    frame_id: str
    file: str
    cover: str
    captured_unix_s: float | None
    width_px: int
    height_px: int
    tile: int
    ended_tile: int
    arrived: int
    overlap_px: int = 0
    """Of neighbouring tiles: how this frame is cut, whatever the mission says by now."""

    @property
    def left_tile(self) -> int:
        """Tiles that have not ended."""
        return self.tile - self.ended_tile


class Ledger:
    """The queue of frames in one SQLite file. Raises ``StoreError`` where the file or the disk refuses."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = open_database(path, APPLICATION_ID, MIGRATIONS)
        self._left_tile = self._claimed_tile = 0
        self._claimed_slot = -1

    def close(self) -> None:
        """Release the file."""
        self._db.close()

    def recover(self, last_slot: int) -> None:
        """Settle the claims that a crash left open: slots up to ``last_slot`` are in the product store."""
        self.apply(last_slot)
        with self._writing():
            self._db.execute("DELETE FROM claims")

    def knows(self, sha256: str) -> bool:
        """Tell whether a frame of this content waits or has ended."""
        sql = "SELECT 1 FROM frames WHERE sha256 = ? UNION SELECT 1 FROM seen WHERE sha256 = ?"
        return bool(self._rows(sql, sha256, sha256))

    def add(self, frame: Waiting) -> None:
        """Take on a frame."""
        row = (
            *(frame.sha256, frame.frame_id, frame.file, frame.cover, frame.captured_unix_s),
            *(frame.width_px, frame.height_px, frame.tile, frame.ended_tile, self._next(), frame.overlap_px),
        )
        with self._writing():
            self._db.execute("INSERT INTO frames VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def refuse(self, sha256: str, reason: str) -> None:
        """Remember a frame that cannot be used, so that it is refused once."""
        with self._writing():
            self._remember(sha256, f"refused: {reason}"[:200])

    def waiting(self) -> list[Waiting]:
        """Return all frames with tiles left, the oldest first."""
        frames = [Waiting(*row) for row in self._rows("SELECT * FROM frames ORDER BY arrived")]
        self._left_tile = sum(frame.left_tile for frame in frames)
        return frames

    def left_tile(self, next_slot: int) -> int:
        """Return how many tiles wait once the slots before ``next_slot`` are kept; asks no disk, which may refuse."""
        return self._left_tile - (self._claimed_tile if self._claimed_slot < next_slot else 0)

    def recut(self, sha256: str, tile: int) -> None:
        """Begin a frame anew that is cut into another number of tiles than before."""
        with self._writing():
            self._db.execute("UPDATE frames SET tile = ?, ended_tile = 0 WHERE sha256 = ?", (tile, sha256))

    def claim(self, slot: int, ended: Iterable[tuple[str, int]]) -> None:
        """Note durably how many tiles of each frame (by hash) end in ``slot``."""
        rows = [(name, slot, tile) for name, tile in ended]
        with self._writing():
            self._db.execute("DELETE FROM claims")
            self._db.executemany("INSERT INTO claims VALUES (?, ?, ?)", rows)
        self._claimed_slot, self._claimed_tile = slot, sum(tile for _, _, tile in rows)

    def apply(self, slot: int) -> list[str]:
        """Make the claims of slots up to ``slot`` true; return the files of the frames that have ended."""
        with self._writing():
            self._db.execute(
                "UPDATE frames SET ended_tile = min(tile, ended_tile + (SELECT tile FROM claims c WHERE "
                "c.sha256 = frames.sha256)) WHERE sha256 IN (SELECT sha256 FROM claims WHERE slot <= ?)",
                (slot,),
            )
            self._db.execute("DELETE FROM claims WHERE slot <= ?", (slot,))
            over = self._db.execute("SELECT sha256, file FROM frames WHERE ended_tile >= tile").fetchall()
            for sha256, _ in over:
                self._remember(sha256, "done")
            self._db.execute("DELETE FROM frames WHERE ended_tile >= tile")
        self._claimed_tile = 0  # those of a slot that was not kept are made anew with it
        return [str(file) for _, file in over]

    def _remember(self, sha256: str, ended: str) -> None:
        number = self._next()
        self._db.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", (sha256, number, ended))
        self._db.execute("DELETE FROM seen WHERE number <= ?", (number - SEEN_MAX,))

    def _next(self) -> int:
        highest = "max(coalesce((SELECT max(number) FROM seen), 0), coalesce((SELECT max(arrived) FROM frames), 0))"
        sql = f"SELECT 1 + {highest}"
        return int(self._rows(sql)[0][0])

    def _writing(self) -> AbstractContextManager[None]:
        return transaction(self.path, self._db, "ledger.claim.before_fsync", "ledger.claim.after_fsync")

    def _rows(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(sql, arguments).fetchall()
        except sqlite3.Error as error:
            raise explain(self.path, error) from error
