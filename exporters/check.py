"""What ``subsolar check`` does to a package that exists: verify it, and run its proof again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .course_tiles import package_tiles
from .datasets import Chips, read_chips
from .errors import PackageError
from .lint import NOT_BUILT, lint
from .measure import ACTIVE_POWER_W, BATCHES, accuracy_of, is_labelled, profile_on_cpu
from .onnx_cpu import batch_for, inferrer
from .package import ModelPackage, Trust, load_package
from .records import Profile, Proof, check_envelope
from .stored_proof import ANSWERS, rerun, rerun_on_golden
from .tiles import Tiles

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A package that passed: who signed it, how far the golden answers moved, what the graph is."""

    id: str
    version: int
    sha256: str
    key_id: str | None
    golden_tiles: int
    golden_max_abs_diff: float
    opset: int
    nodes: int
    golden_agreement: float | None = None
    """Share of golden tiles whose top-1 is that of the source, where the package holds the source's answers."""
    tensorrt: str = NOT_BUILT
    tensorrt_issues: int = 0
    """Rules of TensorRT that the graph for it breaks."""
    proof: Proof | None = None
    """The proof run again on all its tiles; None without ``test``, or for a package that holds no source answers."""
    accuracy: float | None = None
    """Measured again on ``test``, where its tiles have labels."""


def check_package(
    path: Path,
    *,
    trust: Trust,
    allow_unsigned: bool = False,
    test: Chips | Tiles | None = None,
    progress: Progress = lambda line: None,
) -> CheckResult:
    """Verify signature, hashes, graphs and golden tiles, and with ``test`` run the proof again.

    PackageError on the first fault. ``test``: the tiles that the package was proven on.
    """
    progress("hashes and signature")
    package = load_package(path, trust=trust, allow_unsigned=allow_unsigned)
    progress("ONNX checker")
    engines = ("cpu", *(variant.engine for variant in package.info.variants))
    models = {engine: _checked(package, engine) for engine in engines}
    progress(f"{len(package.golden.tiles)} golden tiles on {len(engines)} graphs")
    batch = min(batch_for(package.golden.tiles.shape), package.info.input.max_batch)
    answers = {engine: inferrer(package.read_onnx(engine), batch=batch)(package.golden.tiles) for engine in engines}
    for engine, found in answers.items():
        if reason := package.golden_for(engine).mismatch(found):
            raise PackageError(f"{path} fails its self-test: {reason}. Do not use it; take it from its source again.")
    progress("TensorRT's rules")
    issues = [issue for issue in lint(package.read_onnx("tensorrt")) if issue.severity == "error"]
    result = CheckResult(
        id=package.info.id,
        version=package.info.version,
        sha256=package.sha256,
        key_id=package.key_id,
        golden_tiles=len(package.golden.tiles),
        golden_max_abs_diff=float(np.max(np.abs(answers["cpu"] - package.golden.expected))),
        opset=models["cpu"][0],
        nodes=models["cpu"][1],
        golden_agreement=rerun_on_golden(package, answers["cpu"]),
        tensorrt_issues=len(issues),
    )
    return result if test is None else _with_proof(package, result, test, engines, progress)


def tiles_of(path: Path, data: Path, *, trust: Trust) -> Chips | Tiles:
    """The tiles of ``data`` that the proof of the package needs: those of its network's course, else test chips."""
    found = package_tiles(load_package(path, trust=trust, allow_unsigned=True).info, data, "test")
    return read_chips(data, "test") if found is None else found


def _checked(package: ModelPackage, engine: str) -> tuple[int, int]:
    """Opset and number of nodes of a valid graph."""
    import onnx

    try:
        model = onnx.load_from_string(package.read_onnx(engine))
        onnx.checker.check_model(model, full_check=True)
    except PackageError:
        raise
    except Exception as error:  # protobuf and onnx raise many types; each means the same here, and it is raised again
        raise PackageError(f"{package.onnx_path} is not a valid graph: {error}. Export the package again.") from error
    return model.opset_import[0].version, len(model.graph.node)


def _with_proof(
    package: ModelPackage, result: CheckResult, test: Chips | Tiles, engines: Sequence[str], progress: Progress
) -> CheckResult:
    progress(f"the proof again, on {len(test)} tiles")
    if ANSWERS in package.sums:
        proofs = [rerun(package, test, engine) for engine in engines]
        result = replace(result, proof=proofs[0])
    if not is_labelled(test, package.info):
        return result
    infer = inferrer(package.read_onnx(), batch=min(batch_for(test.pixels.shape), package.info.input.max_batch))
    answers = infer(test.pixels)
    stated, found = package.profile.accuracy, accuracy_of(answers, answers, test, package.info)
    if found.metric == stated.metric and found.n == stated.n and abs(found.value - stated.value) > 2.5 / found.n:
        raise PackageError(
            f"{package.path} states {100 * stated.value:.2f} % {stated.metric} on {stated.dataset}, here it reaches "
            f"{100 * found.value:.2f} % on {test.name}. Measure it again, or use the tiles it was proven on."
        )
    return replace(result, accuracy=found.value)


def bench_package(
    package: ModelPackage,
    *,
    batches: Sequence[int] = BATCHES,
    repeats: int = 30,
    active_power_w: float = ACTIVE_POWER_W,
    progress: Progress = lambda line: None,
) -> Profile:
    """The profile of a package with its times measured anew on this machine; accuracy stays as it was measured."""
    entries = profile_on_cpu(
        package.read_onnx(),
        package.golden.tiles,
        precision=package.info.precision,
        batches=batches,
        repeats=repeats,
        active_power_w=active_power_w,
        progress=progress,
    )
    profile = replace(package.profile, measurements=entries)
    check_envelope(profile)
    return profile
