"""How ACF is trained on pictures with captions (RSICD, RSITMD or a sample of them)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from ..metrics.retrieval import Recalls, recalls
from ..readers.captions import Captions, read_captions, read_pictures
from ..tiles import Tiles
from ..vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..training.course import Described

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LONGEST = 64
SWITCHES = ("gat", "fusion", "filtering", "correction", "matching")
_MARGIN_FRAC = 20.0 / 224.0
"""Pictures are read larger by this, and cropped at random (D10: 244 to 224)."""


class Batch(NamedTuple):
    """Pictures and one caption of each. ``images``: (n, 3, e, e) normalised; ``tokens``: (n, length) int64."""

    images: Tensor
    tokens: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class AcfCourse:
    """One training of ACF. Same seed and epoch, same batches."""

    size: str
    seed: int
    edge_px: int
    batch: int
    switches: Mapping[str, Any]
    vocabulary: Vocabulary
    fit: Captions
    held: Captions
    tested: Captions
    global_loss: bool = True
    network: str = "acf"
    metric: str = "mR"
    _pixels: dict[str, NDArray[np.uint8]] = field(default_factory=dict, repr=False)

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch; a last one of a single picture has no wrong pair and is left out."""
        return max(1, round(len(self.fit) / self.batch))

    def build(self) -> nn.Module:
        """The network with fresh weights from torch's current seed."""
        from ..registry import build_network

        return build_network(self.network, size=self.size, **self.switches)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Each picture once, with one of its captions, turned and cropped at random (D10)."""
        import torch

        rng = np.random.default_rng((self.seed, epoch))
        larger = self.edge_px + max(2, round(self.edge_px * _MARGIN_FRAC))
        pixels = self._read(self.fit, larger)
        for index in np.array_split(rng.permutation(len(self.fit)), self.steps_per_epoch):
            texts = [self.fit.captions[i][rng.integers(len(self.fit.captions[i]))] for i in index]
            tokens = torch.from_numpy(self.vocabulary.tokens(texts)[:, :LONGEST])
            yield Batch(turned(normalised(pixels[index]), self.edge_px, rng), tokens)

    def loss(self, network: nn.Module, batch: Sequence[Tensor]) -> dict[str, Tensor]:
        """``loss`` is minimised; ``fine`` and ``whole`` are its parts."""
        from ..zoo.acf_loss import triplet

        images, tokens = batch
        score, sim_g = network(images, tokens)
        fine, whole = triplet(score.float()), triplet(sim_g.float())
        return {"loss": fine + whole if self.global_loss else fine, "fine": fine, "whole": whole}

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Recalls on pictures held back from training, as shares."""
        return shares(self.score(network, self.held).as_table())

    def test(self, network: nn.Module) -> dict[str, float]:
        """Recalls on the ``n`` test pictures, as shares; those of the global embedding alone as ``global_*``."""
        plain = shares(self.score(network, self.tested, whole=True).as_table())
        found = shares(self.score(network, self.tested).as_table())
        return {**found, "n": float(len(self.tested)), **{f"global_{key}": value for key, value in plain.items()}}

    def score(self, network: nn.Module, captions: Captions, *, whole: bool = False) -> Recalls:
        """Recalls of a split, by the network's score or, with ``whole``, by the global cosine."""
        fine, sim_g = pair_scores(network, normalised(self._read(captions, self.edge_px)), captions, self.vocabulary)
        return recalls(sim_g if whole else fine, captions.owner)

    def tiles(self, split: str) -> Tiles:
        """The pictures of ``train`` or ``test``, for the proof of an export."""
        pictures = self.fit if split == "train" else self.tested
        return Tiles(pictures.name, self._read(pictures, self.edge_px))

    def describe(self) -> Described:
        """What the checkpoint keeps beside the weights."""
        from ..training.course import Described

        return Described(
            classes=(),
            bands=("red", "green", "blue"),
            edge_px=self.edge_px,
            mean=MEAN,
            std=STD,
            dtype="uint8",
            dataset=self.fit.name,
            licence="research use; redistribution unclear (RSICD)",
            notes={"vocabulary": self.vocabulary.text()},
        )

    def _read(self, captions: Captions, edge_px: int) -> NDArray[np.uint8]:
        key = f"{captions.name} {edge_px}"
        if key not in self._pixels:
            self._pixels[key] = read_pictures(captions.pictures, edge_px)
        return self._pixels[key]


