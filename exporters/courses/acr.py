"""How ACR is trained on pictures with questions and answers (RSVQA's samples, EarthVQA)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from ..metrics.answers import Accuracies, accuracies, majority
from ..readers.captions import read_pictures
from ..readers.questions import Questions, is_open, read_questions
from ..tiles import Tiles
from ..vocabulary import Vocabulary
from .acf import MEAN, STD, normalised, shares

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..training.course import Described

LONGEST = 16
SWITCHES = ("dre", "hard_gate", "routing", "looks", "dropout", "width", "layers")


class Batch(NamedTuple):
    """Some pictures and questions about them. ``picture``: (q,) int64, which one each question is about."""

    images: Tensor
    picture: Tensor
    tokens: Tensor
    answer: Tensor
    is_open: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class AcrCourse:
    """One training of ACR. Each picture is encoded once a step, for all questions about it."""

    size: str
    seed: int
    edge_px: int
    pictures_per_step: int
    questions_per_picture: int
    switches: Mapping[str, Any]
    vocabulary: Vocabulary
    answers: tuple[str, ...]
    fit: Questions
    held: Questions
    tested: Questions
    network: str = "acr"
    metric: str = "overall"
    _pixels: dict[str, NDArray[np.uint8]] = field(default_factory=dict, repr=False)

    @property
    def steps_per_epoch(self) -> int:
        """Steps that show each picture once."""
        return -(-len(self.fit.pictures) // self.pictures_per_step)

    def build(self) -> nn.Module:
        """The network with fresh weights from torch's current seed."""
        from ..registry import build_network

        return build_network(self.network, size=self.size, **self.switches)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Each picture once, flipped and turned at random, with some of its questions. No question knows north."""
        rng = np.random.default_rng((self.seed, epoch))
        pixels = self._read(self.fit)
        by_picture = _by_picture(self.fit)
        for chosen in np.array_split(rng.permutation(len(self.fit.pictures)), self.steps_per_epoch):
            images = np.stack([_flipped(pixels[index], rng) for index in chosen])
            asked, about = [], []
            for number, index in enumerate(chosen):
                own = by_picture[index]
                some = rng.permutation(len(own))[: self.questions_per_picture]
                asked += [own[i] for i in some]
                about += [number] * len(some)
            yield self._batch(images, self.fit, np.array(asked), np.array(about))

    def loss(self, network: nn.Module, batch: Sequence[Tensor]) -> dict[str, Tensor]:
        """Answer and type; each question is reasoned about by its labelled type (D7)."""
        from ..zoo.acr_loss import acr_loss

        images, picture, tokens, answer, is_open = batch
        parts_of: Any = network
        answer_logits, type_logits = parts_of.answer(parts_of.see(images)[picture], tokens, is_open)
        return acr_loss(answer_logits.float(), type_logits.float(), answer, is_open)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Accuracy by kind on pictures held back from training, as shares."""
        return shares(self.score(network, self.held).as_table())

    def test(self, network: nn.Module) -> dict[str, float]:
        """Accuracy by kind of the ``n`` test questions, as shares; that of the majority answer as ``floor_*``."""
        floor = shares(self.floor(self.tested).as_table())
        found = shares(self.score(network, self.tested).as_table())
        return {**found, "n": float(len(self.tested)), **{f"floor_{key}": value for key, value in floor.items()}}

    def floor(self, questions: Questions) -> Accuracies:
        """Each kind answered with its most frequent answer in training, the held-back pictures included."""
        train = [(one.kind, one.answer) for one in (*self.fit.asked, *self.held.asked)]
        return majority(train, [(one.kind, one.answer) for one in questions.asked])

    def score(self, network: nn.Module, questions: Questions) -> Accuracies:
        """Accuracy with the router deciding; an answer that training never saw counts as wrong."""
        said = answered(network, self._read(questions), questions, self.vocabulary)
        right = [self.answers[int(n)] == one.answer for n, one in zip(said, questions.asked, strict=True)]
        return accuracies([one.kind for one in questions.asked], right)

    def tiles(self, split: str) -> Tiles:
        """The pictures of ``train`` or ``test``, for the proof of an export."""
        pictures = self.fit if split == "train" else self.tested
        return Tiles(pictures.name, self._read(pictures))

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
            licence="commonly cited as CC BY 4.0, not confirmed (RSVQA); questions from OpenStreetMap (ODbL)",
            notes={"vocabulary": self.vocabulary.text(), "answers": "".join(f"{a}\n" for a in self.answers)},
        )

    def _batch(
        self, images: NDArray[np.uint8], questions: Questions, asked: NDArray[np.int64], about: NDArray[np.int64]
    ) -> Batch:
        import torch

        chosen = [questions.asked[i] for i in asked]
        place = {answer: number for number, answer in enumerate(self.answers)}
        return Batch(
            normalised(images),
            torch.from_numpy(about),
            torch.from_numpy(self.vocabulary.tokens([one.question for one in chosen], LONGEST)),
            torch.tensor([place.get(one.answer, -1) for one in chosen]),
            torch.tensor([is_open(one.question) for one in chosen]),
        )

    def _read(self, questions: Questions) -> NDArray[np.uint8]:
        if questions.name not in self._pixels:
            self._pixels[questions.name] = read_pictures(questions.pictures, self.edge_px)
        return self._pixels[questions.name]


