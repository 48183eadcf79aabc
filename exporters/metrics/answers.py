"""Accuracy of answers by kind of question, and the floor that anyone reaches who never looks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Accuracies:
    """In percent; ``overall`` is over all questions, not the mean of the kinds."""

    overall: float
    by_kind: Mapping[str, float]
    count: Mapping[str, int]

    def as_table(self) -> dict[str, float]:
        """By name, such as ``overall`` and ``count_kind``."""
        return {"overall": self.overall, **{f"kind_{kind}": value for kind, value in self.by_kind.items()}}


def accuracies(kinds: Sequence[str], right: Sequence[bool]) -> Accuracies:
    """Of questions of ``kinds``, which were answered right.

    >>> accuracies(["judge"] * 40 + ["analyse"] * 4, [True] * 30 + [False] * 10 + [True] + [False] * 3).overall
    70.45454545454545
    """
    if len(kinds) != len(right) or not kinds:
        raise ValueError(f"{len(kinds)} kinds and {len(right)} answers: give one of each a question, at least one")
    count, hit = Counter(kinds), Counter(kind for kind, good in zip(kinds, right, strict=True) if good)
    by_kind = {kind: 100.0 * hit[kind] / count[kind] for kind in sorted(count)}
    return Accuracies(100.0 * sum(hit.values()) / len(kinds), by_kind, dict(sorted(count.items())))


def majority(train: Sequence[tuple[str, str]], test: Sequence[tuple[str, str]]) -> Accuracies:
    """Each (kind, answer) of ``test`` answered with the kind's most frequent answer in ``train``; ties by alphabet."""
    votes: dict[str, Counter[str]] = {}
    for kind, answer in train:
        votes.setdefault(kind, Counter())[answer] += 1
    usual = {kind: min(counter.items(), key=lambda item: (-item[1], item[0]))[0] for kind, counter in votes.items()}
    return accuracies([kind for kind, _ in test], [usual.get(kind) == answer for kind, answer in test])
