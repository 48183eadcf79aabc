"""How SDENet is fitted: to one scene, by itself, without labels (specs/02-sdenet.md, sections 3 and 4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from ..baselines.rx import global_rx
from ..errors import DatasetError
from ..metrics.anomaly import RIDGE, Whitening, auc, mahalanobis, whitening_of
from ..readers.hyperspectral import Cube, band_index, read_cube, read_scenes
from ..registry import build_network
from ..tiles import Tiles

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..training.course import Described
    from ..zoo.sdenet import SDENet

Float32Array = NDArray[np.float32]
BANDS, EDGE_PX, SCALE = 50, 64, 0.1
"""The network's contract: 50 bands of 64 px tiles, scaled to -0.1..0.1."""
_TILE_STRIDE_PX = 8
RECIPE = {
    "epochs": 5,
    "lr": 1e-3,
    "weight_decay": 5e-6,
    "schedule": "cosine",
    "warmup_frac": 0.1,
    "ema_decay": 0.0,
    "patience": 30,
}
PAPER_RECIPE = {**RECIPE, "epochs": 1000, "lr": 5e-6, "weight_decay": 0.0, "schedule": "constant", "warmup_frac": 0.0}
"""As printed; far too slow from scratch."""


@dataclass(frozen=True, kw_only=True)
class SceneCourse:
    """One scene: turned and flipped crops with holes in training, the whole of it in validation."""

    network: str = "sdenet"
    size: str = "edge"
    switches: Mapping[str, Any] = field(default_factory=dict)
    metric: str = "score_max"
    scene: Cube
    """As read, all bands."""
    index: tuple[int, ...]
    """Which bands enter the network."""
    seed: int = 0
    batch: int = 4
    steps_per_epoch: int = 10
    holes: bool = True
    over: str = "sum"
    ridge: float = RIDGE
    score_on: str = "residual"
    """Or ``output``, as the lineage does; the package always scores the residual."""

    @property
    def recipe(self) -> Mapping[str, Any]:
        """Settings of the training loop that suit it."""
        return RECIPE

    def build(self) -> nn.Module:
        """The network with fresh weights."""
        return build_network(self.network, size=self.size, **self.switches)

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(n, bands, 64, 64) with holes, and without; one seed and epoch, one sequence."""
        import torch

        from ..zoo.sdenet_loss import with_holes

        generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
        whole = torch.from_numpy(self.scaled())
        for _ in range(self.steps_per_epoch):
            crops = torch.stack([_crop(whole, generator) for _ in range(self.batch)])
            yield with_holes(crops, generator) if self.holes else crops, crops

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Multi-scale gradient-magnitude similarity with the crops as they were."""
        from ..zoo.sdenet_loss import similarity_loss

        return {"loss": similarity_loss(network(batch[0]).float(), batch[1], over=self.over)}

    def validate(self, network: nn.Module) -> dict[str, float]:
        """``score_max``, the paper's stop rule, and the mean score. Leaves the residual's statistics in the network."""
        import torch

        residual, _ = self.reconstruct(network)
        found = whitening_of(residual, ridge=self.ridge)
        cast("SDENet", network).set_background(torch.from_numpy(found.mean), torch.from_numpy(found.matrix))
        score = found.score(residual)
        return {"score_max": float(score.max()), "score_mean": float(score.mean())}

    def test(self, network: nn.Module) -> dict[str, float]:
        """AUC beside that of RX on all bands, and on them with the score's own ridge; nothing without a map."""
        if self.scene.anomalies is None:
            return {}
        truth, values = self.scene.anomalies, self.scene.values
        return {
            "auc": auc(self.score(network), truth),
            "auc_rx": auc(global_rx(values), truth),
            "auc_rx_ridge": auc(mahalanobis(values, ridge=1e-3), truth),
        }

    def describe(self) -> Described:
        """What the package says: raw bands in, a score for each pixel out."""
        from ..training.course import Described

        low, high = float(self.values().min()), float(self.values().max())
        return Described(
            classes=("anomaly",),
            bands=band_names(self.index),
            edge_px=EDGE_PX,
            mean=((low + high) / 2,) * len(self.index),
            std=(max(high - low, 1e-12) / (2 * SCALE),) * len(self.index),
            dtype="float32",
            dataset=f"the scene {self.scene.name}, without its labels",
            licence="research use only: the scenes carry no licence",
            unit="squared Mahalanobis distance",
            notes={"scene": self.scene.name, "low": low, "high": high, "ridge": self.ridge, "seed": self.seed},
        )

    def tiles(self, split: str) -> Tiles:
        """Overlapping raw tiles of the scene, the same for both splits: nothing is learned from labels."""
        values, edge = self.values(), EDGE_PX
        rows, cols = values.shape[1:]
        places = [
            (top, left)
            for top in range(0, rows - edge + 1, _TILE_STRIDE_PX)
            for left in range(0, cols - edge + 1, _TILE_STRIDE_PX)
        ]
        cut = np.stack([values[:, top : top + edge, left : left + edge] for top, left in places])
        return Tiles(f"{self.scene.name}/{split}", np.ascontiguousarray(cut))

    def values(self) -> Float32Array:
        """(bands, rows, cols): the bands that enter the network, in the sensor's units."""
        values: Float32Array = self.scene.values[np.asarray(self.index)]
        return values

    def scaled(self) -> Float32Array:
        """The same in -0.1..0.1 over all bands and pixels; zeros for a scene without contrast."""
        return scaled(self.values())

    def reconstruct(self, network: nn.Module) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Residual and background of the whole scene, (bands, rows, cols) each."""
        import torch

        network.eval()
        given = self.scaled()
        with torch.no_grad():
            background = whole_background(network, torch.from_numpy(given)).double().numpy()
        return given.astype(np.float64) - background, background

    def score(self, network: nn.Module) -> NDArray[np.float64]:
        """(rows, cols) anomaly scores by one covariance over the whole scene."""
        residual, background = self.reconstruct(network)
        scored = background if self.score_on == "output" else residual
        found: Whitening = whitening_of(scored, ridge=self.ridge)
        return found.score(scored)


def course(
    data: Path,
    *,
    size: str = "edge",
    seed: int = 0,
    scene: str = "",
    band_select: str = "first",
    bands: int = BANDS,
    batch: int = 4,
    steps_per_epoch: int = 10,
    holes: bool = True,
    over: str = "sum",
    ridge: float = RIDGE,
    score_on: str = "residual",
    variational: bool = True,
    block: str = "cswin",
    global_residual: bool = False,
    width: int | None = None,
    latent: int | None = None,
) -> SceneCourse:
    """The course on one scene: ``data`` is its file, or a folder of .mat files of which ``scene`` names one.

    ``bands`` other than 50, and what follows ``score_on``, are switches of the network. Raises DatasetError.
    """
    cube = read_cube(data) if data.is_file() else _named(data, scene)
    if min(cube.values.shape[1:]) < EDGE_PX:
        raise DatasetError(f"{cube.name} is {cube.values.shape[1:]} px; at least {EDGE_PX} are needed on each side.")
    if score_on not in ("residual", "output") or over not in ("sum", "mean"):
        raise DatasetError(
            f"score_on {score_on!r} or over {over!r} is unknown. Use 'residual' or 'output', 'sum' or 'mean'."
        )
    usual = {
        "bands": BANDS,
        "variational": True,
        "block": "cswin",
        "global_residual": False,
        "width": None,
        "latent": None,
    }
    given = {
        "bands": bands,
        "variational": variational,
        "block": block,
        "global_residual": global_residual,
        "width": width,
        "latent": latent,
    }
    return SceneCourse(
        size=size,
        switches={key: value for key, value in given.items() if value != usual[key]},
        scene=cube,
        index=band_index(len(cube.values), bands, band_select),
        seed=seed,
        batch=batch,
        steps_per_epoch=steps_per_epoch,
        holes=holes,
        over=over,
        ridge=ridge,
        score_on=score_on,
    )


def scaled(values: Float32Array) -> Float32Array:
    """``values`` linearly to -0.1..0.1 by their own extremes; zeros where all are equal. NaN is refused."""
    if not np.isfinite(values).all():
        raise DatasetError("The cube holds NaN or infinite values. Drop those bands or pixels first.")
    low, high = float(values.min()), float(values.max())
    if high == low:
        return np.zeros_like(values)
    return (SCALE * (2 * (values - low) / (high - low) - 1)).astype(np.float32)


def whole_background(network: nn.Module, hsi: Tensor) -> Tensor:
    """(bands, rows, cols) of any size through the network at once: mirrored below and right to a multiple of 8."""
    from torch.nn import functional

    rows, cols = hsi.shape[1:]
    padded = functional.pad(hsi[None], (0, -cols % 8, 0, -rows % 8), mode="reflect")
    background: Tensor = network(padded)[0, :, :rows, :cols]
    return background


def band_names(index: tuple[int, ...]) -> tuple[str, ...]:
    """Names by position in the sensor's cube, counted from 1; a repeated band gets a mark.

    >>> band_names((0, 1, 0))
    ('band_1', 'band_2', 'band_1_again_1')
    """
    seen: dict[int, int] = {}
    names = []
    for place in index:
        count = seen[place] = seen.get(place, -1) + 1
        names.append(f"band_{place + 1}" + (f"_again_{count}" if count else ""))
    return tuple(names)


def _named(data: Path, scene: str) -> Cube:
    if scene:
        folder = data / "scenes" if (data / "scenes").is_dir() else data
        return read_cube(folder / f"{scene}.mat")
    scenes = read_scenes(data)
    if len(scenes) != 1:
        raise DatasetError(f"{data} holds {len(scenes)} scenes: {', '.join(scenes)}. Name one: --set scene=NAME.")
    return next(iter(scenes.values()))


def _crop(whole: Tensor, generator: Any) -> Tensor:
    """A 64 px window of (bands, rows, cols), turned and flipped at random."""
    import torch

    rows, cols = whole.shape[1:]
    top, left, turns, flip = (
        int(torch.randint(0, many, (), generator=generator)) for many in (rows - EDGE_PX + 1, cols - EDGE_PX + 1, 4, 2)
    )
    window = torch.rot90(whole[:, top : top + EDGE_PX, left : left + EDGE_PX], turns, (1, 2))
    return window.flip(2) if flip else window
