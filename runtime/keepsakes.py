"""Answers that are themselves pictures: the best few of a slot are kept until their pictures are queued."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from exporters.records import PackageInfo

from .downlink.pictures import Look
from .records import FloatArray, Product, TileOutcome, TileRef, UInt8Array
from .slot_loop import Pictures

OUTPUTS = ("image", "mask", "map")
"""Kinds of output with a value for each pixel."""
KINDS = ("image", "mask", "map", "height", "change", "anomaly")
"""Kinds of product that come of them."""
MOST = 8
"""Answers that are kept of a slot: more than get pictures by default."""


@dataclass(slots=True)
class Keepsakes:
    """The rasters that stand out most in a slot, at most ``most``; of equals the first."""

    most: int = MOST
    _held: list[tuple[float, int, TileRef, UInt8Array]] = field(default_factory=list)
    _count: int = 0

    def offer(self, info: PackageInfo, refs: Sequence[TileRef], raw: FloatArray, ended: Sequence[TileOutcome]) -> None:
        """Look at the answers of a batch, (n, channels, edge, edge); those of tiles that failed are passed over."""
        if info.output.kind not in OUTPUTS:
            return
        done = [number for number, outcome in enumerate(ended) if outcome.outcome == "done"]
        for number in done:
            worth = _stands_out(info, raw[number])
            self._count += 1
            if len(self._held) >= self.most:
                last = min(self._held, key=lambda one: one[:2])
                if worth <= last[0]:
                    continue
                self._held.remove(last)
            ref = refs[number]
            key = TileRef(ref.frame_id, ref.row_px, ref.col_px, ref.edge_px)
            self._held.append((worth, -self._count, key, picture_of_answer(info, raw[number])))

    def take(self) -> dict[TileRef, UInt8Array]:
        """Hand over what was kept and begin anew."""
        held, self._held, self._count = self._held, [], 0
        return {ref: pixels for _, _, ref, pixels in held}


def _stands_out(info: PackageInfo, raw: NDArray[Any]) -> float:
    """The highest value of a map, the share of change; alike for other pictures."""
    if info.output.kind == "map":
        return float(raw[0].max())
    if info.output.kind == "mask" and len(raw) == 2:
        return float((raw[1] > raw[0]).mean())
    return 1.0


def picture_of_answer(info: PackageInfo, raw: NDArray[Any]) -> UInt8Array:
    """(1 or 3, edge, edge) bytes of one answer (channels, edge, edge).

    Restored pictures as they are, classes of a mask spread over the grey levels, values from the lowest, black, to the
    highest, white.
    """
    if info.output.kind == "image":
        names = list(info.bands[: len(raw)])
        colours = [names.index(name) for name in ("red", "green", "blue") if name in names]
        shown = raw[colours] if len(colours) == 3 else raw[:1]
        return np.asarray(np.rint(np.clip(shown, 0.0, 255.0)), dtype=np.uint8)
    if info.output.kind == "mask":
        levels = raw.argmax(axis=0) * (255 // max(len(raw) - 1, 1))
        return np.asarray(levels[None], dtype=np.uint8)
    low, high = float(raw[0].min()), float(raw[0].max())
    return np.asarray(np.rint((raw[:1] - low) * (255.0 / max(high - low, 1e-9))), dtype=np.uint8)


class Keeping(Protocol):
    """A network that keeps its best pictures."""

    def kept(self) -> dict[TileRef, UInt8Array]:
        """Hand over the slot's best answers that are pictures."""
        ...


@dataclass(frozen=True, slots=True)
class AnswerPictures:
    """Pictures of a slot's products: of an answer that is a picture, that picture; of others the window they show."""

    ladder: Pictures
    networks: Mapping[str, Keeping]

    def offer(self, products: Sequence[Product], look: Look) -> None:
        """See ``Pictures``."""
        kept: dict[TileRef, UInt8Array] = {}
        for network in self.networks.values():
            kept |= network.kept()
        shown = [product for product in products if product.kind not in KINDS or _window(product) in kept]

        def picture(ref: TileRef) -> UInt8Array | None:
            return kept[ref] if ref in kept else look(ref)

        self.ladder.offer(shown, picture)


def _window(product: Product) -> TileRef:
    return TileRef(product.frame_id, product.row_px, product.col_px, product.edge_px)
