"""Store and downlink against their bars: value per byte, products per second, file transfer. `make bench-downlink`.

Prints a table and writes ``build/bench/downlink.json``. Rates are per CPU-second, so that a shared machine does not
change them much; waiting for the disk is shown apart.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from reporting import Figure, figure, publish

from runtime.cfdp import BOARD_ID, GROUND_ID, Bounds, CfdpEntity, TransactionLog
from runtime.downlink import Downlink, DownlinkSession, Pacing
from runtime.downlink.links import Impairment, SimulatedChannel
from runtime.ground.direct import DirectLink
from runtime.ground.station import opened
from runtime.records import Footprint, Product, SlotRecord, TileOutcome, TileRef
from runtime.store import ProductStore
from runtime.wire.packets import OVERHEAD_BYTE
from runtime.wire.payload import encode_batch, size_byte

OUT = Path("build/bench/downlink.json")
DAYS, PASSES_A_DAY, SLOTS_A_PASS, PRODUCTS_A_SLOT = 7, 4, 6, 60
PACKET_BYTE = 2048
SEGMENT_BYTE = 4096


def main() -> int:
    """Measure all, print the table, write the file; 1 where a bar is missed."""
    figures: dict[str, Figure] = {}
    with tempfile.TemporaryDirectory() as folder:
        for measure in (value_of_a_week, store_rate, file_rate, file_overhead):
            part = Path(folder) / measure.__name__
            part.mkdir()
            figures.update(measure(part))
    return publish(OUT, figures)


def value_of_a_week(folder: Path) -> dict[str, Figure]:
    """Seven days of passes without loss: value that arrives, beside the best possible, FIFO and priority alone."""
    rng = np.random.default_rng(0)
    passes = DAYS * PASSES_A_DAY
    budgets = [int(number) for number in rng.integers(4_000, 20_000, passes)]
    slots = [
        [product(rng, at * SLOTS_A_PASS * 1000 + number, at * SLOTS_A_PASS + number // PRODUCTS_A_SLOT)
         for number in range(SLOTS_A_PASS * PRODUCTS_A_SLOT)]
        for at in range(passes)
    ]  # fmt: skip
    ours, packets = fly(folder, slots, budgets)
    names_byte = len(encode_batch(0, 0, [slots[0][0]])) - size_byte(slots[0][0]) + OVERHEAD_BYTE
    framed = [budget * (1 - names_byte / PACKET_BYTE) for budget in budgets]
    best, raw_best = knapsack(slots, framed), knapsack(slots, [float(budget) for budget in budgets])
    fifo = queued(slots, budgets, key=lambda one: (one.slot, one.product_id))
    priority = queued(slots, budgets, key=lambda one: (-one.value, one.product_id))
    return {
        "value_vs_oracle": figure(ours / best, "frac", at_least=0.97, peer=("fifo", fifo / best)),
        "value_vs_oracle_priority_only": figure(priority / best, "frac"),
        "value_vs_oracle_without_headers": figure(ours / raw_best, "frac"),
        "products_per_packet": figure(packets, "products"),
        "label_on_the_link": figure(label_byte(), "byte"),
    }


def fly(folder: Path, slots: list[list[Product]], budgets: list[int]) -> tuple[float, float]:
    """The real store, session and station: the value that the station holds at the end, and products per packet."""
    with ExitStack() as stack:
        store = stack.enter_context(ProductStore(folder / "store.sqlite"))
        archive, receiver = stack.enter_context(opened(folder / "ground"))
        session = DownlinkSession(
            store, DirectLink(receiver), pacing=Pacing(packet_byte=PACKET_BYTE), clock=lambda: 0.0
        )
        for at, (products, budget) in enumerate(zip(slots, budgets, strict=True)):
            store.commit_slot(record(at), [], products)
            report = session.run_pass(at, budget)
            assert report.sent_byte <= budget
        receiver.commit()
        return sum(one.value for one in archive.products()), archive.count() / max(1, receiver.counts["packets"])


def knapsack(slots: list[list[Product]], budgets: list[float]) -> float:
    """The most value that any choice could bring down, even of parts of products.

    Each product needs a pass after its capture. These constraints are nested (what was captured since pass *t* has to
    fit into the passes since *t*), so taking the densest that still fits is exact for divisible products.
    """
    room = np.cumsum(budgets[::-1])[::-1].copy()
    ranked = sorted(((one.value / size_byte(one), at, one) for at, part in enumerate(slots) for one in part),
                    key=lambda entry: -entry[0])  # fmt: skip
    value = 0.0
    for density, at, one in ranked:
        taken = min(float(size_byte(one)), float(room[: at + 1].min()))
        if taken > 0:
            room[: at + 1] -= taken
            value += density * taken
    return value


def queued(slots: list[list[Product]], budgets: list[int], key: object) -> float:
    """The same packing with another order."""
    waiting: list[Product] = []
    value = 0.0
    for products, budget in zip(slots, budgets, strict=True):
        waiting = sorted([*waiting, *products], key=key)  # type: ignore[arg-type,type-var]
        downlink = Downlink(packet_byte=PACKET_BYTE)
        downlink.offer(waiting, ordered=True)
        taken = {name for load in downlink.take(budget) for name in load.product_ids}
        value += sum(one.value for one in waiting if one.product_id in taken)
        waiting = [one for one in waiting if one.product_id not in taken]
    return value


def store_rate(folder: Path) -> dict[str, Figure]:
    """Products queued with their tiles, a hundred a commit, until 100,000 wait; and how long that holds a slot up.

    A stall is all that the store does in a slot: commit, amendment, and moving the log into the file. Its own time is
    the time on the wall without the part in which the process was ready and had no core: work and disk.
    """
    rng = np.random.default_rng(1)
    groups = [[product(rng, at * 1000 + number, at) for number in range(100)] for at in range(1000)]
    outcomes = [TileOutcome(TileRef("mosaic-1", number, 0, 64), "done") for number in range(100)]
    with ProductStore(folder / "store.sqlite") as store:
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        stalls_ms = []
        for at, products in enumerate(groups):
            before_ms = np.array(clocks_ms())
            store.commit_slot(record(at), outcomes, products)
            store.amend_slot(record(at))
            store.tidy()
            wall_ms, cpu_ms, queued_ms = np.array(clocks_ms()) - before_ms
            stalls_ms.append((wall_ms, wall_ms - queued_ms, cpu_ms))
        cpu_s, wall_s = time.process_time() - start_cpu_s, time.perf_counter() - start_s
        file_byte = store.path.stat().st_size
    wall, own, cpu = np.array(stalls_ms).T
    return {
        "products_queued_per_cpu_s": figure(100_000 / cpu_s, "products/s", at_least=5000),
        "products_queued_per_s": figure(100_000 / wall_s, "products/s"),
        "store_stall_p50": figure(float(np.median(own)), "ms"),
        "store_stall_p99": figure(float(np.percentile(own, 99)), "ms", at_most=50),
        "store_stall_longest": figure(float(own.max()), "ms", at_most=50),
        "store_stall_longest_cpu": figure(float(cpu.max()), "ms"),
        "store_stall_longest_wall": figure(float(wall.max()), "ms"),
        "file_per_product": figure(file_byte / 100_000, "byte"),
    }


def clocks_ms() -> tuple[float, float, float]:
    """Time on the wall, on a core, and ready without a core (Linux counts it for each thread; 0 elsewhere)."""
    counted = Path("/proc/thread-self/schedstat")
    queued_ns = int(counted.read_text().split()[1]) if counted.exists() else 0
    return time.perf_counter() * 1e3, time.thread_time() * 1e3, queued_ns / 1e6


def file_rate(folder: Path) -> dict[str, Figure]:
    """Megabytes of file a CPU-second, sender and receiver together, 4 kB segments, no loss."""
    size_byte = 32 << 20
    start_s = time.process_time()
    sent_byte, whole = transfer(folder, size_byte, Impairment(), seed=0)
    cpu_s = time.process_time() - start_s
    assert whole
    return {
        "file_per_cpu_s": figure(size_byte / 1e6 / cpu_s, "MB/s", at_least=5),
        "file_overhead": figure(sent_byte / size_byte, "x"),
    }


def file_overhead(folder: Path) -> dict[str, Figure]:
    """Bytes sent per byte of file at 1, 10 and 30 % independent loss in both directions, and in bursts."""
    figures = {}
    for name, how, bar in (
        ("1pc", Impairment(loss_frac=0.01), None),
        ("10pc", Impairment(loss_frac=0.1), 1.15),
        ("30pc", Impairment(loss_frac=0.3), None),
        ("bursts", Impairment(burst_start_frac=0.01, burst_packet=20), None),
    ):
        part = folder / name
        part.mkdir()
        sent_byte, whole = transfer(part, 16 << 20, how, seed=7)
        assert whole, f"{name}: the file is not the same"
        figures[f"file_overhead_{name}"] = figure(sent_byte / (16 << 20), "x", at_most=bar)
    return figures


def transfer(folder: Path, size_byte: int, how: Impairment, seed: int) -> tuple[int, bool]:
    """Bring one file down over a channel with a clock of its own; bytes sent, and whether it is the same."""
    source = folder / "source.bin"
    source.write_bytes(np.random.default_rng(seed).bytes(size_byte))
    rng = np.random.default_rng(seed)
    down, up = SimulatedChannel(how, rng), SimulatedChannel(how, rng)
    sent_byte, now_s = 0, 0.0
    with ExitStack() as stack:
        board_log = stack.enter_context(closing(TransactionLog(folder / "board.sqlite")))
        ground_log = stack.enter_context(closing(TransactionLog(folder / "ground.sqlite")))
        board = stack.enter_context(closing(CfdpEntity(BOARD_ID, folder / "up", board_log)))
        ground = stack.enter_context(closing(CfdpEntity(GROUND_ID, folder / "down", ground_log, bounds=Bounds())))
        board.send(source, "file.bin", GROUND_ID)
        while board.open_files and now_s < 100_000:
            raw = board.take(SEGMENT_BYTE, now_s)
            if raw is None:
                now_s += 5.1
                for entity in (board, ground):
                    entity.resume(now_s)
                    entity.tick(now_s)
            else:
                sent_byte += len(raw) + OVERHEAD_BYTE
                for arrived in down.carry(raw):
                    ground.insert(arrived, now_s)
            while (answer := ground.take(1024, now_s)) is not None:
                for arrived in up.carry(answer):
                    board.insert(arrived, now_s)
    return sent_byte, (folder / "down" / "file.bin").read_bytes() == source.read_bytes()


def label_byte() -> float:
    """What one of twenty labels without a place takes on the link, everything counted."""
    rng = np.random.default_rng(3)
    labels = [replace(product(rng, number, 0), footprint=None) for number in range(20)]
    return (len(encode_batch(1, 0, labels)) + OVERHEAD_BYTE) / 20


def product(rng: np.random.Generator, number: int, slot: int) -> Product:
    """A label, a small outline or a long one, with a value that varies as answers do."""
    corners = int(rng.choice([0, 4, 4, 4, 12, 30]))
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    ring = tuple((10 + 0.003 * float(np.cos(a)), 50 + 0.003 * float(np.sin(a))) for a in angle)
    return Product(
        product_id=f"{rng.integers(2**63):016x}",
        slot=slot,
        kind="geometry" if corners else "label",
        label=str(rng.choice(["Forest", "River", "Residential", "Industrial"])),
        score=float(rng.uniform(0.3, 1.0)),
        value=float(rng.lognormal(0.0, 1.0)),
        footprint=Footprint((*ring, ring[0])) if corners else None,
        captured_unix_s=1_750_000_000.0 + slot * 60,
        frame_id="mosaic-1",
        row_px=number % 100 * 64,
        col_px=number // 100 % 100 * 64,
        edge_px=64,
        package_id="mobilenet-v2-eurosat",
        package_sha256="ab" * 32,
    )


def record(slot: int) -> SlotRecord:
    """A flight recorder line of which only the slot matters here."""
    blank = {"int": 0, "float": 0.0, "str": "", "bool": False}
    return replace(SlotRecord(**{field.name: blank[str(field.type)] for field in fields(SlotRecord)}), slot=slot)


if __name__ == "__main__":
    sys.exit(main())
