"""One-shot inference over one scene or thousands: GeoJSON (RFC 7946), masks or restored images, STAC beside them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from exporters.package import ModelPackage

from .engines import Engine, open_engine
from .errors import EngineError, FrameError
from .frames import AnyFrame, LineFrame, expand, open_any
from .pipeline.executors import Executor, LocalExecutor
from .pipeline.files import make_folder, whole_file
from .pipeline.ledger import Ledger, job_key
from .pipeline.scene import Cutting, ProgressCall, Tally, run_scene
from .pipeline.sinks import FeatureSink, SceneTask, Sink, feature_sink, picture_sink
from .pipeline.stac import Asset, item
from .plugins import find_plugin, plugin_names
from .tasks import Classifier, Detector, ImageTask

TASKS: Mapping[str, Callable[..., SceneTask]] = {
    "probabilities": Classifier,
    "boxes": Detector,
    "image": ImageTask,
    "mask": ImageTask,
}
"""What makes products of each kind of output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneResult:
    """What came of one scene. ``error`` says why there is no file, else ``output`` is complete."""

    scene: str
    output: str | None
    tiles: int
    done: int
    shed: Mapping[str, int]
    """Tiles by reason."""
    failed: Mapping[str, int]
    labels: Mapping[str, int]
    """What was found, by class."""
    warning: str = ""
    """What makes the answers doubtful."""
    error: str = ""
    stream: Mapping[str, int] = field(default_factory=dict)
    """What became of a line stream's lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InferResult:
    """All scenes that were reached; ``interrupted`` if the user stopped before the last."""

    package: str
    package_sha256: str
    engine: str
    scenes: tuple[SceneResult, ...]
    interrupted: bool = False
    resumed: int = 0
    """Scenes that an earlier run had finished."""

    @property
    def complete(self) -> bool:
        """Whether every scene that was asked for has its file."""
        return not self.interrupted and all(not scene.error for scene in self.scenes)

    def summary(self) -> dict[str, Any]:
        """The result as plain values for JSON."""
        return {**asdict(self), "complete": self.complete}

    def table(self) -> str:
        """The result for a person: one line per scene."""
        lines = [f"  {scene.scene}: {scene.error or _told(scene)}" for scene in self.scenes]
        end = ["  stopped by the user"] if self.interrupted else []
        return "\n".join([f"{self.package} on {self.engine}", *lines, *end])


@dataclass(frozen=True, slots=True, kw_only=True)
class InferOptions:
    """How scenes are read, cut and written."""

    cutting: Cutting = field(default_factory=Cutting)
    band_names: tuple[str, ...] = ()
    value_range: tuple[float, float] | None = None
    provider: str = "cpu"
    isolate: bool = False
    """Run the engine in a process of its own."""
    stac: bool = False
    """Write a STAC item beside each output."""

    def as_table(self) -> dict[str, Any]:
        """What decides the answers."""
        return {
            **self.cutting.as_table(),
            "bands": self.band_names,
            "range": self.value_range,
            "stac": self.stac,
            "provider": self.provider,
        }


def infer_scenes(
    package: ModelPackage,
    scenes: Sequence[Path],
    out: Path,
    *,
    batch: int = 32,
    overlap_px: int = 0,
    skip: Mapping[str, float] | None = None,
    workers: int = 1,
    band_names: Sequence[str] = (),
    value_range: tuple[float, float] | None = None,
    stac: bool = False,
    provider: str = "cpu",
    isolate: bool = False,
    resume: bool = False,
    executor: Executor | None = None,
    engine: Engine | None = None,
    progress: ProgressCall | None = None,
) -> InferResult:
    """Run ``package`` over ``scenes`` (files, folders, ``@LIST``) and write ``out/NAME.geojson`` or ``.tif`` for each.

    Each output is whole or not there. A scene that cannot be used gets an error in the result, and the others go on; an
    interrupt ends the run with what is finished, and ``resume`` goes on from there. ``engine`` is for local runs alone.
    Raises ``StoreError`` if ``out`` cannot be written, ``EngineError`` if the package cannot be loaded.
    """
    make_folder(out)
    options = InferOptions(
        cutting=Cutting(batch=batch, overlap_px=overlap_px, skip=skip or {}, workers=workers),
        band_names=tuple(band_names),
        value_range=value_range,
        stac=stac,
        provider=provider,
        isolate=isolate,
    )
    run = _Run(package, out, options, Ledger.open(out, resume=resume), expand(scenes))
    runs = executor or LocalExecutor()
    interrupted = False
    with ExitStack() as stack:
        runner = engine
        if runner is None and runs.here and run.jobs:
            runner = stack.enter_context(closing(open_engine(package, provider, worker=isolate)))
        making = partial(make_worker, package, options, runner, progress if runs.here else None)
        try:
            for number, result in enumerate(runs.run(making, run.jobs), start=1):
                run.note(result)
                if progress is not None and not runs.here:
                    progress(number, len(run.jobs), result.scene)
        except KeyboardInterrupt:
            interrupted = True
        return InferResult(
            package=f"{package.info.id} v{package.info.version}",
            package_sha256=package.sha256,
            engine=provider if runner is None else runner.provider,
            scenes=tuple(run.results()),
            interrupted=interrupted,
            resumed=run.resumed,
        )


class _Run:
    """The scenes of one call: those still to do, and the results in the order asked for."""

    def __init__(
        self, package: ModelPackage, out: Path, options: InferOptions, ledger: Ledger, paths: Sequence[Path]
    ) -> None:
        self._ledger = ledger
        settings = {"package": package.sha256, **options.as_table()}
        suffix = ".tif" if package.info.output.kind in ("image", "mask") else ".geojson"
        targets = _targets(paths, out, suffix)
        self._keys = [
            job_key(path, {**settings, "target": target}) for path, target in zip(paths, targets, strict=True)
        ]
        self._results: dict[str, SceneResult] = {}
        for key in self._keys:
            finished = _finished(ledger.done.get(key))
            if finished is not None:
                self._results[key] = finished
        self.resumed = len(self._results)
        todo = [at for at, key in enumerate(self._keys) if key not in self._results]
        self.jobs = [(paths[at], targets[at]) for at in todo]
        self._todo = iter([self._keys[at] for at in todo])

    def note(self, result: SceneResult) -> None:
        """Keep the next job's result; a finished scene goes into the ledger."""
        key = next(self._todo)
        self._results[key] = result
        if not result.error:
            self._ledger.add(key, asdict(result))

    def results(self) -> Iterator[SceneResult]:
        """Those that there are."""
        return (self._results[key] for key in self._keys if key in self._results)


