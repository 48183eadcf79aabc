"""Questions about tiles: an answer of a fixed list with its confidence and the tile that it is about.

A package of kind ``embedding`` can be questioned that has the companions ``answer.onnx`` (features (n, dim) and
question (n, 16) int64 to probabilities (n, answers) and how likely the question is open (n,)), ``vocabulary.txt`` and
``answers.txt``. A tile's features are made once; questions cost little each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.package import ModelPackage
from exporters.vocabulary import Vocabulary

from ..errors import EngineError, MissionError
from ..records import FloatArray, Footprint, Product, TileRef
from ..text_index import TextIndex
from .answer import product_of
from .graphs import companion_session, run_graph
from .request import UplinkRequest

ANSWER, VOCABULARY, ANSWERS = "answer.onnx", "vocabulary.txt", "answers.txt"
LONGEST_WORD = 16
MOST_UNKNOWN_FRAC = 0.3
"""Of a question's words: above it, it is refused (section 1 of the card)."""
_SLACK = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class AskedQuestion:
    """A question as the network reads it. ``unknown``: words that it never learned, few enough to go on."""

    text: str
    tokens: NDArray[np.int64]
    unknown: tuple[str, ...]
    packed_byte: int
    """What its words take on the uplink."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What a tile answers. ``confidence``: the answer's probability; ``is_open``: how the router took the question."""

    ref: TileRef
    answer: str
    confidence: float
    is_open: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Asker:
    """The question side of a package."""

    package: ModelPackage
    vocabulary: Vocabulary
    answers: tuple[str, ...]
    graph: Any

    @classmethod
    def open(cls, package: ModelPackage, *, threads: int = 1) -> Asker:
        """Load the companions. Raises ``EngineError`` where the package cannot be questioned."""
        missing = [file for file in (ANSWER, VOCABULARY, ANSWERS) if file not in package.sums]
        if missing or package.info.output.kind != "embedding":
            raise EngineError(
                f"{package.info.id} cannot be questioned: it answers {package.info.output.kind!r} and lacks "
                f"{', '.join(missing) or 'nothing'}. Use a package of a network that answers questions, such as acr."
            )
        answers = tuple(package.read(ANSWERS).decode("utf-8").splitlines())
        return cls(
            package=package,
            vocabulary=Vocabulary.parse(package.read(VOCABULARY)),
            answers=answers,
            graph=companion_session(package, ANSWER, threads=threads),
        )

    def understand(self, question: str) -> AskedQuestion:
        """The words' numbers. Raises ``MissionError`` for no words, too many, or over 30 % that it never learned."""
        numbers, unknown = self.vocabulary.numbers(question), self.vocabulary.unknown(question)
        known = self.package.info.id
        if not numbers:
            raise MissionError(
                f"The question {question!r:.60} has no words. Ask something, such as 'Is there a road?'."
            )
        if len(numbers) > LONGEST_WORD:
            raise MissionError(
                f"The question has {len(numbers)} words; {known} reads {LONGEST_WORD} at most. Ask something shorter."
            )
        if len(unknown) > MOST_UNKNOWN_FRAC * len(numbers):
            raise MissionError(
                f"{known} does not know {', '.join(dict.fromkeys(unknown))}, {len(unknown)} of {len(numbers)} words. "
                f"It knows {', '.join(self.vocabulary.words[:40])} …"
            )
        return AskedQuestion(question, self.vocabulary.tokens([question], LONGEST_WORD), unknown, 2 * len(numbers))

    def answer(self, question: AskedQuestion, refs: Sequence[TileRef], features: FloatArray) -> list[Answered]:
        """What each tile answers, from its features (n, dim). Raises ``EngineError`` for answers that are none."""
        if not len(refs):
            return []
        tokens = np.repeat(question.tokens, len(refs), axis=0)
        what = f"{self.package.info.id} {ANSWER}"
        shares, opens = run_graph(self.graph, {"features": features, "question": tokens}, what=what)
        sound = shares.shape == (len(refs), len(self.answers)) and opens.shape == (len(refs),)
        if not sound or not np.all((shares >= -_SLACK) & (shares <= 1.0 + _SLACK)):
            raise EngineError(f"{what} answered {shares.shape}, no probabilities of {len(self.answers)} answers.")
        best = shares.argmax(1)
        return [
            Answered(ref, self.answers[int(one)], float(share[one]), bool(open_ >= 0.5))
            for ref, one, share, open_ in zip(refs, best, shares, opens, strict=True)
        ]


def serve_ask(
    request: UplinkRequest, asker: Asker, index: TextIndex, *, slot: int
) -> tuple[list[Answered], Product | None]:
    """What the daemon does with a question: the answers of the newest tiles, and the surest one as a product to send.

    ``index`` holds the features of tiles seen lately (16 kB each at edge size), so no tile is looked at again. Raises
    ``MissionError`` for a question that cannot be used: that line goes down as the answer.
    """
    if request.kind != "ask":
        raise MissionError(f"Request {request.request_id!r:.40} is of kind {request.kind!r}, not ask.")
    question = asker.understand(request.text)
    hits, features = index.newest(request.count, frame_id=request.frame_id)
    answers = asker.answer(question, [hit.ref for hit in hits], features)
    best = surest(answers)
    if best is None:
        return [], None
    captured_unix_s = next(hit.captured_unix_s for hit in hits if hit.ref == best.ref)
    return answers, answer_product(
        asker.package, request.text, best, slot=slot, captured_unix_s=captured_unix_s, worth=request.worth
    )


def surest(answers: Sequence[Answered]) -> Answered | None:
    """The answer of greatest confidence, the first of equals; None where no tile answered."""
    return max(answers, key=lambda one: one.confidence, default=None)


def answer_product(
    package: ModelPackage,
    question: str,
    answered: Answered,
    *,
    slot: int,
    captured_unix_s: float,
    worth: float = 1.0,
    place: Footprint | None = None,
) -> Product:
    """The answer as a product of a few bytes: label ``answer``, score its confidence, value that times ``worth``."""
    ref = answered.ref
    text = f"{question}\n{ref.frame_id}\n{ref.row_px}\n{ref.col_px}\n{ref.edge_px}\n{package.sha256}\n{slot}"
    return product_of(
        package,
        TileRef(ref.frame_id, ref.row_px, ref.col_px, ref.edge_px),
        product_id=hashlib.sha256(text.encode()).hexdigest()[:16],
        kind="label",
        label=answered.answer,
        score=answered.confidence,
        class_value=worth,
        slot=slot,
        captured_unix_s=captured_unix_s,
        place=place,
    )


def tally(answers: Sequence[Answered]) -> Mapping[str, int]:
    """How many tiles gave each answer, most first."""
    counts: dict[str, int] = {}
    for one in answers:
        counts[one.answer] = counts.get(one.answer, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
