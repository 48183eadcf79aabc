"""The source's answers kept in the package, so that the proof can be run again by whoever has the tiles."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .datasets import Chips
from .errors import ExportError, PackageError
from .onnx_cpu import batch_for, inferrer, version
from .package import ModelPackage
from .prove import QUANTISED, ROUNDED_WEIGHTS, compare, shortfall
from .records import Proof, ProofTiles
from .registry import parity_of
from .strict_json import from_json, to_json
from .tiles import Tiles

ANSWERS, TILES = "proof/source_answers.npy", "proof/tiles.json"
BARS = {"int8": QUANTISED, "float16": ROUNDED_WEIGHTS}
"""What a graph of that arithmetic must meet; others compute what their source does."""
_MAX_STORED = 1 << 20


def proof_files(answers: NDArray[np.float32], test: Chips | Tiles) -> dict[str, bytes]:
    """The files to store: the source's answers to the test tiles, as many as fit 1 MB, and which tiles they are."""
    count = stored_count(answers)
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(answers[:count]), allow_pickle=False)
    tiles = ProofTiles(dataset=test.name, tiles=count, sha256=tiles_sha256(test.pixels[:count]))
    return {ANSWERS: buffer.getvalue(), TILES: to_json(tiles)}


def stored_count(answers: NDArray[np.float32]) -> int:
    """How many of the answers are stored: at least one."""
    return max(1, min(len(answers), _MAX_STORED // max(answers[:1].nbytes, 1)))


def tiles_sha256(tiles: NDArray[Any]) -> str:
    """The hash of pixels in their order."""
    return hashlib.sha256(np.ascontiguousarray(tiles).tobytes()).hexdigest()


def stored_source(package: ModelPackage) -> tuple[NDArray[np.float32], ProofTiles]:
    """What ``proof_files`` stored."""
    try:
        answers: NDArray[np.float32] = np.load(io.BytesIO(package.read(ANSWERS)), allow_pickle=False)
    except ValueError as error:
        raise PackageError(f"{package.path / ANSWERS} is no array: {error}. Take the package anew.") from error
    return answers, from_json(ProofTiles, package.read(TILES), str(package.path / TILES))


def rerun(package: ModelPackage, test: Chips | Tiles, engine: str = "cpu") -> Proof:
    """Run the proof again: the graph for ``engine`` on the same tiles against the stored answers of the source.

    PackageError where the tiles are others, or the graph misses the bar that the package was written under.
    """
    answers, tiles = stored_source(package)
    pixels = test.pixels[: tiles.tiles]
    if tiles_sha256(pixels) != tiles.sha256:
        raise PackageError(
            f"{test.name} holds other tiles than the proof of {package.path} was made on. Use {tiles.dataset}."
        )
    batch = min(batch_for(pixels.shape), package.info.input.max_batch)
    found = inferrer(package.read_onnx(engine), batch=batch)(pixels)
    if found.shape != answers.shape:
        raise PackageError(
            f"{package.path} answers {found.shape}, its source answered {answers.shape}. Export it again."
        )
    kind = package.info.output.kind
    variant = package.info.variant_for(engine)
    bar = BARS.get(package.info.precision if variant is None else variant.precision)
    bar = bar or parity_of(package.info.network)
    proof = compare(
        answers, found, names=("the stored source", f"onnxruntime {version()} {engine}"), bar=bar, kind=kind
    )
    if reason := shortfall(proof, bar, kind):
        raise PackageError(f"{package.path} no longer does what its source did: it differs {reason}. Export it again.")
    return proof


def rerun_on_golden(package: ModelPackage, answers: NDArray[np.float32]) -> float | None:
    """Top-1 agreement of the golden tiles with the source's answers to the same tiles, where both are stored."""
    if package.info.golden_index is None or ANSWERS not in package.sums:
        return None
    source, tiles = stored_source(package)
    index = np.array(package.info.golden_index)
    if len(index) != len(answers) or index.max(initial=0) >= tiles.tiles:
        raise ExportError(f"{package.path} names golden tiles that its proof does not hold. Export it again.")
    if source.ndim != 2 or package.info.output.kind == "embedding":
        return float(np.mean(np.abs(source[index] - answers) <= package.golden.tolerance_abs))
    return float(np.mean(source[index].argmax(1) == answers.argmax(1)))
