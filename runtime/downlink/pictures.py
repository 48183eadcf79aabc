"""Which products of a slot get pictures, and the two rungs of them: a chip, then the full picture."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import LinkError, StoreError
from ..records import Product, TileRef, UInt8Array
from .chips import ChipOutbox
from .rules import Rules

log = logging.getLogger(__name__)

CHIP_PX = 32
"""A chip's side is at most this."""
Look = Callable[[TileRef], UInt8Array | None]
"""The pixels of a window, 1 or 3 bands, ``None`` where they cannot be had."""


@dataclass(slots=True)
class PictureLadder:
    """Queues pictures of the products worth most. A slot costs ``rules.pictures_per_slot`` small reads at most."""

    outbox: ChipOutbox
    rules: Rules
    fault: str = ""
    """Why the last slot's pictures could not be queued, empty where they could."""

    def offer(self, products: Sequence[Product], look: Look) -> None:
        """Queue a chip of each product that is chosen, and the full picture where that shows more.

        A disk that refuses costs pictures, never the pass: what was found is durable already.
        """
        self.fault = ""
        try:
            self._offer(products, look)
        except (StoreError, LinkError) as error:
            self.fault = str(error)
            log.warning("no pictures of this slot: %s", error)

    def _offer(self, products: Sequence[Product], look: Look) -> None:
        wanted = (product for product in products if not self.rules.refusal(product))
        most = self.rules.pictures_per_slot
        for product in heapq.nsmallest(most, wanted, key=lambda one: (-one.value, one.product_id)):
            pixels = look(TileRef(product.frame_id, product.row_px, product.col_px, product.edge_px))
            if pixels is not None:
                self._queue(product, pixels)

    def _queue(self, product: Product, pixels: UInt8Array) -> None:
        chip = shrunk(pixels, CHIP_PX)
        self.outbox.offer(product, chip, self.rules.chip_share * product.value)
        if chip.shape != pixels.shape:
            self.outbox.offer(product, pixels, self.rules.tile_share * product.value, rung="tile")


def shrunk(pixels: UInt8Array, edge_px: int) -> UInt8Array:
    """``pixels`` (bands, rows, columns) by block means, so that no side is longer than ``edge_px``.

    >>> shrunk(np.arange(16, dtype=np.uint8).reshape(1, 4, 4), 2).tolist()
    [[[2, 4], [10, 12]]]
    """
    bands, rows, cols = pixels.shape
    factor = -(-max(rows, cols) // edge_px)
    if factor <= 1:
        return pixels
    down, across = max(rows // factor, 1), max(cols // factor, 1)
    blocks = pixels[:, : down * factor, : across * factor].reshape(bands, down, -1, across, factor)
    small: UInt8Array = blocks.mean(axis=(2, 4)).astype(np.uint8)
    return small
