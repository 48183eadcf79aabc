"""How JSPSR is trained where there are LiDAR tiles: coarse models are made of them (specs/11-jspsr.md, section 3).

San Diego's rows 0 to 699 are for training, of which the right 300 columns choose the epoch; its other rows, and all of
UBC and Alexandria, are for the test. There is no picture of these places, so the branch of the picture is left out; the
guide of the surface is the share that is built over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from ..baselines.upsampling import cubic, opened
from ..errors import DatasetError
from ..metrics.terrain import height_error
from ..readers.terrain import HeightPair, Heights, block_mean, dfc30_samples, make_pair, outlines, read_heights
from ..registry import build_network
from ..tiles import Tiles
from .jspsr_dfc30 import AUX, DfcCourse
from .jspsr_objects import town

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..training.course import Described
    from ..zoo.jspsr import JSPSR

Float32Array = NDArray[np.float32]
RELIEFS = ("terrain", "surface")
RECIPE = {"epochs": 12, "lr": 2e-3, "weight_decay": 1e-6, "ema_decay": 0.0, "warmup_frac": 0.1}
TRAIN_ROWS, HELD_COLS = 700, 300
"""Of San Diego's 1000 x 1000 m: the README's split, and the columns that are held back from training."""
COARSE_M = 30.0
_FINE_M = {"terrain": 5.0, "surface": 6.0}
_WINDOWS_PX = (1, 5, 9, 13, 17, 21, 25, 33)
_FILES = {"sandiego": "sandiego_dtm_1m.nc", "ubc": "ubc_dtm_1m.tif"}
_MOST_TILES = 320
_SIMULATED = 6
"""Simulated towns over the held-back columns."""


@dataclass(frozen=True, kw_only=True)
class TerrainCourse:
    """``relief`` "terrain": sharpen bare ground. "surface": also take off what stands on it, made up in training."""

    network: str = "jspsr"
    size: str = "edge"
    switches: Mapping[str, Any] = field(default_factory=dict)
    metric: str = "gain_frac"
    relief: str = "terrain"
    ground: Heights
    """1 m terrain to train on."""
    held: Heights
    """1 m terrain that chooses the epoch."""
    tests: Sequence[HeightPair]
    guided: bool = False
    seed: int = 0
    edge_px: int = 48
    batch: int = 8
    steps_per_epoch: int = 25

    @property
    def recipe(self) -> Mapping[str, Any]:
        """Settings of the training loop that suit it."""
        return RECIPE

    @property
    def fine_m(self) -> float:
        """Grid of the answers."""
        return _FINE_M[self.relief]

    def build(self) -> nn.Module:
        """The network with fresh weights."""
        return build_network(self.network, size=self.size, **self.switches)

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(n, bands, edge, edge) given heights in m and guides, and (n, 1, edge, edge) terrain in m."""
        import torch

        rng = np.random.default_rng((self.seed, epoch))
        for _ in range(self.steps_per_epoch):
            drawn = [self._crop(self.ground, rng) for _ in range(self.batch)]
            yield torch.from_numpy(np.stack([d[0] for d in drawn])), torch.from_numpy(np.stack([d[1] for d in drawn]))

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """The card's, in the scaled domain; both sides relative to the lowest given height of the crop."""
        import torch

        from ..zoo.jspsr_loss import height_loss
        from ..zoo.jspsr_scaling import scaled

        net = cast("JSPSR", network)
        given, truth = batch
        base = given[:, :1].amin((2, 3), keepdim=True)
        how: dict[str, Any] = {"scaling": net.scaling, "low_m": net.low_m, "high_m": net.high_m}
        share = scaled(given[:, :1] - base, **how)
        return height_loss(net(torch.cat([share, given[:, 1:]], dim=1)).float(), scaled(truth - base, **how))

    def validate(self, network: nn.Module) -> dict[str, float]:
        """RMSE over the held-back columns, and by what share it is below that of cubic upsampling."""
        ours = height_error((self.refine(network, pair), pair.truth_m) for pair in self._held_pairs)
        plain = height_error((pair.given_m, pair.truth_m) for pair in self._held_pairs)
        return {"rmse_m": ours.rmse_m, "cubic_rmse_m": plain.rmse_m, "gain_frac": 1 - ours.rmse_m / plain.rmse_m}

    def test(self, network: nn.Module) -> dict[str, float]:
        """Of each test area: ours, both cubic interpolations and, for the surface, the ground filter."""
        found: dict[str, float] = {}
        for pair in self.tests:
            ours = height_error([(self.refine(network, pair), pair.truth_m)])
            plain = height_error([(pair.given_m, pair.truth_m)])
            steps = pair.truth_m.shape[0] // pair.coarse_m.shape[0]
            spline = height_error([(cubic(pair.coarse_m, steps, kernel="spline"), pair.truth_m)])
            found |= ours.named(f"{pair.name}-") | plain.named(f"{pair.name}-cubic-")
            found[f"{pair.name}-spline-rmse_m"] = spline.rmse_m
            if self.relief == "surface":
                cut = opened(pair.given_m, self.filter_px)
                found |= height_error([(cut, pair.truth_m)]).named(f"{pair.name}-filter-")
        first = self.tests[0].name
        gain = 1 - found[f"{first}-rmse_m"] / found[f"{first}-cubic-rmse_m"]
        return {"gain_frac": gain, "filter_px": float(self.filter_px if self.relief == "surface" else 1), **found}

    def describe(self) -> Described:
        """What the package says: heights in m and guides in, heights in m out."""
        from ..training.course import Described

        guides = ("built",) if self.guided else ()
        known = self.ground.values_m[np.isfinite(self.ground.values_m)]
        return Described(
            classes=("terrain",),
            bands=("dem", *guides),
            edge_px=self.edge_px,
            mean=(float(known.mean()), *(0.0 for _ in guides)),
            std=(float(known.std()), *(1.0 for _ in guides)),
            dtype="float32",
            dataset="USGS one-metre terrain of eastern San Diego County, made coarse by block means"
            + (", with made-up buildings and trees" if self.relief == "surface" else ""),
            licence="Apache-2.0",
            unit="m",
            gsd_range_m=(4.0, 8.0),
            notes={"relief": self.relief, "coarse_m": COARSE_M, "fine_m": self.fine_m},
        )

    def tiles(self, split: str) -> Tiles:
        """Overlapping tiles of the test areas, or of the held-back columns, as a package is fed."""
        pairs = self._held_pairs if split == "train" else self.tests
        edge, cut = self.edge_px, []
        for pair in pairs:
            stacked = pair.stacked
            rows, cols = stacked.shape[1:]
            for top in range(0, rows - edge + 1, 2):
                cut += [stacked[:, top : top + edge, at : at + edge] for at in range(0, cols - edge + 1, 3)]
        kept = cut[:: -(-len(cut) // _MOST_TILES)]
        return Tiles(f"{self.relief}/{split}", np.ascontiguousarray(np.stack(kept)))

    def refine(self, network: nn.Module, pair: HeightPair) -> NDArray[np.float64]:
        """(rows, cols) terrain in m, from tiles as a package answers them, faded across their overlaps."""
        from ..zoo.jspsr_deploy import TerrainMap

        module = TerrainMap(cast("JSPSR", network.eval()), self.describe().std[1:])
        return blended(module, pair.stacked, self.edge_px)

    @cached_property
    def filter_px(self) -> int:
        """The window of the ground filter that does best on the held-back columns."""
        errors = {
            px: height_error((opened(pair.given_m, px), pair.truth_m) for pair in self._held_pairs).rmse_m
            for px in _WINDOWS_PX
        }
        return min(errors, key=lambda px: errors[px])

    @cached_property
    def _held_pairs(self) -> tuple[HeightPair, ...]:
        if self.relief == "terrain":
            return (make_pair("held", self.held, self.held, coarse_m=COARSE_M, fine_m=self.fine_m),)
        rng = np.random.default_rng(2)
        return tuple(self._pair(self.held.values_m, rng, f"held-{number}") for number in range(_SIMULATED))

    def _crop(self, ground: Heights, rng: np.random.Generator) -> tuple[Float32Array, Float32Array]:
        """A window anywhere, its coarse grid too, turned and flipped: (bands, edge, edge) and (1, edge, edge)."""
        steps = round(COARSE_M / self.fine_m)
        side = (-(-self.edge_px // steps) + 3) * round(COARSE_M)
        top, left = (int(rng.integers(size - side + 1)) for size in ground.values_m.shape)
        window = ground.values_m[top : top + side, left : left + side]
        if self.relief == "terrain":
            fine = block_mean(window, round(self.fine_m))
            given = cubic(block_mean(window, round(COARSE_M)), steps).astype(np.float32)
            both = np.stack([given, fine])
        else:
            pair = self._pair(window, rng, "")
            both = np.concatenate([pair.stacked, pair.truth_m[None]])
        row, col = (int(rng.integers(steps, size - self.edge_px - steps + 1)) for size in both.shape[1:])
        both = np.rot90(both[:, row : row + self.edge_px, col : col + self.edge_px], int(rng.integers(4)), (1, 2))
        both = np.ascontiguousarray(both[:, :, ::-1] if rng.integers(2) else both)
        return both[:-1], both[-1:]

    def _pair(self, ground_m: Float32Array, rng: np.random.Generator, name: str) -> HeightPair:
        """Ground of lesser relief with a town on it, on a grid of 3 m."""
        middle = float(ground_m.mean())
        ground = block_mean((ground_m - middle) * np.float32(rng.uniform(0.02, 0.6)) + middle, 3)
        objects_m, built = town(rng, (ground.shape[0], ground.shape[1]), 3.0)
        terrain = Heights(name, ground, 3.0, (3.0, 0.0, 0.0, 0.0, -3.0, 0.0), "")
        surface = Heights(name, ground + objects_m, 3.0, terrain.affine, "")
        guide = built[None] if self.guided else None
        return make_pair(name, surface, terrain, coarse_m=COARSE_M, fine_m=self.fine_m, guide=guide)


def course(
    data: Path,
    *,
    size: str = "edge",
    seed: int = 0,
    relief: str = "terrain",
    guided: bool | None = None,
    edge_px: int = 48,
    batch: int = 8,
    steps_per_epoch: int = 25,
    fusion: str = "concat",
    refinement: bool = True,
    scaling: str = "log",
    width: int | None = None,
    guide: str = "",
) -> TerrainCourse | DfcCourse:
    """The course on ``data``: LiDAR tiles, or DFC30 where the folder is ``DFC30_8m`` or ``DFC30_3m``.

    ``guided``: whether the surface comes with what is built over. ``guide``, of DFC30: "", "landuse" or "canopy". What
    stands between ``steps_per_epoch`` and ``guide`` are switches of the network. Raises DatasetError.
    """
    usual: dict[str, Any] = {"fusion": "concat", "refinement": True, "scaling": "log", "width": None}
    given = {"fusion": fusion, "refinement": refinement, "scaling": scaling, "width": width}
    changed = {key: value for key, value in given.items() if value != usual[key]}
    if data.name.startswith("DFC30"):
        return _dfc30(data, size, seed, guide, changed)
    folder = data / "dem-lidar-tiles" if (data / "dem-lidar-tiles").is_dir() else data
    guided = relief == "surface" if guided is None else guided
    if relief not in RELIEFS or (guided and relief == "terrain"):
        raise DatasetError(f"There is no relief {relief!r} with guided={guided}. Use terrain, or surface with a guide.")
    if edge_px % 8 or edge_px < 16 or edge_px > 56:
        raise DatasetError(f"Tiles of {edge_px} px do not fit the areas. Use a multiple of 8 from 16 to 56.")
    whole = read_heights(folder / _FILES["sandiego"])
    train = whole.part(slice(0, TRAIN_ROWS))
    return TerrainCourse(
        size=size,
        switches={"image_bands": 0, "aux_bands": int(guided), **changed},
        relief=relief,
        ground=train.part(slice(None), slice(0, -HELD_COLS)),
        held=train.part(slice(None), slice(-HELD_COLS, None)),
        tests=_terrain_tests(folder, whole) if relief == "terrain" else _surface_tests(folder, guided),
        guided=guided,
        seed=seed,
        edge_px=edge_px,
        batch=batch,
        steps_per_epoch=steps_per_epoch,
    )


def _dfc30(data: Path, size: str, seed: int, guide: str, changed: Mapping[str, Any]) -> DfcCourse:
    samples, tests = (dfc30_samples(data, split, guide=guide) for split in ("train", "test"))
    fine = data.name == "DFC30_3m"
    return DfcCourse(
        size=size,
        switches={"aux_bands": len(AUX[guide]), **({"high_m": 933.0} if fine else {}), **changed},
        samples=samples,
        tests=tests,
        guide=guide,
        seed=seed,
        gsd_m=3.0 if fine else 8.0,
        steps_per_epoch=max(1, len(samples) // 17),
    )


def blended(module: nn.Module, stacked: Float32Array, edge_px: int) -> NDArray[np.float64]:
    """(rows, cols) of what ``module`` answers to tiles of (bands, rows, cols) that overlap by half.

    Weights rise by one a pixel from a tile's border, at most a quarter of its edge.
    """
    import torch

    rows, cols = stacked.shape[1:]
    if min(rows, cols) < edge_px:
        raise DatasetError(f"{rows} x {cols} px are too few for tiles of {edge_px} px. Give a larger area.")
    ramp = np.minimum(np.minimum(np.arange(edge_px), np.arange(edge_px)[::-1]), edge_px // 4) + 1.0
    weight = ramp[:, None] * ramp[None, :]
    total, weights = np.zeros((rows, cols)), np.zeros((rows, cols))
    places = [(top, left) for top in _starts(rows, edge_px) for left in _starts(cols, edge_px)]
    cut = np.stack([stacked[:, top : top + edge_px, left : left + edge_px] for top, left in places])
    with torch.inference_mode():
        answers = np.concatenate([module(part).numpy() for part in torch.split(torch.from_numpy(cut), 8)])
    for (top, left), answer in zip(places, answers[:, 0], strict=True):
        spot = (slice(top, top + edge_px), slice(left, left + edge_px))
        total[spot] += weight * answer
        weights[spot] += weight
    return total / weights


def _starts(size_px: int, edge_px: int) -> list[int]:
    return [*range(0, size_px - edge_px, edge_px // 2), size_px - edge_px]


def _terrain_tests(folder: Path, sandiego: Heights) -> tuple[HeightPair, ...]:
    test = sandiego.part(slice(TRAIN_ROWS, None))
    ubc = read_heights(folder / _FILES["ubc"])
    return (make_pair("sandiego", test, test), make_pair("ubc", ubc, ubc))


def _surface_tests(folder: Path, guided: bool) -> tuple[HeightPair, ...]:
    terrain = read_heights(folder / "alexandria_dtm_2m.tif")
    surface = read_heights(folder / "alexandria_dsm_2m.tif")
    guide = outlines(folder / "alexandria_buildings.geojson", surface)[None] if guided else None
    return (make_pair("alexandria", surface, terrain, fine_m=_FINE_M["surface"], guide=guide),)
