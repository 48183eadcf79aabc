"""A small mission as a program of its own, to be killed: ``flyer.py FOLDER SLOTS [FAULT]``. Prints one line of JSON."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from conftest import slot_of

from runtime.downlink import DownlinkSession, Pacing
from runtime.faults import arm_text
from runtime.ground.archive import Archive
from runtime.ground.direct import DirectLink
from runtime.ground.receiver import Receiver
from runtime.ground.station import finish
from runtime.store import ProductStore

PRODUCTS_PER_SLOT = 20


def fly(folder: Path, slots: int) -> dict[str, object]:
    """Fly until slot ``slots``, then until all is down."""
    with ProductStore(folder / "store.sqlite") as store, closing(Archive(folder / "ground.sqlite")) as archive:
        link = DirectLink(Receiver(archive))
        session = DownlinkSession(store, link, pacing=Pacing(packet_byte=256, window_packet=3), clock=lambda: 0.0)
        done = store.last_decision()
        for slot in range(0 if done is None else done.slot, slots):
            store.commit_slot(*slot_of(slot, PRODUCTS_PER_SLOT))
            session.run_pass(slot, 1500)
        while store.backlog()[0]:
            session.run_pass(slots, 1500)
        link.close()
        report = finish(folder, archive, link.receiver)
        counts = store.counts()
        return {
            "received": report.products,
            "delivered": counts.delivered_product,
            "ids": [product.product_id for product in archive.products()],
            "tiles": [counts.done_tile, counts.shed_tile, counts.failed_tile],
        }


if __name__ == "__main__":
    if len(sys.argv) > 3:
        arm_text(sys.argv[3])
    print(json.dumps(fly(Path(sys.argv[1]), int(sys.argv[2]))))  # noqa: T201
