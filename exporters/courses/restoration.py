"""How restorers are trained: crops of pairs, or clear chips with fresh haze, in the eight symmetries of the square."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from ..metrics.restoration import mean_ci95, quality
from ..readers.haze import HazeModel, add_haze
from ..readers.pairs import Pairs
from ..registry import build_network
from ..tiles import Tiles
from ..training.course import Described

if TYPE_CHECKING:
    from torch import Tensor, nn

Pixels = NDArray[np.uint8]
Restore = Callable[["nn.Module", "Tensor"], "Tensor"]
Loss = Callable[["Tensor", "Tensor"], Mapping[str, "Tensor"]]


class Sampler(Protocol):
    """Where a training pair comes from."""

    def draw(self, place: int, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
        """(degraded, clear), (3, crop, crop) uint8 each, made from the image at ``place``."""
        ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True, eq=False)
class CropSampler:
    """Random crops of real pairs."""

    pairs: Pairs
    crop_px: int

    def __post_init__(self) -> None:
        smallest = min(min(image.shape[1:]) for image in self.pairs.clear)
        if smallest < self.crop_px:
            raise DatasetError(
                f"{self.pairs.name} has an image of {smallest} px, smaller than crops of {self.crop_px} px. "
                f"Set crop_px to {smallest - smallest % 8} or less."
            )

    def __len__(self) -> int:
        return len(self.pairs)

    def draw(self, place: int, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
        """See ``Sampler``."""
        hazy, clear = self.pairs.hazy[place], self.pairs.clear[place]
        row, col = (int(rng.integers(size - self.crop_px + 1)) for size in clear.shape[1:])
        window = np.s_[:, row : row + self.crop_px, col : col + self.crop_px]
        symmetry = int(rng.integers(8))
        return turned(hazy[window], symmetry), turned(clear[window], symmetry)


@dataclass(frozen=True, slots=True, eq=False)
class HazeSampler:
    """Whole clear chips, (n, 3, edge, edge) uint8, each under new haze every time."""

    clear: Pixels
    model: HazeModel
    clear_frac: float = 0.1
    """Share of draws without any haze, so that clear tiles are left alone."""

    def __len__(self) -> int:
        return len(self.clear)

    def draw(self, place: int, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
        """See ``Sampler``."""
        chip = turned(self.clear[place], int(rng.integers(8)))
        hazy = add_haze(chip, rng, self.model).pixels
        return (chip if rng.random() < self.clear_frac else hazy), chip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RestorationCourse:
    """A ``Course`` for networks from a degraded image 0..1 to a clear one, chosen by PSNR at the images' full size."""

    network: str
    size: str
    switches: Mapping[str, Any]
    sampler: Sampler
    val: Pairs
    held_out: Pairs
    described: Described
    tiles_of: Callable[[str], Tiles]
    loss_of: Loss
    restore: Restore
    """(network, (1, 3, rows, cols) in 0..1) to the clamped answer, for images of any size."""
    seed: int
    batch: int
    steps_per_epoch: int
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Fields of ``Training`` that hold unless somebody says otherwise."""
    metric: str = field(default="psnr_db", init=False)

    def build(self) -> nn.Module:
        """Fresh weights from torch's current seed."""
        return build_network(self.network, size=self.size, **self.switches)

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(degraded, clear), (batch, 3, crop, crop) float32 0..1; every image comes once before any comes twice."""
        rng = np.random.default_rng((self.seed, epoch))
        wanted = self.steps_per_epoch * self.batch
        rounds = -(-wanted // len(self.sampler))
        order = np.concatenate([rng.permutation(len(self.sampler)) for _ in range(rounds)])[:wanted]
        for places in order.reshape(self.steps_per_epoch, self.batch):
            drawn = [self.sampler.draw(int(place), rng) for place in places]
            yield unit_batch([one for one, _ in drawn]), unit_batch([other for _, other in drawn])

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor]) -> Mapping[str, Tensor]:
        """What the network's paper minimises."""
        device = next(network.parameters()).device
        degraded, clear = (part.to(device) for part in batch)
        return self.loss_of(network(degraded), clear)

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """PSNR and SSIM on the images held back."""
        return score_pairs(self.val, lambda image: restore_image(network, image, self.restore))

    def test(self, network: nn.Module) -> Mapping[str, float]:
        """The same on the test images, the input's figures and the gain over it beside."""
        restored = score_pairs(self.held_out, lambda image: restore_image(network, image, self.restore))
        degraded = score_pairs(self.held_out, lambda image: image)
        return {
            **restored,
            **{f"{key}_input": value for key, value in degraded.items()},
            "gain_db": restored["psnr_db"] - degraded["psnr_db"],
            "n": len(self.held_out),
        }

    def figures(self, answer: Callable[[Pixels], NDArray[np.float32]]) -> Mapping[str, float]:
        """PSNR and SSIM of a package's answers, (n, 3, edge, edge) 0..255, on the whole tiles of the test images."""
        edge_px = self.described.edge_px
        degraded, clear = (cut(images, edge_px) for images in (self.held_out.hazy, self.held_out.clear))
        restored = np.clip(np.rint(answer(np.stack(degraded))), 0, 255).astype(np.uint8)
        names = tuple(str(place) for place in range(len(clear)))
        return score_pairs(Pairs(self.held_out.name, names, tuple(restored), tuple(clear)), lambda image: image)

    def tiles(self, split: str) -> Tiles:
        """Degraded tiles of ``train`` or ``test`` at the deployed size."""
        return self.tiles_of(split)

    def describe(self) -> Described:
        """What the checkpoint says of its input and its data."""
        return self.described


