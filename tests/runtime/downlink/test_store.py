"""The product store: durable, idempotent, bounded, and clear about what is wrong."""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread, Timer

import pytest

from runtime.errors import StoreError
from runtime.faults import arm, disarm
from runtime.records import Product, SlotRecord, TileOutcome, TileRef
from runtime.store import Limits, ProductStore, Transfer
from runtime.store.database import LogKeeper, open_database, open_readonly, transaction
from runtime.store.rows import PRODUCT_COLUMNS, decision_text, product_row
from runtime.store.schema import APPLICATION_ID, MIGRATIONS

MakeSlot = Callable[[int, int], tuple[SlotRecord, list[TileOutcome], list[Product]]]


def test_a_slot_comes_back_as_it_went_in(store: ProductStore, make_slot: MakeSlot) -> None:
    slot, outcomes, products = make_slot(3, 5)
    assert store.commit_slot(slot, outcomes, products)
    assert store.decisions() == (slot,)
    assert sorted(store.products(), key=lambda p: p.product_id) == sorted(products, key=lambda p: p.product_id)
    assert store.outcomes() == ((3, "done", "", 5), (3, "failed", "nan", 1), (3, "shed", "budget", 1))


def test_a_slot_committed_twice_counts_once(store: ProductStore, make_slot: MakeSlot) -> None:
    assert store.commit_slot(*make_slot(0, 5))
    assert not store.commit_slot(*make_slot(0, 5))
    assert store.backlog()[0] == 5
    assert (store.counts().done_tile, store.counts().shed_tile, store.counts().failed_tile) == (5, 1, 1)


def test_a_number_that_is_not_finite_survives_in_the_flight_recorder(
    store: ProductStore, make_record: Callable[..., SlotRecord]
) -> None:
    store.commit_slot(make_record(0, accuracy_frac=math.nan), [], [])
    assert math.isnan(store.decisions()[0].accuracy_frac)


def test_amending_a_slot_replaces_its_line(store: ProductStore, make_record: Callable[..., SlotRecord]) -> None:
    store.commit_slot(make_record(0), [], [])
    store.amend_slot(make_record(0, sent_byte=12))
    assert store.decisions()[0].sent_byte == 12
    with pytest.raises(StoreError, match="Commit it before"):
        store.amend_slot(make_record(1))


def test_pending_gives_the_best_value_per_byte_first(
    store: ProductStore, make_record: Callable[..., SlotRecord], make_product: Callable[..., Product]
) -> None:
    store.commit_slot(
        make_record(0), [], [make_product(1, value=1.0), make_product(2, value=3.0), make_product(3, value=2.0)]
    )
    assert [product.value for product in store.pending(2)] == [3.0, 2.0]


def test_what_was_sent_waits_until_it_is_acknowledged(store: ProductStore, make_slot: MakeSlot) -> None:
    store.commit_slot(*make_slot(0, 4))
    ids = [product.product_id for product in store.pending(4)]
    store.mark_sent(Transfer(1, 0, 0, 2, 200, ((ids[0], ids[1]), (ids[2],))))
    assert store.backlog()[0] == 4
    assert store.open_transfers() == (1,)
    assert store.mark_acknowledged(1, [(0, 1)], complete=True) == 2
    assert store.mark_acknowledged(1, [(0, 1)], complete=True) == 0
    assert {product.product_id for product in store.products(state="delivered")} == set(ids[:2])
    assert store.counts().queued_product == 2
    assert store.counts().delivered_product == 2


def test_an_answer_for_an_unknown_transfer_changes_nothing(store: ProductStore, make_slot: MakeSlot) -> None:
    store.commit_slot(*make_slot(0, 4))
    assert store.mark_acknowledged(99, [(0, 65536)], complete=True) == 0
    assert store.mark_delivered(["no-such-product"]) == 0
    assert store.backlog()[0] == 4


def test_a_product_without_an_answer_makes_room_for_others(store: ProductStore, make_slot: MakeSlot) -> None:
    store.commit_slot(*make_slot(0, 8))
    best = store.pending(1)[0].product_id
    store.mark_sent(Transfer(1, 0, 0, 1, 100, ((best,),)))
    assert store.pending(1)[0].product_id != best
    assert best in {product.product_id for product in store.pending(8)}


def test_transfer_and_sequence_numbers_go_on_after_a_restart(tmp_path: Path, make_slot: MakeSlot) -> None:
    path = tmp_path / "store.sqlite"
    with ProductStore(path) as store:
        store.commit_slot(*make_slot(0, 1))
        store.mark_sent(
            Transfer(store.next_transfer(), 0, store.next_sequence(), 7, 100, ((store.pending(1)[0].product_id,),))
        )
    with ProductStore(path) as store:
        assert (store.next_transfer() & 0xFFFF_FFFF, store.next_sequence()) == (2, 7)


