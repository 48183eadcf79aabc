"""Clouds filled by a network that makes pixels up: optical image and radar in, image and mask of what was made up out.

A package of the task ``declouded`` is either the whole of it (kind ``map``, its last channel the mask; see
``runtime.tasks.values``) or one step of a sampler: then the loop, the paste and the noise are done here, in numpy.
Noise is a function of seed, step and place, so that neighbouring tiles of one scene share it, and the seed stands in
the file. Pixels outside the cloud come back bit for bit. A tile with more cloud than ``Sampling.most_cloud_frac``
fails: there is too little left to go by.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.package import Golden, ModelPackage, Profile
from exporters.records import PackageInfo
from exporters.zoo.cm_cr_sampler import (
    STEP_BANDS,
    Sampling,
    fill,
    noise_at,
    paste,
    scale_optical,
    unscale_optical,
)

from ..engines.engine import Engine
from ..errors import EngineError, FrameError
from ..frame import Frame, Patch, read_square
from ..frames.bands import GENERATED, choose_bands
from ..georeference import Box
from ..records import FloatArray, TileArray, TileOutcome, TileRef
from .values import MapTask

OPTICAL, RADAR, CLOUD = ("red", "green", "blue"), ("vv", "vh"), "cloud"
SCENE_BANDS = (*OPTICAL, *RADAR, CLOUD)
"""What a sampler takes of a scene: reflectance times 10000, dB, and more than one half where there is cloud."""
PLACE = ("row_px", "col_px")
"""Bands of ``PlacedFrame``."""
SAMPLING_TAG = "SUBSOLAR_SAMPLING"
"""Tag of the file: steps, seed and limit as JSON."""
MISSING = "picture, radar or cloud mask do not cover the whole tile, so nothing was made up"
GOLDEN_TOLERANCE_DN = 50.0
_REFLECTANCE_MAX = 2.0
"""Where no pixel is brighter than this, the scene is in 0..1 and not in 0..10000."""


def declouder(*, engine: Engine, package: ModelPackage, sampling: Sampling | None = None) -> MapTask:
    """The task of a ``declouded`` package: with a sampler around it if it is one step of one."""
    if package.info.bands != STEP_BANDS:
        return MapTask(engine=engine, package=package)
    chosen = sampling or Sampling(steps=runs_a_tile(package.info))
    seen = _seen_from_outside(package, (*SCENE_BANDS, *PLACE))
    timed = replace(seen, profile=_of_all_steps(package.profile, chosen.steps))
    return Declouder(engine=Sampler(engine, chosen), package=timed, sampling=chosen)


def runs_a_tile(info: PackageInfo) -> int:
    """How often a package's network runs for one tile; its profile is of one run.

    A tile without cloud costs nothing, so this is the most.
    """
    return int(info.training.get("steps", Sampling().steps)) if info.bands == STEP_BANDS else 1


@dataclass(frozen=True, slots=True)
class Sampler:
    """An engine around an engine: scene bands in, the filled image and its mask out."""

    step: Engine
    sampling: Sampling

    @property
    def name(self) -> str:
        """The package's."""
        return self.step.name

    @property
    def provider(self) -> str:
        """What really runs the steps."""
        return self.step.provider

    def infer(self, batch: TileArray) -> FloatArray:
        """(n, 6 or 8, e, e) float32 in: ``SCENE_BANDS``, and ``PLACE`` where noise follows the scene, not the tile.

        (n, 4, e, e) out: red, green, blue, and 1 where they are made up. Tiles with too much cloud are NaN but for that
        mask, and so are those that lack picture, radar or cloud mask somewhere; of these that is 0: nothing was made
        up. Raises ``EngineError`` for values that are no decibels or no reflectance times 10000.
        """
        tiles = np.asarray(batch, dtype=np.float32)
        whole = np.isfinite(tiles[:, : len(SCENE_BANDS)]).reshape(len(tiles), -1).min(axis=1)
        optical, radar, cloud = tiles[:, :3], tiles[:, 3:5], (tiles[:, 5:6] > 0.5) & whole[:, None, None, None]
        share = cloud.mean(axis=(1, 2, 3))
        answer = np.concatenate([optical, cloud], axis=1).astype(np.float32)
        answer[(share > self.sampling.most_cloud_frac) | ~whole, :3] = np.nan
        work = (share > 0.0) & (share <= self.sampling.most_cloud_frac)
        if work.any():
            _check_units(optical[work], radar[work])
            rows, cols = _places(tiles[work])
            made = fill(
                self._step,
                *(scale_optical(optical[work]), cloud[work], radar[work]),
                lambda number: noise_at(rows, cols, seed=self.sampling.seed, step=number),
                steps=self.sampling.steps,
            )
            answer[work, :3] = paste(unscale_optical(made), optical[work], cloud[work])
        return answer

    def close(self) -> None:
        """Give back what runs the steps."""
        self.step.close()

    def _step(self, noisy: FloatArray, level: float, radar: FloatArray) -> FloatArray:
        plane = np.full_like(noisy[:, :1], level)
        answer = self.step.infer(np.ascontiguousarray(np.concatenate([noisy, radar, plane], axis=1)))
        if answer.shape != noisy.shape:
            raise EngineError(f"{self.name} answered {answer.shape}, expected {noisy.shape}. Export it again.")
        return answer


