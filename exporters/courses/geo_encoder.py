"""How the geo-localisation encoder is trained: pairs of one place by InfoNCE.

Takes a folder of two surveys (UAV profile: one encoder for both views), or one of ground and
aerial pictures. Settings that differ from the paper are decisions D18 to D21 of ``docs/zoo/geo-encoder.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from ..metrics.geolocation import found
from ..readers.geolocation import PAIRS, Surveys, ViewPairs, read_places, read_surveys, read_view_pairs
from ..tiles import Tiles
from .geo_encoder_views import MEAN, STD, coloured, mirrored, normalised, reduced, wobbled

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..training.course import Described

HELD_COLS = 1
"""Columns of places, next to the test area, that choose the epoch."""
SWITCHES = ("mixer", "layers", "channels", "mixed_rows", "pool", "backbone", "rows", "cols", "frozen")


class Batch(NamedTuple):
    """Pairs, (n, 3, e, e) normalised each."""

    query: Tensor
    reference: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class _Course:
    """What both kinds of pairs share."""

    size: str
    seed: int
    edge_px: int
    batch: int
    switches: Mapping[str, Any]
    steps_per_epoch: int
    jitter: bool = True
    network: str = "geo_encoder"
    metric: str = "mrr"

    def build(self) -> nn.Module:
        """The network with fresh weights from torch's current seed."""
        from ..registry import build_network

        return build_network(self.network, size=self.size, **self.switches)

    def loss(self, network: Any, batch: Any) -> dict[str, Tensor]:
        """``loss`` is minimised; ``r1`` is the share of the batch's pairs that find each other."""
        import torch

        from ..zoo.geo_encoder_loss import info_nce

        query, reference = batch
        both = network(torch.cat([query, reference]))
        one, other = both[: len(query)], both[len(query) :]
        right = (one @ other.T).argmax(1) == torch.arange(len(one), device=one.device)
        return {"loss": info_nce(one, other, network.log_scale.exp()), "r1": right.float().mean().detach()}


