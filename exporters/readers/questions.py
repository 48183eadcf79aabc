"""Pictures with questions and answers: RSVQA's samples and EarthVQA.

RSVQA: ``qa.json``, a list of ``{"image", "type", "question", "answer"}``, with ``train.txt`` and ``test.txt`` naming
pictures in ``images/``. EarthVQA: ``{Train,Val,Test}_QA.json``, ``{"NAME.png": [{type, question, answer}, ...]}``, with
the pictures in ``{Train,Val,Test}/images_png``; the three values of an entry are taken by position.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DatasetError

CLOSED_WORDS = frozenset({"is", "are", "does", "do", "whether"})
_COUNT = re.compile(r"\d+")
_LAYOUTS = "qa.json with train.txt and test.txt, or Train_QA.json with Train/images_png"


@dataclass(frozen=True, slots=True)
class Asked:
    """One question about ``pictures[picture]``. ``kind``: presence, count …"""

    picture: int
    kind: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Questions:
    """One split."""

    name: str
    pictures: tuple[Path, ...]
    asked: tuple[Asked, ...]

    def __len__(self) -> int:
        return len(self.asked)

    def take(self, pictures: Iterable[int], name: str) -> Questions:
        """The questions about some of the pictures, under another name."""
        chosen = list(pictures)
        place = {picture: number for number, picture in enumerate(chosen)}
        asked = tuple(
            Asked(place[one.picture], one.kind, one.question, one.answer) for one in self.asked if one.picture in place
        )
        return Questions(name, tuple(self.pictures[picture] for picture in chosen), asked)


def read_questions(root: Path, split: str) -> Questions:
    """One split (``train``, ``val``, ``test``), counts in bands. Raises ``DatasetError`` naming file and entry."""
    if (root / "qa.json").is_file():
        return _samples(root, split)
    path = root / f"{split.title()}_QA.json"
    if not path.is_file():
        raise DatasetError(f"{root} holds no questions. Use {_LAYOUTS}.")
    return _earth(root, path, split)


def is_open(question: str) -> bool:
    """Whether a question asks for more than yes or no, by its first word (D7).

    >>> is_open("Is there a road?"), is_open("How many roads are there?")
    (False, True)
    """
    words = question.lower().split(maxsplit=1)
    return not words or words[0].strip("?,") not in CLOSED_WORDS


def banded(answer: str) -> str:
    """Counts as RSVQA classifies them; everything else in lower case.

    >>> [banded(answer) for answer in ("0", "7", "57", "318", "Yes")]
    ['0', '1 to 10', '11 to 100', '101 to 1000', 'yes']
    """
    if _COUNT.fullmatch(answer) is None:
        return answer.strip().lower()
    count = int(answer)
    bands = ((0, "0"), (10, "1 to 10"), (100, "11 to 100"), (1000, "101 to 1000"))
    return next((band for most, band in bands if count <= most), "more than 1000")


def _samples(root: Path, split: str) -> Questions:
    listed = root / f"{split}.txt"
    if not listed.is_file():
        raise DatasetError(f"There is no {listed}. This folder has {', '.join(p.name for p in root.glob('*.txt'))}.")
    names = listed.read_text(encoding="utf-8").split()
    place = {name: number for number, name in enumerate(names)}
    try:
        asked = [
            Asked(place[e["image"]], str(e["type"]), str(e["question"]), banded(str(e["answer"])))
            for e in _json(root / "qa.json")
            if e["image"] in place
        ]
    except (KeyError, TypeError) as error:
        raise DatasetError(f"{root / 'qa.json'} has an entry without {error}. Use {_LAYOUTS}.") from error
    return _checked(Questions(f"{root.parent.name}/{root.name}/{split}", _files(root / "images", names), tuple(asked)))


def _earth(root: Path, path: Path, split: str) -> Questions:
    table = _json(path)
    if not isinstance(table, dict):
        raise DatasetError(f"{path} is no table of pictures. Use {_LAYOUTS}.")
    asked = []
    for picture, (name, entries) in enumerate(table.items()):
        for entry in entries:
            values = [str(value) for value in entry.values()]
            if len(values) < 3:
                raise DatasetError(
                    f"{path}: {name} has a question without an answer. Answers of Test are withheld: use Val."
                )
            asked.append(Asked(picture, values[0], values[1], values[2].strip()))
    pictures = _files(root / split.title() / "images_png", list(table))
    return _checked(Questions(f"{root.name}/{split}", pictures, tuple(asked)))


def _checked(questions: Questions) -> Questions:
    if not questions.asked:
        raise DatasetError(f"{questions.name} has no question. Give a split whose pictures are asked about.")
    return questions


def _files(folder: Path, names: list[str]) -> tuple[Path, ...]:
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise DatasetError(f"There is no {folder / name}, which the questions name. Fetch the data again.")
    return tuple(folder / name for name in names)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read: {error}. Use {_LAYOUTS}.") from error
