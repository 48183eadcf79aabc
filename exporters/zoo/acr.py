"""ACR (Gao et al., "Adaptive Conditional Reasoning for Remote Sensing Visual Question Answering").

A question is read, sorted into closed (is there ...?) or open (how many ...?), and reasoned about with the picture by
the stack of its type. What the paper leaves open is settled by the decisions D1 to D8 that ``docs/zoo/acr.md`` lists.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from .acf_vig import position_code
from .acr_vision import ResNet

MASKED = -1e4
CLOSED, OPEN = 0, 1
LONGEST = 16


class Attention(nn.Module):
    """Attention of several heads with an output projection; MatMul, Softmax, MatMul in the graph."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, other: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (n, i, width) asks, other (n, j, width) answers; mask (n, j): what counts."""
        count, _, width = x.shape
        q = self.query(x).view(count, -1, self.heads, width // self.heads).transpose(1, 2)
        k = self.key(other).view(count, -1, self.heads, width // self.heads).permute(0, 2, 3, 1)
        v = self.value(other).view(count, -1, self.heads, width // self.heads).transpose(1, 2)
        link = q @ k / math.sqrt(width / self.heads)
        if mask is not None:
            link = link.masked_fill(~mask[:, None, None, :], MASKED)
        mixed = self.dropout(link.softmax(3)) @ v
        return self.out(mixed.transpose(1, 2).reshape(count, -1, width))  # type: ignore[no-any-return]


class Vision(nn.Module):
    """The picture as (edge / 32)^2 tokens with a code of their place (D3)."""

    place: Tensor

    def __init__(
        self, base: int, depths: Sequence[int], width: int, edge_px: int, *, dre: bool, hard: bool = False
    ) -> None:
        super().__init__()
        self.backbone = ResNet(base, depths, dre=dre, hard=hard)
        self.project = nn.Conv2d(self.backbone.channels, width, 1)
        self.register_buffer("place", position_code(width, edge_px // 32), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """(n, 3, edge, edge) normalised in, v (n, tokens, width) out."""
        return self.project(self.backbone(image)).flatten(2).transpose(1, 2) + self.place  # type: ignore[no-any-return]


class EncoderLayer(nn.Module):
    """A layer of the transformer, normalised after each part (D4)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads, dropout)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.linear1, self.linear2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(n, length, width) in and out."""
        x = self.norm1(x + self.dropout(self.attention(x, x, mask)))
        return self.norm2(x + self.dropout(self.linear2(F.relu(self.linear1(x)))))  # type: ignore[no-any-return]


class Question(nn.Module):
    """Words, their transformer, the gated attention over both, and the router (equations 1 to 8)."""

    place: Tensor

    def __init__(self, words: int, width: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, 300, padding_idx=0)
        self.project = nn.Linear(300, width)
        self.layers = nn.ModuleList(EncoderLayer(width, heads, dropout) for _ in range(layers))
        self.content, self.gate = nn.Linear(2 * width, width), nn.Linear(2 * width, width)
        self.weigh = nn.Linear(width, 1)
        self.router = nn.Sequential(nn.Linear(width, width // 2), nn.ReLU(), nn.Linear(width // 2, 2))
        self.register_buffer("place", sine_code(width, LONGEST), persistent=False)

    def forward(self, question: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(m, length <= 16) int64, 0 after the last word, in; q, its mask, q_att (m, width), type_logits (m, 2) out."""
        mask = question > 0
        read = self.project(self.embedding(question))
        words = read + self.place[: question.shape[1]]
        for layer in self.layers:
            words = layer(words, mask)
        both = torch.cat([read, words], 2)
        gated = torch.tanh(self.content(both)) * torch.sigmoid(self.gate(both))
        share = self.weigh(gated).squeeze(2).masked_fill(~mask, MASKED).softmax(1)
        q_att = (share.unsqueeze(2) * words).sum(1)
        return words, mask, q_att, self.router(q_att)


class CrossLayer(nn.Module):
    """Picture and question each look at the other, from the same inputs (equations 9 to 20)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.see, self.read = Attention(width, heads, dropout), Attention(width, heads, dropout)
        self.norm_v, self.norm_q = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, v: Tensor, q: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """v (n, tokens, width), q (n, length, width) in and out."""
        return self.norm_v(v + self.see(v, q, mask)), self.norm_q(q + self.read(q, v))


class Stack(nn.Module):
    """The reasoning of one type of question (D5)."""

    def __init__(self, width: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(CrossLayer(width, heads, dropout) for _ in range(layers))

    def forward(self, v: Tensor, q: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """v and q in and out."""
        for layer in self.layers:
            v, q = layer(v, q, mask)
        return v, q


class Pool(nn.Module):
    """Attention pooling of one modality (D6)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(n, tokens, width) in, (n, width) out."""
        logits = self.weigh(x).squeeze(2)
        if mask is not None:
            logits = logits.masked_fill(~mask, MASKED)
        return self.out((logits.softmax(1).unsqueeze(2) * x).sum(1))  # type: ignore[no-any-return]


class Reason(nn.Module):
    """Both stacks, chosen between by type; fusion and classifier (equation 21). Without ``routing``, one stack."""

    def __init__(self, width: int, heads: int, layers: int, answers: int, dropout: float, *, routing: bool) -> None:
        super().__init__()
        self.closed = Stack(width, heads, layers, dropout)
        self.open = Stack(width, heads, layers, dropout) if routing else None
        self.pool_v, self.pool_q = Pool(width), Pool(width)
        self.norm = nn.LayerNorm(width)
        self.classify = nn.Linear(width, answers)

    def forward(self, v: Tensor, q: Tensor, mask: Tensor, q_att: Tensor, is_open: Tensor) -> Tensor:
        """v (n, tokens, width) and the question's parts in, is_open (n,) bool; answer_logits (n, answers) out."""
        seen, read = self.closed(v, q, mask)
        if self.open is not None:
            seen_open, read_open = self.open(v, q, mask)
            seen = torch.where(is_open[:, None, None], seen_open, seen)
            read = torch.where(is_open[:, None, None], read_open, read)
        joined = self.norm(self.pool_v(seen) + self.pool_q(read, mask))
        return self.classify(joined * q_att)  # type: ignore[no-any-return]


class ACR(nn.Module):
    """The whole network. Switches: ``dre``, ``hard_gate``, ``routing``; ``looks`` False leaves the picture out."""

    def __init__(
        self,
        base: int = 64,
        depths: Sequence[int] = (3, 4, 6, 3),
        width: int = 512,
        heads: int = 8,
        question_layers: int = 2,
        layers: int = 3,
        edge_px: int = 512,
        words: int = 75,
        answers: int = 166,
        dropout: float = 0.1,
        *,
        dre: bool = True,
        hard_gate: bool = False,
        routing: bool = True,
        looks: bool = True,
    ) -> None:
        super().__init__()
        if edge_px % 32:
            raise ValueError(f"an edge of {edge_px} px does not divide by 32; use one that does")
        self.vision = Vision(base, depths, width, edge_px, dre=dre, hard=hard_gate)
        self.question = Question(words, width, heads, question_layers, dropout)
        self.reason = Reason(width, heads, layers, answers, dropout, routing=routing)
        self.looks = looks

    def forward(self, image: Tensor, question: Tensor, is_open: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Image (n, 3, edge, edge) normalised and question (n, length): answer_logits (n, answers), type_logits (n, 2).

        ``is_open``: (n,) bool, the type to reason by; None takes the router's (D7).
        """
        return self.answer(self.see(image), question, is_open)

    def example_inputs(self, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        """A picture of that shape and nine words: what the operations are counted on."""
        device = self.question.project.weight.device
        return torch.zeros((1, *shape), device=device), torch.ones((1, 9), dtype=torch.int64, device=device)

    def see(self, image: Tensor) -> Tensor:
        """v of a picture, once for all questions; the code of the places alone where the network does not look."""
        if not self.looks:
            return self.vision.place.expand(len(image), -1, -1)
        return self.vision(image)  # type: ignore[no-any-return]

    def answer(self, v: Tensor, question: Tensor, is_open: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As ``forward``, from v (n, tokens, width)."""
        words, mask, q_att, type_logits = self.question(question)
        chosen = routed(type_logits) if is_open is None else is_open
        return self.reason(v, words, mask, q_att, chosen), type_logits


def routed(type_logits: Tensor) -> Tensor:
    """(n,) bool: open unless closed is strictly likelier."""
    return ~(type_logits[:, CLOSED] > type_logits[:, OPEN])


def sine_code(width: int, length: int) -> Tensor:
    """(length, width): sine and cosine of the place of a word."""
    place = torch.arange(length, dtype=torch.float64)[:, None]
    rate = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    return torch.stack([torch.sin(place * rate), torch.cos(place * rate)], 2).flatten(1).half().float()
