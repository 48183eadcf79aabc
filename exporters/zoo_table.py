"""The networks of the zoo beside the numbers that their authors state: what ``subsolar zoo`` prints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .graph import count_macs_of
from .registry import PUBLISHED, Network, build_network, networks, size_of


@dataclass(frozen=True, slots=True)
class ZooRow:
    """One size of a network at the input that its paper counts at: counted here, and as published."""

    name: str
    paper: str
    params: int
    params_paper: float | None
    gmacs: float
    gmacs_paper: float | None
    input: tuple[int, ...]


def zoo_table() -> tuple[ZooRow, ...]:
    """Count parameters and multiply-accumulates of every network in every size. Needs torch."""
    return tuple(zoo_row(network, size) for network, size in _all())


def zoo_row(network: Network, size: str = PUBLISHED) -> ZooRow:
    """Count one network in one size.

    Built without memory for its weights where its code allows it. A network whose ``forward`` does not take one
    stacked tensor has ``example_inputs(input) -> tuple``: what it is called with for a size's ``input``.
    """
    import torch

    stated = size_of(network, size)
    try:
        with torch.device("meta"):
            built = build_network(network.name, size=size)
            macs = count_macs_of(built, stated.input)
    except (NotImplementedError, RuntimeError):  # it looks at values: then it needs real ones
        built = build_network(network.name, size=size)
        macs = count_macs_of(built, stated.input)
    return ZooRow(
        name=network.name if size == PUBLISHED else f"{network.name}@{size}",
        paper=network.paper,
        params=sum(parameter.numel() for parameter in built.parameters()),
        params_paper=stated.params_paper,
        gmacs=macs / 1e9,
        gmacs_paper=stated.gmacs_paper,
        input=tuple(stated.input),
    )


def _all() -> Iterator[tuple[Network, str]]:
    return ((network, size) for network in networks().values() for size in network.sizes)
