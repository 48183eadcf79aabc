"""How SSA-Net is trained: crops of LEVIR-like pairs, each date lit its own way.

specs/08-building-change.md, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..baselines.differencing import difference_mask
from ..errors import DatasetError
from ..metrics.change import Counts
from ..readers.change import Pair, halved, read_pairs
from ..registry import build_network
from ..tiles import Tiles, spans

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..training.course import Described

Float32Array = NDArray[np.float32]
_SETS = ("cd-levir-samples", "cd-whu-samples")
_TILE_STRIDE_PX = 20
RECIPE = {"epochs": 18, "lr": 2e-3, "weight_decay": 0.01, "ema_decay": 0.0, "precision": "bf16"}
_FINE_M = ("whu",)
"""Sets of 0.2 m, which are halved so that all pairs show buildings at about one size."""


@dataclass(frozen=True, kw_only=True)
class ChangeCourse:
    """Pairs of all sets together; the lower right corner of each training pair is held back to choose the epoch."""

    network: str = "ssa_net"
    size: str = "edge"
    switches: Mapping[str, Any] = field(default_factory=dict)
    metric: str = "f1"
    train: Mapping[str, Sequence[Pair]]
    """By set."""
    tests: Mapping[str, Sequence[Pair]]
    seed: int = 0
    edge_px: int = 128
    batch: int = 8
    steps_per_epoch: int = 20
    jitter_frac: float = 0.2
    threshold: float = 0.5

    @property
    def recipe(self) -> Mapping[str, Any]:
        """Settings of the training loop that suit it."""
        return RECIPE

    def build(self) -> nn.Module:
        """The network with fresh weights."""
        return build_network(self.network, size=self.size, **self.switches)

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(n, 6, edge, edge) float32 pairs in 0..1 and (n, 1, edge, edge) masks; one seed and epoch, one sequence."""
        import torch

        rng = np.random.default_rng((self.seed, epoch))
        pool = [pair for pairs in self.train.values() for pair in pairs]
        for _ in range(self.steps_per_epoch):
            drawn = [self._crop(pool[int(rng.integers(len(pool)))], rng) for _ in range(self.batch)]
            yield torch.from_numpy(np.stack([d[0] for d in drawn])), torch.from_numpy(np.stack([d[1] for d in drawn]))

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Cross-entropy plus Dice."""
        from ..zoo.ssa_net_loss import change_loss

        return {"loss": change_loss(network(batch[0]).float(), batch[1])}

    def validate(self, network: nn.Module) -> dict[str, float]:
        """The five measures on the corners held back."""
        corners = [corner(pair, self.edge_px) for pairs in self.train.values() for pair in pairs]
        return self._count(network, corners).measures()

    def test(self, network: nn.Module) -> dict[str, float]:
        """The five measures on the test pairs of each set and of all, beside those of differencing."""
        found: dict[str, float] = {}
        by_set = {name: self._count(network, pairs) for name, pairs in self.tests.items()}
        plain = {name: _differencing(pairs) for name, pairs in self.tests.items()}
        for name in self.tests:
            found |= by_set[name].measures(f"{name}-") | plain[name].measures(f"{name}-differencing-")
        everything, all_plain = Counts.sum(by_set.values()), Counts.sum(plain.values())
        return found | everything.measures() | all_plain.measures("differencing-")

    def describe(self) -> Described:
        """What the package says of the network's answers."""
        from ..training.course import Described

        return Described(
            classes=("unchanged", "change"),
            bands=("reference_red", "reference_green", "reference_blue", "red", "green", "blue"),
            edge_px=self.edge_px,
            mean=(0.0,) * 6,
            std=(1.0,) * 6,
            dtype="uint8",
            dataset=" and ".join(self.train),
            licence="research use only: the pairs come from sets whose redistribution is unclear",
            notes={"order": "the reference is the earlier date", "test_pairs": sum(map(len, self.tests.values()))},
        )

    def tiles(self, split: str) -> Tiles:
        """Overlapping tiles of both dates of all pairs of ``train`` or ``test``, the reference's bands first."""
        pairs = [pair for pairs in (self.train if split == "train" else self.tests).values() for pair in pairs]
        edge, cut = self.edge_px, []
        for pair in pairs:
            both, (rows, cols) = np.concatenate([pair.earlier, pair.later]), pair.changed.shape
            for top in range(0, rows - edge + 1, _TILE_STRIDE_PX):
                cut += [
                    both[:, top : top + edge, left : left + edge] for left in range(0, cols - edge + 1, _TILE_STRIDE_PX)
                ]
        return Tiles(f"{' and '.join(self.tests)}/{split}", np.stack(cut))

    def _count(self, network: nn.Module, pairs: Sequence[Pair]) -> Counts:
        network.eval()
        found = (probability(network, pair, self.edge_px) > self.threshold for pair in pairs)
        return Counts.sum(Counts.of(mask, pair.changed) for mask, pair in zip(found, pairs, strict=True))

    def _crop(self, pair: Pair, rng: np.random.Generator) -> tuple[Float32Array, Float32Array]:
        """A window outside the held-back corner, turned, flipped, and each date lit its own way."""
        row, col = _place(pair.changed.shape, self.edge_px, rng)
        window = (slice(row, row + self.edge_px), slice(col, col + self.edge_px))
        dates = [jitter(date[:, window[0], window[1]], rng, self.jitter_frac) for date in (pair.earlier, pair.later)]
        both = np.concatenate([*dates, pair.changed[window][None].astype(np.float32)])
        both = np.rot90(both, int(rng.integers(4)), (1, 2))
        both = both[:, :, ::-1] if rng.integers(2) else both
        whole = np.ascontiguousarray(both)
        return whole[:6], whole[6:]