@dataclass(frozen=True, kw_only=True, eq=False)
class SurveyCourse(_Course):
    """Places cut at random from two surveys, and pictures of other places seen twice. Same epoch, same batches."""

    surveys: Surveys
    others: NDArray[np.uint8] | None = None
    """(n, 3, e, e): each is a place of which there is one picture; it fills half of each batch."""
    _planes: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def tile_px(self) -> int:
        """Side of a place in pixels of the surveys."""
        return self.surveys.places[0].edge_px

    @property
    def tile_m(self) -> float:
        """Side of a place on the ground."""
        return self.tile_px * self.surveys.gsd_m

    def fit_cols(self) -> tuple[int, int]:
        """Columns that training may look at: those of the split ``train`` without the ones held back."""
        places = self.surveys.of("train")
        right = max(place.col_px + place.edge_px for place in places)
        return min(place.col_px for place in places), right - HELD_COLS * self.tile_px

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Places at random, no two nearer than half a tile (D19), turned, scaled and coloured at random."""
        import torch

        rng = np.random.default_rng((self.seed, epoch))
        for _ in range(self.steps_per_epoch):
            count = self.batch if self.others is None else self.batch // 2
            centres = self._centres(rng, count)
            parts = [self._views(rng, centres)]
            if self.others is not None:
                parts.append(self._other_views(rng, self.batch - count))
            query, reference = (torch.cat([part[side] for part in parts]) for side in (0, 1))
            if self.jitter:
                query, reference = coloured(query, rng), coloured(reference, rng)
            yield Batch(normalised(query), normalised(reference))

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Places of the columns held back, each among the places of the whole training area."""
        left, right = self.fit_cols()
        step = self.tile_px // 4
        rows = range(0, self.surveys.query.shape[1] - self.tile_px + 1, step)
        asked = [(row, right) for row in rows]
        known = asked + [(row, col) for row in rows for col in range(left, right - self.tile_px + 1, 2 * step)]
        scores, distance_m = self._compare(network, asked, known, turned=False)
        return shares(found(scores, distance_m, 0.1).as_table())

    def test(self, network: nn.Module) -> dict[str, float]:
        """Two protocols on the test area. ``r1`` …: each place of one survey among all places of the other, the mean of
        both directions. ``dense_*``: places between, among tiles a quarter of a side apart, a hit within 10 m.
        """
        asked = [(place.row_px, place.col_px) for place in self.surveys.of("test")]
        known = [(place.row_px, place.col_px) for place in self.surveys.places]
        ways = [found(*self._compare(network, asked, known, turned=way), 0.1).as_table() for way in (False, True)]
        plain = {key: float(np.mean([way[key] for way in ways])) for key in ways[0]}
        dense = found(*self.dense(network), 10.0).as_table()
        counted = {"n": float(len(ways) * len(asked))}
        return {**shares(plain), **counted, **{f"dense_{key}": value for key, value in shares(dense).items()}}

    def dense(self, network: nn.Module) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Scores and distances of 100 places of the test area, anywhere, among all tiles of a dense gallery."""
        rng = np.random.default_rng(2025)
        rows, cols = self.surveys.query.shape[1:]
        edge, step = self.tile_px, self.tile_px // 4
        left = min(place.col_px for place in self.surveys.of("test"))
        asked = list(zip(rng.integers(0, rows - edge + 1, 100), rng.integers(left, cols - edge + 1, 100), strict=True))
        known = [(r, c) for r in range(0, rows - edge + 1, step) for c in range(0, cols - edge + 1, step)]
        return self._compare(network, asked, known, turned=False)

    def cut(self, corners: Any, *, reference: bool) -> NDArray[np.uint8]:
        """Tiles (n, 3, e, e) uint8 with their top left corners at (row, col)."""
        edge, whole = self.tile_px, self.surveys.reference if reference else self.surveys.query
        pixels = np.stack([whole[:, row : row + edge, col : col + edge] for row, col in corners])
        return reduced(pixels, self.edge_px)

    def tiles(self, split: str) -> Tiles:
        """Tiles of both surveys, a quarter of a side apart, inside the places of ``train`` or ``test``."""
        places = self.surveys.of(split)
        left = min(place.col_px for place in places)
        right = max(place.col_px + place.edge_px for place in places)
        edge, step = self.tile_px, self.tile_px // 4
        corners = [
            (row, col)
            for row in range(0, self.surveys.query.shape[1] - edge + 1, step)
            for col in range(left, right - edge + 1, step)
        ]
        both = [self.cut(corners, reference=side) for side in (False, True)]
        return Tiles(f"{self.surveys.name}-{split}", np.concatenate(both))

    def describe(self) -> Described:
        """What the checkpoint keeps beside the weights."""
        licence = "CC-BY-NC-SA-4.0" if self.others is None else "research use; redistribution unclear (other places)"
        notes = {"tile_m": self.tile_m}
        gsd_m = self.tile_m / self.edge_px
        return _described(self.surveys.name, licence, self.edge_px, notes, (0.5 * gsd_m, 2.0 * gsd_m))

    def _compare(
        self, network: nn.Module, asked: Any, known: Any, *, turned: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        query = embedded(network, self.cut(asked, reference=turned))
        gallery = embedded(network, self.cut(known, reference=not turned))
        here, there = np.asarray(asked, dtype=float), np.asarray(known, dtype=float)
        distance_px = np.linalg.norm(here[:, None] - there[None], axis=2)
        return query @ gallery.T, distance_px * self.surveys.gsd_m

    def _centres(self, rng: np.random.Generator, count: int) -> NDArray[np.float64]:
        """(n, 2) row and column; fewer than ``count`` where no more fit apart."""
        left, right = self.fit_cols()
        half = self.tile_px / 2
        low = np.array([half, left + half])
        high = np.array([self.surveys.query.shape[1] - half, right - half])
        kept: list[NDArray[np.float64]] = []
        for point in rng.uniform(low, high, (40 * count, 2)):
            if all(np.abs(point - other).max() >= half for other in kept):
                kept.append(point)
            if len(kept) == count:
                break
        return np.array(kept)

    def _views(self, rng: np.random.Generator, centres: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
        count, (rows, cols) = len(centres), self.surveys.query.shape[1:]
        middle = 2.0 * centres / (rows, cols) - 1.0
        quarter = rng.integers(0, 4, count) * (np.pi / 2)
        places = []
        for plane in ("query", "reference"):
            angle = quarter + np.deg2rad(rng.uniform(-8.0, 8.0, count))
            zoom = rng.uniform(0.92, 1.09, count) * self.tile_px
            shift = rng.uniform(-1.0, 1.0, (count, 2)) * (0.06 * self.tile_px * 2.0 / np.array([rows, cols]))
            places.append(self._sampled(plane, middle + shift, angle, zoom))
        flip = rng.random(count) < 0.5
        return tuple(mirrored(part, flip) for part in places)  # type: ignore[return-value]

    def _sampled(self, plane: str, middle: NDArray[Any], angle: NDArray[Any], zoom: NDArray[Any]) -> Tensor:
        """Views of a survey, which is first reduced to the scale of the tiles."""
        import torch
        import torch.nn.functional as F

        if plane not in self._planes:
            whole = torch.from_numpy(getattr(self.surveys, plane)).float()[None] / 255.0
            self._planes[plane] = F.avg_pool2d(whole, max(1, self.tile_px // self.edge_px))
        rows, cols = self.surveys.query.shape[1:]
        theta = np.zeros((len(middle), 2, 3), dtype=np.float32)
        theta[:, 0, 0], theta[:, 0, 1] = zoom / cols * np.cos(angle), -zoom / cols * np.sin(angle)
        theta[:, 1, 0], theta[:, 1, 1] = zoom / rows * np.sin(angle), zoom / rows * np.cos(angle)
        theta[:, 0, 2], theta[:, 1, 2] = middle[:, 1], middle[:, 0]
        grid = F.affine_grid(torch.from_numpy(theta), [len(middle), 3, self.edge_px, self.edge_px], align_corners=False)
        flat = grid.reshape(1, -1, self.edge_px, 2)
        views = F.grid_sample(self._planes[plane], flat, padding_mode="reflection", align_corners=False)
        return views.view(3, len(middle), self.edge_px, self.edge_px).transpose(0, 1)

    def _other_views(self, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
        import torch

        assert self.others is not None
        chosen = rng.choice(len(self.others), count, replace=False)
        larger = torch.from_numpy(self.others[chosen]).float() / 255.0
        return wobbled(larger, self.edge_px, rng), wobbled(larger, self.edge_px, rng)


@dataclass(frozen=True, kw_only=True, eq=False)
class PairCourse(_Course):
    """Ground and aerial pictures of one place, one encoder for both. A smoke test: eight pairs teach nothing."""

    fit: ViewPairs
    tested: ViewPairs

    def batches(self, epoch: int) -> Iterator[Batch]:
        """All pairs, in another order and colour each time."""
        import torch

        rng = np.random.default_rng((self.seed, epoch))
        for _ in range(self.steps_per_epoch):
            order = rng.permutation(len(self.fit))[: self.batch]
            views = [torch.from_numpy(part[order]).float() / 255.0 for part in (self.fit.ground, self.fit.aerial)]
            ground, aerial = (coloured(view, rng) for view in views)
            yield Batch(normalised(ground), normalised(aerial))

    def validate(self, network: nn.Module) -> dict[str, float]:
        """On the training pairs: there are too few to hold any back."""
        return self._figures(network, self.fit)

    def test(self, network: nn.Module) -> dict[str, float]:
        """Each street view of the test pairs among their aerial pictures."""
        return self._figures(network, self.tested)

    def tiles(self, split: str) -> Tiles:
        """The pictures of ``train`` or ``test``."""
        pairs = self.fit if split == "train" else self.tested
        return Tiles(pairs.name, np.concatenate([pairs.ground, pairs.aerial]))

    def describe(self) -> Described:
        """What the checkpoint keeps beside the weights."""
        return _described(self.fit.name, "research use; redistribution unclear", self.edge_px, {}, (0.05, 1.0))

    def _figures(self, network: nn.Module, pairs: ViewPairs) -> dict[str, float]:
        scores = embedded(network, pairs.ground) @ embedded(network, pairs.aerial).T
        table = found(scores, 1.0 - np.eye(len(pairs)), 0.5).as_table()
        return {key: value for key, value in shares(table).items() if key != "median_m"}


def course(
    data: Path,
    *,
    size: str = "edge",
    seed: int = 0,
    edge_px: int = 64,
    batch: int = 48,
    steps: int = 25,
    others: str = "",
    others_most: int = 400,
    jitter: bool = True,
    **switches: Any,
) -> SurveyCourse | PairCourse:
    """Train on the pairs in ``data``. ``others``: a folder of aerial pictures of further places, to learn from as well.

    ``switches``: those of ``GeoEncoder``. Raises ``DatasetError``.
    """
    if unknown := sorted(set(switches) - set(SWITCHES)):
        raise DatasetError(f"The encoder has no switch {unknown}. Use {', '.join(SWITCHES)}.")
    if batch < 2 or steps < 1:
        raise DatasetError(f"A batch of {batch} pairs and {steps} steps an epoch teach nothing. Use at least 2 and 1.")
    shared: dict[str, Any] = {
        "size": size,
        "seed": seed,
        "edge_px": edge_px,
        "batch": batch,
        "switches": {"rows": edge_px, "cols": edge_px, **switches},
        "steps_per_epoch": steps,
        "jitter": jitter,
    }
    if (data / PAIRS).is_file():
        fit, tested = (read_view_pairs(data, split, edge_px) for split in ("train", "test"))
        return PairCourse(**shared, fit=fit, tested=tested)
    surveys = read_surveys(data)
    if not surveys.of("train") or not surveys.of("test"):
        raise DatasetError(f"{data} needs places of both splits, train and test. Split tiles.csv by area.")
    more = read_places(Path(others), 2 * edge_px, others_most) if others else None
    return SurveyCourse(**shared, surveys=surveys, others=more)


def _described(
    dataset: str, licence: str, edge_px: int, notes: dict[str, Any], gsd_range_m: tuple[float, float]
) -> Described:
    from ..training.course import Described

    return Described(
        classes=(),
        bands=("red", "green", "blue"),
        edge_px=edge_px,
        mean=MEAN,
        std=STD,
        dtype="uint8",
        dataset=dataset,
        licence=licence,
        notes=notes,
        gsd_range_m=gsd_range_m,
    )


def shares(table: Mapping[str, float]) -> dict[str, float]:
    """Recalls as shares of 1; metres and ranks as they are."""
    return {key: 0.01 * value if key.startswith("r") else value for key, value in table.items()}


def embedded(network: nn.Module, tiles: NDArray[np.uint8], *, chunk: int = 64) -> NDArray[np.float32]:
    """(n, 3, e, e) uint8 to (n, dim) unit vectors."""
    import torch

    network.eval()
    device = next(network.parameters()).device
    with torch.inference_mode():
        parts = torch.split(torch.from_numpy(tiles), chunk)
        out = torch.cat([network(normalised(part.float() / 255.0).to(device)) for part in parts])
    vectors: NDArray[np.float32] = out.float().cpu().numpy()
    return vectors
