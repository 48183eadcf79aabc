"""Change between a new tile and the reference kept on board: registered first, then inferred, then one product a tile.

A change package takes the reference's bands before the new ones (``reference_red`` ... ``red`` ...), both as uint8, and
answers kind ``mask``: (n, 2, edge, edge) scores of no change and of change. Which date is older matters: the network
does not treat them alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from exporters.package import ModelPackage

from ..engines.engine import Engine
from ..errors import EngineError, FrameError
from ..frame import Patch
from ..records import FloatArray, Product, TileOutcome, TileRef, UInt8Array
from .answer import tile_products
from .classify import product_id
from .shift import Shift, estimate_shift, moved

if TYPE_CHECKING:
    from ..answers import ViewOf, When

KIND, LABEL = "mask", "change"
REFERENCE = "reference_"
"""What the names of the reference's bands begin with."""
_FULL_SHARE = 0.25
"""Of a tile: more change than this is worth no more."""
Finding = tuple[TileRef, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What is done about a shift between reference and new tile.

    Up to ``leave_px`` nothing; up to ``limit_px`` the reference is moved under the new tile; beyond it the tile is
    refused. An ``agreement`` below ``least_agreement`` says nothing about the shift, as where most of a tile changed:
    then the georeference is believed, unless ``strict``.
    """

    leave_px: float = 0.25
    limit_px: float = 4.0
    least_agreement: float = 8.0
    strict: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.leave_px <= self.limit_px:
            raise FrameError(f"leave_px {self.leave_px} and limit_px {self.limit_px} must grow from 0. Correct them.")


@dataclass(frozen=True, slots=True, eq=False)
class Registered:
    """A stacked tile after registration: ``pixels`` (bands, edge, edge), the ``shift`` found, and what was ``done``."""

    pixels: UInt8Array
    shift: Shift
    done: str
    """``left``, ``moved`` or ``unverified``."""


@dataclass(frozen=True, kw_only=True)
class ChangeTask:
    """A loaded change package. Tiles with fewer than ``min_px`` changed pixels make no product."""

    engine: Engine
    package: ModelPackage
    class_value: Mapping[str, float] = field(default_factory=dict)
    min_px: int = 16

    def __post_init__(self) -> None:
        info = self.package.info
        if info.output.kind != KIND or len(info.classes) != 2:
            raise EngineError(
                f"{info.id} answers {info.output.kind!r} of {len(info.classes)} classes; change needs a mask of two: "
                "unchanged and change."
            )
        reference_bands(info.bands)

    def decode(
        self, refs: Sequence[TileRef], raw: FloatArray
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64], list[TileOutcome]]:
        """Masks (n, edge, edge), mean score of each tile's changed pixels (n,), and how each tile ended.

        Raises ``EngineError`` for answers of another shape.
        """
        info = self.package.info
        edge = info.input.tile_edge_px
        if raw.shape != (len(refs), 2, edge, edge):
            raise EngineError(
                f"{self.engine.name} answered {raw.shape}, expected {(len(refs), 2, edge, edge)}. Export it again."
            )
        sound: NDArray[np.bool_] = np.all(np.isfinite(raw), axis=(1, 2, 3))
        outcomes = [
            TileOutcome(ref, "done") if good else TileOutcome(ref, "failed", f"{info.id} answered NaN or Inf")
            for ref, good in zip(refs, sound.tolist(), strict=True)
        ]
        mask: NDArray[np.bool_] = (raw[:, 1] > raw[:, 0]) & sound[:, None, None]
        many = mask.sum(axis=(1, 2))
        total = np.where(mask, raw[:, 1], 0.0).sum(axis=(1, 2), dtype=np.float64)
        return mask, np.divide(total, many, out=np.zeros(len(refs)), where=many > 0), outcomes

    def read(self, refs: Sequence[TileRef], raw: FloatArray, view: ViewOf) -> tuple[list[Finding], list[TileOutcome]]:
        """See ``runtime.answers.Reader.read``: tile, mean score of its changed pixels and their share of it."""
        mask, score, outcomes = self.decode(refs, raw)
        many = mask.sum(axis=(1, 2))
        found = [
            (ref, float(score[number]), float(many[number] / mask[number].size))
            for number, ref in enumerate(refs)
            if many[number] >= self.min_px and outcomes[number].outcome == "done"
        ]
        return found, outcomes

    def products(self, findings: Sequence[list[Finding]], view: ViewOf, when: When) -> list[Product]:
        """See ``runtime.answers.Reader.products``: one a changed tile, worth more the more of it changed."""
        found = [one for part in findings for one in part]
        sha256 = self.package.sha256
        named = [
            (replace(ref, truth=None), product_id(ref, sha256, when.slot), LABEL, score) for ref, score, _ in found
        ]
        made = tile_products(self.package, named, kind="label", class_value=self.class_value, view=view, when=when)
        return [
            replace(product, value=product.value * min(1.0, share / _FULL_SHARE))
            for product, (_, _, share) in zip(made, found, strict=True)
        ]


def reference_bands(bands: Sequence[str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Positions of the reference's bands and of the new tile's, pair by pair.

    Raises ``EngineError`` where a band has no partner: a change package needs both dates of each.

    >>> reference_bands(("reference_red", "red"))
    ((0,), (1,))
    """
    new = [name for name in bands if not name.startswith(REFERENCE)]
    wanted = [REFERENCE + name for name in new]
    if not new or sorted([*wanted, *new]) != sorted(bands):
        raise EngineError(
            f"The bands {', '.join(bands)} are not two dates of the same bands. Name the older date's {REFERENCE}NAME."
        )
    order = list(bands)
    return tuple(order.index(name) for name in wanted), tuple(order.index(name) for name in new)


def register(pixels: UInt8Array, bands: Sequence[str], rules: Registration) -> Registered:
    """A stacked tile (bands, edge, edge) with its reference moved under the new date where that is needed.

    Raises ``FrameError`` where the shift is beyond the limit or, with ``strict``, cannot be told.
    """
    old, new = (np.asarray(part) for part in reference_bands(bands))
    shift = estimate_shift(pixels[old], pixels[new])
    done = judge(shift, rules)
    if done != "moved":
        return Registered(pixels, shift, done)
    laid = pixels.copy()
    laid[old] = moved(pixels[old], shift.down_px, shift.right_px)
    return Registered(laid, shift, done)


def judge(shift: Shift, rules: Registration) -> str:
    """What is done about a shift: ``left``, ``moved`` or ``unverified``; ``FrameError`` where it is refused."""
    if shift.agreement < rules.least_agreement:
        if rules.strict:
            raise FrameError(
                f"The reference and the new scene agree too little to be registered ({shift.agreement:.1f}, "
                f"{rules.least_agreement:g} is needed). Use a better reference."
            )
        return "unverified"
    if shift.length_px > rules.limit_px:
        raise FrameError(
            f"The reference lies {shift.length_px:.1f} px off the new scene, at most {rules.limit_px:g} px can be "
            "compensated. Improve the georeference of one of them."
        )
    return "left" if shift.length_px <= rules.leave_px else "moved"


def skip_misregistered(bands: Sequence[str], rules: Registration | None = None) -> _Keep:
    """A filter for ``tiles.cut``: why a stacked tile is not worth inferring, empty if it is."""
    return _Keep(tuple(bands), rules or Registration())


@dataclass(frozen=True, slots=True)
class _Keep:
    bands: tuple[str, ...]
    rules: Registration

    def __call__(self, patch: Patch) -> str:
        """See ``skip_misregistered``."""
        if patch.pixels.dtype != np.uint8:
            return f"misregistered: {patch.pixels.dtype} tiles cannot be compared, uint8 is needed"
        try:
            register(patch.pixels.astype(np.uint8, copy=False), self.bands, self.rules)
        except FrameError as error:
            return f"misregistered: {error}"
        return ""


def check_dates(reference_unix_s: float | None, new_unix_s: float | None) -> None:
    """Raise ``FrameError`` unless the reference is older than the new scene; dates that are not known pass."""
    if reference_unix_s is None or new_unix_s is None or reference_unix_s < new_unix_s:
        return
    raise FrameError(
        f"The reference is of {_day(reference_unix_s)}, the new scene of {_day(new_unix_s)}: the dates are swapped or "
        "the same. Give the older scene as the reference."
    )


def _day(unix_s: float) -> str:
    return f"{datetime.fromtimestamp(unix_s, tz=timezone.utc):%Y-%m-%d %H:%M}"
