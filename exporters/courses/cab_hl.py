"""How CAB-HL is trained: patches around labelled pixels (specs/09-hsi-lidar.md, section 3).

Principal components, their scaling and the LiDAR's range come from training pixels alone and are frozen in the network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from ..metrics.segmentation import confusion, land_cover_measures
from ..readers.hsi_lidar import LandCoverSet, Scene, overlap_frac, read_land_cover, redrawn
from ..registry import build_network, network_named, size_of
from ..tiles import Tiles

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..training.course import Described
    from ..zoo.cab_hl import CABHL

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
SPLITS = ("disjoint", "random", "given")
RECIPE: dict[str, Any] = {"epochs": 12, "lr": 2e-3, "weight_decay": 1e-4, "ema_decay": 0.0, "schedule": "one-cycle"}
PAPER_RECIPE: dict[str, Any] = {**RECIPE, "epochs": 150, "lr": 1e-4, "schedule": "constant", "warmup_frac": 0.0}
"""With ``batch`` 64: the card's reading, far longer than what the figures here were trained with."""
_HELD_FRAC, _HELD_SEED, _MOST_TILES, _AT_ONCE = 0.15, 20250, 512, 256
_LICENCE = "research use only: the terms of the labelled scenes are not stated"


@dataclass(frozen=True, slots=True, eq=False)
class Spots:
    """Labelled pixels: ``places`` (n, 3) scene, row, column; ``labels`` (n,) from 0."""

    places: Int64Array
    labels: Int64Array


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """Frozen statistics of the training pixels: see ``CABHL.set_projection``."""

    projection: Float32Array
    shift: Float32Array
    lidar_range: Float32Array

    def scores(self, hsi: Float64Array) -> Float64Array:
        """(n, components) of unit variance on the training pixels, of (n, bands)."""
        scores: Float64Array = hsi @ self.projection.T.astype(np.float64) + self.shift
        return scores


@dataclass(frozen=True, kw_only=True)
class LandCoverCourse:
    """Patches of all scenes; whole plots or fields of the training pixels are held back to choose the epoch."""

    network: str = "cab_hl"
    size: str = "edge"
    switches: Mapping[str, Any] = field(default_factory=dict)
    metric: str = "oa"
    source: LandCoverSet
    split: str
    patch: int
    components: Components
    train: Spots
    held: Spots
    tests: Spots
    seed: int = 0
    batch: int = 64
    steps_per_epoch: int = 20
    weights: str = "none"
    beside: bool = True
    """Whether the test fits the kernel machine, too."""

    @property
    def recipe(self) -> Mapping[str, Any]:
        """Settings of the training loop that suit it."""
        return RECIPE

    def build(self) -> nn.Module:
        """The network with fresh weights and the frozen components."""
        import torch

        network = cast("CABHL", build_network(self.network, size=self.size, **self.switches))
        frozen = (self.components.projection, self.components.shift, self.components.lidar_range)
        network.set_projection(*(torch.from_numpy(values) for values in frozen))
        return network

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(n, bands + LiDAR, s, s) patches turned and flipped, and (n,) labels; one seed and epoch, one sequence."""
        import torch

        rng = np.random.default_rng((self.seed, epoch))
        for _ in range(self.steps_per_epoch):
            drawn = rng.integers(len(self.train.labels), size=self.batch)
            patches = self.patches(self.train, drawn)
            turned = [_turned(patch, rng) for patch in patches]
            yield torch.from_numpy(np.stack(turned)), torch.from_numpy(self.train.labels[drawn])

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Cross-entropy, weighted by class where the course says so."""
        from ..zoo.cab_hl_loss import class_weights, land_cover_loss

        many = np.bincount(self.train.labels, minlength=len(self.source.classes))
        weights = class_weights([int(count) for count in many], self.weights)
        return {"loss": land_cover_loss(network(batch[0]).float(), batch[1], weights.to(batch[1].device))}

    def validate(self, network: nn.Module) -> dict[str, float]:
        """OA, AA and kappa on what is held back."""
        return land_cover_measures(self.confusion(network, self.held))

    def test(self, network: nn.Module) -> dict[str, float]:
        """OA, AA and kappa on the test pixels, and beside them the kernel machine's on pixels alone."""
        ours = land_cover_measures(self.confusion(network, self.tests))
        if not self.beside:
            return ours
        return ours | self.baseline("svm-", lidar=True) | self.baseline("svm-hsi-", lidar=False)

    def describe(self) -> Described:
        """What the package says: raw bands and heights in, the class of the centre pixel out."""
        from ..training.course import Described

        scene = self.source.scenes[0]
        bands = [f"band_{number + 1}" for number in range(len(scene.hsi))]
        heights = ["lidar"] if len(scene.lidar) == 1 else [f"lidar_{n + 1}" for n in range(len(scene.lidar))]
        mean, std = self._statistics()
        leaks = {"overlap_frac": overlap_frac(self.source, self.patch)} if self.source.patched else {}
        return Described(
            classes=self.source.classes,
            bands=(*bands, *heights),
            edge_px=self.patch,
            mean=mean,
            std=std,
            dtype="float32",
            dataset=self.source.name,
            licence=_LICENCE,
            gsd_range_m=(0.5, 5.0),
            notes={
                "split": self.split,
                "train": self.source.counts("train"),
                "test": self.source.counts("test"),
                "labelled_pixel": self.patch // 2,
                **leaks,
            },
        )

    def tiles(self, split: str) -> Tiles:
        """Patches around pixels of ``train`` or ``test``, evenly taken."""
        spots = self.train if split == "train" else self.tests
        chosen = np.linspace(0, len(spots.labels) - 1, min(_MOST_TILES, len(spots.labels))).round().astype(np.int64)
        return Tiles(f"{self.source.name}/{split}", self.patches(spots, chosen))

    def patches(self, spots: Spots, chosen: Int64Array) -> Float32Array:
        """(n, bands + LiDAR, s, s): the labelled pixel is at s // 2; beyond a scene's border it is mirrored."""
        return np.stack([cut(self.source.scenes[n], row, col, self.patch) for n, row, col in spots.places[chosen]])

    def confusion(self, network: nn.Module, spots: Spots) -> Int64Array:
        """(classes, classes) of the network's answers."""
        import torch

        network.eval()
        answers = []
        with torch.inference_mode():
            for start in range(0, len(spots.labels), _AT_ONCE):
                some = np.arange(start, min(start + _AT_ONCE, len(spots.labels)))
                answers.append(network(torch.from_numpy(self.patches(spots, some))).argmax(1).numpy())
        return confusion(spots.labels, np.concatenate(answers), len(self.source.classes))

    def baseline(self, prefix: str, *, lidar: bool) -> dict[str, float]:
        """The kernel machine on principal components (and heights) of the labelled pixel alone."""
        from ..zoo.cab_hl_baseline import fit_kernel_machine

        sets = [(self._features(spots, lidar), spots.labels) for spots in (self.train, self.held)]
        machine = fit_kernel_machine(sets[0], sets[1], len(self.source.classes))
        answer = machine.answer(self._features(self.tests, lidar))
        return land_cover_measures(confusion(self.tests.labels, answer, len(self.source.classes)), prefix)

    def _features(self, spots: Spots, lidar: bool) -> Float64Array:
        hsi, heights = spectra(self.source, spots)
        low, high = self.components.lidar_range
        parts = [self.components.scores(hsi), 3.0 * (heights - low) / (high - low)]
        return np.concatenate(parts if lidar else parts[:1], axis=1)

    def _statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        both = np.concatenate(spectra(self.source, self.train), axis=1)
        std = np.maximum(both.std(axis=0), 1e-6)
        return tuple(float(value) for value in both.mean(axis=0)), tuple(float(value) for value in std)


