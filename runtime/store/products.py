"""The product store: one transaction per slot, one per transfer, one per acknowledgement; nothing half done."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import StoreError
from ..faults import fault
from ..records import Product, SlotRecord, TileOutcome
from ..wire.payload import unfit
from .database import LogKeeper, explain, open_database, open_readonly, transaction
from .records import STEP, Counts, Limits, Transfer
from .rows import PRODUCT_COLUMNS, decision_from_text, decision_text, product_from_row, product_row, tile_row
from .schema import APPLICATION_ID, MIGRATIONS

__all__ = ["Counts", "Limits", "ProductStore", "Transfer"]

BACKSTOP_PAGE = 8192
"""Of 4 KiB: a log that grew this long is moved by a commit after all, if nobody calls ``tidy``."""


class ProductStore:
    """Tiles, products, decisions and transfers of a mission in one SQLite file.

    One writer; any number of readers through ``open_readonly``. Every method raises StoreError where the file or the
    disk refuses, and leaves the store as it was before.
    """

    def __init__(self, path: Path, *, limits: Limits | None = None) -> None:
        self.path = path
        self._limits = limits or Limits()
        self._db = open_database(path, APPLICATION_ID, MIGRATIONS, checkpoint_page=BACKSTOP_PAGE)
        self._log = LogKeeper(path, self._db)
        if not self._meta("store_id"):
            self._name_store()

    @classmethod
    def open_readonly(cls, path: Path) -> ProductStore:
        """The store as a reader sees it; every method that writes raises StoreError."""
        store = cls.__new__(cls)
        store.path = path
        store._limits = Limits()
        store._db = open_readonly(path, APPLICATION_ID)
        return store

    def __enter__(self) -> ProductStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was committed is safe without it."""
        self._db.close()

    def tidy(self) -> None:
        """Move what was committed from the log into the file; between slots, so that no commit has to."""
        self._log.tidy()

    def commit_slot(self, record: SlotRecord, outcomes: Sequence[TileOutcome], products: Sequence[Product]) -> bool:
        """Keep all that a slot has brought, durably, or nothing of it.

        Returns False, and changes nothing, where this slot is already kept: a slot repeated after a crash neither loses
        nor doubles anything.
        """
        for product in products:
            if why := unfit(product):
                raise StoreError(
                    f"Product {product.product_id!r} of slot {product.slot} cannot be kept: {why}. Fix its task."
                )
        with transaction(self.path, self._db, "store.commit.before_fsync", "store.commit.after_fsync"):
            fault("store.commit.begin")
            if self._is_kept(record.slot):
                return False
            self._db.execute("INSERT INTO decisions VALUES (?, ?)", (record.slot, decision_text(record)))
            self._insert_tiles(record.slot, outcomes)
            fault("store.commit.before_products")
            self._insert_products(products)
            self._shed(len(products) + STEP)
            self._forget(len(outcomes) + STEP)
        return True

    def add_products(self, products: Sequence[Product]) -> None:
        """Keep products that no slot has brought, such as an answer to a question; one that is kept stays as it is."""
        for product in products:
            if why := unfit(product):
                raise StoreError(f"Product {product.product_id!r} cannot be kept: {why}. Fix its task.")
        with transaction(self.path, self._db, "store.commit.before_fsync", "store.commit.after_fsync"):
            self._insert_products(products)
            self._shed(len(products) + STEP)

    def raise_values(self, products: Sequence[Product]) -> int:
        """Take over the values of products that wait, where they are higher, up to ``Limits.worth``; return how many.

        What is delivered or not known stays as it is.
        """
        raised = 0
        with transaction(self.path, self._db, "store.commit.before_fsync", "store.commit.after_fsync"):
            for product in products:
                value = min(float(product.value), self._limits.worth)
                raised += self._db.execute(
                    "UPDATE products SET value = ?1, rank = ?1 / size_byte / (attempts + 1) "
                    "WHERE product_id = ?2 AND state != 'delivered' AND value < ?1",
                    (value, product.product_id),
                ).rowcount
            self._add_meta("raised_product", raised)
        return raised

    def amend_slot(self, record: SlotRecord) -> None:
        """Replace a slot's record, for instance with what its pass has sent."""
        with transaction(self.path, self._db, "store.commit.before_fsync", "store.commit.after_fsync"):
            done = self._db.execute(
                "UPDATE decisions SET record = ? WHERE slot = ?", (decision_text(record), record.slot)
            )
            if done.rowcount != 1:
                raise StoreError(f"Slot {record.slot} is not in {self.path}. Commit it before you amend it.")

    def pending(self, limit: int, *, sent_below: int | None = None) -> tuple[Product, ...]:
        """At most ``limit`` products that are not delivered, the highest value per byte first.

        A product that was sent without any answer counts less with each attempt, so that a silent link is not
        filled with the same few products again and again. ``sent_below``: only those sent less often than that.
        """
        rows = self._read(
            f"SELECT {PRODUCT_COLUMNS} FROM products WHERE state != 'delivered' AND (?2 IS NULL OR attempts < ?2) "
            "ORDER BY rank DESC, product_id LIMIT ?1",
            limit,
            sent_below,
        )
        return tuple(product_from_row(row) for row in rows)

    def bare(self, limit: int) -> tuple[Product, ...]:
        """At most ``limit`` delivered products whose outline has not gone down yet, best first."""
        rows = self._read(
            f"SELECT {PRODUCT_COLUMNS} FROM products WHERE bare > 0 AND state = 'delivered' "
            "ORDER BY rank DESC, product_id LIMIT ?",
            limit,
        )
        return tuple(product_from_row(row) for row in rows)

    def next_transfer(self) -> int:
        """The number of the next transfer: none of before, also not after a crash or in a new store."""
        return self._meta("store_id") << 32 | self._meta("transfer") + 1

    def next_sequence(self) -> int:
        """The packet sequence count, not wrapped, at which the next transfer starts."""
        return self._meta("sequence")

    def open_transfers(self, limit: int = 8) -> tuple[int, ...]:
        """Transfers with products that were sent and never answered for, newest first."""
        rows = self._read(
            "SELECT transfer FROM products WHERE state = 'sent' UNION "
            "SELECT transfer FROM products WHERE bare > 0 AND bare = 2 ORDER BY transfer DESC LIMIT ?",
            limit,
        )
        return tuple(int(transfer) for (transfer,) in rows)

    def mark_sent(self, sent: Transfer) -> None:
        """Note durably, before the first packet leaves, which products travel in which batch."""
        rows = [
            (sent.transfer, index, int(product_id in sent.bare), product_id)
            for index, batch in enumerate(sent.batches)
            for product_id in batch
        ]
        with transaction(self.path, self._db, "store.transfer.before_fsync", "store.transfer.after_fsync"):
            self._db.executemany(
                "UPDATE products SET transfer = ?, batch = ?, bare = 2 WHERE ? = 0 AND product_id = ? AND "
                "state = 'delivered' AND bare > 0",
                rows,
            )
            self._db.executemany(
                "UPDATE products SET state = 'sent', transfer = ?, batch = ?, bare = ?, attempts = attempts + 1, "
                "rank = value / size_byte / (attempts + 2) WHERE product_id = ? AND state != 'delivered'",
                rows,
            )
            self._db.execute(
                "INSERT INTO transfers VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
                (
                    sent.transfer,
                    sent.slot,
                    sent.first_sequence,
                    sent.packet,
                    len(sent.batches),
                    len(rows),
                    sent.sent_byte,
                ),
            )
            self._set_meta("transfer", sent.transfer & 0xFFFF_FFFF)
            self._set_meta("sequence", sent.first_sequence + sent.packet)

    def mark_acknowledged(self, transfer: int, ranges: Iterable[tuple[int, int]], *, complete: bool = False) -> int:
        """Mark as delivered what the ground holds of ``transfer``, batches as (first, count); return how many products.

        ``complete`` says that the ground has answered for the whole transfer, so that the rest is known to be lost and
        waits again with its full rank. A transfer that is not known changes nothing.
        """
        delivered = 0
        with transaction(self.path, self._db, "store.delivered.before_fsync", "store.delivered.after_fsync"):
            for first, count in ranges:
                within = (transfer, first, first + count)
                delivered += self._db.execute(
                    "UPDATE products SET state = 'delivered' "
                    "WHERE state = 'sent' AND transfer = ? AND batch >= ? AND batch < ?",
                    within,
                ).rowcount
                self._db.execute(
                    "UPDATE products SET bare = 0 WHERE bare = 2 AND transfer = ? AND batch >= ? AND batch < ?", within
                )
            self._note_delivered(transfer, delivered)
            if complete:
                self._db.execute(
                    "UPDATE products SET state = 'queued', attempts = 0, rank = value / size_byte "
                    "WHERE state = 'sent' AND transfer = ?",
                    (transfer,),
                )
                self._db.execute("UPDATE products SET bare = 1 WHERE bare = 2 AND transfer = ?", (transfer,))
        return delivered

    def mark_delivered(self, product_ids: Iterable[str]) -> int:
        """Mark single products as delivered; returns how many were not yet. Unknown ids change nothing."""
        delivered = 0
        with transaction(self.path, self._db, "store.delivered.before_fsync", "store.delivered.after_fsync"):
            for product_id in product_ids:
                delivered += self._db.execute(
                    "UPDATE products SET state = 'delivered' WHERE product_id = ? AND state != 'delivered'",
                    (product_id,),
                ).rowcount
            self._add_meta("delivered_product", delivered)
        return delivered

    def backlog(self) -> tuple[int, int]:
        """Products not yet delivered, and the bytes that they take."""
        row = next(iter(self._read("SELECT sum(product), sum(byte) FROM tally WHERE state != 'delivered'")))
        return int(row[0]), int(row[1])

    def waiting_value(self) -> float:
        """The value of all products not yet delivered."""
        product, value = self._read("SELECT sum(product), sum(value) FROM tally WHERE state != 'delivered'")[0]
        return float(value) if product else 0.0

    def counts(self) -> Counts:
        """Totals over the whole mission."""
        tally = {state: int(product) for state, product in self._read("SELECT state, product FROM tally")}
        return Counts(
            queued_product=tally["queued"],
            sent_product=tally["sent"],
            delivered_product=self._meta("delivered_product"),
            shed_product=self._meta("shed_product"),
            shed_value=float(self._one("SELECT coalesce((SELECT number FROM meta WHERE key = 'shed_value'), 0.0)")),
            done_tile=self._meta("tile.done"),
            shed_tile=self._meta("tile.shed"),
            failed_tile=self._meta("tile.failed"),
            raised_product=self._meta("raised_product"),
        )

    def decisions(self) -> tuple[SlotRecord, ...]:
        """The flight recorder, oldest slot first."""
        return tuple(decision_from_text(text) for (text,) in self._read("SELECT record FROM decisions ORDER BY slot"))

    def last_decision(self) -> SlotRecord | None:
        """The newest line of the flight recorder."""
        for (text,) in self._read("SELECT record FROM decisions ORDER BY slot DESC LIMIT 1"):
            return decision_from_text(text)
        return None

    def products(self, *, state: str | None = None) -> tuple[Product, ...]:
        """Products by slot and identity; of one state where given: ``queued``, ``sent`` or ``delivered``."""
        rows = self._read(
            f"SELECT {PRODUCT_COLUMNS} FROM products WHERE ? IS NULL OR state = ? ORDER BY slot, product_id",
            state,
            state,
        )
        return tuple(product_from_row(row) for row in rows)

    def sent_slots(self) -> dict[str, int]:
        """The slot in which each product that was sent went out last."""
        rows = self._read("SELECT product_id, transfers.slot FROM products JOIN transfers USING (transfer)")
        return {str(product_id): int(slot) for product_id, slot in rows}

    def outcomes(self) -> tuple[tuple[int, str, str, int], ...]:
        """How tiles ended, as (slot, outcome, reason, count), for the slots that are still kept."""
        return tuple(self._read("SELECT slot, outcome, reason, count(*) FROM tiles GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"))

    def _name_store(self) -> None:
        """Give a new store its own number: the station must never take its transfers for those of another."""
        with transaction(self.path, self._db, "store.commit.before_fsync", "store.commit.after_fsync"):
            self._set_meta("store_id", 1 + secrets.randbelow(2**31 - 1))

    def _is_kept(self, slot: int) -> bool:
        return slot < self._meta("forgotten_slot") or bool(
            self._db.execute("SELECT 1 FROM decisions WHERE slot = ?", (slot,)).fetchone()
        )

    def _insert_tiles(self, slot: int, outcomes: Sequence[TileOutcome]) -> None:
        rows = [tile_row(slot, outcome) for outcome in outcomes]
        self._db.executemany("INSERT INTO tiles VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        for name in ("done", "shed", "failed"):
            self._add_meta(f"tile.{name}", sum(outcome.outcome == name for outcome in outcomes))
        self._add_meta("tile_row", len(rows))

    def _insert_products(self, products: Sequence[Product]) -> None:
        self._db.executemany(
            f"INSERT INTO products ({PRODUCT_COLUMNS}, size_byte, rank, state, attempts) "
            f"VALUES ({'?, ' * 17}'queued', 0) ON CONFLICT (product_id) DO NOTHING",
            [product_row(product) for product in products],
        )

    def _shed(self, most: int) -> None:
        """Drop the waiting products of least value per byte until both limits hold, at most so many at a time."""
        product, byte = self.backlog()
        over_product, over_byte = product - self._limits.waiting_product, byte - self._limits.waiting_byte
        if over_product <= 0 and over_byte <= 0:
            return
        shed: list[tuple[str]] = []
        shed_value = 0.0
        for product_id, size_byte, value in self._db.execute(
            "SELECT product_id, size_byte, value FROM products WHERE state != 'delivered' "
            "ORDER BY rank, product_id DESC"
        ):
            if len(shed) >= most or (over_product <= 0 and over_byte <= 0):
                break
            shed.append((product_id,))
            shed_value += value
            over_product -= 1
            over_byte -= size_byte
        self._db.executemany("DELETE FROM products WHERE product_id = ?", shed)
        self._add_meta("shed_product", len(shed))
        self._add_meta("shed_value", shed_value)

    def _forget(self, most: int) -> None:
        """Drop the oldest rows that are no longer needed, of each table about so many at a time."""
        limits, gone = self._limits, 0
        while self._meta("tile_row") > limits.tile and gone < most:
            slot = self._db.execute("DELETE FROM tiles WHERE slot = (SELECT min(slot) FROM tiles)").rowcount
            self._add_meta("tile_row", -slot)
            gone += slot
        kept = self._one("SELECT product FROM tally WHERE state = 'delivered'")
        if kept > limits.delivered_product:
            self._db.execute(
                "DELETE FROM products WHERE rowid IN "
                "(SELECT rowid FROM products WHERE state = 'delivered' ORDER BY slot LIMIT ?)",
                (min(kept - limits.delivered_product, most),),
            )
        self._forget_decisions(limits.decision)
        newest = self._meta("store_id") << 32 | self._meta("transfer")
        self._db.execute(
            "DELETE FROM transfers WHERE transfer IN "
            "(SELECT transfer FROM transfers WHERE transfer <= ? ORDER BY transfer LIMIT ?)",
            (newest - limits.transfer, STEP),
        )

    def _forget_decisions(self, keep: int) -> None:
        row = self._db.execute("SELECT slot FROM decisions ORDER BY slot DESC LIMIT 1 OFFSET ?", (keep - 1,)).fetchone()
        if row is None:
            return
        oldest = "(SELECT slot FROM decisions WHERE slot < ? ORDER BY slot LIMIT ?)"
        newest = self._db.execute(f"SELECT max(slot) FROM {oldest}", (*row, STEP)).fetchone()[0]
        if newest is not None:
            self._db.execute("DELETE FROM decisions WHERE slot <= ?", (newest,))
            self._set_meta("forgotten_slot", newest + 1)

    def _note_delivered(self, transfer: int, delivered: int) -> None:
        self._db.execute(
            "UPDATE transfers SET delivered_product = delivered_product + ? WHERE transfer = ?", (delivered, transfer)
        )
        self._add_meta("delivered_product", delivered)

    def _meta(self, key: str) -> int:
        return int(self._one("SELECT coalesce((SELECT number FROM meta WHERE key = ?), 0)", key))

    def _set_meta(self, key: str, number: float) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, number))

    def _add_meta(self, key: str, number: float) -> None:
        if number:
            self._db.execute(
                "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET number = number + excluded.number",
                (key, number),
            )

    def _read(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(sql, arguments).fetchall()
        except sqlite3.Error as error:
            raise explain(self.path, error) from error

    def _one(self, sql: str, *arguments: object) -> Any:
        return self._read(sql, *arguments)[0][0]
