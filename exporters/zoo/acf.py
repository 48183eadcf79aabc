"""ACF (Yang et al., "Remote Sensing Cross-Modal Text-Image Retrieval Based on Attention Correction and Filtering").

An image graph, a text graph, and a matcher that lets every part of one attend to the parts of the other. What the
paper leaves open or contradicts is settled by the decisions D1 to D9 that ``docs/zoo/acf.md`` lists.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from .acf_vig import PyramidViG

JOINT = 512
MASKED = -1e4
"""For softmax over padded words; finite, so that float16 stays finite."""
TEMPERATURE, CORRECTION_P, FILTER_Q = 9.0, 0.3, 0.1
CORRECTIONS = ("score_gate", "literal", "off")


class ImageEncoder(nn.Module):
    """Pyramid ViG and the fusion of its levels (equations 1 and 2, D2). Without ``fusion``, its last stage alone."""

    def __init__(self, channels: Sequence[int], depths: Sequence[int], edge_px: int, *, fusion: bool = True) -> None:
        super().__init__()
        self.backbone = PyramidViG(channels, depths, edge_px)
        self.fusion = fusion
        if fusion:
            self.low = nn.Conv2d(channels[1], JOINT, 1)
            self.mid = nn.Conv2d(channels[2], JOINT, 1)
        self.join = nn.Sequential(nn.Conv2d(2 * JOINT if fusion else channels[3], JOINT, 1), nn.BatchNorm2d(JOINT))
        self.top = nn.Linear(channels[3], JOINT)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 3, edge, edge) normalised in; nodes (n, (edge/32)^2, 512) row-major and v_global (n, 512) out."""
        low, mid, top = self.backbone(image)
        if self.fusion:
            top_down = torch.cat([F.avg_pool2d(self.low(low), 4), F.avg_pool2d(self.mid(mid), 2)], dim=1)
        else:
            top_down = top
        nodes = self.join(top_down).flatten(2).transpose(1, 2)
        whole = self.top(top.flatten(2).mean(2))
        return nodes, nodes.mean(1) * whole if self.fusion else whole


class WordGAT(nn.Module):
    """One graph attention layer over all pairs of words, 4 heads of 128 (D3); the input is added to the output."""

    def __init__(self, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.width = heads, JOINT // heads
        self.proj = nn.Linear(JOINT, JOINT, bias=False)
        self.from_word = nn.Parameter(torch.empty(heads, self.width))
        self.to_word = nn.Parameter(torch.empty(heads, self.width))
        nn.init.xavier_uniform_(self.from_word)
        nn.init.xavier_uniform_(self.to_word)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        """Words (n, length, 512) and mask (n, length) bool in, words out."""
        count, length, _ = words.shape
        z = self.proj(words).view(count, length, self.heads, self.width)
        one, other = (z * self.from_word).sum(3), (z * self.to_word).sum(3)
        link = F.leaky_relu(one.transpose(1, 2).unsqueeze(3) + other.transpose(1, 2).unsqueeze(2), 0.2)
        link = link.masked_fill(~mask[:, None, None, :], MASKED).softmax(3)
        mixed = (link @ z.transpose(1, 2)).transpose(1, 2).reshape(count, length, JOINT)
        return words + F.elu(mixed)


class TextEncoder(nn.Module):
    """Word vectors, a GRU in both directions whose outputs are averaged, and the graph (equations 3 and 4)."""

    def __init__(self, words: int, *, gat: bool = True) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, 300, padding_idx=0)
        self.onward = nn.GRU(300, JOINT, batch_first=True)
        self.backward = nn.GRU(300, JOINT, batch_first=True)
        self.gat = WordGAT() if gat else None

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens (n, length) int64, 0 after the last word, in; words (n, length, 512), t_global (n, 512), mask out.

        The backward direction starts at each text's own last word, so padding changes nothing.
        """
        mask = tokens > 0
        count = mask.sum(1, keepdim=True)
        place = torch.arange(tokens.shape[1], device=tokens.device).unsqueeze(0).expand_as(tokens)
        turned = torch.where(place < count, count - 1 - place, place).unsqueeze(2)
        vectors = self.embedding(tokens)
        onward, _ = self.onward(vectors)
        back, _ = self.backward(vectors.gather(1, turned.expand(-1, -1, vectors.shape[2])))
        words = 0.5 * (onward + back.gather(1, turned.expand(-1, -1, JOINT)))
        if self.gat is not None:
            words = self.gat(words, mask)
        weight = mask.unsqueeze(2).to(words.dtype)
        whole = (words * weight).sum(1) / weight.sum(1).clamp(min=1.0)
        return words, whole, mask


class Matcher(nn.Module):
    """Fine matching with correction and filtering (equations 5 to 14, D4 to D7). Holds no weights."""

    def __init__(self, *, correction: str = "score_gate", filtering: bool = True) -> None:
        super().__init__()
        if correction not in CORRECTIONS:
            raise ValueError(f"correction {correction!r}: use one of {', '.join(CORRECTIONS)}")
        self.correction, self.filtering = correction, filtering

    def forward(
        self, nodes: Tensor, v_global: Tensor, words: Tensor, t_global: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Nodes (n, k, 512), words (m, length, 512), mask (m, length) in; score and sim_g (n, m) out."""
        sim_g = F.normalize(v_global, dim=1) @ F.normalize(t_global, dim=1).T
        v, w = nodes.unsqueeze(1), words.unsqueeze(0)
        alike = F.normalize(v, dim=3) @ F.normalize(w, dim=3).transpose(2, 3)  # (n, m, k, length)
        valid = mask[None, :, None, :]
        alike = F.relu(alike) * valid.to(alike.dtype)
        to_words = self._weights(self._unit(alike, 2).masked_fill(~valid, MASKED), sim_g, 3)
        to_nodes = self._weights(self._unit(alike, 3), sim_g, 2)
        image = F.cosine_similarity(to_words @ w, v.expand(-1, words.shape[0], -1, -1), dim=3).mean(2)
        text = F.cosine_similarity(to_nodes.transpose(2, 3) @ v, w.expand(nodes.shape[0], -1, -1, -1), dim=3)
        share = mask.to(text.dtype) / mask.sum(1, keepdim=True).clamp(min=1).to(text.dtype)
        score = image + (text * share).sum(2)
        if self.correction == "score_gate":
            score = gate(sim_g) * score
        return score, sim_g

    @staticmethod
    def _unit(alike: Tensor, dim: int) -> Tensor:
        """Of length 1 along ``dim``. Clamped, not shifted: the exporter takes adding 1e-8 for adding nothing."""
        return alike / torch.sqrt((alike * alike).sum(dim, keepdim=True).clamp(min=1e-8))

    def _weights(self, alike: Tensor, sim_g: Tensor, dim: int) -> Tensor:
        weights = (TEMPERATURE * alike).softmax(dim)
        if self.correction == "literal":
            weights = corrected(weights, sim_g[:, :, None, None], dim)
        return filtered(weights, dim) if self.filtering else weights


