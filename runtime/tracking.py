"""Positions fused along a track: a histogram over the places of a gallery and one state for "off the map".

Between pictures the histogram moves by what odometry says and widens by how far it may be wrong; mass that leaves the
gallery is off the map. A picture then weighs each place by exp(score / temperature) over the mean of that in the whole
gallery, and off the map by ``OFF_WEIGHT``: a picture that fits nowhere in particular speaks for off the map (discrete
Bayes filter; Thrun, Burgard and Fox, Probabilistic Robotics, chapter 4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import MissionError
from .records import FloatArray

Float64Array = NDArray[np.float64]
MOST_CELLS = 4_000_000
START_OFF, LEAVE, RETURN = 0.5, 0.02, 0.02
"""Chance of being off the map at the start, and of leaving and entering it unseen between two pictures."""
OFF_WEIGHT = math.e
"""What a picture counts for off the map, beside 1 for the mean place."""
SURE = 0.8
"""Share of the mass on the map that must lie within a tile of its best place for a fix."""


@dataclass(frozen=True, slots=True)
class TrackState:
    """After a picture. ``middle_m``: None without a fix. ``off``: chance that the picture is off the map."""

    status: str
    reason: str
    middle_m: tuple[float, float] | None
    error_m: float | None
    off: float


class Track:
    """See the module. ``middle_m`` (p, 2): the places, in the order of the scores; ``step_m``: what they are apart;
    ``drift_m``: one standard deviation of a position between two pictures, by axis, beside what odometry says."""

    def __init__(
        self,
        middle_m: NDArray[np.float64],
        *,
        step_m: float,
        tile_m: float,
        temperature: float,
        drift_m: float,
        off_weight: float = OFF_WEIGHT,
    ) -> None:
        if not (drift_m > 0 and math.isfinite(drift_m)):
            raise MissionError(f"A drift of {drift_m} m between pictures cannot be. Give --drift above 0.")
        self._middle, self._step_m, self._tile_m = np.asarray(middle_m, dtype=np.float64), step_m, tile_m
        self._temperature, self._drift_m, self._off_weight = temperature, drift_m, off_weight
        self._corner = self._middle.min(0)
        self._cell = np.rint((self._middle - self._corner) / step_m).astype(np.int64)
        cols, rows = (self._cell.max(0) + 1).tolist()
        if rows * cols > MOST_CELLS:
            raise MissionError(
                f"The gallery spans {rows} x {cols} steps, too many to track over. Use one a flight area."
            )
        self._shape = (rows, cols)
        self._at = self._cell[:, 1], self._cell[:, 0]
        self._share = (
            1.0 / np.bincount(np.ravel_multi_index(self._at, self._shape), minlength=rows * cols).clip(1)
        ).ravel()
        self._on = np.zeros(self._shape)
        self._on[self._at] = 1.0
        self._on *= (1.0 - START_OFF) / self._on.sum()
        self._known = self._on > 0
        self._off = START_OFF
        self._fresh = True

    def step(self, scores: FloatArray, moved_m: tuple[float, float] | None = None) -> TrackState:
        """Take in one picture's score of each place, (p,). ``moved_m``: odometry since the one before, or None."""
        if scores.shape != (len(self._middle),):
            raise MissionError(f"{scores.shape} scores came for {len(self._middle)} places. Use the track's gallery.")
        if not self._fresh:
            self._move(moved_m or (0.0, 0.0))
        self._fresh = False
        weight = np.zeros(self._shape)
        likely = np.exp((scores.astype(np.float64) - float(scores.max())) / self._temperature)
        np.maximum.at(weight, self._at, likely / likely.mean())
        self._on *= weight
        self._off *= self._off_weight
        whole = float(self._on.sum()) + self._off
        self._on /= whole
        self._off /= whole
        return self._state()

    def memento(self) -> tuple[Float64Array, float, bool]:
        """What ``restore`` takes to forget the pictures since."""
        return self._on.copy(), self._off, self._fresh

    def restore(self, memento: tuple[Float64Array, float, bool]) -> None:
        """Go back to where ``memento`` was taken."""
        self._on, self._off, self._fresh = memento[0].copy(), memento[1], memento[2]

    def _move(self, moved_m: tuple[float, float]) -> None:
        """Shift, widen; what lands outside the gallery is off the map, and some of what is off comes back anywhere."""
        on = self._on
        for axis, metres in ((1, moved_m[0]), (0, moved_m[1])):
            on = _carried(on, metres / self._step_m, self._drift_m / self._step_m, axis)
        on = np.where(self._known, on, 0.0)
        stays = (1.0 - LEAVE) * on
        returns = RETURN * self._off
        self._off = self._off - returns + (1.0 - self._off - float(stays.sum()))
        self._on = stays + returns * self._known / self._known.sum()

    def _state(self) -> TrackState:
        if self._off > 0.5:
            reason = f"the track so far is off the map with a chance of {self._off:.2f}"
            return TrackState("no match", reason, None, None, self._off)
        mass = self._on[self._at] * self._share[np.ravel_multi_index(self._at, self._shape)]
        mass = mass / mass.sum()
        near = np.abs(self._middle - self._middle[int(mass.argmax())]).max(1) < self._tile_m
        if float(mass[near].sum()) < SURE:
            reason = f"places that do not overlap are about as likely (the best has {mass[near].sum():.2f})"
            return TrackState("ambiguous", reason, None, None, self._off)
        middle = np.average(self._middle[near], axis=0, weights=mass[near])
        apart = ((self._middle - middle) ** 2).sum(1)
        error_m = float(np.sqrt(mass @ apart + 2.0 * self._step_m**2 / 12.0))
        return TrackState("fix", "", (float(middle[0]), float(middle[1])), error_m, self._off)


def _carried(mass: NDArray[np.float64], shift: float, sigma: float, axis: int) -> NDArray[np.float64]:
    """``mass`` moved by ``shift`` cells and widened by ``sigma`` cells along an axis; what leaves the grid is gone."""
    length = mass.shape[axis]
    reach = min(length + math.ceil(abs(shift)), max(1, math.ceil(abs(shift) + 4.0 * sigma)))
    offset = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * ((offset - shift) / max(sigma, 0.3)) ** 2)
    kernel /= kernel.sum()
    moved = np.moveaxis(mass, axis, -1)
    out = np.zeros_like(moved)
    for step, weight in zip(offset.tolist(), kernel.tolist(), strict=True):
        if weight < 1e-9 or abs(step) >= length:
            continue
        target, origin = slice(max(0, step), length + min(0, step)), slice(max(0, -step), length + min(0, -step))
        out[..., target] += weight * moved[..., origin]
    return np.moveaxis(out, -1, axis)