def test_a_full_store_sheds_the_least_value_and_counts_it(tmp_path: Path, make_slot: MakeSlot) -> None:
    with ProductStore(tmp_path / "store.sqlite", limits=Limits(waiting_product=10)) as store:
        record, outcomes, products = make_slot(0, 30)
        store.commit_slot(record, outcomes, products)
        assert store.backlog()[0] == 10
        kept = store.products()
        dropped = sum(product.value for product in products) - sum(product.value for product in kept)
        assert min(product.value for product in kept) >= sorted(product.value for product in products)[19]
        assert (store.counts().shed_product, store.counts().shed_value) == (20, pytest.approx(dropped))


def test_a_byte_limit_holds_too(tmp_path: Path, make_slot: MakeSlot) -> None:
    with ProductStore(tmp_path / "store.sqlite", limits=Limits(waiting_byte=500)) as store:
        store.commit_slot(*make_slot(0, 30))
        assert 400 < store.backlog()[1] <= 500


def test_r27_old_rows_go_and_the_file_stays_bounded(tmp_path: Path, make_slot: MakeSlot) -> None:
    limits = Limits(waiting_product=50, delivered_product=20, tile=100, decision=10, transfer=5)
    path = tmp_path / "store.sqlite"
    with ProductStore(path, limits=limits) as store:
        sizes = []
        for slot in range(300):
            store.commit_slot(*make_slot(slot, 20))
            ids = tuple(product.product_id for product in store.pending(10))
            store.mark_sent(Transfer(store.next_transfer(), slot, store.next_sequence(), 1, 100, (ids,)))
            store.mark_acknowledged(store.next_transfer() - 1, [(0, 1)], complete=True)
            store.tidy()
            sizes.append(path.stat().st_size)
        assert len(store.decisions()) == 10
        assert sum(count for *_, count in store.outcomes()) <= 100
        assert store.counts().done_tile == 6000
        assert store.counts().delivered_product == 3000
        assert not store.commit_slot(*make_slot(5, 20))
    assert max(sizes[100:]) <= sizes[99] * 1.1


def test_a_reader_sees_the_store_beside_its_writer_and_cannot_write(
    store: ProductStore, make_slot: MakeSlot, make_record: Callable[..., SlotRecord]
) -> None:
    store.commit_slot(*make_slot(0, 3))
    with ProductStore.open_readonly(store.path) as reader:
        assert reader.backlog()[0] == 3
        store.commit_slot(*make_slot(1, 3))
        assert reader.backlog()[0] == 6
        with pytest.raises(StoreError, match="writable"):
            reader.commit_slot(make_record(2), [], [])


def test_a_closed_store_opens_from_a_folder_that_is_read_only(tmp_path: Path, make_slot: MakeSlot) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    with ProductStore(folder / "store.sqlite") as store:
        store.commit_slot(*make_slot(0, 3))
    folder.chmod(0o500)
    try:
        with ProductStore.open_readonly(folder / "store.sqlite") as reader:
            assert reader.backlog()[0] == 3
    finally:
        folder.chmod(0o700)


def test_r04_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="folder exists"):
        ProductStore(tmp_path / "nowhere" / "store.sqlite")
    with pytest.raises(StoreError, match="no store"):
        ProductStore.open_readonly(tmp_path / "store.sqlite")


@pytest.mark.skipif(os.getuid() == 0, reason="needs a user whom permissions stop")
def test_r04_a_read_only_folder_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreError, match="writ"):
            ProductStore(tmp_path / "store.sqlite")
    finally:
        tmp_path.chmod(0o700)


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_bytes(b"holiday pictures" * 100)
    with pytest.raises(StoreError, match="move it away"):
        ProductStore(path)
    assert path.read_bytes().startswith(b"holiday")


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE recipes (name TEXT)")
    other.commit()
    other.close()
    with pytest.raises(StoreError, match="another program"):
        ProductStore(path)


def test_a_store_of_a_newer_version_is_refused(store: ProductStore) -> None:
    newer = sqlite3.connect(store.path)
    newer.execute("PRAGMA user_version = 999")
    newer.close()
    with pytest.raises(StoreError, match="Update subsolar"):
        ProductStore(store.path)


def test_a_store_that_another_process_holds_says_so(store: ProductStore, make_slot: MakeSlot) -> None:
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="Another process"):
        store.commit_slot(*make_slot(0, 1))
    other.execute("ROLLBACK")
    other.close()
    assert store.commit_slot(*make_slot(0, 1))


