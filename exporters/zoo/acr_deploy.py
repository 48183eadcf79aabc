"""ACR as it flies: a picture's tokens once a tile as ``model.onnx``, questions by ``answer.onnx``.

A package of kind ``embedding`` answers unit vectors; tokens are none. So they are written in homogeneous coordinates:
``[v, c] / |[v, c]|`` with a constant c. Dividing by the last number gives v back.
"""

from __future__ import annotations

import math

import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from ..checkpoint import Checkpoint
from .acf_deploy import Prepared
from .acr import ACR, LONGEST, OPEN
from .companions import fused, graph_bytes

ANSWER, VOCABULARY, ANSWERS = "answer.onnx", "vocabulary.txt", "answers.txt"


class TileTokens(nn.Module):
    """(n, 3, e, e) uint8 in, (n, tokens x width + 1) of length 1 out: ``model.onnx``."""

    def __init__(self, network: ACR, prepared: Prepared) -> None:
        super().__init__()
        self.prepared, self.vision = prepared, network.vision
        self.last = math.sqrt(network.vision.place.numel())

    def forward(self, tiles: Tensor) -> Tensor:
        """The tokens of each tile in homogeneous coordinates."""
        flat = self.vision(self.prepared(tiles)).flatten(1)
        last = torch.full_like(flat[:, :1], self.last)
        return F.normalize(torch.cat([flat, last], 1), dim=1)


class Answer(nn.Module):
    """Tokens of tiles (n, tokens x width + 1) and questions (n, 16), one each: ``answer.onnx``."""

    def __init__(self, network: ACR) -> None:
        super().__init__()
        self.question, self.reason = network.question, network.reason
        self.width = network.vision.project.out_channels

    def forward(self, features: Tensor, question: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities (n, answers), and how likely the question is an open one (n,)."""
        flat = features[:, :-1] / features[:, -1:] * math.sqrt(features.shape[1] - 1)
        v = flat.reshape(flat.shape[0], flat.shape[1] // self.width, self.width)
        words, mask, q_att, type_logits = self.question(question)
        is_open = type_logits[:, 0] <= type_logits[:, OPEN]
        logits = self.reason(v, words, mask, q_att, is_open)
        return logits.softmax(1), type_logits.softmax(1)[:, OPEN]


class Fused(nn.Module):
    """Picture and question in, answer_logits and type_logits out, in one graph."""

    def __init__(self, network: ACR, prepared: Prepared) -> None:
        super().__init__()
        self.network, self.prepared = network, prepared

    def forward(self, tiles: Tensor, question: Tensor) -> tuple[Tensor, Tensor]:
        """See ``ACR``; the router decides."""
        return self.network(self.prepared(tiles), question)  # type: ignore[no-any-return]


def deploy(network: nn.Module, checkpoint: Checkpoint) -> nn.Module:
    """From raw tiles to the tokens that questions are asked of."""
    return fused(TileTokens(_acr(network), Prepared(checkpoint.mean, checkpoint.std)))


def companions(network: nn.Module, checkpoint: Checkpoint) -> dict[str, bytes]:
    """The other files of the package: the reasoning, the words and the answers."""
    acr = _acr(network).eval()
    width, edge = acr.vision.project.out_channels, checkpoint.edge_px // 32
    features = F.normalize(torch.ones((2, edge * edge * width + 1)), dim=1)
    rows = torch.export.Dim("questions", min=1, max=1024)
    inputs = {"features": features, "question": torch.ones((2, LONGEST), dtype=torch.int64)}
    return {
        ANSWER: graph_bytes(Answer(acr), inputs, ("probabilities", "open"), ({0: rows}, {0: rows})),
        VOCABULARY: str(checkpoint.notes["vocabulary"]).encode(),
        ANSWERS: str(checkpoint.notes["answers"]).encode(),
    }


def _acr(network: nn.Module) -> ACR:
    if not isinstance(network, ACR):
        raise TypeError(f"{type(network).__name__} is no ACR")
    return network
