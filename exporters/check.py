"""Checks and measurements of a package that exists: what ``subsolar check`` and ``subsolar bench`` do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .errors import PackageError
from .measure import ACTIVE_POWER_W, BATCHES, profile_on_cpu
from .onnx_cpu import inferrer
from .package import ModelPackage, Trust, load_package
from .records import Profile, check_envelope

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


def check_package(
    path: Path, *, trust: Trust, allow_unsigned: bool = False, progress: Progress = lambda line: None
) -> CheckResult:
    """Verify signature, hashes, the ONNX graph and the golden tiles; PackageError on the first fault."""
    import onnx

    progress("hashes and signature")
    package = load_package(path, trust=trust, allow_unsigned=allow_unsigned)
    content = package.read_onnx()
    progress("ONNX checker")
    try:
        model = onnx.load_from_string(content)
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # protobuf and onnx raise many types; each means the same here, and it is raised again
        raise PackageError(f"{package.onnx_path} is not a valid graph: {error}. Export the package again.") from error
    progress(f"{len(package.golden.tiles)} golden tiles")
    answers = inferrer(content)(package.golden.tiles)
    if reason := package.golden.mismatch(answers):
        raise PackageError(f"{path} fails its self-test: {reason}. Do not use it; take it from its source again.")
    return CheckResult(
        id=package.info.id,
        version=package.info.version,
        sha256=package.sha256,
        key_id=package.key_id,
        golden_tiles=len(package.golden.tiles),
        golden_max_abs_diff=float(np.max(np.abs(answers - package.golden.expected))),
        opset=model.opset_import[0].version,
        nodes=len(model.graph.node),
    )


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
