"""How JSPSR is trained as published: DFC30, real GLO-30 against lidar terrain, with ortho-images (card, section 3).

The set was not at hand: its reader and this course are proven on files of its layout, not on its figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from ..metrics.terrain import height_error
from ..readers.terrain import DfcSample, read_dfc30
from ..registry import build_network
from ..tiles import Tiles

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..training.course import Described
    from ..zoo.jspsr import JSPSR

Float32Array = NDArray[np.float32]
Read = tuple[Float32Array, Float32Array, Float32Array]
RECIPE = {"epochs": 300, "lr": 1e-3, "weight_decay": 1e-6, "ema_decay": 0.0, "schedule": "cosine", "warmup_frac": 0.01}
BORDER_FRAC = 0.05
"""Cut off on each side before scoring: it holds the padding."""
AUX = {"": (), "landuse": tuple(f"landuse_{number}" for number in range(1, 16)), "canopy": ("canopy",)}
CANOPY_M = 68.0
LOW_M = -80.0
"""The network's lowest height above the lowest given one."""
_HOLD_EVERY = 20
_MOST_TILES = 256


@dataclass(frozen=True, kw_only=True)
class DfcCourse:
    """Every twentieth training sample chooses the epoch; the three test regions are looked at once."""

    network: str = "jspsr"
    size: str = "published"
    switches: Mapping[str, Any] = field(default_factory=dict)
    metric: str = "gain_frac"
    samples: Sequence[DfcSample]
    tests: Sequence[DfcSample]
    guide: str = ""
    seed: int = 0
    edge_px: int = 128
    batch: int = 17
    steps_per_epoch: int = 178
    gsd_m: float = 8.0

    @property
    def recipe(self) -> Mapping[str, Any]:
        """Settings of the training loop that suit it."""
        return RECIPE

    @property
    def peak_m(self) -> float:
        """Full scale of PSNR, the largest height that the network knows."""
        return float(self.switches.get("high_m", 929.0))

    def build(self) -> nn.Module:
        """The network with fresh weights."""
        return build_network(self.network, size=self.size, **self.switches)

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(n, bands, edge, edge) heights above the sample's lowest in m and scaled guides, and the true heights."""
        import torch

        rng = np.random.default_rng((self.seed, epoch))
        train = [sample for at, sample in enumerate(self.samples) if at % _HOLD_EVERY]
        for _ in range(self.steps_per_epoch):
            drawn = [self._crop(train[int(rng.integers(len(train)))], rng) for _ in range(self.batch)]
            yield torch.from_numpy(np.stack([d[0] for d in drawn])), torch.from_numpy(np.stack([d[1] for d in drawn]))

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """The card's, in the scaled domain."""
        import torch

        from ..zoo.jspsr_loss import height_loss
        from ..zoo.jspsr_scaling import scaled

        net = cast("JSPSR", network)
        given, truth = batch
        how: dict[str, Any] = {"scaling": net.scaling, "low_m": net.low_m, "high_m": net.high_m}
        found = net(torch.cat([scaled(given[:, :1], **how), given[:, 1:]], dim=1))
        return height_loss(found.float(), scaled(truth, **how))

    def validate(self, network: nn.Module) -> dict[str, float]:
        """RMSE on the samples held back, and by what share it is below that of the input."""
        return self._scores(network, self.samples[::_HOLD_EVERY])

    def test(self, network: nn.Module) -> dict[str, float]:
        """The card's measures over all pixels of the test regions, and those of the input."""
        return self._scores(network, self.tests)

    def describe(self) -> Described:
        """What the package says: heights in m, RGB 0..255 and the guide in; heights in m out."""
        from ..training.course import Described

        aux = AUX[self.guide]
        scale = CANOPY_M if self.guide == "canopy" else 1.0
        return Described(
            classes=("terrain",),
            bands=("dem", "red", "green", "blue", *aux),
            edge_px=self.edge_px,
            mean=(100.0, *(0.0,) * (3 + len(aux))),
            std=(50.0, *(255.0,) * 3, *(scale,) * len(aux)),
            dtype="float32",
            dataset="DFC30 (Zenodo 10937848): Copernicus GLO-30, BD ORTHO, RGE ALTI",
            licence="see Zenodo 10937848",
            unit="m",
            gsd_range_m=(self.gsd_m * 0.8, self.gsd_m * 1.25),
            notes={"guide": self.guide, "gsd_m": self.gsd_m},
        )

    def tiles(self, split: str) -> Tiles:
        """One tile of each of up to 256 samples, as a package is fed."""
        chosen = (self.samples if split == "train" else self.tests)[:_MOST_TILES]
        edge = self.edge_px
        return Tiles(f"DFC30/{split}", np.stack([self._stacked(sample)[0][:, :edge, :edge] for sample in chosen]))

    def _scores(self, network: nn.Module, samples: Sequence[DfcSample]) -> dict[str, float]:
        pairs = [self._scored(network, sample) for sample in samples]
        ours = height_error(((found, truth) for found, truth, _ in pairs), peak_m=self.peak_m)
        plain = height_error(((given, truth) for _, truth, given in pairs), peak_m=self.peak_m)
        return {"gain_frac": 1 - ours.rmse_m / plain.rmse_m, **ours.named(), **plain.named("bicubic-")}

    def _scored(self, network: nn.Module, sample: DfcSample) -> Read:
        """Found, true and given heights without the border."""
        from ..zoo.jspsr_deploy import TerrainMap
        from .jspsr import blended

        stacked, truth = self._stacked(sample)
        module = TerrainMap(cast("JSPSR", network.eval()), self.describe().std[1:])
        found = blended(module, stacked, self.edge_px).astype(np.float32)
        cut = int(BORDER_FRAC * len(truth))
        inner = (slice(cut, -cut), slice(cut, -cut)) if cut else (slice(None), slice(None))
        return found[inner], truth[inner], stacked[0][inner]

    def _stacked(self, sample: DfcSample) -> tuple[Float32Array, Float32Array]:
        """Raw bands as a package takes them, (bands, rows, cols), and true heights, (rows, cols)."""
        pair, picture = read_dfc30(sample)
        return np.concatenate([pair.given_m[None], picture.astype(np.float32), pair.guide]), pair.truth_m

    def _crop(self, sample: DfcSample, rng: np.random.Generator) -> tuple[Float32Array, Float32Array]:
        stacked, truth = self._stacked(sample)
        stacked[1:] /= np.array(self.describe().std[1:], dtype=np.float32)[:, None, None]
        base = stacked[0].min()
        both = np.concatenate([stacked[:1] - base, stacked[1:], truth[None] - base])
        top, left = (int(rng.integers(size - self.edge_px + 1)) for size in truth.shape)
        both = both[:, top : top + self.edge_px, left : left + self.edge_px]
        if rng.integers(2):
            both = np.rot90(both, int(rng.integers(1, 4)), (1, 2))
            both = both[:, :: int(rng.choice((1, -1))), :: int(rng.choice((1, -1)))]
        whole = np.ascontiguousarray(both)
        if not np.isfinite(whole).all():
            raise DatasetError(f"{sample.region}/{sample.truth.name} or its input has gaps. Leave the sample out.")
        low, high = float(whole[[0, -1]].min()), float(whole[[0, -1]].max())
        if low < LOW_M + 1.0 or high > self.peak_m:
            raise DatasetError(
                f"{sample.region}/{sample.truth.name} reaches from {low:.0f} to {high:.0f} m above the lowest given "
                f"height; the network knows {LOW_M + 1.0:.0f} to {self.peak_m:.0f} m. Leave the sample out."
            )
        return whole[:-1], whole[-1:]
