"""ACF as it flies: one embedding a tile, one a text, and the fine matcher for the tiles that come out best.

Cross-attention cannot be looked up in an index. So the index holds the global embedding alone (1 kB a tile in float16),
its best tiles are taken, and ``rerank.onnx`` scores these few again with the whole network (section 1 of the card).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from ..checkpoint import Checkpoint
from .acf import ACF, JOINT, Matcher
from .companions import fused, graph_bytes

TEXT, RERANK, VOCABULARY = "text.onnx", "rerank.onnx", "vocabulary.txt"


class Prepared(nn.Module):
    """Raw uint8 tiles as the network wants them."""

    scale: Tensor
    offset: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        deviation = torch.tensor(std, dtype=torch.float32)[:, None, None]
        self.register_buffer("scale", 1.0 / (255.0 * deviation))
        self.register_buffer("offset", -torch.tensor(mean, dtype=torch.float32)[:, None, None] / deviation)

    def forward(self, tiles: Tensor) -> Tensor:
        """(n, 3, e, e) uint8 in, float32 out."""
        return tiles.float() * self.scale + self.offset


class TileEmbedding(nn.Module):
    """(n, 3, e, e) uint8 in, (n, 512) of length 1 out: ``model.onnx``."""

    def __init__(self, network: ACF, prepared: Prepared) -> None:
        super().__init__()
        self.prepared, self.image = prepared, network.image

    def forward(self, tiles: Tensor) -> Tensor:
        """The global embedding of each tile."""
        return F.normalize(self.image(self.prepared(tiles))[1], dim=1)


class TextEmbedding(nn.Module):
    """Tokens (n, length) in; unit vectors (n, 512) and words (n, length, 512) out: ``text.onnx``."""

    def __init__(self, network: ACF) -> None:
        super().__init__()
        self.text = network.text

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The global embedding of each text, and its words for ``rerank.onnx``."""
        words, whole, _ = self.text(tokens)
        return F.normalize(whole, dim=1), words


class Rerank(nn.Module):
    """Tiles (n, 3, e, e) uint8 and what became of tokens (m, length) in, scores (n, m) out: ``rerank.onnx``."""

    def __init__(self, network: ACF, prepared: Prepared) -> None:
        super().__init__()
        self.prepared, self.image, self.match = prepared, network.image, network.match

    def forward(self, tiles: Tensor, words: Tensor, t_global: Tensor, tokens: Tensor) -> Tensor:
        """The network's own score."""
        nodes, v_global = self.image(self.prepared(tiles))
        return self.match(nodes, v_global, words, t_global, tokens > 0)[0]  # type: ignore[no-any-return]


class MatchGraph(nn.Module):
    """The matcher by itself, as the card's ``acf_match``: for a host that keeps the nodes of its tiles."""

    def __init__(self, match: Matcher) -> None:
        super().__init__()
        self.match = match

    def forward(self, nodes: Tensor, v_global: Tensor, words: Tensor, t_global: Tensor, mask: Tensor) -> Tensor:
        """See ``Matcher``; the score alone."""
        return self.match(nodes, v_global, words, t_global, mask)[0]  # type: ignore[no-any-return]


def deploy(network: nn.Module, checkpoint: Checkpoint) -> nn.Module:
    """From raw tiles to the embedding that the index holds."""
    return fused(TileEmbedding(_acf(network), Prepared(checkpoint.mean, checkpoint.std)))


def companions(network: nn.Module, checkpoint: Checkpoint) -> dict[str, bytes]:
    """The other files of the package: text side, re-ranking (not for a plain dual encoder), vocabulary."""
    acf = _acf(network).eval()
    notes: Mapping[str, Any] = checkpoint.notes
    rows, length = torch.export.Dim("texts", min=1, max=256), torch.export.Dim("length", min=2, max=64)
    batch = torch.export.Dim("batch", min=1, max=256)
    tokens = torch.ones((3, 7), dtype=torch.int64)
    outputs = ("text_embedding", "words")
    files = {
        TEXT: graph_bytes(TextEmbedding(acf), {"tokens": tokens}, outputs, ({0: rows, 1: length},)),
        VOCABULARY: str(notes["vocabulary"]).encode(),
    }
    if acf.matching == "fine":
        inputs = {
            "tiles": torch.zeros((2, 3, checkpoint.edge_px, checkpoint.edge_px), dtype=torch.uint8),
            "words": torch.ones((3, 7, JOINT)),
            "t_global": torch.ones((3, JOINT)),
            "tokens": tokens,
        }
        shapes = ({0: batch}, {0: rows, 1: length}, {0: rows}, {0: rows, 1: length})
        again = Rerank(acf, Prepared(checkpoint.mean, checkpoint.std))
        files[RERANK] = graph_bytes(again, inputs, ("score",), shapes, half=False)  # rounding moves near neighbours
    return files


def _acf(network: nn.Module) -> ACF:
    if not isinstance(network, ACF):
        raise TypeError(f"{type(network).__name__} is no ACF")
    return network
