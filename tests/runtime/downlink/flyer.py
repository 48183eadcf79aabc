"""A small mission as a program of its own, to be killed: ``flyer.py FOLDER SLOTS [FAULT]``. Prints one line of JSON."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack, closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from conftest import slot_of

from runtime.cfdp import BOARD_ID, GROUND_ID, CfdpEntity, TransactionLog
from runtime.downlink import DownlinkSession, Pacing
from runtime.faults import arm_text
from runtime.ground.direct import DirectLink
from runtime.ground.station import finish, opened
from runtime.store import ProductStore

PRODUCTS_PER_SLOT = 20


CHIP = bytes(range(256)) * 40


def fly(folder: Path, slots: int) -> dict[str, object]:
    """Fly until slot ``slots``, then until all is down; a file goes down beside the products."""
    chip = folder / "chip.bin"
    chip.write_bytes(CHIP)
    with ExitStack() as stack:
        store = stack.enter_context(ProductStore(folder / "store.sqlite"))
        log = stack.enter_context(closing(TransactionLog(folder / "cfdp.sqlite")))
        files = stack.enter_context(closing(CfdpEntity(BOARD_ID, folder / "uplinked", log)))
        archive, receiver = stack.enter_context(opened(folder / "ground"))
        pacing = Pacing(packet_byte=256, file_packet_byte=1024, window_packet=3)
        session = DownlinkSession(store, DirectLink(receiver), files=files, pacing=pacing, clock=lambda: 0.0)
        if not log.senders(active=False):
            files.send(chip, "chip.bin", GROUND_ID)
        done = store.last_decision()
        for slot in range(0 if done is None else done.slot, slots):
            store.commit_slot(*slot_of(slot, PRODUCTS_PER_SLOT))
            session.run_pass(slot, 1500)
        while store.backlog()[0] or files.open_files:
            session.run_pass(slots, 1500)
        receiver.commit()
        report = finish(folder / "ground", archive, receiver)
        counts = store.counts()
        return {
            "received": report.products,
            "delivered": counts.delivered_product,
            "ids": [product.product_id for product in archive.products()],
            "tiles": [counts.done_tile, counts.shed_tile, counts.failed_tile],
            "files": sorted(path.name for path in (folder / "ground" / "files").iterdir() if path.is_file()),
            "whole": (folder / "ground" / "files" / "chip.bin").read_bytes() == CHIP,
        }


if __name__ == "__main__":
    if len(sys.argv) > 3:
        arm_text(sys.argv[3])
    print(json.dumps(fly(Path(sys.argv[1]), int(sys.argv[2]))))  # noqa: T201
