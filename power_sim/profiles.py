"""What each network of the pool costs and gives, and whether its joules and seconds can be true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .config import key
from .errors import ScenarioError
from .spread import KINDS, Spread, refusal


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

    batch: int = key(0, low=0, high=1_000_000, quiet=True)
    """Tiles per call that the figures hold for; 0: not stated."""
    precision: str = key("", quiet=True)
    """Number format that the figures hold for, such as fp16 or int8."""
    draw: str = key("uniform", choices=KINDS, quiet=True)
    """How a value lies between its minimum and maximum."""
    accuracy_peak_frac: float | None = key(None, low=0.0, high=1.0)
    """``normal`` and ``triangular``: the likeliest value; the middle of the range where not given."""
    energy_peak_j: float | None = key(None, above=0.0)
    time_peak_s: float | None = key(None, above=0.0)
    accuracy_sd_frac: float | None = key(None, above=0.0, high=1.0)
    """``normal``: standard deviation before the ends are cut off."""
    energy_sd_j: float | None = key(None, above=0.0)
    time_sd_s: float | None = key(None, above=0.0)

    @property
    def accuracy_frac(self) -> float:
        """The mean: the middle of the range but for a lopsided distribution."""
        if self.draw == "uniform":
            return 0.5 * (self.accuracy_min_frac + self.accuracy_max_frac)
        return self.spreads()[0].mean

    @property
    def energy_j(self) -> float:
        """The mean."""
        if self.draw == "uniform":
            return 0.5 * (self.energy_min_j + self.energy_max_j)
        return self.spreads()[1].mean

    @property
    def time_s(self) -> float:
        """The mean."""
        if self.draw == "uniform":
            return 0.5 * (self.time_min_s + self.time_max_s)
        return self.spreads()[2].mean

    def spreads(self) -> tuple[Spread, Spread, Spread]:
        """Return how accuracy, energy and time vary."""
        rows = (
            (self.accuracy_min_frac, self.accuracy_max_frac, self.accuracy_peak_frac, self.accuracy_sd_frac),
            (self.energy_min_j, self.energy_max_j, self.energy_peak_j, self.energy_sd_j),
            (self.time_min_s, self.time_max_s, self.time_peak_s, self.time_sd_s),
        )
        accuracy, energy, time = (
            Spread(self.draw, low, high, 0.5 * (low + high) if peak is None else peak, sd or 0.0)
            for low, high, peak, sd in rows
        )
        return accuracy, energy, time

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
        _check_spreads(model, source)


def _check_spreads(model: ModelProfile, source: str) -> None:
    given = (
        (model.accuracy_peak_frac, model.accuracy_sd_frac, "accuracy_*_frac"),
        (model.energy_peak_j, model.energy_sd_j, "energy_*_j"),
        (model.time_peak_s, model.time_sd_s, "time_*_s"),
    )
    for spread, (peak, sd, what) in zip(model.spreads(), given, strict=True):
        if wrong := refusal(spread, peak is not None, sd is not None):
            raise ScenarioError(f"{source}: pool.models {model.name}: {what} {wrong}.")


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
