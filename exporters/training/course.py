"""What a network must bring to be trained by ``exporters.training.loop``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..datasets import Chips
    from ..tiles import Tiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a checkpoint, and later its package, says about the trained network."""

    classes: tuple[str, ...]
    bands: tuple[str, ...]
    """One name a band of the stacked input, in its order."""
    edge_px: int
    mean: tuple[float, ...]
    """Per band: in units of uint8 / 255 where ``dtype`` is uint8, else in the units of the tiles."""
    std: tuple[float, ...]
    dtype: str = "uint8"
    """Of the tiles that the package takes: ``uint8`` or ``float32``."""
    dataset: str
    """What it learned from, as the package's card says it."""
    licence: str
    """SPDX identifier of the weights."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """JSON values only."""
    unit: str = ""
    """Of what a ``map`` answers, such as ``m``."""
    gsd_range_m: tuple[float, float] = (0.1, 30.0)
    """Ground sample distances that it is good for."""


class Course(Protocol):
    """How one network is trained: its data, its loss, its measure. All that is random follows from seed and epoch.

    A course may also have ``tiles(split) -> Tiles | Chips``, ``split`` being ``train`` or ``test``: the real tiles,
    stacked as the package takes them, that an export calibrates with and is proven on. And ``figures(answer)``: what
    ``test`` measures, of a package's answers instead of the network's, ``answer`` being a function from tiles to
    answers; an INT8 export is held to it (see ``int8_gate``).
    """

    @property
    def network(self) -> str:
        """Name in the zoo, or ``module:Name``."""
        ...

    @property
    def size(self) -> str:
        """Size in the zoo."""
        ...

    @property
    def switches(self) -> Mapping[str, Any]:
        """What ``build_network`` is told besides the size; JSON values only."""
        ...

    @property
    def metric(self) -> str:
        """The key of ``validate`` that chooses the epoch; higher is better."""
        ...

    @property
    def steps_per_epoch(self) -> int:
        """How many batches an epoch has."""
        ...

    def build(self) -> nn.Module:
        """The network with fresh weights from torch's current seed."""
        ...

    def batches(self, epoch: int) -> Iterable[Any]:
        """The batches of an epoch: one seed and epoch, the same batches, wherever a run is resumed.

        Tensors, also in tuples, lists and dicts, are moved to the device of the training.
        """
        ...

    def loss(self, network: nn.Module, batch: Any) -> Mapping[str, Tensor]:
        """``loss`` is minimised; other keys, also scalars, go into the curve. Called in training mode."""
        ...

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """Figures on data held back from training. The network is in evaluation mode, without gradients."""
        ...

    def test(self, network: nn.Module) -> Mapping[str, float]:
        """Figures on the test data, looked at once, at the end."""
        ...

    def describe(self) -> Described:
        """What the checkpoint says about itself."""
        ...


class ShowsTiles(Protocol):
    """A course that has the tiles of its data at hand."""

    def tiles(self, split: str) -> Tiles | Chips:
        """Tiles of ``train`` or ``test``, stacked as the package takes them."""
        ...
