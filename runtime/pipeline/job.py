"""One scene through one task into its files: what ``subsolar infer`` and every stage of a chain do."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

from exporters.package import ModelPackage

from ..engines import Engine
from ..errors import EngineError, FrameError
from ..frame import Frame
from ..frames import AnyFrame, Beside, LineFrame, Stack, open_any
from ..plugins import find_plugin, plugin_names
from ..strict_json import strict_json
from ..tasks import Classifier, Detector, EmbeddingTask, ImageTask, MapTask
from ..tasks.aligned import AlignedFrame
from ..tasks.anomaly import AnomalyTask
from ..tasks.change import REFERENCE, ChangeTask
from ..tasks.declouded import Declouder, PlacedFrame, declouder
from ..tasks.terrain import TerrainTask
from .doubts import doubts
from .embeddings import embedding_sink
from .energy import Joules, open_joules
from .files import whole_file
from .pixels import PixelSink, pixel_sink
from .preview import write_preview
from .reasons import kinds_of, left_out
from .scene import AdmitCall, Cutting, ProgressCall, Tally, run_scene
from .sinks import BarCall, BoxSink, FeatureSink, NoteCall, SceneTask, Sink, feature_sink
from .stac import Asset, item

log = logging.getLogger(__name__)

TASKS: Mapping[str, Callable[..., SceneTask]] = {
    "probabilities": Classifier,
    "boxes": Detector,
    "image": ImageTask,
    "mask": ImageTask,
    "map": MapTask,
    "embedding": EmbeddingTask,
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
    shed_by: Mapping[str, int] = field(default_factory=dict)
    """The same tiles by kind of reason: ``nodata``, ``cloud``, ``energy``, ``count``."""
    failed_by: Mapping[str, int] = field(default_factory=dict)
    warning: str = ""
    """What makes the answers doubtful."""
    error: str = ""
    stream: Mapping[str, int] = field(default_factory=dict)
    """What became of a line stream's lines."""
    more: tuple[str, ...] = ()
    """Further files: regions of a map, lines of an index, a preview."""
    energy_j: float | None = None
    """Of all tiles, where somebody knows."""
    energy_kind: str = ""
    """``measured`` or ``estimated``."""
    barred: int = 0
    """Boxes left out because they lie on made-up pixels."""


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
    beside: tuple[Beside, ...] = ()
    """Scenes that are laid over each scene."""
    preview: bool = False
    """Draw a picture of each scene with what was found."""
    meter: str = ""
    """Who knows about joules: ``estimate``, ``auto``, a meter's name; nobody where empty."""

    def as_table(self) -> dict[str, Any]:
        """What decides the answers."""
        return {
            **self.cutting.as_table(),
            "bands": self.band_names,
            "range": self.value_range,
            "stac": self.stac,
            "provider": self.provider,
            **({"beside": [_state(one) for one in self.beside]} if self.beside else {}),
            **({"preview": True} if self.preview else {}),
            **({"meter": self.meter} if self.meter else {}),
        }


def make_task(package: ModelPackage, engine: Engine) -> SceneTask:
    """The task that fits the kind of the package's output, from here or a plug-in. Raises ``EngineError``."""
    kind = package.info.output.kind
    make = TASKS_BY_NAME.get((kind, package.info.task)) or TASKS.get(kind) or find_plugin("tasks", kind)
    if make is None:
        known = ", ".join([*TASKS, *plugin_names("tasks")])
        raise EngineError(f"{package.info.id} answers {kind!r}, which no task here understands. Known are {known}.")
    task: SceneTask = make(engine=engine, package=package)
    return task


_SUFFIXES = {"image": ".tif", "mask": ".tif", "map": ".tif", "embedding": ".npy"}


TASKS_BY_NAME: Mapping[tuple[str, str], Callable[..., SceneTask]] = {
    ("map", "anomaly"): AnomalyTask,
    ("map", "declouded"): declouder,
    ("map", "terrain"): TerrainTask,
    ("mask", "change"): ChangeTask,
}
"""What makes products of a kind of output where the package's task asks for more."""


def suffix_of(package: ModelPackage) -> str:
    """Ending of the main file that the package's answers become."""
    return _SUFFIXES.get(package.info.output.kind, ".geojson")


def _state(one: Beside) -> list[Any]:
    """A further scene in its present state."""
    try:
        state = one.path.stat()
        facts: list[Any] = [state.st_size, state.st_mtime_ns]
    except OSError:
        facts = []
    return [one.role, list(one.band_names), str(one.path.resolve()), *facts]


