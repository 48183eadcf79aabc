"""TensorRT engines built ahead of time, each with a passport that says what it is bound to.

Written against what the Python bindings of 10.3 and 11.4 share: strongly typed networks (precision lives in the graph),
``build_serialized_network``, optimisation profiles, a timing cache. What one of them lacks is asked for with
``hasattr``. No builder could be had where this was written: tests drive it with a strict fake of that API.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any

from .cuda import Cuda, DeviceFacts
from .errors import ExportError
from .folders import folder_in_one_step
from .lint import lint
from .package import ModelPackage

PLAN, PASSPORT, TIMING_CACHE = "engine.plan", "passport.json", "timing.cache"
ENGINE = "tensorrt"
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSettings:
    """What a build is told. ``batches``: each gets an optimisation profile of its own, the last bounds them all."""

    batches: tuple[int, ...] = (1, 8, 32)
    workspace_byte: int = 1 << 30
    optimisation_level: int = 3
    dla_core: int | None = None
    """Run what the DLA can there, the rest on the GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passport:
    """What a plan is bound to. A plan is used only where every field is as here."""

    package: str
    onnx_sha256: str
    tensorrt: str
    cuda: str
    sm: str
    driver: str
    device: str
    flags: str

    def differences(self, other: Passport) -> list[str]:
        """The fields that differ, each as ``name: mine, not other``."""
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return [f"{name} {mine}, not {theirs}" for name, mine, theirs in pairs if mine != theirs]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltEngine:
    """A plan on disk. ``dla_layers``: names placed on the DLA; empty without one."""

    folder: Path
    passport: Passport
    build_s: float
    size_byte: int
    dla_layers: tuple[str, ...]
    gpu_layers: int


def load_tensorrt() -> Any:
    """The vendor's module; ExportError where it cannot be imported."""
    try:
        return import_module("tensorrt")
    except ImportError as error:
        raise ExportError(
            f"TensorRT cannot be imported ({error}). It comes with JetPack: make the environment with "
            "--system-site-packages. No wheel of its builder can be had elsewhere."
        ) from error


def passport_of(package: ModelPackage, facts: DeviceFacts, version: str, settings: BuildSettings) -> Passport:
    """The passport that a plan for this package, device and settings has."""
    content = package.read_onnx(ENGINE)
    return Passport(
        package=f"{package.info.id} v{package.info.version}",
        onnx_sha256=hashlib.sha256(content).hexdigest(),
        tensorrt=version,
        cuda=facts.cuda,
        sm=facts.sm,
        driver=facts.driver,
        device=facts.name,
        flags=json.dumps(asdict(settings), sort_keys=True),
    )


def engine_folder(root: Path, package: ModelPackage) -> Path:
    """Where the plan of a package lies below ``root``: by the package's hash, so that no two ever share one."""
    return root / f"{package.info.id}-{package.sha256[:16]}"


