"""What the ground holds, durably: each product once, whatever is repeated, and however often the station is killed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..faults import fault
from ..records import Product
from ..store.database import explain, open_database
from ..store.rows import PRODUCT_COLUMNS, product_from_row, product_row
from ..wire.payload import Batch

APPLICATION_ID = 0x53554247  # "SUBG"
KEPT_BATCHES = 100_000
"""Answers can be given for so many; what is older would only be sent again."""

MIGRATIONS = (
    """
CREATE TABLE products (
    product_id TEXT PRIMARY KEY, slot INTEGER NOT NULL, kind TEXT NOT NULL, label TEXT NOT NULL,
    score REAL NOT NULL, value REAL NOT NULL, footprint TEXT, captured_unix_s REAL NOT NULL,
    frame_id TEXT NOT NULL, row_px INTEGER NOT NULL, col_px INTEGER NOT NULL, edge_px INTEGER NOT NULL,
    package_id TEXT NOT NULL, package_sha256 TEXT NOT NULL, truth TEXT
) STRICT;
CREATE TABLE batches (number INTEGER PRIMARY KEY, transfer INTEGER, batch INTEGER, UNIQUE (transfer, batch)) STRICT;
CREATE TABLE state (key TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID;
""",
)


class Archive:
    """One SQLite file. Inserts gather in a transaction until ``commit``; only then may they be acknowledged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = open_database(path, APPLICATION_ID, MIGRATIONS)
        self._held: dict[int, set[int]] = {}

    def insert(self, batch: Batch) -> int:
        """Keep the products of ``batch``; return how many of them are new."""
        rows = [product_row(product)[:15] for product in batch.products]
        try:
            self._begin()
            self._db.execute(
                "INSERT INTO batches (transfer, batch) VALUES (?, ?) ON CONFLICT DO NOTHING",
                (batch.transfer, batch.index),
            )
            new = self._db.executemany(
                f"INSERT INTO products ({PRODUCT_COLUMNS}) VALUES ({', '.join('?' * 15)}) "
                "ON CONFLICT (product_id) DO NOTHING",
                rows,
            ).rowcount
            if new < len(rows):  # a label that is here already may come again with its outline
                self._db.executemany(
                    "UPDATE products SET footprint = ? WHERE product_id = ? AND footprint IS NULL",
                    [(row[6], row[0]) for row in rows if row[6] is not None],
                )
        except sqlite3.Error as error:
            self._abandon()
            raise explain(self.path, error) from error
        self._of(batch.transfer).add(batch.index)
        return max(0, new)

    def held(self, transfer: int) -> frozenset[int]:
        """The batches of ``transfer`` that are here."""
        return frozenset(self._of(transfer))

    def load_state(self) -> dict[str, Any]:
        """The counters as they were at the last commit; empty in a new archive."""
        try:
            row = self._db.execute("SELECT record FROM state WHERE key = 'counters'").fetchone()
        except sqlite3.Error as error:
            raise explain(self.path, error) from error
        return {} if row is None else dict(json.loads(row[0]))

    def commit(self, state: dict[str, Any]) -> None:
        """Make everything inserted durable, together with the counters. After a StoreError none of it is kept."""
        try:
            self._begin()
            self._db.execute("INSERT OR REPLACE INTO state VALUES ('counters', ?)", (json.dumps(state),))
            self._prune()
            fault("ground.commit.before_fsync")
            self._db.execute("COMMIT")
            fault("ground.commit.after_fsync")
        except (sqlite3.Error, OSError) as error:
            self._abandon()
            raise explain(self.path, error) from error

    def products(self) -> Iterable[Product]:
        """All products, by slot and identity."""
        for row in self._db.execute(f"SELECT {PRODUCT_COLUMNS} FROM products ORDER BY slot, product_id"):
            yield product_from_row(row)

    def count(self) -> int:
        """How many products are here."""
        return int(self._db.execute("SELECT count(*) FROM products").fetchone()[0])

    def close(self) -> None:
        """Close the file, without what was not committed."""
        self._abandon()
        self._db.close()

    def _begin(self) -> None:
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")

    def _abandon(self) -> None:
        self._held.clear()
        if self._db.in_transaction:
            with suppress(sqlite3.Error):  # the file is lost anyway; the first error is the one to tell
                self._db.execute("ROLLBACK")

    def _of(self, transfer: int) -> set[int]:
        if transfer not in self._held:
            if len(self._held) > 16:
                self._held.clear()
            rows = self._db.execute("SELECT batch FROM batches WHERE transfer = ?", (transfer,))
            self._held[transfer] = {int(batch) for (batch,) in rows}
        return self._held[transfer]

    def _prune(self) -> None:
        newest = self._db.execute("SELECT max(number) FROM batches").fetchone()[0]
        if newest is not None:
            self._db.execute("DELETE FROM batches WHERE number < ?", (newest - KEPT_BATCHES,))
