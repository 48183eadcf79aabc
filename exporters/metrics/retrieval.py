"""Recall at K both ways between pictures and sentences, and their mean mR (in percent)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KS = (1, 5, 10)


@dataclass(frozen=True, slots=True)
class Recalls:
    """In percent, at 1, 5 and 10. ``sentence``: a picture asks, any of its sentences hits; ``image``: a text asks."""

    sentence: tuple[float, ...]
    image: tuple[float, ...]

    @property
    def mean(self) -> float:
        """mR.

        >>> round(Recalls((15.49, 34.96, 49.12), (12.83, 37.74, 55.53)).mean, 3)
        34.278
        """
        return float(np.mean(self.sentence + self.image))

    def as_table(self) -> dict[str, float]:
        """By name, such as ``s_r1`` and ``mR``."""
        named = {f"s_r{k}": value for k, value in zip(KS, self.sentence, strict=True)}
        named |= {f"i_r{k}": value for k, value in zip(KS, self.image, strict=True)}
        return {**named, "mR": self.mean}


def recalls(scores: NDArray[np.floating], owner: NDArray[np.int64], ks: Sequence[int] = KS) -> Recalls:
    """``scores``: (pictures, texts), higher is better; ``owner``: (texts,), the picture of each text.

    A wrong one that ties with the right one counts as ranked before it. Raises ``ValueError`` for shapes that do not
    fit or scores that are no numbers.
    """
    pictures, texts = scores.shape
    if owner.shape != (texts,) or not np.isfinite(scores).all():
        raise ValueError(f"scores {scores.shape} and owners {owner.shape}: give finite scores, one owner a text")
    right = owner[None, :] == np.arange(pictures)[:, None]
    best_own = np.where(right, scores, -np.inf).max(1)
    ahead_of_own = ((scores >= best_own[:, None]) & ~right).sum(1)
    own = scores[owner, np.arange(texts)]
    ahead = (scores >= own[None, :]).sum(0) - 1
    return Recalls(_share(ahead_of_own, ks), _share(ahead, ks))


def chance(pictures: int, per_picture: int, ks: Sequence[int] = KS) -> Recalls:
    """What a random order would score with ``per_picture`` texts each."""
    texts = pictures * per_picture
    sentence = []
    for k in ks:
        miss = 1.0
        for i in range(min(k, texts)):
            miss *= max(0, texts - per_picture - i) / (texts - i)
        sentence.append(100.0 * (1.0 - miss))
    return Recalls(tuple(sentence), tuple(100.0 * min(1.0, k / pictures) for k in ks))


def _share(ahead: NDArray[np.int64], ks: Sequence[int]) -> tuple[float, ...]:
    return tuple(100.0 * float(np.mean(ahead < k)) for k in ks)
