"""What both sides of file transfers remember over a reboot, in one SQLite file."""

from __future__ import annotations

import json
import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..store.database import explain, open_database, transaction
from .pdus import TransactionId

APPLICATION_ID = 0x53554246  # "SUBF"
KEPT_FINISHED = 10_000

MIGRATIONS = (
    """
CREATE TABLE senders (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, destination INTEGER NOT NULL,
    path TEXT NOT NULL, dest_name TEXT NOT NULL, size_byte INTEGER NOT NULL, checksum INTEGER NOT NULL,
    rank REAL NOT NULL, phase TEXT NOT NULL, verdict INTEGER NOT NULL
) STRICT;
CREATE TABLE receivers (
    source INTEGER, sequence INTEGER, header TEXT NOT NULL, state TEXT NOT NULL, phase TEXT NOT NULL,
    PRIMARY KEY (source, sequence)
) STRICT, WITHOUT ROWID;
""",
    """
ALTER TABLE senders ADD COLUMN acknowledged INTEGER NOT NULL DEFAULT 1 CHECK (acknowledged IN (0, 1));
""",
)


@dataclass(frozen=True, slots=True)
class SenderRow:
    """A file that is being sent, or was."""

    sequence: int
    destination: int
    path: str
    dest_name: str
    size_byte: int
    checksum: int
    rank: float
    phase: str
    verdict: int
    acknowledged: int = 1
    """0 for class 1."""


class TransactionLog:
    """Senders and receivers by transaction. Every method raises StoreError where the file cannot be used."""

    def __init__(self, path: Path, *, first: int | None = None) -> None:
        """Open or make it. A new one counts transactions from ``first``, by chance where it is None.

        By chance, because a receiver remembers numbers: those of a log that was lost must not come again.
        """
        self.path = path
        self._db = open_database(path, APPLICATION_ID, MIGRATIONS)
        if not self._read("SELECT 1 FROM sqlite_sequence WHERE name = 'senders'"):
            before = secrets.randbelow(2**31) if first is None else first - 1
            with transaction(self.path, self._db, "cfdp.log.before_fsync", "cfdp.log.after_fsync"):
                self._db.execute("INSERT INTO sqlite_sequence VALUES ('senders', ?)", (before,))

    def add_sender(
        self,
        destination: int,
        path: str,
        dest_name: str,
        size_byte: int,
        checksum: int,
        rank: float,
        *,
        acknowledged: bool = True,
    ) -> int:
        """Note a new file durably; return its transaction number, which is never used twice."""
        with transaction(self.path, self._db, "cfdp.log.before_fsync", "cfdp.log.after_fsync"):
            row = (destination, path, dest_name, size_byte, checksum, rank, acknowledged)
            number = self._db.execute(
                "INSERT INTO senders (destination, path, dest_name, size_byte, checksum, rank, acknowledged, phase, "
                "verdict) VALUES (?, ?, ?, ?, ?, ?, ?, 'active', 0)",
                row,
            ).lastrowid
        assert number is not None
        return number

    def close_sender(self, sequence: int, phase: str, verdict: int) -> None:
        """Note how a sender ended."""
        with transaction(self.path, self._db, "cfdp.log.before_fsync", "cfdp.log.after_fsync"):
            self._db.execute("UPDATE senders SET phase = ?, verdict = ? WHERE sequence = ?", (phase, verdict, sequence))
            self._db.execute(
                "DELETE FROM senders WHERE phase != 'active' AND sequence <= ?", (sequence - KEPT_FINISHED,)
            )

    def unacknowledge(self) -> None:
        """Make all open senders class 1."""
        with transaction(self.path, self._db, "cfdp.log.before_fsync", "cfdp.log.after_fsync"):
            self._db.execute("UPDATE senders SET acknowledged = 0 WHERE phase = 'active'")

    def senders(self, *, active: bool = True) -> tuple[SenderRow, ...]:
        """Senders in the order of their numbers."""
        query = "SELECT * FROM senders WHERE phase = 'active' OR NOT ? ORDER BY sequence"
        return tuple(SenderRow(*row) for row in self._read(query, active))

    def save_receivers(self, rows: list[tuple[TransactionId, list[Any], dict[str, Any]]]) -> None:
        """Note the states of receivers durably."""
        with transaction(self.path, self._db, "cfdp.log.before_fsync", "cfdp.log.after_fsync"):
            self._db.executemany(
                "INSERT OR REPLACE INTO receivers VALUES (?, ?, ?, ?, ?)",
                [
                    (name.source, name.sequence, json.dumps(header), json.dumps(state), state["phase"])
                    for name, header, state in rows
                ],
            )

    def receiver(self, name: TransactionId) -> tuple[list[Any], dict[str, Any]] | None:
        """The header fields and the state of one receiver."""
        rows = self._read(
            "SELECT header, state FROM receivers WHERE source = ? AND sequence = ?", name.source, name.sequence
        )
        return (json.loads(rows[0][0]), json.loads(rows[0][1])) if rows else None

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _read(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(sql, arguments).fetchall()
        except sqlite3.Error as error:
            raise explain(self.path, error) from error
