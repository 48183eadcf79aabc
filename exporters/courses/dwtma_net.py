"""How DWTMA-Net is trained: on pairs (RICE, SateHaze1k, RSHaze, …), or on clear chips under synthetic haze."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..datasets import Chips, hold_back, read_chips
from ..errors import DatasetError, FitError
from ..readers.haze import HazeModel, add_haze_to_all
from ..readers.pairs import Pairs, hold_back_pairs, read_pairs
from ..training.course import Described
from .restoration import CropSampler, HazeSampler, RestorationCourse, Sampler, tiles_of_pairs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

SWITCHES = ("dwb", "mab", "wdm", "ca", "pa", "fam")
RECIPE = {"lr": 2e-3, "weight_decay": 0.01, "warmup_frac": 0.1, "ema_decay": 0.99, "clip_norm": 1.0}
"""The paper's learning rate is 2e-4, for a network three times as wide and a thousand epochs."""
HELD_HAZE_SEED, TEST_HAZE_SEED = 999, 2026
"""Haze over the chips held back, and over the test chips: the same for every training seed."""


def course(
    data: Path,
    *,
    size: str,
    seed: int,
    batch: int = 8,
    crop_px: int = 96,
    steps_per_epoch: int = 0,
    hold_back: int = 0,
    tile_px: int = 0,
    cache: Path | None = None,
    **switches: bool,
) -> RestorationCourse:
    """A course on the folder ``data``: pairs as ``read_pairs`` knows them, or chips with a ``classes.txt``.

    ``steps_per_epoch`` 0 is one pass over the images, eight crops each from pairs. ``hold_back`` images (0: 200 chips
    or 8 pairs) choose the epoch where the data set has no validation split. ``tile_px`` is the deployed tile (0: the
    chip, or 256). ``cache`` keeps decoded chips. Further settings switch the paper's modules off: dwb, mab, wdm, ca,
    pa, fam.
    """
    if unknown := sorted(switches.keys() - set(SWITCHES)):
        raise FitError(f"DWTMA-Net has no setting {unknown[0]!r}. Use batch, crop_px, or one of {list(SWITCHES)}.")
    if crop_px % 8 or crop_px < 8:
        raise FitError(f"crop_px is {crop_px}. DWTMA-Net needs a multiple of 8.")
    chips = (data / "classes.txt").is_file()
    sampler, val, test = (
        _from_chips(data, hold_back or 200, cache) if chips else _from_pairs(data, crop_px, hold_back or 8)
    )
    edge_px = tile_px or (test.clear[0].shape[1] if chips else 256)
    one_pass = len(sampler) * (1 if chips else 8) // batch
    return RestorationCourse(
        network="dwtma_net",
        size=size,
        switches=dict(switches),
        sampler=sampler,
        val=val,
        held_out=test,
        described=_described(data, edge_px, synthetic=chips),
        tiles_of=lambda split: tiles_of_pairs(_train_pairs(data, chips) if split == "train" else test, edge_px),
        loss_of=_loss,
        restore=_restore,
        seed=seed,
        batch=batch,
        steps_per_epoch=steps_per_epoch or max(1, one_pass),
        recipe=RECIPE,
    )


def hazed_pairs(chips: Chips, seed: int, model: HazeModel | None = None) -> Pairs:
    """The chips under seeded haze as pairs."""
    hazy = add_haze_to_all(chips.pixels, seed, model)
    names = tuple(str(place) for place in range(len(chips)))
    return Pairs(f"{chips.name} under synthetic haze, seed {seed}", names, tuple(hazy), tuple(chips.pixels))


def _from_chips(data: Path, held: int, cache: Path | None) -> tuple[Sampler, Pairs, Pairs]:
    fit, val = hold_back(read_chips(data, "train", cache=cache), held, seed=1)
    model = HazeModel()
    test = hazed_pairs(read_chips(data, "test", cache=cache), TEST_HAZE_SEED, model)
    return HazeSampler(fit.pixels, model), hazed_pairs(val, HELD_HAZE_SEED, model), test


def _from_pairs(data: Path, crop_px: int, held: int) -> tuple[Sampler, Pairs, Pairs]:
    train = read_pairs(data, "train")
    try:
        val = read_pairs(data, "val")
    except DatasetError:
        train, val = hold_back_pairs(train, held, seed=1)
    return CropSampler(train, crop_px), val, read_pairs(data, "test")


def _train_pairs(data: Path, chips: bool) -> Pairs:
    return hazed_pairs(read_chips(data, "train"), HELD_HAZE_SEED) if chips else read_pairs(data, "train")


def _described(data: Path, edge_px: int, *, synthetic: bool) -> Described:
    eurosat = synthetic and data.name.lower().startswith("eurosat")  # MIT, so that what it taught may be given away
    licence = "Apache-2.0" if eurosat else "as the data set's"
    return Described(
        classes=(),
        bands=("red", "green", "blue"),
        edge_px=edge_px,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        dtype="uint8",
        dataset=f"{data.name}, haze made by the scattering model" if synthetic else data.name,
        licence=licence,
        notes={"synthetic_haze": synthetic},
        gsd_range_m=(5.0, 20.0) if synthetic else (0.5, 30.0),
    )


def _loss(restored: Tensor, clear: Tensor) -> Mapping[str, Tensor]:
    from ..zoo.dwtma_net_loss import dehazing_loss

    return dehazing_loss(restored, clear)


def _restore(network: nn.Module, hazy: Tensor) -> Tensor:
    from ..zoo.dwtma_net import restore_any_size

    return restore_any_size(network, hazy)