def _finished(entry: Mapping[str, Any] | None) -> SceneResult | None:
    """A scene's result as the ledger has it; None where it is not there, not understood, or its output is gone."""
    known = {one.name for one in fields(SceneResult)}
    if entry is None or set(entry) != known or not Path(str(entry["output"])).is_file():
        return None
    return SceneResult(**entry)


def make_worker(
    package: ModelPackage, options: InferOptions, engine: Engine | None, progress: ProgressCall | None
) -> Callable[[tuple[Path, Path]], SceneResult]:
    """What does one scene after another with one engine, opened here unless given."""
    runner = engine or open_engine(package, options.provider, worker=options.isolate)
    task = make_task(package, runner)
    return partial(_infer_scene, task, options, progress)


def make_task(package: ModelPackage, engine: Engine) -> SceneTask:
    """The task that fits the kind of the package's output, from here or a plug-in. Raises ``EngineError``."""
    kind = package.info.output.kind
    make = TASKS.get(kind) or find_plugin("tasks", kind)
    if make is None:
        known = ", ".join([*TASKS, *plugin_names("tasks")])
        raise EngineError(f"{package.info.id} answers {kind!r}, which no task here understands. Known are {known}.")
    task: SceneTask = make(engine=engine, package=package)
    return task


def _infer_scene(
    task: SceneTask, options: InferOptions, progress: ProgressCall | None, job: tuple[Path, Path]
) -> SceneResult:
    path, target = job
    try:
        with open_any(path, band_names=options.band_names, value_range=options.value_range) as frame:
            return _Job(frame, task, options, progress).write(target)
    except FrameError as error:
        return _unusable(path, str(error))