def tiles_of_pairs(pairs: Pairs, edge_px: int) -> Tiles:
    """The degraded images cut into whole tiles; DatasetError when none holds one."""
    found = cut(pairs.hazy, edge_px)
    if not found:
        raise DatasetError(f"{pairs.name} holds no tile of {edge_px} px. Set tile_px to less.")
    return Tiles(f"{pairs.name}, degraded", np.stack(found))


def cut(images: Sequence[Pixels], edge_px: int) -> list[Pixels]:
    """The whole tiles of (3, rows, cols) images, image by image."""
    return [
        image[:, row : row + edge_px, col : col + edge_px]
        for image in images
        for row in range(0, image.shape[1] - edge_px + 1, edge_px)
        for col in range(0, image.shape[2] - edge_px + 1, edge_px)
    ]


def turned(image: Pixels, symmetry: int) -> Pixels:
    """One of the eight symmetries of the square: quarter turns 0 to 3, the same mirrored 4 to 7."""
    view = np.rot90(image, symmetry % 4, axes=(1, 2))
    return np.ascontiguousarray(view[:, :, ::-1] if symmetry >= 4 else view)


def unit_batch(images: list[Pixels]) -> Tensor:
    """(3, rows, cols) uint8 images of one size as one float32 batch in 0..1."""
    import torch

    return torch.from_numpy(np.stack(images)).float() / 255.0


def restore_image(network: nn.Module, image: Pixels, restore: Restore) -> Pixels:
    """One (3, rows, cols) uint8 image through the network, rounded back to uint8."""
    import torch

    device = next(network.parameters()).device
    with torch.no_grad():
        answer = restore(network, unit_batch([image]).to(device))[0]
    return (answer * 255.0).round().to(torch.uint8).cpu().numpy()


def score_pairs(pairs: Pairs, method: Callable[[Pixels], Pixels]) -> dict[str, float]:
    """Mean PSNR, SSIM and pooled SSIM of what ``method`` makes of the degraded images."""
    found = [quality(method(hazy), clear) for hazy, clear in pairs]
    keys = ("psnr_db", "ssim", "ssim_pooled")
    return {key: mean_ci95(getattr(one, key) for one in found).value for key in keys}