def course(
    data: Path,
    *,
    size: str = "edge",
    seed: int = 0,
    sets: str = "",
    edge_px: int = 128,
    batch: int = 8,
    steps_per_epoch: int = 20,
    jitter_frac: float = 0.2,
    conv: str = "csh",
    groups: int = 2,
    attention: bool = True,
    width: int | None = None,
) -> ChangeCourse:
    """The course on ``data``: a folder of pairs, or one that holds the ``sets`` (by default LEVIR's and WHU's samples).

    ``sets`` are names with commas between them; what follows ``jitter_frac`` are switches of the network. Raises
    DatasetError.
    """
    names = [name for name in sets.split(",") if name] or [name for name in _SETS if (data / name).is_dir()]
    folders = {name: data / name for name in names} or {data.name: data}
    train = {name: _scaled(name, read_pairs(folder, "train")) for name, folder in folders.items()}
    tests = {name: _scaled(name, read_pairs(folder, "test")) for name, folder in folders.items()}
    for pair in (pair for pairs in train.values() for pair in pairs):
        if min(pair.changed.shape) < 2 * edge_px:
            raise DatasetError(
                f"{pair.name} is {pair.changed.shape} px; at least twice the crop's {edge_px} px are needed, since a "
                "corner is held back. Use a smaller edge_px."
            )
    usual = {"conv": "csh", "groups": 2, "attention": True, "width": None}
    given = {"conv": conv, "groups": groups, "attention": attention, "width": width}
    return ChangeCourse(
        size=size,
        switches={key: value for key, value in given.items() if value != usual[key]},
        train=train,
        tests=tests,
        seed=seed,
        edge_px=edge_px,
        batch=batch,
        steps_per_epoch=steps_per_epoch,
        jitter_frac=jitter_frac,
    )


def corner(pair: Pair, edge_px: int) -> Pair:
    """The lower right square of a pair, which no training crop touches."""
    held = (slice(-edge_px, None), slice(-edge_px, None))
    return Pair(pair.name, pair.earlier[:, held[0], held[1]], pair.later[:, held[0], held[1]], pair.changed[held])


def jitter(pixels: NDArray[np.uint8], rng: np.random.Generator, most: float) -> Float32Array:
    """(3, rows, cols) in 0..1 with brightness, contrast and saturation each changed by up to ``most``."""
    brightness, contrast, saturation = 1.0 + most * rng.uniform(-1.0, 1.0, 3)
    x = pixels.astype(np.float32) / 255.0 * brightness
    x = (x - x.mean()) * contrast + x.mean()
    grey = x.mean(axis=0, keepdims=True)
    lit: Float32Array = np.clip(grey + (x - grey) * saturation, 0.0, 1.0).astype(np.float32)
    return lit


def probability(network: nn.Module, pair: Pair, edge_px: int) -> Float32Array:
    """(rows, cols) probability of change, from tiles that overlap by a quarter; each gives its middle."""
    import torch

    both = np.concatenate([pair.earlier, pair.later])
    rows, cols = pair.changed.shape
    overlap_px = edge_px // 4
    answer = np.zeros((rows, cols), dtype=np.float32)
    for top, first, last in spans(rows, edge_px, overlap_px):
        for left, begin, end in spans(cols, edge_px, overlap_px):
            tile = both[None, :, top : top + edge_px, left : left + edge_px].astype(np.float32) / 255.0
            with torch.inference_mode():
                found = torch.sigmoid(network(torch.from_numpy(tile)).float())[0, 0].numpy()
            answer[first:last, begin:end] = found[first - top : last - top, begin - left : end - left]
    return answer


def _place(shape: tuple[int, ...], edge_px: int, rng: np.random.Generator) -> tuple[int, int]:
    """Upper left corner of a window above or left of the corner that is held back."""
    free = [size - edge_px for size in shape]
    short = [size - 2 * edge_px for size in shape]
    above = bool(rng.integers(2))
    row = int(rng.integers((short[0] if above else free[0]) + 1))
    return row, int(rng.integers((free[1] if above else short[1]) + 1))


def _scaled(name: str, pairs: list[Pair]) -> list[Pair]:
    return [halved(pair) for pair in pairs] if any(word in name.lower() for word in _FINE_M) else pairs


def _differencing(pairs: Sequence[Pair]) -> Counts:
    return Counts.sum(Counts.of(difference_mask(pair.earlier, pair.later), pair.changed) for pair in pairs)