@dataclass(frozen=True, slots=True)
class _Job:
    """One scene on its way through one task."""

    frame: AnyFrame
    task: SceneTask
    options: InferOptions
    progress: ProgressCall | None

    def write(self, target: Path) -> SceneResult:
        """Write the output, and the STAC item once it is there."""
        with self._sink(target) as sink:
            tally = run_scene(
                self.frame, self.task.package, self.task.engine, sink, self.options.cutting, self.progress
            )
            if isinstance(sink, FeatureSink):
                sink.close_with(json.dumps(self._provenance(tally, sink.geometry), indent=1))
        if self.options.stac:
            self._write_item(target)
        return self._result(target, tally, sink)

    @contextmanager
    def _sink(self, target: Path) -> Iterator[Sink]:
        if isinstance(self.task, ImageTask):
            if isinstance(self.frame, LineFrame):
                raise FrameError(
                    f"{self.frame.frame_id} is a line stream, whose height is not known before its end; "
                    f"{self.task.package.info.id} makes pictures. Store the lines as a GeoTIFF first."
                )
            with picture_sink(target, self.frame, self.task) as picture:
                yield picture
            return
        if isinstance(self.task, (Detector, Classifier)):
            with whole_file(target) as file:
                yield feature_sink(file, self.frame, self.task)
            return
        with self.task.sink(target, self.frame) as made:
            yield made

    def _write_item(self, target: Path) -> None:
        assets = {"answers": Asset(target.name, f"Answers of {self.task.package.info.id}")}
        found = item(self.frame, self.task.package, assets, software=f"subsolar {_version()}")
        with whole_file(target.with_suffix(".stac.json")) as file:
            json.dump(found, file, indent=1, allow_nan=False)

    def _doubt(self) -> str:
        gsd_m, (low_m, high_m) = self.frame.gsd_m, self.task.package.info.gsd_range_m
        if gsd_m is None:
            return "the scene has no georeference, so places and pixel size are unknown"
        if low_m <= gsd_m <= high_m:
            return ""
        return f"its pixels are {gsd_m:.3g} m wide, the network was made for {low_m:g} to {high_m:g} m"

    def _stream(self) -> dict[str, int]:
        return asdict(self.frame.counts) if isinstance(self.frame, LineFrame) else {}

    def _provenance(self, tally: Tally, geometry: str) -> dict[str, Any]:
        """Foreign member of the collection: what made it, and how each tile ended."""
        package = self.task.package
        stream = {"stream": self._stream()} if self._stream() else {}
        return {
            "software": f"subsolar {_version()}",
            "package": {"id": package.info.id, "version": package.info.version, "sha256": package.sha256},
            "engine": self.task.engine.provider,
            "scene": {
                "id": self.frame.frame_id,
                "width_px": self.frame.width_px,
                "height_px": self.frame.height_px,
                "gsd_m": self.frame.gsd_m,
                "georeferenced": self.frame.georeference is not None,
                **stream,
            },
            "cut": {"edge_px": package.info.input.tile_edge_px, **self.options.cutting.as_table()},
            "warning": self._doubt(),
            "geometry": geometry,
            "tiles": {
                "all": tally.tiles,
                "done": tally.done,
                "shed": dict(sorted(tally.shed.items())),
                "failed": dict(sorted(tally.failed.items())),
            },
        }

    def _result(self, target: Path, tally: Tally, sink: Sink) -> SceneResult:
        return SceneResult(
            scene=target.stem,
            output=str(target),
            tiles=tally.tiles,
            done=tally.done,
            shed=dict(tally.shed),
            failed=dict(tally.failed),
            labels=dict(sorted(sink.labels.items())),
            warning=self._doubt(),
            stream=self._stream(),
        )


def _unusable(path: Path, error: str) -> SceneResult:
    return SceneResult(scene=path.stem, output=None, tiles=0, done=0, shed={}, failed={}, labels={}, error=error)


def _targets(scenes: Sequence[Path], out: Path, suffix: str) -> list[Path]:
    """One file name per scene; scenes of one name get a number."""
    seen: Counter[str] = Counter()
    targets = []
    for path in scenes:
        seen[path.stem] += 1
        number = "" if seen[path.stem] == 1 else f"-{seen[path.stem]}"
        targets.append(out / f"{path.stem}{number}{suffix}")
    return targets


def _told(scene: SceneResult) -> str:
    labels = ", ".join(f"{name} {count}" for name, count in sorted(scene.labels.items(), key=lambda item: -item[1]))
    left = sum(scene.shed.values()), sum(scene.failed.values())
    doubt = f"\n    warning: {scene.warning}" if scene.warning else ""
    ended = f"{scene.done} of {scene.tiles} tiles done, {left[0]} shed, {left[1]} failed"
    return f"{ended} -> {scene.output}\n    {labels}{doubt}"


def _version() -> str:
    try:
        return version("subsolar")
    except PackageNotFoundError:
        return "unknown"