def check_engine(root: Path, package: ModelPackage, expected: Passport) -> Path:
    """The plan's path, if it is whole and every field of its passport is as ``expected``; else ExportError says why."""
    folder = engine_folder(root, package)
    try:
        stored = json.loads((folder / PASSPORT).read_text(encoding="utf-8"))
        digest = hashlib.sha256((folder / PLAN).read_bytes()).hexdigest()
        found = Passport(**stored["passport"])
    except FileNotFoundError as error:
        raise ExportError(
            f"There is no engine of {package.info.id} in {folder}. Build it: subsolar models prepare."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExportError(f"The passport of {folder} cannot be read: {error}. Build it anew.") from error
    if digest != stored.get("plan_sha256"):
        raise ExportError(f"{folder / PLAN} is damaged. Build it anew: subsolar models prepare.")
    if reasons := found.differences(expected):
        raise ExportError(f"The engine in {folder} was built for {'; '.join(reasons)}. Build it anew for this device.")
    return folder / PLAN


def build_engine(
    package: ModelPackage,
    root: Path,
    *,
    trt: Any,
    cuda: Cuda,
    settings: BuildSettings | None = None,
    progress: Progress = lambda line: None,
    clock: Callable[[], float] = time.monotonic,
) -> BuiltEngine:
    """Build the plan of a package for this device and write it with its passport; minutes, never in the slot loop.

    ExportError names the lint's findings or the parser's words; nothing is written then.
    """
    settings = settings or BuildSettings()
    content = package.read_onnx(ENGINE)
    _refuse_lint(package, content, trt)
    passport = passport_of(package, cuda.facts(), str(trt.__version__), settings)
    started_s = clock()
    plan, cache, on_dla, on_gpu = _build(content, package, trt, settings, _read_cache(root), progress, clock)
    built_s = clock() - started_s
    folder = engine_folder(root, package)
    record = {"passport": asdict(passport), "plan_sha256": hashlib.sha256(plan).hexdigest(), "build_s": built_s}
    with folder_in_one_step(folder, replace=True) as partial:
        (partial / PLAN).write_bytes(plan)
        (partial / PASSPORT).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    if cache:
        (root / TIMING_CACHE).write_bytes(cache)
    progress(f"{folder} built in {built_s:.0f} s, {len(plan) / 1e6:.1f} MB")
    return BuiltEngine(
        folder=folder, passport=passport, build_s=built_s, size_byte=len(plan), dla_layers=on_dla, gpu_layers=on_gpu
    )


def _refuse_lint(package: ModelPackage, content: bytes, trt: Any) -> None:
    major = str(trt.__version__).partition(".")[0]
    nearest = tuple(version for version in ("10.3", "10.16", "11.4") if version.startswith(major + "."))
    errors = [issue for issue in lint(content, nearest or ("11.4",)) if issue.severity == "error"]
    if errors:
        raise ExportError(
            f"{package.info.id} breaks {len(errors)} rules of TensorRT {trt.__version__}, first {errors[0]}. "
            "Export it again with --precision int8, which writes a graph for TensorRT."
        )


def _read_cache(root: Path) -> bytes:
    path = root / TIMING_CACHE
    return path.read_bytes() if path.is_file() else b""


def _build(
    content: bytes,
    package: ModelPackage,
    trt: Any,
    settings: BuildSettings,
    cache: bytes,
    progress: Progress,
    clock: Callable[[], float],
) -> tuple[bytes, bytes, tuple[str, ...], int]:
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(content):
        words = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
        raise ExportError(f"TensorRT cannot read the graph of {package.info.id}: {words}. Run: subsolar check.")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_byte)
    config.builder_optimization_level = settings.optimisation_level
    timing = config.create_timing_cache(cache)
    config.set_timing_cache(timing, ignore_mismatch=False)
    _add_profiles(builder, config, package, settings.batches)
    on_dla, on_gpu = _place(builder, network, config, trt, settings.dla_core)
    _watch(trt, config, progress, clock)
    serialised = builder.build_serialized_network(network, config)
    if serialised is None:
        raise ExportError(f"TensorRT built no engine of {package.info.id}. Its log on stderr says why.")
    return bytes(serialised), bytes(config.get_timing_cache().serialize()), on_dla, on_gpu


def _add_profiles(builder: Any, config: Any, package: ModelPackage, batches: tuple[int, ...]) -> None:
    spec = package.info.input
    tile = (len(spec.bands), spec.tile_edge_px, spec.tile_edge_px)
    for batch in sorted(batches):
        profile = builder.create_optimization_profile()
        profile.set_shape(spec.name, (1, *tile), (batch, *tile), (batch, *tile))
        config.add_optimization_profile(profile)


def _place(builder: Any, network: Any, config: Any, trt: Any, core: int | None) -> tuple[tuple[str, ...], int]:
    """Send what can run there to the DLA; the names of those layers, and how many stay on the GPU."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    if core is None:
        return (), len(layers)
    if core >= getattr(builder, "num_DLA_cores", 0):
        raise ExportError(f"There is no DLA core {core} here. Build without --dla.")
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    on_dla = tuple(layer.name for layer in layers if config.can_run_on_DLA(layer))
    return on_dla, len(layers) - len(on_dla)


def _watch(trt: Any, config: Any, progress: Progress, clock: Callable[[], float]) -> None:
    """Tell how far the build is, where the bindings have a progress monitor."""
    if not hasattr(trt, "IProgressMonitor"):
        return
    started_s = clock()

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            total = max(self._steps.get(phase_name, 1), 1)
            if (step + 1) % max(total // 10, 1) == 0:
                passed_s = clock() - started_s
                progress(f"{phase_name}: {step + 1} of {total}, {passed_s:.0f} s so far")
            return True

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    config.progress_monitor = Monitor()