@dataclass(frozen=True, kw_only=True)
class Declouder(MapTask):
    """A sampler with its package as a scene sees it: bands of the scene in, image and mask out."""

    sampling: Sampling = field(default_factory=Sampling)

    @property
    def tags(self) -> dict[str, str]:
        """See ``MapTask.tags``: what reproduces the made-up pixels."""
        package = {"package": self.package.info.id, "sha256": self.package.sha256}
        return {SAMPLING_TAG: json.dumps({**self.sampling.as_table(), **package})}

    def in_flight(self) -> Declouder:
        """The same for tiles that do not know where they lie in their scene: their noise starts at their corner.

        Its golden tile has half its pixels filled, as they were right after the engine passed its own self-test.
        """
        package = _seen_from_outside(self.package, SCENE_BANDS)
        tile = _golden_scene(package)
        golden = Golden(tile, self.engine.infer(tile), GOLDEN_TOLERANCE_DN)
        return replace(self, package=replace(package, golden=golden, info=replace(package.info, variants=())))

    def placed_on(self, frame: Frame) -> PlacedFrame:
        """``frame`` with each pixel's place. Raises ``FrameError`` where radar or cloud mask is missing."""
        try:
            choose_bands(frame.bands, SCENE_BANDS, frame.frame_id)
        except FrameError as error:
            raise FrameError(
                f"{error} {self.package.info.id} needs radar in dB and a cloud mask of the same place: "
                "--with sar:vv,vh=RADAR --with cloud=MASK."
            ) from error
        return PlacedFrame(frame)

    def levels(self, refs: Sequence[TileRef], raw: FloatArray) -> tuple[FloatArray, list[TileOutcome]]:
        """See ``MapTask.levels``; a tile that was not filled says why."""
        values, outcomes = super().levels(refs, raw)
        limit, share = self.sampling.most_cloud_frac, _made_up_frac(raw)
        for number, outcome in enumerate(outcomes):
            if outcome.outcome == "failed" and share[number] > limit:
                outcomes[number] = replace(outcome, reason=_too_much(self.sampling))
            elif outcome.outcome == "failed" and share[number] == 0.0:
                outcomes[number] = replace(outcome, reason=MISSING)
        return values, outcomes

    def score(self, peak: float) -> float:
        """The share of a tile's pixels that were measured; ``peak`` is that of those made up."""
        return 1.0 - peak

    def read(
        self, refs: Sequence[TileRef], raw: FloatArray, view: Any
    ) -> tuple[list[tuple[TileRef, float]], list[TileOutcome]]:
        """See ``runtime.answers.Reader.read``: tiles that are done, with the share of them that was made up.

        Those that give nothing to go by are shed: that is the scene's doing, not the network's.
        """
        _, ended = self.levels(refs, raw)
        share = _made_up_frac(raw)
        outcomes = [
            replace(one, outcome="shed") if one.reason in (MISSING, _too_much(self.sampling)) else one for one in ended
        ]
        done = [number for number, outcome in enumerate(outcomes) if outcome.outcome == "done"]
        return [(refs[number], float(share[number])) for number in done], outcomes


class PlacedFrame:
    """A frame like ``frame`` with two more bands: row and column of each pixel, exact up to 2**24."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self.frame_id, self.bands = frame.frame_id, (*frame.bands, *PLACE)
        self.width_px, self.height_px = frame.width_px, frame.height_px
        self.dtype, self.tile_dtype = frame.dtype, frame.tile_dtype
        self.gsd_m, self.georeference, self.captured_unix_s = frame.gsd_m, frame.georeference, frame.captured_unix_s

    def __getattr__(self, name: str) -> Any:
        """What else the frame has, such as its file."""
        return getattr(self._frame, name)

    def close(self) -> None:
        """Release the frame's files."""
        self._frame.close()

    def window(self, box: Box, bands: Sequence[int]) -> Patch:
        """See ``Frame.window``. At least one band must be the frame's own."""
        own = len(self._frame.bands)
        patch = self._frame.window(box, [band for band in bands if band < own])
        rows, cols = np.indices(patch.pixels.shape[1:], dtype=np.float32)
        planes = iter(patch.pixels)
        place = rows + np.float32(box.row_px), cols + np.float32(box.col_px)
        pixels = [next(planes) if band < own else place[band - own] for band in bands]
        return Patch(np.stack(pixels).astype(self.tile_dtype), patch.valid)

    def read(self, row_px: int, col_px: int, edge_px: int, bands: Sequence[int]) -> TileArray:
        """A square tile; see ``Frame.read``."""
        return read_square(self, row_px, col_px, edge_px, bands).pixels