@pytest.mark.parametrize("action", ["enospc", "eio"])
def test_r03_a_failed_commit_keeps_nothing_and_can_be_repeated(
    store: ProductStore, make_slot: MakeSlot, action: str
) -> None:
    arm("store.commit.before_fsync", action)
    try:
        with pytest.raises(StoreError, match="Free some space" if action == "enospc" else "disk reports"):
            store.commit_slot(*make_slot(0, 4))
        assert store.backlog() == (0, 0)
        assert store.commit_slot(*make_slot(0, 4))
    finally:
        disarm()


def test_r03_a_disk_that_is_really_full_is_survived(tmp_path: Path, make_slot: MakeSlot) -> None:
    with ProductStore(tmp_path / "store.sqlite") as store:
        store.commit_slot(*make_slot(0, 10))
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(StoreError, match="Free some space"):
            store.commit_slot(*make_slot(1, 500))
        assert store.backlog()[0] == 10
        store._db.execute("PRAGMA max_page_count = 1000000")
        assert store.commit_slot(*make_slot(1, 500))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"score": math.nan}, "not finite"),
        ({"value": math.inf}, "not finite"),
        ({"row_px": -1}, "negative"),
        ({"label": "x" * 2000}, "longer than"),
    ],
)
def test_a_product_that_could_never_be_sent_is_refused(
    store: ProductStore,
    make_record: Callable[..., SlotRecord],
    make_product: Callable[..., Product],
    change: dict[str, object],
    why: str,
) -> None:
    from dataclasses import replace

    with pytest.raises(StoreError, match=why):
        store.commit_slot(make_record(0), [], [replace(make_product(1), **change)])  # type: ignore[arg-type]
    assert store.decisions() == ()


def test_i5_a_tile_may_end_only_once(store: ProductStore, make_record: Callable[..., SlotRecord]) -> None:
    tile = TileRef("mosaic-1", 0, 0, 64)
    with pytest.raises(StoreError, match="only once"):
        store.commit_slot(make_record(0), [TileOutcome(tile, "done"), TileOutcome(tile, "shed", "budget")], [])


def test_commits_leave_moving_the_log_to_the_time_between_slots(tmp_path: Path, make_slot: MakeSlot) -> None:
    with ProductStore(tmp_path / "tidy.sqlite") as store:
        log = tmp_path / "tidy.sqlite-wal"
        before_byte = store.path.stat().st_size
        for slot in range(40):
            store.commit_slot(*make_slot(slot, 100))
        assert store.path.stat().st_size == before_byte
        assert log.stat().st_size > 4 << 20
        store.tidy()
        assert store.path.stat().st_size > before_byte
        store.commit_slot(*make_slot(40, 1))
        assert log.stat().st_size <= 4 << 20
        assert store.counts().queued_product == 4001


def test_our_own_readers_stay_open_without_holding_the_log(tmp_path: Path, make_slot: MakeSlot) -> None:
    path = tmp_path / "read.sqlite"
    with ProductStore(path) as store, ProductStore.open_readonly(path) as reader:
        for slot in range(20):
            store.commit_slot(*make_slot(slot, 50))
            store.tidy()
            assert len(reader.decisions()) == slot + 1
            assert reader.counts().queued_product == len(reader.products()) == 50 * (slot + 1)
        assert (tmp_path / "read.sqlite-wal").stat().st_size <= 2 << 20


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Callable[..., LogKeeper]]:
    """Fills the log of ``kept.sqlite`` with 100 pages and more, and gives it a keeper."""
    path = tmp_path / "kept.sqlite"
    writer = open_database(path, 7, ("CREATE TABLE t (x BLOB) STRICT;",), checkpoint_page=10**6)

    def make(patience_s: float) -> LogKeeper:
        for _ in range(100):
            writer.execute("INSERT INTO t VALUES (zeroblob(4000))")
        return LogKeeper(path, writer, long_page=100, patience_s=patience_s)

    yield make
    writer.close()


def look(path: Path) -> sqlite3.Connection:
    """A program that holds the present state of a database open."""
    reader = open_readonly(path, 7)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM t").fetchone()
    return reader


def test_a_long_log_waits_for_a_reader_that_ends_and_starts_over(
    tmp_path: Path, kept: Callable[..., LogKeeper]
) -> None:
    looks, ends = Event(), Event()

    def read() -> None:
        with closing(look(tmp_path / "kept.sqlite")):
            looks.set()
            ends.wait()

    reader = Thread(target=read)
    reader.start()
    looks.wait()
    keeper = kept(60.0)
    Timer(0.02, ends.set).start()
    keeper.tidy()
    reader.join()
    assert (tmp_path / "kept.sqlite-wal").stat().st_size == 0


