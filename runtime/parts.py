"""Tiles cut into smaller ones, for networks that were trained for less than a mission hands out at a time."""

from __future__ import annotations

from collections.abc import Sequence

from .records import Tile, TileOutcome, TileRef
from .tiles import tile_grid


def part_count(edge_px: int, part_px: int, overlap_px: int = 0) -> int:
    """How many parts of ``part_px`` cover a tile of ``edge_px``.

    >>> part_count(64, 16), part_count(64, 48), part_count(64, 64)
    (16, 4, 1)
    """
    return len(tile_grid(edge_px, edge_px, part_px, overlap_px)) if part_px < edge_px else 1


def parts_of(tile: Tile, part_px: int, overlap_px: int = 0) -> list[Tile]:
    """The parts that cover a tile, in the frame's pixels; the tile itself where it is no larger than a part.

    What is known of the whole tile's class says nothing about its parts.
    """
    ref = tile.ref
    if ref.edge_px <= part_px:
        return [tile]
    made = []
    for window in tile_grid(ref.edge_px, ref.edge_px, part_px, overlap_px):
        row, col = window.ref.row_px, window.ref.col_px
        part = TileRef(ref.frame_id, ref.row_px + row, ref.col_px + col, part_px)
        made.append(Tile(part, tile.pixels[:, row : row + part_px, col : col + part_px]))
    return made


def whole_outcomes(
    tiles: Sequence[Tile], owners: Sequence[int], outcomes: Sequence[TileOutcome], shed: str = ""
) -> list[TileOutcome]:
    """How each tile ended, from how its parts did: ``owners`` counts the tile that each outcome's part lies in.

    One failed part fails its tile, and a tile of which all parts were shed is shed. ``shed`` is the reason for a tile
    without any part, which is done where that is empty.
    """
    left: dict[int, list[TileOutcome]] = {}
    for owner, one in zip(owners, outcomes, strict=True):
        left.setdefault(owner, []).append(one)
    empty = {owner: some[0].reason for owner, some in left.items() if all(one.outcome == "shed" for one in some)}
    failed = {owner: one.reason for owner, one in zip(owners, outcomes, strict=True) if one.outcome == "failed"}
    seen = set(owners)
    ended = []
    for number, tile in enumerate(tiles):
        if number in failed:
            ended.append(TileOutcome(tile.ref, "failed", failed[number]))
        elif number in empty:
            ended.append(TileOutcome(tile.ref, "shed", empty[number]))
        elif shed and number not in seen:
            ended.append(TileOutcome(tile.ref, "shed", shed))
        else:
            ended.append(TileOutcome(tile.ref, "done"))
    return ended
