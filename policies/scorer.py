"""The universal policy's network while it learns: the arithmetic of ``universal.score``, in torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch  # noqa: TID253
from numpy.typing import NDArray
from torch import nn  # noqa: TID253

from power_sim.observation import OPTION_SIZE

from .network import FloatArray, Mlp
from .universal import SLOT_SIZE


class Scorer(nn.Module):
    """Scores choices; rows are scaled to middle 0 and spread 1 first."""

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(self, hidden: int, slot_mean: FloatArray, slot_spread: FloatArray) -> None:
        super().__init__()
        self.hidden = hidden
        self.slot, self.option = nn.Linear(SLOT_SIZE, hidden), nn.Linear(OPTION_SIZE, hidden, bias=False)
        self.middle, self.last = nn.Linear(hidden, hidden), nn.Linear(hidden, 1, bias=False)
        self.register_buffer("mean", torch.from_numpy(slot_mean))
        self.register_buffer("spread", torch.from_numpy(slot_spread))

    @classmethod
    def of(cls, hidden: int, arrays: Mapping[str, NDArray[Any]]) -> Scorer:
        """Return the network whose ``state`` was ``arrays``."""
        model = cls(hidden, np.zeros(SLOT_SIZE, np.float32), np.ones(SLOT_SIZE, np.float32))
        model.load(arrays)
        return model

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything it holds, copied."""
        return {name: value.numpy().copy() for name, value in self.state_dict().items()}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take up the state of another."""
        self.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()})

    def forward(self, slot: torch.Tensor, blocks: torch.Tensor) -> torch.Tensor:
        """Return (n, options) scores of (n, SLOT_SIZE) and (n, options, OPTION_SIZE)."""
        scaled = (slot - self.mean) / self.spread
        hidden = torch.relu(self.slot(scaled).unsqueeze(-2) + self.option(blocks))
        scores: torch.Tensor = self.last(torch.relu(self.middle(hidden))).squeeze(-1)
        return scores

    def arrays(self) -> Mlp:
        """Return the network as plain arrays, the scaling folded into the first layer."""
        with torch.no_grad():
            slot = self.slot.weight.double() / self.spread.double()
            bias = self.slot.bias.double() - slot @ self.mean.double()
            first = torch.cat((slot, self.option.weight.double()), dim=1)
            layers = [(first, bias), (self.middle.weight, self.middle.bias), (self.last.weight, torch.zeros(1))]
            weights = tuple(np.ascontiguousarray(weight.float().numpy().T) for weight, _ in layers)
            return Mlp(weights, tuple(bias.float().numpy() for _, bias in layers))
