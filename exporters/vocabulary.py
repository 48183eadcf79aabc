"""Words and their numbers: a plain text file, one word a line, the same on the ground and aboard.

Number 0 is no word (padding), 1 stands for every word that is not listed, the first listed word is 2.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import DatasetError

PAD, UNKNOWN, FIRST = 0, 1, 2
_WORD = re.compile(r"[a-z0-9]+")
_MOST = 65_000
_LONGEST_CHAR = 40


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Known words in the order of their numbers."""

    words: tuple[str, ...]
    _number: dict[str, int] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for number, word in enumerate(self.words, FIRST):
            if _WORD.fullmatch(word) is None or word in self._number:
                raise DatasetError(f"Word {number} of the vocabulary is {word!r:.60}. Use each plain word once.")
            self._number[word] = number
        if not 0 < len(self.words) <= _MOST:
            raise DatasetError(f"The vocabulary has {len(self.words)} words. Use 1 to {_MOST}.")

    @property
    def size(self) -> int:
        """Rows that a table of word vectors needs, padding and the unknown word included."""
        return len(self.words) + FIRST

    @classmethod
    def of(cls, texts: Iterable[str], *, at_least: int = 1) -> Vocabulary:
        """The words that come ``at_least`` so often, by alphabet, so that the same texts give the same numbers."""
        counts = Counter(word for text in texts for word in split(text))
        return cls(tuple(sorted(word for word, count in counts.items() if count >= at_least)))

    @classmethod
    def parse(cls, content: bytes | str) -> Vocabulary:
        """What ``text`` wrote. Raises ``DatasetError`` for anything else."""
        try:
            lines = (content if isinstance(content, str) else content.decode("ascii")).split("\n")
        except UnicodeDecodeError as error:
            raise DatasetError(f"The vocabulary is no plain text: {error}. Export the package again.") from error
        return cls(tuple(lines[:-1] if lines[-1] == "" else lines))

    @classmethod
    def read(cls, path: Path) -> Vocabulary:
        """The vocabulary in a file."""
        try:
            return cls.parse(path.read_bytes())
        except OSError as error:
            raise DatasetError(f"{path} cannot be read: {error.strerror}. Give a vocabulary file.") from error

    def text(self) -> str:
        """One word a line."""
        return "".join(f"{word}\n" for word in self.words)

    def numbers(self, text: str) -> tuple[int, ...]:
        """The words of ``text``, those that are not listed as 1.

        >>> Vocabulary(("a", "harbour")).numbers("A harbour, with ships")
        (2, 3, 1, 1)
        """
        return tuple(self._number.get(word, UNKNOWN) for word in split(text))

    def unknown(self, text: str) -> tuple[str, ...]:
        """The words of ``text`` that are not listed, in order."""
        return tuple(word for word in split(text) if word not in self._number)

    def tokens(self, texts: Sequence[str], length: int | None = None) -> NDArray[np.int64]:
        """(n, length) int64, each text's numbers and then 0; longer texts are cut. ``length`` None: the longest's."""
        rows = [self.numbers(text) for text in texts]
        width = max([1, *map(len, rows)]) if length is None else length
        tokens = np.zeros((len(rows), width), dtype=np.int64)
        for row, numbers in zip(tokens, rows, strict=True):
            row[: min(width, len(numbers))] = numbers[:width]
        return tokens

    def pack(self, text: str) -> bytes:
        """The text as it may be uplinked: two bytes a word.

        >>> len(Vocabulary(("a", "harbour", "ships", "with")).pack("a harbour with ships"))
        8
        """
        return np.array(self.numbers(text), dtype=">u2").tobytes()

    def unpack(self, packed: bytes) -> str:
        """The words of ``pack``; those that are not listed come back as ``?``."""
        if len(packed) % 2:
            raise DatasetError(f"{len(packed)} bytes are no packed text: words take two bytes. Pack it again.")
        known = {number: word for word, number in self._number.items()}
        return " ".join(known.get(int(number), "?") for number in np.frombuffer(packed, dtype=">u2"))


def split(text: str) -> list[str]:
    """Words in lower case, letters and digits alone; a longer string of these than any word is cut.

    >>> split("Is there a large water-area?")
    ['is', 'there', 'a', 'large', 'water', 'area']
    """
    return [word[:_LONGEST_CHAR] for word in _WORD.findall(text.lower())]
