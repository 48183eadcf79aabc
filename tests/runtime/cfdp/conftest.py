"""Two ends of a space link with files on them, and a clock that only tests move."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from runtime.cfdp import Bounds, CfdpEntity, Timing, TransactionLog
from runtime.downlink.links import Impairment, SimulatedChannel

BOARD, GROUND = 1, 2


@dataclass
class World:
    """A spacecraft and a station, each with a folder; ``down`` and ``up`` lose what they like."""

    folder: Path
    down: SimulatedChannel
    up: SimulatedChannel
    timing: Timing = field(default_factory=Timing)
    pdu_byte: int = 1024
    crc: bool = False
    now_s: float = 0.0
    sent_byte: int = 0
    sent: deque[bytes] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.board = self.boot("board", BOARD)
        self.ground = self.boot("ground", GROUND)

    def boot(self, name: str, number: int) -> CfdpEntity:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        log = TransactionLog(folder / "cfdp.sqlite", first=1)
        bounds = Bounds(pdu_byte=self.pdu_byte)
        return CfdpEntity(number, folder / "files", log, timing=self.timing, bounds=bounds, crc=self.crc)

    def reboot(self, name: str) -> None:
        """Start anew from what is on the disk, without having been told."""
        abandon(getattr(self, name))
        setattr(self, name, self.boot(name, BOARD if name == "board" else GROUND))

    def close(self) -> None:
        for entity in (self.board, self.ground):
            abandon(entity)

    def offer(self, content: bytes, name: str = "file.bin", value: float = 1.0, *, acknowledged: bool = True) -> Path:
        path = self.folder / "board" / f"outbox-{name.replace('/', '-')}"
        path.write_bytes(content)
        self.board.send(path, name, GROUND, value=value, acknowledged=acknowledged)
        return self.folder / "ground" / "files" / name

    def run(self, budget_byte: int = 1 << 62, *, until_s: float = 600.0) -> None:
        """Exchange PDUs until nothing moves, the budget is spent, or time is over."""
        end_s = self.now_s + until_s
        while self.now_s < end_s and budget_byte > 0:
            raw = self.board.take(min(budget_byte, self.pdu_byte), self.now_s)
            if raw is not None:
                budget_byte -= len(raw)
                self.sent_byte += len(raw)
                self.sent.append(raw)
                for arrived in self.down.carry(raw):
                    self.ground.insert(arrived, self.now_s)
                self.answer()
                self.now_s += 0.001
            elif not self.quiet():
                continue
            elif self.board.busy or self.ground.busy:
                self.now_s += 1.0
                self.board.tick(self.now_s)
                self.ground.tick(self.now_s)
                self.answer()
            else:
                return

    def answer(self) -> None:
        while (raw := self.ground.take(self.pdu_byte, self.now_s)) is not None:
            for arrived in self.up.carry(raw):
                self.board.insert(arrived, self.now_s)

    def quiet(self) -> bool:
        """Let go what the channels hold back; whether there was nothing."""
        held = self.down.release()
        for raw in held:
            self.ground.insert(raw, self.now_s)
        self.answer()
        back = self.up.release()
        for raw in back:
            self.board.insert(raw, self.now_s)
        return not held and not back

    def pause(self) -> None:
        """The pass ends; hours go by."""
        self.board.suspend("no contact")
        self.ground.suspend("no contact")
        self.now_s += 5000.0
        self.board.resume(self.now_s)
        self.ground.resume(self.now_s)


def abandon(entity: CfdpEntity) -> None:
    """Let go of what it holds open, as the end of its process would, without making anything durable."""
    entity._log.close()
    for _, sink in entity._receivers.values():
        sink.close()


MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[MakeWorld]:
    with ExitStack() as stack:

        def make(
            down: Impairment | None = None,
            up: Impairment | None = None,
            seed: int = 0,
            folder: Path = tmp_path,
            **options: object,
        ) -> World:
            rng = np.random.default_rng(seed)
            channels = [SimulatedChannel(how or Impairment(), rng) for how in (down, up)]
            world = World(folder, *channels, **options)  # type: ignore[arg-type]
            stack.callback(world.close)
            return world

        yield make
