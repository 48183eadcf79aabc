"""What was measured of the zoo's systems, as ``benchmarks/zoo_table.py`` collects it in one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .records import PackageInfo, Profile
from .registry import PUBLISHED
from .strict_json import from_json

FILE = Path(__file__).resolve().parent.parent / "benchmarks" / "results" / "zoo-table.json"
"""In a checkout; an installed program has none."""
SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a system reaches on real data that it never saw, beside a baseline measured on the same."""

    metric: str
    score: float
    baseline: float | None
    baseline_name: str
    n: int
    seeds: int
    source: str
    """The result file, or package, that states it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Parameters and multiply-accumulates of one size, 1e9; ``_paper`` as its authors state them."""

    params: int
    params_paper: float | None
    gmacs: float
    gmacs_paper: float | None
    input: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A package of the system: how near its graph is to the network, its cost, and whether it may be handed on."""

    id: str
    precision: str
    """How the weights are stored."""
    size_byte: int
    parity: str
    """The graph against the network as it was traced."""
    tiles_per_cpu_s: float
    """One thread, CPU seconds, at ``batch``."""
    batch: int
    tile: tuple[int, ...]
    licence: str
    ships: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One size of a system."""

    counted: Counted
    score: Score | None = None
    package: Packed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooMeasured:
    """The whole file. ``machine`` and ``date`` are those of the counts and times."""

    schema: int = SCHEMA
    machine: str
    date: str
    command: str
    systems: dict[str, Measured]
    """By name, ``name@size`` for sizes other than the published."""


def read_measured(path: Path = FILE) -> Mapping[str, Measured]:
    """What is known of each system; nothing where the file is not there. ExporterError for a damaged one."""
    if not path.is_file():
        return {}
    return from_json(ZooMeasured, path.read_bytes(), str(path)).systems


def row_name(network: str, size: str) -> str:
    """How a size of a network is called in tables."""
    return network if size == PUBLISHED else f"{network}@{size}"


def packed(info: PackageInfo, profile: Profile, size_byte: int, *, ships: bool, batch: int = 8) -> Packed:
    """The facts of a package; its time is that of its profile at the batch nearest to ``batch``."""
    entry = profile.entry_for(batch=batch, device="cpu")
    edge = info.input.tile_edge_px
    return Packed(
        id=info.id,
        precision=info.weights_dtype if info.precision == "float32" else info.precision,
        size_byte=size_byte,
        parity=parity_words(info),
        tiles_per_cpu_s=1.0 / entry.tile_s,
        batch=entry.batch,
        tile=(len(info.bands), edge, edge),
        licence=info.licence,
        ships=ships,
    )


def parity_words(info: PackageInfo) -> str:
    """The proof of the float graph in a few words, such as ``7.2e-07 on 600 tiles``."""
    proof = next(proof for proof in info.proofs if proof.source == "pytorch as stored")
    tiles = f"on {proof.tiles} tiles"
    if info.output.kind == "boxes":  # in any order
        return f"IoU {proof.box_iou_mean or 0.0:.4f} {tiles}"
    more = {
        "image": f", {proof.psnr_db or 0.0:.0f} dB",
        "map": f", {proof.psnr_db or 0.0:.0f} dB",
        "embedding": f", cosine {proof.cosine_min or 0.0:.6f}",
    }.get(info.output.kind, "")
    return f"{proof.max_abs_diff:.1e}{more} {tiles}"
