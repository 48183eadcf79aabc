"""A table of values over a stated discretisation of the slot's row, as a policy. numpy alone."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from power_sim.observation import feature_names
from power_sim.scenario import Scenario

from .errors import PolicyFileError
from .learned import Learned, check_file
from .network import FloatArray, read_arrays, write_arrays


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """Cuts some numbers of a row into bins; a cell is one combination of bins."""

    inputs: int
    """Length of a row."""
    features: tuple[int, ...]
    """Which numbers of the row count."""
    edges: tuple[tuple[float, ...], ...]
    """Per feature the rising edges between its bins; a number on an edge falls above it."""

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return int(np.prod([len(edges) + 1 for edges in self.edges]))

    def cell(self, row: Sequence[float]) -> int:
        """Return the cell of one row."""
        cell = 0
        for feature, edges in zip(self.features, self.edges, strict=True):
            cell = cell * (len(edges) + 1) + bisect_right(edges, row[feature])
        return cell

    def cells_of(self, rows: FloatArray) -> NDArray[np.intp]:
        """Return the cells (n,) of rows (n, inputs), as ``cell`` does for one."""
        cells = np.zeros(len(rows), np.intp)
        for feature, edges in zip(self.features, self.edges, strict=True):
            cells = cells * (len(edges) + 1) + np.searchsorted(np.array(edges, np.float32), rows[:, feature], "right")
        return cells

    def describe(self, options: int) -> str:
        """Return the features with their numbers of bins, for a card."""
        names = feature_names(options)
        return ", ".join(f"{names[f]} {len(e) + 1}" for f, e in zip(self.features, self.edges, strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A value per cell and action. ``values``: (cells, actions) float32."""

    bins: Bins
    values: FloatArray

    def __call__(self, row: Sequence[float] | FloatArray) -> list[float]:
        """Return the actions' values for one row."""
        rounded: list[float] = np.array(row, np.float32).tolist()
        values: list[float] = self.values[self.bins.cell(rounded)].tolist()
        return values


@dataclass(frozen=True, slots=True, eq=False)
class TableFile:
    """What a tabular policy's file holds."""

    table: Table
    about: Mapping[str, Any]
    sha256: str

    @property
    def shape(self) -> dict[str, Any]:
        """How a card describes what the file holds."""
        return {"table": list(self.table.values.shape)}


def save_table(path: Path, table: Table, about: Mapping[str, Any]) -> TableFile:
    """Write a table with its description; the same content gives the same bytes."""
    bins = table.bins
    arrays: dict[str, NDArray[Any]] = {
        "values": table.values,
        "inputs": np.array(bins.inputs),
        "features": np.array(bins.features, np.int32),
        "counts": np.array([len(edges) for edges in bins.edges], np.int32),
        "edges": np.array([edge for edges in bins.edges for edge in edges], np.float32),
    }
    described, sha256 = write_arrays(path, arrays, about)
    return TableFile(table, described, sha256)


def load_table(path: Path) -> TableFile:
    """Return the table that a policy file holds; ``PolicyFileError`` where it holds none or is damaged."""
    arrays, about, sha256 = read_arrays(path)
    if missing := sorted({"values", "inputs", "features", "counts", "edges"} - arrays.keys()):
        raise PolicyFileError(
            f"{path.name} holds a {about.get('kind')!r} policy without a table ({missing[0]} is missing). "
            f"Ask for {about.get('kind')}:PATH, or train one: subsolar train q-learning"
        )
    ends = np.cumsum(arrays["counts"])[:-1]
    edges = tuple(tuple(part.tolist()) for part in np.split(arrays["edges"], ends))
    bins = Bins(int(arrays["inputs"]), tuple(arrays["features"].tolist()), edges)
    values = np.ascontiguousarray(arrays["values"], np.float32)
    _check(path, bins, values)
    return TableFile(Table(bins, values), about, sha256)


def tabular_policy(file: TableFile, scenario: Scenario, source: str) -> Learned:
    """Return a policy for a scenario, or say in a ``PolicyFileError`` why the file is not for it."""
    check_file("q-learning", file.about, (file.table.bins.inputs, file.table.values.shape[1]), scenario, source)
    return Learned("q-learning", file.table)


def _check(path: Path, bins: Bins, values: FloatArray) -> None:
    fits = len(bins.features) == len(bins.edges) and values.ndim == 2 and values.shape[0] == bins.cells
    inside = all(0 <= feature < bins.inputs for feature in bins.features)
    rising = all(list(edges) == sorted(edges) for edges in bins.edges)
    if not (fits and inside and rising and np.isfinite(values).all()):
        raise PolicyFileError(f"{path.name} holds no table: its bins and values do not fit. Train it anew.")