def course(
    data: Path,
    *,
    size: str = "edge",
    seed: int = 0,
    edge_px: int = 224,
    batch: int = 31,
    held: int = 15,
    global_loss: bool = True,
    **switches: Any,
) -> AcfCourse:
    """Train on ``data`` at ``edge_px``; ``held`` pictures of its training split choose the epoch.

    ``switches``: those of ``ACF`` (gat, fusion, filtering, correction, matching). Raises ``DatasetError``.
    """
    if unknown := sorted(set(switches) - set(SWITCHES)):
        raise DatasetError(f"ACF has no switch {unknown}. Use {', '.join(SWITCHES)}.")
    train, tested = read_captions(data, "train"), read_captions(data, "test")
    if len(train) < held + 2:
        raise DatasetError(f"{train.name} has {len(train)} pictures, too few to hold {held} back. Hold back fewer.")
    order = np.random.default_rng(2025).permutation(len(train))  # the same pictures for every seed
    kept, back = np.sort(order[held:]), np.sort(order[:held])
    fit = train.take(kept.tolist(), f"{train.name}-fit")
    vocabulary = Vocabulary.of(fit.texts)
    return AcfCourse(
        size=size,
        seed=seed,
        edge_px=edge_px,
        batch=batch,
        switches={"edge_px": edge_px, "words": vocabulary.size, **switches},
        vocabulary=vocabulary,
        fit=fit,
        held=train.take(back.tolist(), f"{train.name}-held"),
        tested=tested,
        global_loss=global_loss,
    )


def parameter_groups(network: nn.Module, lr: float) -> list[dict[str, Any]]:
    """The backbone at a tenth of the rate (D10, for backbones that come trained), everything else at ``lr``."""
    slow = {id(weight) for weight in network.get_submodule("image.backbone").parameters()}
    rest = [weight for weight in network.parameters() if id(weight) not in slow]
    return [{"params": [w for w in network.parameters() if id(w) in slow], "lr": 0.1 * lr}, {"params": rest, "lr": lr}]


def shares(percent: Mapping[str, float]) -> dict[str, float]:
    """Percentages as shares of 1."""
    return {key: 0.01 * value for key, value in percent.items()}


def normalised(pixels: NDArray[np.uint8]) -> Tensor:
    """(n, 3, e, e) uint8 as the network wants it."""
    import torch

    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    return (torch.from_numpy(pixels).float() / 255.0 - mean) / std


def turned(images: Tensor, edge_px: int, rng: np.random.Generator) -> Tensor:
    """Each picture turned by 0 to 90 degrees and cropped to ``edge_px``; what comes in from outside is mirrored."""
    import torch
    import torch.nn.functional as F

    larger = images.shape[-1]
    angle_rad = rng.uniform(0.0, np.pi / 2, len(images))
    shift = rng.uniform(-1.0, 1.0, (len(images), 2)) * (larger - edge_px) / larger
    scale = edge_px / larger
    theta = np.zeros((len(images), 2, 3), dtype=np.float32)
    theta[:, 0, 0] = theta[:, 1, 1] = scale * np.cos(angle_rad)
    theta[:, 0, 1], theta[:, 1, 0] = -scale * np.sin(angle_rad), scale * np.sin(angle_rad)
    theta[:, :, 2] = shift
    grid = F.affine_grid(torch.from_numpy(theta), [len(images), 3, edge_px, edge_px], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def pair_scores(
    network: nn.Module, images: Tensor, captions: Captions, vocabulary: Vocabulary, *, chunk: int = 32
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Score and global cosine of every picture with every caption, (pictures, texts) each; each encoded once."""
    import torch

    network.eval()
    parts_of: Any = network
    device = next(network.parameters()).device
    fine, whole = [], []
    with torch.inference_mode():
        parts = [parts_of.image(part.to(device)) for part in torch.split(images, chunk)]
        nodes, v_global = torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
        texts = captions.texts
        for start in range(0, len(texts), chunk):
            tokens = torch.from_numpy(vocabulary.tokens(texts[start : start + chunk])[:, :LONGEST]).to(device)
            words, t_global, mask = parts_of.text(tokens)
            score, sim_g = parts_of.match(nodes, v_global, words, t_global, mask)
            whole.append(sim_g)
            fine.append(sim_g if network.matching == "global" else score)
    return torch.cat(fine, 1).cpu().numpy(), torch.cat(whole, 1).cpu().numpy()