def infer_scene(
    task: SceneTask, options: InferOptions, progress: ProgressCall | None, job: tuple[Path, Path]
) -> SceneResult:
    """One scene into one file; a scene that cannot be used gets an error in its result."""
    path, target = job
    try:
        with open_for(task.package, path, options) as frame:
            aligned = aligned_for(task, frame)
            return SceneJob(frame, task, options, progress, aligned=aligned).write(target)
    except FrameError as error:
        return unusable(path, str(error))


def open_for(package: ModelPackage, path: Path, options: InferOptions) -> AnyFrame:
    """A scene with tiles of the type that the package takes. Raises ``FrameError``."""
    return open_any(
        path,
        band_names=options.band_names,
        value_range=options.value_range,
        tile_dtype=package.info.input.dtype,
        beside=options.beside,
    )


def aligned_for(task: SceneTask, frame: AnyFrame) -> AlignedFrame | PlacedFrame | None:
    """What tiles are cut from, where that is not the frame itself.

    For change, the frame with its reference moved to where the new scene shows the same; for a sampler, the frame that
    also tells each pixel's place. Raises ``FrameError`` without a reference, or with one of another place, too far off,
    or not the older one; and where a sampler lacks radar or cloud mask.
    """
    if isinstance(task, Declouder):
        return task.placed_on(frame)
    if not isinstance(task, ChangeTask):
        return None
    if not isinstance(frame, Stack):
        raise FrameError(f"{task.package.info.id} compares two dates. Give the older scene with --with reference=FILE.")
    reference = frame.scene(REFERENCE.rstrip("_"))
    return AlignedFrame(frame, reference_unix_s=None if reference is None else reference.captured_unix_s)


