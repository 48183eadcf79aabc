"""How Hybrid-SegUFormer is trained: crops of slopes with masks, and a teacher (specs/10-hybrid-segufomer.md, 3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from ..metrics.change import Counts
from ..metrics.segmentation import mask_counts, mask_measures
from ..readers.interferogram import read_interferograms, render, velocity_mm_a
from ..readers.landslide import Slope, read_slopes, shrunk
from ..registry import build_network
from ..tiles import Tiles, spans

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..training.course import Described
    from ..zoo.hybrid_segufomer_loss import Teacher

Float32Array = NDArray[np.float32]
RECIPE: dict[str, Any] = {
    "epochs": 6,
    "lr": 2e-3,
    "weight_decay": 0.01,
    "ema_decay": 0.0,
    "precision": "bf16",
    "clip_norm": 1.0,
}
_TILE_STRIDE_PX, _HELD_EVERY = 16, 5
_SHOWN_LEAST, _REDRAWN = 0.05, 8
"""Share of moving pixels in a crop that shows them, and how often one is drawn anew."""
WEAK_MM_A, HELD_ROWS, TEST_COLS = -100.0, 28, 70
"""Interferograms without masks: what sinks faster than that, against the median, is called moving. Columns from
``TEST_COLS`` test; of the others the rows from ``HELD_ROWS`` choose the epoch."""
INDICES = {"brightness": (1 / 3, 1 / 3, 1 / 3), "red": (1.0, 0.0, 0.0), "red - green": (1.0, -1.0, 0.0)}
"""What a threshold is put on; landslides are bare, so bright and red."""


@dataclass(frozen=True, kw_only=True)
class SlopeCourse:
    """Every fifth training picture is held back to choose the epoch. A resumed run's teacher starts as its student."""

    network: str = "hybrid_segufomer"
    size: str = "edge"
    switches: Mapping[str, Any] = field(default_factory=dict)
    metric: str = "f1"
    train: Sequence[Slope]
    held: Sequence[Slope]
    tests: Sequence[Slope]
    dataset: str
    notes: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    edge_px: int = 96
    batch: int = 6
    steps_per_epoch: int = 12
    distil: bool = True
    lit_frac: float = 0.1
    """Brightness of a crop changes by up to this; 0 where colour is the measurement."""
    shown_frac: float = 0.0
    """Of a batch's crops, so many are drawn anew until they show moving ground, where their picture has any."""
    teacher: Teacher = field(default_factory=lambda: _fresh_teacher())

    @property
    def recipe(self) -> Mapping[str, Any]:
        """Settings of the training loop that suit it."""
        return RECIPE

    def build(self) -> nn.Module:
        """The network with fresh weights."""
        return build_network(self.network, size=self.size, **self.switches)

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """(n, 3, edge, edge) in 0..1, masks and validity (n, 1, edge, edge); one seed and epoch, one sequence."""
        import torch

        rng = np.random.default_rng((self.seed, epoch))
        for _ in range(self.steps_per_epoch):
            drawn = [self._drawn(rng, shown=number < self.shown_frac * self.batch) for number in range(self.batch)]
            whole = torch.from_numpy(np.stack(drawn))
            yield whole[:, :3], whole[:, 3:4], whole[:, 4:]

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        """Cross-entropy, and with ``distil`` the distance to the teacher's answer."""
        import torch

        from ..zoo.hybrid_segufomer_loss import segmentation_loss

        image, truth, valid = batch
        said = None
        if self.distil:
            with torch.no_grad():
                said = self.teacher.step(network)(image).float()
        return {"loss": segmentation_loss(network(image).float(), truth, teacher=said, valid=valid)}

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Measures on the pictures held back."""
        return mask_measures(self._count(network, self.held))

    def test(self, network: nn.Module) -> dict[str, float]:
        """Measures on the test pictures without their no-data pixels and with them, beside a threshold's."""
        plain = fit_threshold(self.train)
        by_threshold = Counts.sum(mask_counts(plain.mask(s.pixels), s.moving, s.valid) for s in self.tests)
        with_nodata = mask_measures(self._count(network, self.tests, everywhere=True), "with-nodata-")
        ours = mask_measures(self._count(network, self.tests))
        return ours | with_nodata | mask_measures(by_threshold, "threshold-")

    def describe(self) -> Described:
        """What the package says of the network's answers."""
        from ..training.course import Described

        return Described(
            classes=("stable", "moving"),
            bands=("red", "green", "blue"),
            edge_px=self.edge_px,
            mean=(0.0,) * 3,
            std=(1.0,) * 3,
            dtype="uint8",
            dataset=self.dataset,
            licence="research use only: redistribution of the training pictures is unclear",
            gsd_range_m=(1.0, 200.0),
            notes={"distil": self.distil, "test_pictures": len(self.tests), **self.notes},
        )

    def tiles(self, split: str) -> Tiles:
        """Overlapping tiles of the pictures of ``train`` or ``test``."""
        edge, tiles = self.edge_px, []
        for slope in self.train if split == "train" else self.tests:
            pixels = _padded(slope.pixels, edge)
            rows, cols = pixels.shape[1:]
            tiles += [
                pixels[:, top : top + edge, left : left + edge]
                for top in range(0, rows - edge + 1, _TILE_STRIDE_PX)
                for left in range(0, cols - edge + 1, _TILE_STRIDE_PX)
            ]
        return Tiles(f"{self.dataset}/{split}", np.stack(tiles))

    def _count(self, network: nn.Module, slopes: Sequence[Slope], *, everywhere: bool = False) -> Counts:
        network.eval()
        answers = (probability(network, slope.pixels, self.edge_px) > 0.5 for slope in slopes)
        return Counts.sum(
            mask_counts(answer, slope.moving, None if everywhere else slope.valid)
            for answer, slope in zip(answers, slopes, strict=True)
        )

    def _drawn(self, rng: np.random.Generator, *, shown: bool) -> Float32Array:
        slope = self.train[int(rng.integers(len(self.train)))]
        crop = self._crop(slope, rng)
        for _ in range(_REDRAWN if shown else 0):
            if float(crop[3].mean()) >= _SHOWN_LEAST:
                break
            crop = self._crop(slope, rng)
        return crop

    def _crop(self, slope: Slope, rng: np.random.Generator) -> Float32Array:
        """(5, edge, edge): a window turned and flipped; three bands, the mask, what is valid."""
        pixels = slope.pixels.astype(np.float32) / 255.0
        lit = np.clip(pixels * (1.0 + self.lit_frac * rng.uniform(-1.0, 1.0)), 0.0, 1.0)
        whole = _padded(np.concatenate([lit, slope.moving[None], slope.valid[None]]).astype(np.float32), self.edge_px)
        top, left = (int(rng.integers(size - self.edge_px + 1)) for size in whole.shape[1:])
        window = whole[:, top : top + self.edge_px, left : left + self.edge_px]
        turned = np.rot90(window, int(rng.integers(4)), (1, 2))
        return np.ascontiguousarray(turned[:, :, ::-1] if rng.integers(2) else turned)