def generated_apart(
    refs: Sequence[TileRef], frame_of: Callable[[TileRef], Frame]
) -> tuple[list[TileRef], list[TileRef]]:
    """Tiles that were measured as a whole, and tiles that show a pixel that a network made up.

    ``frame_of`` opens a tile's frame for float32, in which the mask's 1 stays 1. A frame that cannot be opened or read
    is for the reader that comes next to complain of.
    """
    measured: list[TileRef] = []
    made_up: list[TileRef] = []
    for ref in refs:
        try:
            frame = frame_of(ref)
            shown = GENERATED in frame.bands and _shows_generated(frame, ref)
        except FrameError:
            shown = False
        (made_up if shown else measured).append(ref)
    return measured, made_up


def _shows_generated(frame: Frame, ref: TileRef) -> bool:
    mask = frame.read(ref.row_px, ref.col_px, ref.edge_px, (frame.bands.index(GENERATED),))
    return bool((np.nan_to_num(mask) > 0).any())


def _seen_from_outside(package: ModelPackage, bands: tuple[str, ...]) -> ModelPackage:
    """The package with the bands that its sampler takes and the four channels that it gives."""
    info: PackageInfo = package.info
    given = replace(info.input, bands=bands)
    return replace(package, info=replace(info, input=given, output=replace(info.output, channels=len(OPTICAL) + 1)))


def _of_all_steps(profile: Profile, steps: int) -> Profile:
    """What a tile takes in all steps, from the measurements of one."""
    entries = [
        replace(
            one,
            latency_p50_s=one.latency_p50_s * steps,
            latency_p99_s=one.latency_p99_s * steps,
            tile_s=one.tile_s * steps,
            tile_s_ci95=(one.tile_s_ci95[0] * steps, one.tile_s_ci95[1] * steps),
            energy_j_per_tile=one.energy_j_per_tile * steps,
            energy_ci95=None if one.energy_ci95 is None else (one.energy_ci95[0] * steps, one.energy_ci95[1] * steps),
            throughput_hz=None if one.throughput_hz is None else one.throughput_hz / steps,
        )
        for one in profile.measurements
    ]
    return replace(profile, measurements=tuple(entries))


def _golden_scene(package: ModelPackage) -> FloatArray:
    """(1, 6, e, e): the radar of the package's first golden tile, a grey image, cloud over its left half."""
    radar = package.golden.tiles[:1, len(OPTICAL) : len(OPTICAL) + len(RADAR)].astype(np.float32)
    optical = np.full((1, len(OPTICAL), *radar.shape[2:]), 1500.0, dtype=np.float32)
    cloud = np.zeros_like(radar[:, :1])
    cloud[..., : cloud.shape[-1] // 2] = 1.0
    return np.concatenate([optical, radar, cloud], axis=1)


def _too_much(sampling: Sampling) -> str:
    return f"too much cloud: more than {sampling.most_cloud_frac:.0%} of the tile, so nothing was made up"


def _made_up_frac(raw: FloatArray) -> NDArray[np.float64]:
    share: NDArray[np.float64] = (raw[:, -1] > 0.5).mean(axis=(1, 2))
    return share


def _places(tiles: FloatArray) -> tuple[NDArray[Any], NDArray[Any]]:
    """(n, e, e) rows and columns: of the scene where the tiles know them, else of each tile."""
    if tiles.shape[1] == len(SCENE_BANDS) + len(PLACE):
        return tiles[:, -2], tiles[:, -1]
    rows, cols = np.indices(tiles.shape[2:])
    shape = (len(tiles), *tiles.shape[2:])
    return np.broadcast_to(rows, shape), np.broadcast_to(cols, shape)


def _check_units(optical: FloatArray, radar: FloatArray) -> None:
    if not (radar < 0.0).any():
        raise EngineError(
            f"The radar bands hold {radar.min():.3g} to {radar.max():.3g}, which are no decibels of backscatter: none "
            "is below 0. Give sigma nought in dB."
        )
    if 0.0 < optical.max() <= _REFLECTANCE_MAX:
        raise EngineError(
            f"The optical bands reach {optical.max():.3g}, as reflectance of 0..1 does. Give reflectance times 10000."
        )
