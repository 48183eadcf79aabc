"""Missions that break a promise on purpose, given to the judge of ``make bench-torture``; prints what it finds."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from torture_mission import Mission, fly, outcome
from torture_strikes import NO_SPACE, Shim, Strike, Tally, failing, in_child, judge, preload

SLOTS = 2


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def after(sabotage: Callable[[Mission], object], *, survives: bool = False) -> Strike:
    def run(mission: Mission) -> None:
        fly(mission)
        sabotage(mission)

    return Strike(run, survives)


def twice(mission: Mission) -> None:
    """The identity is unique in the archive, so a double has to get past it."""
    columns = "slot, kind, label, score, value, footprint, captured_unix_s, frame_id, row_px, col_px, edge_px"
    columns += ", package_id, package_sha256, truth"
    execute(
        mission.ground / "ground.sqlite",
        "CREATE TABLE loose AS SELECT * FROM products",
        "INSERT INTO loose SELECT * FROM products LIMIT 1",
        "DROP TABLE products",
        f"CREATE TABLE products (product_id TEXT, {columns})",
        "INSERT INTO products SELECT * FROM loose",
        "DROP TABLE loose",
    )


def tear(mission: Mission) -> None:
    with mission.store.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(bytes(range(256)) * 16)


def fail(mission: Mission) -> None:
    raise SystemExit(3)


def stumble(mission: Mission) -> None:
    raise KeyError("not ours")


SABOTAGE: dict[str, Strike] = {
    "is not struck": after(lambda mission: None, survives=True),
    "forgets a promised slot": after(lambda one: execute(one.store, "DELETE FROM decisions WHERE slot = 0")),
    "forgets what it has delivered": after(lambda one: execute(one.ground / "ground.sqlite", "DELETE FROM products")),
    "shows a product twice": after(twice),
    "leaves a file that is wrong": after(lambda one: (one.ground / "files" / "chip.bin").write_bytes(b"torn")),
    "tears a page of its store": after(tear),
    "fails although nothing was injected": after(fail, survives=True),
    "ends with another error than ours": after(stumble),
    "leaves a picture in its outbox": after(lambda one: (one.folder / "outbox" / "old.part~").write_bytes(b"")),
}


def main(shim: Shim) -> dict[str, object]:
    here = Path.cwd()
    calm = Mission(here / "calm00000", SLOTS)
    calm.folder.mkdir()
    assert in_child(lambda: fly(calm)) == 0
    expected = outcome(calm)
    strikes = {**SABOTAGE, "finds its disk full": failing(shim, NO_SPACE, 150, span=6, restarts=True)}
    found: dict[str, object] = {}
    for number, (name, strike) in enumerate(strikes.items()):
        tally = Tally()
        judge(shim, Mission(here / f"case{number:05d}", SLOTS), strike, expected, tally)
        found[name] = asdict(tally)
    return found


if __name__ == "__main__":
    loaded = preload()
    assert loaded is not None
    print(json.dumps(main(loaded)))  # noqa: T201