class ACF(nn.Module):
    """The whole network. ``matching="global"`` scores pairs by the global cosine alone: a plain dual encoder."""

    def __init__(
        self,
        channels: Sequence[int] = (80, 160, 400, 640),
        depths: Sequence[int] = (2, 2, 6, 2),
        edge_px: int = 224,
        words: int = 3000,
        *,
        gat: bool = True,
        fusion: bool = True,
        filtering: bool = True,
        correction: str = "score_gate",
        matching: str = "fine",
    ) -> None:
        super().__init__()
        if matching not in ("fine", "global"):
            raise ValueError(f"matching {matching!r}: use fine or global")
        self.image = ImageEncoder(channels, depths, edge_px, fusion=fusion)
        self.text = TextEncoder(words, gat=gat)
        self.match = Matcher(correction=correction, filtering=filtering)
        self.matching = matching

    def example_inputs(self, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        """A picture of that shape and twelve words: what the operations are counted on."""
        device = self.image.top.weight.device
        return torch.zeros((1, *shape), device=device), torch.ones((1, 12), dtype=torch.int64, device=device)

    def forward(self, image: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, 3, edge, edge) normalised and tokens (m, length) in; score and sim_g (n, m) out."""
        nodes, v_global = self.image(image)
        words, t_global, mask = self.text(tokens)
        if self.matching == "global":
            sim_g = F.normalize(v_global, dim=1) @ F.normalize(t_global, dim=1).T
            return sim_g, sim_g
        score, sim_g = self.match(nodes, v_global, words, t_global, mask)
        return score, sim_g


def filtered(weights: Tensor, dim: int, q: float = FILTER_Q) -> Tensor:
    """Keep weights within ``q`` of the greatest along ``dim``, squared and to a sum of 1 (equations 10 and 11, D7)."""
    near = weights.amax(dim, keepdim=True) - weights < q
    kept = weights * weights * near.to(weights.dtype)
    return kept / kept.sum(dim, keepdim=True)


def corrected(weights: Tensor, sim_g: Tensor, dim: int, p: float = CORRECTION_P) -> Tensor:
    """Equations 8 and 9 as printed: one factor on all weights, which the division takes back."""
    scaled = (sim_g - p) * weights
    return scaled / (scaled.sum(dim, keepdim=True) + 1e-6)


def gate(sim_g: Tensor, p: float = CORRECTION_P) -> Tensor:
    """What the correction does to a pair's score (D5): its local likeness grows or fades with the global one."""
    return F.relu(1.0 + sim_g - p)