def course(
    data: Path,
    *,
    size: str = "edge",
    seed: int = 0,
    edge_px: int = 256,
    held: int = 6,
    pictures_per_step: int = 4,
    questions_per_picture: int = 40,
    **switches: Any,
) -> AcrCourse:
    """Train on ``data`` (RSVQA's ``lr`` folder, EarthVQA); ``held`` training pictures choose the epoch.

    ``switches``: those of ``ACR`` (dre, hard_gate, routing, looks, dropout, width, layers). Raises ``DatasetError``.
    """
    if unknown := sorted(set(switches) - set(SWITCHES)):
        raise DatasetError(f"ACR has no switch {unknown}. Use {', '.join(SWITCHES)}.")
    train = read_questions(data, "train")
    tested = read_questions(data, "test" if (data / "test.txt").is_file() else "val")
    if len(train.pictures) < held + 2:
        raise DatasetError(f"{train.name} has {len(train.pictures)} pictures, too few to hold {held} back.")
    order = np.random.default_rng(2025).permutation(len(train.pictures))  # the same pictures for every seed
    fit = train.take(np.sort(order[held:]).tolist(), f"{train.name}-fit")
    vocabulary = Vocabulary.of(one.question for one in fit.asked)
    answers = tuple(sorted({one.answer for one in fit.asked}))
    return AcrCourse(
        size=size,
        seed=seed,
        edge_px=edge_px,
        pictures_per_step=pictures_per_step,
        questions_per_picture=questions_per_picture,
        switches={"edge_px": edge_px, "words": vocabulary.size, "answers": len(answers), **switches},
        vocabulary=vocabulary,
        answers=answers,
        fit=fit,
        held=train.take(np.sort(order[:held]).tolist(), f"{train.name}-held"),
        tested=tested,
    )


def answered(
    network: nn.Module, pixels: NDArray[np.uint8], questions: Questions, vocabulary: Vocabulary, *, chunk: int = 256
) -> NDArray[np.int64]:
    """(questions,): the number of each answer; each picture is encoded once."""
    import torch

    network.eval()
    parts_of: Any = network
    device = next(network.parameters()).device
    said = []
    with torch.inference_mode():
        v = torch.cat([parts_of.see(part.to(device)) for part in torch.split(normalised(pixels), 8)])
        for start in range(0, len(questions), chunk):
            part = questions.asked[start : start + chunk]
            tokens = torch.from_numpy(vocabulary.tokens([one.question for one in part], LONGEST)).to(device)
            logits, _ = parts_of.answer(v[[one.picture for one in part]], tokens)
            said.append(logits.argmax(1).cpu().numpy())
    return np.concatenate(said)


def _by_picture(questions: Questions) -> list[list[int]]:
    own: list[list[int]] = [[] for _ in questions.pictures]
    for number, one in enumerate(questions.asked):
        own[one.picture].append(number)
    return own


def _flipped(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """One of the eight ways to lay a square picture down."""
    laid = np.rot90(picture, int(rng.integers(4)), (1, 2))
    return np.ascontiguousarray(laid[:, :, ::-1] if rng.integers(2) else laid)