def course(
    data: Path,
    *,
    size: str = "edge",
    seed: int = 0,
    split: str = "disjoint",
    batch: int = 64,
    steps_per_epoch: int = 20,
    most_per_class: int = 200,
    weights: str = "none",
    beside: bool = True,
    components: int | None = None,
    patch: int | None = None,
    lidar: bool = True,
    attention: bool = True,
    stages: int = 2,
    feat: int = 1,
) -> LandCoverCourse:
    """The course on the set in ``data``; ``split`` is ``disjoint``, ``given`` or, to see what leaks, ``random``.

    At most ``most_per_class`` training pixels of each class are used, and a quarter of that to choose the epoch. What
    follows ``beside`` are switches of the network. Raises DatasetError.
    """
    if split not in SPLITS:
        raise DatasetError(f"There is no split {split!r}. Use one of {', '.join(SPLITS)}.")
    source = read_land_cover(data, "given" if split == "given" else "disjoint")
    source = redrawn(source, 0) if split == "random" else source
    first, options = source.scenes[0], size_of(network_named("cab_hl"), size).options
    edge = (patch or int(options.get("patch", 8))) if source.patched else 1
    kept = components or int(options.get("components", 30))
    pool = _spots(source, "train")
    train, held = _held_back(source, pool, by_field=split == "disjoint")
    train, held = _capped(train, most_per_class), _capped(held, max(most_per_class // 4, 1))
    switches = {
        "classes": len(source.classes),
        "bands": len(first.hsi),
        "lidar_bands": len(first.lidar),
        "components": kept,
        "patch": edge,
    }
    given = {"lidar": lidar, "attention": attention, "stages": stages, "feat": feat}
    usual = {"lidar": True, "attention": True, "stages": 2, "feat": 1}
    return LandCoverCourse(
        size=size,
        switches=switches | {key: value for key, value in given.items() if value != usual[key]},
        source=source,
        split=split,
        patch=edge,
        components=fit_components(*spectra(source, train), kept),
        train=train,
        held=held,
        tests=_spots(source, "test"),
        seed=seed,
        batch=batch,
        steps_per_epoch=steps_per_epoch,
        weights=weights,
        beside=beside,
    )


def fit_components(hsi: Float64Array, heights: Float64Array, components: int) -> Components:
    """Principal components of (n, bands) pixels, largest first, scaled to unit variance; the range of (n, LiDAR)."""
    bands = hsi.shape[1]
    if not components <= min(bands, len(hsi)):
        raise DatasetError(f"{len(hsi)} pixels of {bands} bands have no {components} components. Ask for fewer.")
    mean = hsi.mean(axis=0)
    variance, vectors = np.linalg.eigh(np.cov(hsi, rowvar=False))
    largest = vectors[:, ::-1][:, :components].T
    spread = np.sqrt(np.maximum(variance[::-1][:components], 1e-12 * max(float(variance[-1]), 1e-12)))
    scaled = largest / spread[:, None]
    low, high = heights.min(axis=0), heights.max(axis=0)
    high = np.where(high > low, high, low + 1.0)
    return Components(
        scaled.astype(np.float32), (-scaled @ mean).astype(np.float32), np.stack([low, high]).astype(np.float32)
    )


def spectra(source: LandCoverSet, spots: Spots) -> tuple[Float64Array, Float64Array]:
    """(n, bands) and (n, LiDAR bands) of the labelled pixels themselves."""
    hsi = [source.scenes[n].hsi[:, row, col] for n, row, col in spots.places]
    heights = [source.scenes[n].lidar[:, row, col] for n, row, col in spots.places]
    return np.stack(hsi).astype(np.float64), np.stack(heights).astype(np.float64)


def cut(scene: Scene, row: int, col: int, patch: int) -> Float32Array:
    """(bands + LiDAR, patch, patch) around a pixel, which lies at ``patch // 2``; mirrored at the border."""
    rows, cols = (_mirrored(at, patch, size) for at, size in zip((row, col), scene.train.shape, strict=True))
    window = np.ix_(rows, cols)
    return np.concatenate([scene.hsi[:, window[0], window[1]], scene.lidar[:, window[0], window[1]]])


def _mirrored(at: int, patch: int, size: int) -> Int64Array:
    places = np.arange(at - patch // 2, at - patch // 2 + patch)
    period = max(2 * (size - 1), 1)
    folded: Int64Array = np.abs(places) % period
    return np.where(folded < size, folded, period - folded)


def _turned(patch: Float32Array, rng: np.random.Generator) -> Float32Array:
    turned = np.rot90(patch, int(rng.integers(4)), (1, 2))
    return np.ascontiguousarray(turned[:, :, ::-1] if rng.integers(2) else turned)


def _spots(source: LandCoverSet, split: str) -> Spots:
    places, labels = [], []
    for number, scene in enumerate(source.scenes):
        grid = getattr(scene, split)
        found = np.argwhere(grid > 0)
        places.append(np.concatenate([np.full((len(found), 1), number), found], axis=1))
        labels.append(grid[grid > 0] - 1)
    spots = Spots(np.concatenate(places).astype(np.int64), np.concatenate(labels).astype(np.int64))
    if not len(spots.labels):
        raise DatasetError(f"{source.name} has no labelled pixel to {split}. Correct its label maps.")
    return spots


def _held_back(source: LandCoverSet, pool: Spots, *, by_field: bool) -> tuple[Spots, Spots]:
    """Training pixels, and those held back: whole fields or plots, or single pixels where neighbours leak anyway."""
    rng = np.random.default_rng(_HELD_SEED)
    fields = np.array([int(source.scenes[n].fields[row, col]) for n, row, col in pool.places])
    units = pool.places[:, 0] * (int(fields.max()) + 1) + fields if by_field else np.arange(len(fields))
    order = rng.permutation(np.unique(units))
    if len(order) < 2:  # one scene, one field: its lower part is held back
        held = pool.places[:, 1] >= np.quantile(pool.places[:, 1], 1.0 - _HELD_FRAC)
    else:
        many = np.array([int((units == unit).sum()) for unit in order])
        taken = order[: max(int((np.cumsum(many) <= _HELD_FRAC * len(units)).sum()), 1)]
        held = np.isin(units, taken)
    return Spots(pool.places[~held], pool.labels[~held]), Spots(pool.places[held], pool.labels[held])


def _capped(spots: Spots, most: int) -> Spots:
    """At most so many pixels of each class, drawn once and for all."""
    rng = np.random.default_rng(_HELD_SEED)
    kept = [rng.permutation(np.flatnonzero(spots.labels == label))[:most] for label in np.unique(spots.labels)]
    chosen = np.sort(np.concatenate(kept))
    return Spots(spots.places[chosen], spots.labels[chosen])
