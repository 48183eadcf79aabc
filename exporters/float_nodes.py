"""Which nodes of a graph stay in float, whatever a sweep measures: what eight bits spoil for certain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import NodeProto

WEIGHTED = ("Conv", "Gemm", "MatMul")
CHOICES = ("TopK",)


def always_in_float(nodes: Sequence[NodeProto], kind: str) -> tuple[str, ...]:
    """Names of the nodes that are never quantised.

    What prepares the tiles, what no layer comes after (a head's arithmetic, such as boxes in pixels), and what follows
    a choice of the best (the decoder of a detector by queries: an index that turns is no small error). Of ``boxes``
    also the last layers: eight bits of an offset or a score move the box.
    """
    names = {*before_first_layer(nodes), *_after_last_layers(nodes), *after_choices(nodes)}
    if kind == "boxes":
        names |= set(last_layers(nodes))
    return tuple(node.name for node in nodes if node.name in names)


def before_first_layer(nodes: Iterable[NodeProto]) -> Iterator[str]:
    """Names of the nodes that prepare the tiles: they stay in float, eight bits of eight are all there are."""
    for node in nodes:
        if node.op_type in WEIGHTED:
            return
        yield node.name


def after_choices(nodes: Sequence[NodeProto]) -> tuple[str, ...]:
    """Names of the nodes that depend on a choice."""
    chosen: set[str] = set()
    found = []
    for node in nodes:
        if node.op_type in CHOICES or not chosen.isdisjoint(node.input):
            chosen.update(node.output)
            found.append(node.name)
    return tuple(found)


def last_layers(nodes: Sequence[NodeProto]) -> tuple[str, ...]:
    """Names of the layers that no other layer depends on."""
    needed = _needed_by_layers(nodes)
    return tuple(node.name for node in nodes if node.op_type in WEIGHTED and needed.isdisjoint(node.output))


def _after_last_layers(nodes: Sequence[NodeProto]) -> Iterator[str]:
    needed = _needed_by_layers(nodes)
    return (node.name for node in nodes if node.op_type not in WEIGHTED and needed.isdisjoint(node.output))


def _needed_by_layers(nodes: Sequence[NodeProto]) -> set[str]:
    """Tensors that some layer depends on; ``nodes`` are in order."""
    needed: set[str] = set()
    for node in reversed(nodes):
        if node.op_type in WEIGHTED or not needed.isdisjoint(node.output):
            needed.update(name for name in node.input if name)
    return needed
