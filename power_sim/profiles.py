"""What each network of the pool costs and gives, and whether its joules and seconds can be true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .config import key
from .errors import ScenarioError


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelProfile:
    """One network in one power mode. Energies are per tile above the idle draw, times per tile at the working batch
    size."""

    name: str
    package_id: str = ""
    mode: str = "default"
    accuracy_min_frac: float = key(low=0.0, high=1.0)
    accuracy_max_frac: float = key(low=0.0, high=1.0)
    energy_min_j: float = key(above=0.0)
    energy_max_j: float = key(above=0.0)
    time_min_s: float = key(above=0.0)
    time_max_s: float = key(above=0.0)
    recall_by_class: Mapping[str, float] = key({}, low=0.0, high=1.0)
    """Share of right answers per true class, where it was measured."""
    accuracy_by_cover: Mapping[str, float] = key({}, low=0.0, high=1.0)
    """Overrides what the class mix of a cover would give."""
    energy_kind: str = key("estimated", choices=("measured", "estimated", "published"))
    source: str = ""
    """Where the numbers come from."""

    @property
    def accuracy_frac(self) -> float:
        """The middle of the range."""
        return 0.5 * (self.accuracy_min_frac + self.accuracy_max_frac)

    @property
    def energy_j(self) -> float:
        """The middle of the range."""
        return 0.5 * (self.energy_min_j + self.energy_max_j)

    @property
    def time_s(self) -> float:
        """The middle of the range."""
        return 0.5 * (self.time_min_s + self.time_max_s)

    def accuracy_on_frac(self, cover: str, classes: Mapping[str, float]) -> float:
        """Return the expected accuracy on a cover: as measured there, else its class mix times the recalls, else the
        mean.

        >>> net = ModelProfile(name="n", accuracy_min_frac=0.9, accuracy_max_frac=0.9, energy_min_j=1, energy_max_j=1,
        ...                    time_min_s=1, time_max_s=1, recall_by_class={"SeaLake": 1.0, "River": 0.5})
        >>> round(net.accuracy_on_frac("sea", {"SeaLake": 0.9, "River": 0.1}), 3)
        0.95
        """
        if cover in self.accuracy_by_cover:
            return self.accuracy_by_cover[cover]
        if classes and all(name in self.recall_by_class for name in classes):
            return sum(share * self.recall_by_class[name] for name, share in classes.items()) / sum(classes.values())
        return self.accuracy_frac

    def implied_w(self) -> tuple[float, float]:
        """Return the least and greatest power that the ranges imply: energy over time."""
        return self.energy_min_j / self.time_max_s, self.energy_max_j / self.time_min_s


def check_ranges(profiles: Sequence[ModelProfile], source: str) -> None:
    """Refuse an empty pool, two profiles of one name and mode, and a minimum above its maximum."""
    if not profiles:
        raise ScenarioError(f"{source}: pool.models is empty. Name at least one network, or a file with pool.file.")
    seen: set[tuple[str, str]] = set()
    for model in profiles:
        if (model.name, model.mode) in seen:
            raise ScenarioError(f"{source}: pool.models has {model.name} in mode {model.mode} twice. Remove one.")
        seen.add((model.name, model.mode))
        for low, high, what in (
            (model.accuracy_min_frac, model.accuracy_max_frac, "accuracy_*_frac"),
            (model.energy_min_j, model.energy_max_j, "energy_*_j"),
            (model.time_min_s, model.time_max_s, "time_*_s"),
        ):
            if low > high:
                raise ScenarioError(
                    f"{source}: pool.models {model.name}: {what} runs from {low:g} to {high:g}. Swap them."
                )


def check_envelope(
    profiles: Sequence[ModelProfile], device: str, device_min_w: float, device_max_w: float, source: str
) -> None:
    """Refuse a profile whose joules and seconds imply a power that the device cannot draw."""
    for model in profiles:
        middle_w = model.energy_j / model.time_s
        if device_min_w <= middle_w <= device_max_w:
            continue
        low_w, high_w = model.implied_w()
        side = "above the" if middle_w > device_max_w else "below the"
        bound_w = device_max_w if middle_w > device_max_w else device_min_w
        raise ScenarioError(
            f"{source}: pool.models {model.name}: {model.energy_min_j:g}-{model.energy_max_j:g} J in "
            f"{model.time_min_s * 1e3:g}-{model.time_max_s * 1e3:g} ms imply {low_w:.0f}-{high_w:.0f} W, {side} "
            f"{bound_w:g} W of {device}. Correct energy_*_j or time_*_s, or set pool.allow_implausible = true, "
            "which every report will show."
        )


def slot_capacity_tile(profile: ModelProfile, slot_s: float) -> tuple[int, int]:
    """Return how many tiles, at the slowest and at the fastest, one slot has time for.

    >>> net = ModelProfile(name="n", accuracy_min_frac=0.9, accuracy_max_frac=0.9, energy_min_j=1, energy_max_j=1,
    ...                    time_min_s=0.0035, time_max_s=0.0045)
    >>> slot_capacity_tile(net, 189.0)
    (42000, 54000)
    """
    return int(slot_s / profile.time_max_s), int(slot_s / profile.time_min_s)