def test_a_reader_that_stays_is_told_of_once_each_time_the_log_has_doubled(
    tmp_path: Path, kept: Callable[..., LogKeeper], caplog: pytest.LogCaptureFixture
) -> None:
    kept(0.0).tidy()
    with closing(look(tmp_path / "kept.sqlite")):
        keeper = kept(0.0)
        for _ in range(3):
            keeper.tidy()
        assert [record.message.partition(" has grown")[2] for record in caplog.records] == [
            " to 1 MB: a program holds an old state of the store open. End that program."
        ]
    keeper.tidy()
    assert (tmp_path / "kept.sqlite-wal").stat().st_size == 0


def test_a_store_of_the_first_version_is_brought_forward_with_all_that_it_holds(
    tmp_path: Path, make_slot: MakeSlot
) -> None:
    path = tmp_path / "old.sqlite"
    old = open_database(path, APPLICATION_ID, MIGRATIONS[:1])
    record, _, products = make_slot(0, 3)
    with transaction(path, old, "store.commit.before_fsync", "store.commit.after_fsync"):
        old.execute("INSERT INTO decisions VALUES (?, ?)", (0, decision_text(record)))
        for product in products:
            places = ", ".join("?" * 17)
            columns = f"{PRODUCT_COLUMNS}, size_byte, rank, state, attempts"
            old.execute(f"INSERT INTO products ({columns}) VALUES ({places}, 'queued', 0)", product_row(product))
    old.close()
    with ProductStore(path) as store:
        assert set(store.pending(9)) == set(products)
        assert store.bare(9) == ()
        assert store.commit_slot(*make_slot(1, 2))


def test_a_request_of_the_ground_makes_what_waits_worth_more_and_never_less_or_without_bound(
    tmp_path: Path, make_slot: MakeSlot
) -> None:
    with ProductStore(tmp_path / "s.sqlite", limits=Limits(worth=50.0)) as store:
        slot, outcomes, products = make_slot(0, 4)
        store.commit_slot(slot, outcomes, products)
        first, second, third, fourth = sorted(products, key=lambda one: one.product_id)
        store.mark_delivered([fourth.product_id])
        wanted = [replace(first, value=1e9), replace(second, value=-1.0), replace(fourth, value=9.0)]
        assert store.raise_values([*wanted, replace(third, product_id="unknown", value=9.0)]) == 1
        assert store.pending(1)[0] == replace(first, value=50.0)
        assert store.raise_values([replace(first, value=50.0)]) == 0
        assert (store.counts().raised_product, len(store.products())) == (1, 4)


def test_an_answer_of_no_slot_is_kept_once(store: ProductStore, make_product: Callable[..., Product]) -> None:
    store.add_products([make_product(1)])
    store.add_products([make_product(1, label="other"), make_product(2)])
    assert [one.label for one in store.products()] == ["Forest", "Forest"]
    assert store.backlog()[0] == 2
    with pytest.raises(StoreError, match="not finite"):
        store.add_products([replace(make_product(3), score=math.nan)])


def test_where_limits_are_lowered_the_store_comes_down_to_them_in_steps(tmp_path: Path, make_slot: MakeSlot) -> None:
    path = tmp_path / "s.sqlite"
    with ProductStore(path) as store:
        for slot in range(4):
            store.commit_slot(*make_slot(slot, 500))
    lower = Limits(waiting_product=100, tile=100, decision=2)
    with ProductStore(path, limits=lower) as store:
        waiting = []
        for slot in range(4, 10):
            store.commit_slot(*make_slot(slot, 10))
            waiting.append(store.backlog()[0])
        counts = store.counts()
    assert waiting == [1500, 1000, 500, 100, 100, 100]
    assert (counts.shed_product, counts.done_tile) == (1960, 2060)


def test_the_waiting_value_is_that_of_what_waits(store: ProductStore, make_slot: MakeSlot) -> None:
    store.commit_slot(*make_slot(0, 30))
    first, *others = store.products()
    store.raise_values([replace(first, value=7.0)])
    store.mark_delivered([others[0].product_id])
    assert store.waiting_value() == pytest.approx(7.0 + sum(one.value for one in others[1:]))
    store.mark_delivered([one.product_id for one in store.products()])
    assert store.waiting_value() == 0.0


def test_a_store_of_before_knows_what_waits(tmp_path: Path, make_product: Callable[..., Product]) -> None:
    path = tmp_path / "s.sqlite"
    database = open_database(path, APPLICATION_ID, MIGRATIONS[:2])
    row = product_row(make_product(1, value=2.5))
    marks = ", ".join("?" * len(row))
    database.execute(
        f"INSERT INTO products ({PRODUCT_COLUMNS}, size_byte, rank, state, attempts) VALUES ({marks}, 'queued', 0)", row
    )
    database.close()
    with ProductStore(path) as store:
        assert store.waiting_value() == 2.5
