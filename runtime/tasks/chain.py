"""Several networks one after the other over one scene, as configuration: dehaze then detect, classify then detect.

A picture stage hands its picture on; a label or mask stage hands on where to look. A chain file:

    forbid_detection_on_generated = true   # nothing is said of pixels that a network made up; the default
    [[stage]]
    package = "haze-dwtma"                 # a package's name or folder
    overlap_px = 32
    [[stage]]
    package = "ships-sscdh"
    overlap_px = 64
    most_tile = 200                        # at most so many tiles, the most promising first
    budget_j = 50.0                        # at most so many joules, by the package's profile
    [stage.only_where]                     # of the nearest label or mask stage before
    classes = ["SeaLake", "River"]
    min_score = 0.5                        # of a label
    min_frac = 0.05                        # of a tile's pixels, for a mask
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from power_sim.config import key, read_table, read_toml
from power_sim.errors import ScenarioError

from ..errors import MissionError


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Where a stage looks: at what the label or mask stage before it called by one of these names."""

    classes: tuple[str, ...]
    min_score: float = key(0.0, low=0.0, high=1.0)
    """Of a label."""
    min_frac: float = key(0.0, low=0.0, high=1.0)
    """Share of a tile's pixels that a mask must give these classes; any at 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One network of a chain, how it cuts, and what it may cost."""

    package: str
    """A package's name or folder."""
    name: str = ""
    """Of its files; the package's by default."""
    tile_edge_px: int | None = key(None, low=1)
    """Stated, it must be the package's: a graph takes tiles of one size."""
    overlap_px: int = key(0, low=0)
    batch: int = key(32, low=1, high=256)
    skip: Mapping[str, float] = key({}, above=0.0, high=1.0)
    """Pre-filters by share; see ``prefilter``."""
    most_tile: int | None = key(None, low=1)
    budget_j: float | None = key(None, above=0.0)
    only_where: Condition | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Stages in their order."""

    stages: tuple[Stage, ...]
    forbid_detection_on_generated: bool = True
    """Nothing is said of pixels that an earlier stage made up."""

    def __post_init__(self) -> None:
        if not self.stages:
            raise MissionError("The chain has no stages. Write a [[stage]] table for each network, in their order.")
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise MissionError(f"The stages {', '.join(names)} do not all differ. Give each a name of its own.")
        if self.stages[0].only_where is not None:
            raise MissionError(f"Stage {names[0]} is the first, so only_where has nothing before it. Remove it.")

    @classmethod
    def from_table(cls, table: Mapping[str, Any], *, source: str = "the chain", word: str = "stage") -> Chain:
        """A chain from a TOML table, keys as in the module's example. ``word``: what the file calls a stage.

        Raises ``ScenarioError`` for unknown keys and wrong values, ``MissionError`` for stages that make no chain.
        """
        told = {("stages" if name == "stage" else name): value for name, value in table.items()}
        try:
            found = read_table(_ChainTable, told, source=source)
        except ScenarioError as error:
            raise ScenarioError(_in_own_words(str(error), word)) from error
        named = [replace(stage, name=stage.name or Path(stage.package).name) for stage in found.stages]
        return cls(stages=tuple(named), forbid_detection_on_generated=found.forbid_detection_on_generated)

    @classmethod
    def read(cls, path: Path) -> Chain:
        """A chain from a TOML file; see ``from_table``."""
        return cls.from_table(read_toml(path), source=str(path))


def _in_own_words(text: str, word: str) -> str:
    """An error about a stage as somebody who counts the file's tables would say it.

    >>> _in_own_words("c.toml: stages[1].foo is not a known key.", "stage")
    'c.toml: [[stage]] number 2: foo is not a known key.'
    """
    inside = re.sub(r"\[stages\[(\d+)\](?:\.([a-z_]+))?\]", lambda at: _counted(at[1], word, at[2]), text)
    named = re.sub(r"\bstages\[(\d+)\](?:\.(?=\w))?", lambda at: _counted(at[1], word, at[0].endswith(".")), inside)
    return named.replace(": stages = ", f": {word} = ")


def _counted(index: str, word: str, more: str | bool | None) -> str:
    tail = more if isinstance(more, str) else ""
    return f"[[{word}]] number {int(index) + 1}{': ' if more else ''}{tail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _ChainTable:
    """What the file says, before stages have names."""

    stages: tuple[Stage, ...] = ()
    forbid_detection_on_generated: bool = True