@dataclass(frozen=True, slots=True)
class SceneJob:
    """One scene on its way through one task."""

    frame: AnyFrame
    task: SceneTask
    options: InferOptions
    progress: ProgressCall | None = None
    admit: AdmitCall | None = None
    """Sheds windows before they are read."""
    bar: BarCall | None = None
    """Boxes of which nothing may be said."""
    aligned: AlignedFrame | PlacedFrame | None = None
    """What tiles are cut from, where that is not the frame itself."""

    @property
    def cutting(self) -> Cutting:
        """How the scene is cut; a task that knows missing values for itself is handed them."""
        cutting = self.options.cutting
        return replace(cutting, fill=self.task.fill) if isinstance(self.task, TerrainTask) else cutting

    def write(self, target: Path) -> SceneResult:
        """Write the output, and the STAC item and the preview once it is there."""
        joules = open_joules(self.options.meter, self.task.package, self.options.cutting.batch)
        if joules is not None:
            joules.start()
        with self._sink(target) as sink:
            tally = run_scene(
                self._cut_from,
                *(self.task.package, self.task.engine, sink, self.cutting, self.progress),
                note=_note_of(sink),
                admit=self.admit,
                energy=joules,
            )
            features = sink.regions if isinstance(sink, PixelSink) else sink
            if isinstance(features, FeatureSink):
                features.close_with(strict_json(self._provenance(tally, features.geometry, joules), indent=1))
        if self.options.stac:
            self._write_item(target)
        more = [*self._companions(target), *self._preview(target)]
        return self._result(target, tally, sink, joules, more)

    @property
    def _cut_from(self) -> Frame:
        return self.frame if self.aligned is None else cast(Frame, self.aligned)

    @contextmanager
    def _sink(self, target: Path) -> Iterator[Sink]:
        task = self.task
        if isinstance(task, ChangeTask):
            task = ImageTask(engine=task.engine, package=task.package)
        if isinstance(task, (ImageTask, MapTask)):
            if isinstance(self.frame, LineFrame):
                raise FrameError(
                    f"{self.frame.frame_id} is a line stream, whose height is not known before its end; "
                    f"{self.task.package.info.id} makes pictures. Store the lines as a GeoTIFF first."
                )
            with pixel_sink(target, self.frame, task, self.options.cutting.overlap_px) as pixels:
                yield pixels
            return
        if isinstance(task, (Detector, Classifier)):
            with whole_file(target) as file:
                yield feature_sink(file, self.frame, task, self.bar)
            return
        if isinstance(task, EmbeddingTask):
            with embedding_sink(target, self.frame, task) as vectors:
                yield vectors
            return
        with task.sink(target, self.frame) as made:
            yield made

    def _write_item(self, target: Path) -> None:
        assets = {"answers": Asset(target.name, f"Answers of {self.task.package.info.id}")}
        found = item(self.frame, self.task.package, assets, software=f"subsolar {_version()}")
        with whole_file(target.with_suffix(".stac.json")) as file:
            json.dump(found, file, indent=1, allow_nan=False)

    def _companions(self, target: Path) -> list[str]:
        """What the sink wrote beside the main file."""
        if isinstance(self.task, EmbeddingTask):
            return [str(target.with_suffix(".jsonl"))]
        if isinstance(self.task, MapTask) and self.task.finds_regions:
            return [str(target.with_suffix(".geojson"))]
        return []

    def _preview(self, target: Path) -> list[str]:
        if not self.options.preview:
            return []
        if isinstance(self.frame, LineFrame):
            log.warning("%s is a line stream, whose lines are gone by now: there is no preview.", self.frame.frame_id)
            return []
        picture = target.with_suffix(".preview.png")
        write_preview(picture, self.frame, self.task.package.info, target, self.options.cutting.overlap_px)
        return [str(picture)]

    def _stream(self) -> dict[str, int]:
        return asdict(self.frame.counts) if isinstance(self.frame, LineFrame) else {}

    def _provenance(self, tally: Tally, geometry: str, joules: Joules | None) -> dict[str, Any]:
        """Foreign member of the collection: what made it, and how each tile ended."""
        package = self.task.package
        stream = {"stream": self._stream()} if self._stream() else {}
        beside = {one.role: str(one.path) for one in self.options.beside}
        energy = {} if joules is None else {"energy": _energy(joules)}
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
                **({"beside": beside} if beside else {}),
                **stream,
            },
            "cut": {"edge_px": package.info.input.tile_edge_px, **self.cutting.as_table()},
            "warning": doubts(self.frame, self.task.package.info, self.aligned),
            "geometry": geometry,
            "tiles": {
                "all": tally.tiles,
                "done": tally.done,
                "shed": dict(sorted(tally.shed.items())),
                "failed": dict(sorted(tally.failed.items())),
                "shed_by": dict(kinds_of(tally.shed)),
                "failed_by": dict(kinds_of(tally.failed)),
            },
            **energy,
        }

    def _result(
        self, target: Path, tally: Tally, sink: Sink, joules: Joules | None, more: Sequence[str]
    ) -> SceneResult:
        return SceneResult(
            scene=target.stem,
            output=str(target),
            tiles=tally.tiles,
            done=tally.done,
            shed=dict(tally.shed),
            failed=dict(tally.failed),
            labels=dict(sorted(sink.labels.items())),
            shed_by=dict(kinds_of(tally.shed)),
            failed_by=dict(kinds_of(tally.failed)),
            warning=doubts(self.frame, self.task.package.info, self.aligned),
            stream=self._stream(),
            more=tuple(more),
            energy_j=None if joules is None else joules.total_j,
            energy_kind="" if joules is None else joules.kind,
            barred=sink.barred if isinstance(sink, BoxSink) else 0,
        )


def _note_of(sink: Sink) -> NoteCall | None:
    """What wants to hear of a batch before its answers."""
    return sink.note if isinstance(sink, (FeatureSink, PixelSink)) else None


def _energy(joules: Joules) -> dict[str, Any]:
    return {"total_j": round(joules.total_j, 6), "kind": joules.kind, "source": joules.source}


def unusable(path: Path, error: str) -> SceneResult:
    """The result of a scene that gave nothing."""
    return SceneResult(scene=path.stem, output=None, tiles=0, done=0, shed={}, failed={}, labels={}, error=error)


def told(scene: SceneResult) -> str:
    """The result for a person."""
    found = ", ".join(f"{name} {count}" for name, count in sorted(scene.labels.items(), key=lambda item: -item[1]))
    labels = f"\n    {found}" if found else ""
    doubt = f"\n    warning: {scene.warning}" if scene.warning else ""
    ended = (
        f"{scene.done} of {scene.tiles} tiles done, {left_out(scene.shed, 'shed')}, {left_out(scene.failed, 'failed')}"
    )
    files = "".join(f"\n    and {path}" for path in scene.more)
    energy = "" if scene.energy_j is None else f"\n    {scene.energy_j:.4g} J {scene.energy_kind}"
    barred = f"\n    {scene.barred} boxes on made-up pixels left out" if scene.barred else ""
    return f"{ended} -> {scene.output}{files}{labels}{barred}{energy}{doubt}"


def _version() -> str:
    try:
        return version("subsolar")
    except PackageNotFoundError:
        return "unknown"