@dataclass(frozen=True, slots=True)
class Threshold:
    """Moving is where a weighted sum of the bands is above ``least``."""

    index: str
    least: float

    def mask(self, pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """(rows, cols) of (3, rows, cols)."""
        return _index(pixels, self.index) > self.least


def fit_threshold(slopes: Sequence[Slope], steps: int = 64) -> Threshold:
    """The index and threshold of the highest F1 over all valid pixels of ``slopes``."""
    best, found = -1.0, Threshold("red", 0.0)
    for index in INDICES:
        values = np.concatenate([_index(slope.pixels, index)[slope.valid] for slope in slopes])
        truth = np.concatenate([slope.moving[slope.valid] for slope in slopes])
        for least in np.quantile(values, np.linspace(0.0, 0.99, steps)):
            f1 = Counts.of(values > least, truth).f1
            if f1 > best:
                best, found = f1, Threshold(index, float(least))
    return found


def course(
    data: Path,
    *,
    size: str = "edge",
    seed: int = 0,
    edge_px: int | None = None,
    shrink: int = 4,
    batch: int = 6,
    steps_per_epoch: int = 12,
    distil: bool = True,
    shown_frac: float = 0.0,
    multi_scale: bool = True,
    encoder: str = "transformer",
    baseline: str = "",
    chunk: int = 1024,
    width: int | None = None,
) -> SlopeCourse:
    """The course on ``data``: pictures with masks, or interferograms without, which a threshold labels.

    Pictures are used at 1/``shrink`` of their detail. What follows ``shown_frac`` are switches of the network. Raises
    DatasetError.
    """
    weak = bool(list(data.glob("*_unw.tif"))) or not data.is_dir()
    edge = edge_px or (32 if weak else 96)
    if edge % 16:
        raise DatasetError(f"Tiles of {edge} px do not fit: the network takes multiples of 16. Choose another edge_px.")
    train, held, tests, notes = _weakly_labelled(data) if weak else _labelled(data, shrink)
    usual = {"multi_scale": True, "encoder": "transformer", "baseline": "", "chunk": 1024, "width": None}
    given = {
        "multi_scale": multi_scale,
        "encoder": encoder,
        "baseline": baseline,
        "chunk": chunk,
        "width": width,
    }
    return SlopeCourse(
        size=size,
        switches={key: value for key, value in given.items() if value != usual[key]},
        train=train,
        held=held,
        tests=tests,
        dataset=f"{data.name}, labelled by a threshold" if weak else data.name,
        notes=notes,
        seed=seed,
        edge_px=edge,
        batch=batch,
        steps_per_epoch=steps_per_epoch,
        distil=distil and not baseline,
        lit_frac=0.0 if weak else 0.1,
        shown_frac=shown_frac,
    )


def probability(network: nn.Module, pixels: NDArray[np.uint8], edge_px: int) -> Float32Array:
    """(rows, cols) probability of moving, from tiles that overlap by a quarter; each gives its middle.

    Pixels that are black in all bands get 0.
    """
    import torch

    rows, cols = pixels.shape[1:]
    whole, overlap_px = _padded(pixels, edge_px), edge_px // 4
    answer = np.zeros(whole.shape[1:], dtype=np.float32)
    for top, first, last in spans(whole.shape[1], edge_px, overlap_px):
        for left, begin, end in spans(whole.shape[2], edge_px, overlap_px):
            tile = whole[None, :, top : top + edge_px, left : left + edge_px].astype(np.float32) / 255.0
            with torch.inference_mode():
                found = torch.sigmoid(network(torch.from_numpy(tile)).float())[0, 0].numpy()
            answer[first:last, begin:end] = found[first - top : last - top, begin - left : end - left]
    kept: Float32Array = answer[:rows, :cols] * (pixels.max(axis=0) > 0)
    return kept


def _fresh_teacher() -> Teacher:
    from ..zoo.hybrid_segufomer_loss import Teacher

    return Teacher()


def _labelled(data: Path, shrink: int) -> tuple[list[Slope], list[Slope], list[Slope], dict[str, Any]]:
    pool = [shrunk(slope, shrink) for slope in read_slopes(data, "train")]
    tests = [shrunk(slope, shrink) for slope in read_slopes(data, "test")]
    held = pool[2::_HELD_EVERY]
    train = [slope for number, slope in enumerate(pool) if number % _HELD_EVERY != 2]
    if not held:
        raise DatasetError(f"{data} lists {len(pool)} training pictures; at least 3 are needed, one is held back.")
    return train, held, tests, {"held": [slope.name for slope in held], "shrink": shrink}


def _weakly_labelled(data: Path) -> tuple[list[Slope], list[Slope], list[Slope], dict[str, Any]]:
    velocity = velocity_mm_a(read_interferograms(data))
    pixels, valid = render(velocity), np.isfinite(velocity)
    if not valid.any():
        raise DatasetError(
            f"The interferograms of {data} have no pixel with data: all is nodata or below the least coherence. Give "
            "others."
        )
    below = np.where(valid, velocity, 0.0) - float(np.nanmedian(velocity)) < WEAK_MM_A
    if velocity.shape[0] <= HELD_ROWS or velocity.shape[1] <= TEST_COLS:
        raise DatasetError(f"{data} is {velocity.shape} px; its split needs more than {HELD_ROWS} x {TEST_COLS}.")

    def part(name: str, rows: slice, cols: slice) -> list[Slope]:
        return [Slope(name, pixels[:, rows, cols], (below & valid)[rows, cols], valid[rows, cols])]

    notes = {"labels": f"velocity more than {-WEAK_MM_A:g} mm a year below the median: a threshold, not a person"}
    west, east, everywhere = slice(None, TEST_COLS), slice(TEST_COLS, None), slice(None)
    train, held = part("train", slice(None, HELD_ROWS), west), part("held", slice(HELD_ROWS, None), west)
    return train, held, part("test", everywhere, east), notes


def _index(pixels: NDArray[np.uint8], index: str) -> NDArray[np.float64]:
    values: NDArray[np.float64] = np.tensordot(np.array(INDICES[index]), pixels.astype(np.float64), axes=1)
    return values


def _padded(pixels: NDArray[Any], edge_px: int) -> NDArray[Any]:
    """At least one tile large: black, which is no data, below and to the right."""
    short = [max(edge_px - size, 0) for size in pixels.shape[1:]]
    return np.pad(pixels, ((0, 0), (0, short[0]), (0, short[1]))) if any(short) else pixels
