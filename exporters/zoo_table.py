"""The networks of the pool beside the numbers that their authors state: what ``subsolar zoo`` prints."""

from __future__ import annotations

from dataclasses import dataclass

from .graph import count_macs
from .registry import NETWORKS, PAPER_EDGE_PX, build_network


@dataclass(frozen=True, slots=True)
class ZooRow:
    """One network at 1000 classes and 224 x 224 px: counted here, and as published."""

    name: str
    paper: str
    params: int
    params_paper: float
    gmacs: float
    gmacs_paper: float
    input: tuple[int, int, int]


def zoo_table() -> tuple[ZooRow, ...]:
    """Count parameters and multiply-accumulates of every network. Needs torch."""
    return tuple(_row(name) for name in NETWORKS)


def _row(name: str) -> ZooRow:
    entry, network = NETWORKS[name], build_network(name, classes=1000)
    return ZooRow(
        name=name,
        paper=entry.paper,
        params=sum(parameter.numel() for parameter in network.parameters()),
        params_paper=entry.params_paper,
        gmacs=count_macs(network, edge_px=PAPER_EDGE_PX) / 1e9,
        gmacs_paper=entry.gmacs_paper,
        input=(3, PAPER_EDGE_PX, PAPER_EDGE_PX),
    )
