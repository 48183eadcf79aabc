"""Which products go down in a pass: the best value per byte that fits. No input, no output, no clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..records import Product
from ..wire.packets import OVERHEAD_BYTE
from ..wire.payload import BatchBuilder, size_byte

MISSES = 64
"""After so many products in a row that no longer fit, the budget counts as spent."""


@dataclass(frozen=True, slots=True)
class Load:
    """One batch ready to travel: its bytes, and what they take as packets."""

    index: int
    product_ids: tuple[str, ...]
    payload: bytes
    packet: int
    """Space packets that the payload takes."""
    sent_byte: int
    """With all packet overhead."""


class Downlink:
    """Orders products by value per byte. Sends nothing: ``offer``, then ``take`` what fits."""

    def __init__(self, *, packet_byte: int = 1024) -> None:
        self._packet_byte = packet_byte
        self._queue: list[Product] = []

    def offer(self, products: Iterable[Product], *, ordered: bool = False) -> None:
        """Add products; ``ordered`` says that they come best first, as the store gives them, and keeps that order."""
        self._queue.extend(products)
        if not ordered:
            self._queue.sort(key=lambda product: (-product.value / size_byte(product), product.product_id))

    @property
    def waiting(self) -> tuple[Product, ...]:
        """What has not been taken, best first."""
        return tuple(self._queue)

    def take(self, budget_byte: int, *, transfer: int = 0) -> tuple[Load, ...]:
        """Remove the products of best value per byte that fit in ``budget_byte``, in batches of about one packet.

        The budget counts every byte on the link, packet headers included, and is never exceeded. Only a product that is
        longer than a packet by itself makes a batch of several packets.
        """
        loads: list[Load] = []
        kept: list[Product] = []
        builder = BatchBuilder(transfer, 0)
        left_byte, misses = budget_byte, 0
        for at, product in enumerate(self._queue):
            if misses >= MISSES or len(loads) > 0xFFFE:
                kept.extend(self._queue[at:])
                break
            if self._grow(builder, product, left_byte):
                misses = 0
                continue
            if builder.products:
                loads.append(self._close(builder))
                left_byte -= loads[-1].sent_byte
                builder = BatchBuilder(transfer, len(loads))
                if self._grow(builder, product, left_byte):
                    continue
            misses += 1
            kept.append(product)
        if builder.products:
            loads.append(self._close(builder))
        self._queue = kept
        return tuple(loads)

    def _grow(self, builder: BatchBuilder, product: Product, left_byte: int) -> bool:
        """Add the product if the batch stays within one packet, or is alone in the batch, and within what is left."""
        one_packet_byte = self._packet_byte - OVERHEAD_BYTE
        room_byte = min(one_packet_byte, left_byte - OVERHEAD_BYTE) - builder.size_byte
        if builder.add(product, room_byte):
            return True
        if builder.products:
            return False
        return builder.add(product, self._segmented_room_byte(left_byte) - builder.size_byte) > 0

    def _segmented_room_byte(self, left_byte: int) -> int:
        whole, rest = divmod(left_byte, self._packet_byte)
        return whole * (self._packet_byte - OVERHEAD_BYTE) + max(0, rest - OVERHEAD_BYTE)

    def _close(self, builder: BatchBuilder) -> Load:
        packet = -(-builder.size_byte // (self._packet_byte - OVERHEAD_BYTE))
        ids = tuple(product.product_id for product in builder.products)
        return Load(builder.index, ids, builder.encode(), packet, builder.size_byte + packet * OVERHEAD_BYTE)
