"""What the operator wants first, and how much of each answer: rules of the mission file, and the ladder of detail."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..errors import MissionError
from ..records import Product
from ..wire.payload import size_byte

FRAMING = 0.9
"""Share of a budget that is left for products after packet headers and names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """``[downlink]`` of a mission file. The defaults send everything, whole."""

    classes: tuple[str, ...] = ()
    """Labels to send; empty sends all."""
    minimum_score: float = 0.0
    west_deg: float = -180.0
    south_deg: float = -90.0
    east_deg: float = 180.0
    north_deg: float = 90.0
    """Send only what touches this box; products without a place pass."""
    quota_product: Mapping[str, int] = field(default_factory=dict)
    """At most so many products of a label in one pass."""
    label_share: float = 1.0
    """Share of a product's value that lies in its label alone. Below 1, a tight pass sends labels without their
    outlines first, and outlines as long as the budget lasts; what is missing to 1 is what an outline is worth."""
    pictures_per_slot: int = 4
    """Of so many products of a slot, those worth most, pictures go down with what a pass has left over."""
    chip_share: float = 0.1
    """What a small picture adds to a product, as a share of its value."""
    tile_share: float = 0.05
    """What the full picture adds to that."""
    one_way: bool = False
    """No answer ever comes: none is waited for, and files go with CFDP class 1, each once."""
    repeats: int = 3
    """On a one-way link: so often each product goes down, in as many passes."""

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Rules:
        """Rules from TOML; raises MissionError that names the key."""
        known = {one.name for one in fields(cls)}
        if unknown := sorted(table.keys() - known):
            raise MissionError(f"[downlink] has unknown keys {unknown}. Remove them or use some of {sorted(known)}.")
        values = dict(table)
        if "classes" in values:
            values["classes"] = _names(values["classes"])
        if "quota_product" in values:
            values["quota_product"] = _quota(values["quota_product"])
        if "pictures_per_slot" in values:
            values["pictures_per_slot"] = _count("pictures_per_slot", values["pictures_per_slot"])
        if "repeats" in values:
            values["repeats"] = _count("repeats", values["repeats"])
        if not isinstance(values.get("one_way", False), bool):
            raise MissionError(f"[downlink] one_way is {values['one_way']!r}. Give true or false.")
        for name in known & values.keys() - {"classes", "quota_product", "pictures_per_slot", "one_way", "repeats"}:
            values[name] = _number(name, values[name])
        return cls(**values).checked()

    def checked(self) -> Rules:
        """These rules, if they make sense; raises MissionError where they do not."""
        shares = self.minimum_score, self.label_share, self.chip_share, self.tile_share
        if not all(0.0 <= share <= 1.0 for share in shares) or self.label_share == 0.0:
            raise MissionError(
                "[downlink] minimum_score, label_share, chip_share and tile_share are fractions: give 0 to 1, "
                "and label_share more than 0."
            )
        if self.repeats < 1:
            raise MissionError("[downlink] repeats is 0, so nothing would go down. Give 1 or more.")
        box_fits = -180 <= self.west_deg < self.east_deg <= 180 and -90 <= self.south_deg < self.north_deg <= 90
        if not box_fits:
            raise MissionError("[downlink] the box is empty or leaves the Earth. Give west < east and south < north.")
        return self

    def refusal(self, product: Product) -> str:
        """Why a product is not sent: ``class``, ``score``, ``area``, or nothing."""
        if self.classes and product.label not in self.classes:
            return "class"
        if product.score < self.minimum_score:
            return "score"
        return "" if self._touches(product) else "area"

    def _touches(self, product: Product) -> bool:
        if product.footprint is None:
            return True
        lons = [lon for lon, _ in product.footprint.ring_deg]
        lats = [lat for _, lat in product.footprint.ring_deg]
        return (
            min(lons) <= self.east_deg
            and max(lons) >= self.west_deg
            and min(lats) <= self.north_deg
            and max(lats) >= self.south_deg
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """What a pass may send, best first, and what the rules kept back, by reason."""

    products: tuple[Product, ...]
    kept_back: Mapping[str, int]
    plain_label: int
    """Products that go without their outline."""

    @property
    def text(self) -> str:
        """The rules' part of a pass report, empty where they changed nothing."""
        parts = [f"{count} kept back by {reason}" for reason, count in sorted(self.kept_back.items())]
        if self.plain_label:
            parts.append(f"{self.plain_label} without outline")
        return ", ".join(parts)


def choose(rules: Rules, products: Iterable[Product], budget_byte: int, sent: Mapping[str, int]) -> Choice:
    """Apply ``rules`` to ``products``, best first; ``sent`` counts by label what this pass has already sent."""
    kept_back: Counter[str] = Counter()
    quota = Counter({label: limit - sent.get(label, 0) for label, limit in rules.quota_product.items()})
    wanted: list[Product] = []
    for product in products:
        reason = rules.refusal(product)
        if not reason and product.label in rules.quota_product:
            quota[product.label] -= 1
            reason = "quota" if quota[product.label] < 0 else ""
        if reason:
            kept_back[reason] += 1
        else:
            wanted.append(product)
    if rules.label_share < 1.0:
        wanted, plain = climb(wanted, budget_byte * FRAMING, rules.label_share)
        return Choice(tuple(wanted), kept_back, plain)
    return Choice(tuple(wanted), kept_back, 0)


def climb(products: list[Product], budget_byte: float, label_share: float) -> tuple[list[Product], int]:
    """Decide for each product whether its outline goes too: always the step of most value per byte, while bytes last.

    Returns the products, those without outline stripped of it, best first, and how many of them were stripped.
    """
    bare = [replace(product, footprint=None) for product in products]
    label_byte = [size_byte(one) for one in bare]
    whole_byte = [size_byte(one) for one in products]
    steps = [(-label_share * one.value / label_byte[at], at, 0) for at, one in enumerate(products)]
    heapq.heapify(steps)
    rung = [-1] * len(products)
    left = budget_byte
    while steps:
        _, at, step = heapq.heappop(steps)
        cost = label_byte[at] if step == 0 else whole_byte[at] - label_byte[at]
        if cost > left:
            continue
        left -= cost
        rung[at] = step
        if step == 0 and products[at].footprint is not None:
            gain = (1 - label_share) * products[at].value / max(1, whole_byte[at] - label_byte[at])
            heapq.heappush(steps, (-gain, at, 1))
    ordered = sorted(range(len(products)), key=lambda at: (rung[at] < 0, -products[at].value / label_byte[at], at))
    stripped = [at for at in ordered if rung[at] < 1 and products[at].footprint is not None]
    taken = [products[at] if rung[at] == 1 else bare[at] for at in ordered]
    return taken, sum(rung[at] == 0 for at in stripped)


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) and name for name in value):
        raise MissionError(f"[downlink] classes is {value!r}. Give a list of class names.")
    return tuple(value)


def _quota(value: object) -> dict[str, int]:
    good = isinstance(value, Mapping) and all(
        isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0 for limit in value.values()
    )
    if not good or not isinstance(value, Mapping):
        raise MissionError(f"[downlink] quota_product is {value!r}. Give a table of class names and whole numbers.")
    return {str(name): limit for name, limit in value.items()}


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 1000:
        raise MissionError(f"[downlink] {name} is {value!r}. Give a whole number from 0 to 1000.")
    return value


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise MissionError(f"[downlink] {name} is {value!r}. Give a number.")
    return float(value)
