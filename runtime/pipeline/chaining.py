"""Chains at work: each scene goes through all stages, and what a stage leaves is what the next one sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from exporters.package import ModelPackage

from ..engines import Engine, open_engine
from ..errors import FrameError, MissionError
from ..frames import GENERATED, LineFrame, RasterFrame, Stack, expand, open_frame
from ..tasks import ImageTask, MapTask
from ..tasks.chain import Chain, Stage
from ..tiles import Window
from .checks import check_options
from .files import make_folder, sweep
from .job import InferOptions, SceneJob, SceneResult, aligned_for, make_task, open_for, suffix_of, told, unusable
from .looking import Guard, LabelLook, Limit, Look, MaskLook, admit_by
from .scene import ProgressCall, grid_for
from .sinks import SceneTask

_POINTING = ("probabilities", "mask")
_ANSWERING = ("probabilities", "mask", "embedding")
"""Kinds that say something of a whole tile: of one with made-up pixels they say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainScene:
    """What the stages made of one scene, as far as they came."""

    scene: str
    stages: tuple[tuple[str, SceneResult], ...]

    @property
    def error(self) -> str:
        """Why it did not go through, empty if it did."""
        return self.stages[-1][1].error


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainResult:
    """All scenes that were reached; ``interrupted`` if the user stopped before the last."""

    packages: tuple[str, ...]
    scenes: tuple[ChainScene, ...]
    interrupted: bool = False

    @property
    def complete(self) -> bool:
        """Whether every scene went through all stages."""
        return not self.interrupted and all(not scene.error for scene in self.scenes)

    @property
    def parts(self) -> tuple[SceneResult, ...]:
        """Every result of every stage, in order."""
        return tuple(part for scene in self.scenes for _, part in scene.stages)

    def summary(self) -> dict[str, Any]:
        """The result as plain values for JSON."""
        scenes = [
            {"scene": one.scene, "stages": {name: asdict(part) for name, part in one.stages}} for one in self.scenes
        ]
        return {
            "packages": self.packages,
            "scenes": scenes,
            "interrupted": self.interrupted,
            "complete": self.complete,
        }

    def table(self) -> str:
        """The result for a person: one line per scene and stage."""
        lines = [" then ".join(self.packages)]
        for scene in self.scenes:
            lines += [f"  {scene.scene}, {name}: {part.error or told(part)}" for name, part in scene.stages]
        return "\n".join([*lines, *(["  stopped by the user"] if self.interrupted else [])])


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A stage with its network running."""

    stage: Stage
    task: SceneTask

    @property
    def kind(self) -> str:
        return self.task.package.info.output.kind

    @property
    def limit(self) -> Limit | None:
        """Tiles that the stage may take, by count or by the profile's joules, whichever are fewer."""
        stage, package = self.stage, self.task.package
        limits = [] if stage.most_tile is None else [Limit(stage.most_tile, f"count: at most {stage.most_tile} tiles")]
        if stage.budget_j is not None:
            affordable = int(stage.budget_j / package.profile.entry_for(batch=stage.batch).energy_j_per_tile)
            limits.append(Limit(affordable, f"energy: {stage.budget_j:g} J do {affordable} tiles"))
        return min(limits, key=lambda limit: limit.most_tile, default=None)


def infer_chain(
    chain: Chain,
    open_package: Callable[[Path], ModelPackage],
    scenes: Sequence[Path],
    out: Path,
    *,
    options: InferOptions,
    open_with: Callable[[ModelPackage], Engine] | None = None,
    progress: ProgressCall | None = None,
) -> ChainResult:
    """Send ``scenes`` (files, folders, ``@LIST``) through all stages; each writes ``out/SCENE-STAGE``, whole or not.

    ``options`` say how scenes are read; how they are cut is each stage's. A scene that cannot be used gets an error and
    the others go on. Raises ``MissionError`` for stages that do not fit together, ``StoreError`` if ``out`` cannot be
    written, ``EngineError`` if a package cannot be loaded.
    """
    packages = [open_package(Path(stage.package)) for stage in chain.stages]
    check_stages(chain, packages)
    for stage, package in zip(chain.stages, packages, strict=True):
        check_options(_options_of(stage, options), [package])
    make_folder(out)
    sweep(out)
    paths = expand(scenes)
    opened = open_with or (lambda package: open_engine(package, options.provider, worker=options.isolate))
    done: list[ChainScene] = []
    interrupted = False
    with ExitStack() as stack:
        loaded = [
            _Loaded(stage, make_task(package, stack.enter_context(closing(opened(package)))))
            for stage, package in zip(chain.stages, packages, strict=True)
        ]
        try:
            done.extend(_Passage(chain, loaded, path, out, options, progress).run() for path in paths)
        except KeyboardInterrupt:
            interrupted = True
    names = tuple(f"{package.info.id} v{package.info.version}" for package in packages)
    return ChainResult(packages=names, scenes=tuple(done), interrupted=interrupted)


def check_stages(chain: Chain, packages: Sequence[ModelPackage]) -> None:
    """Raise ``MissionError`` where stages and their packages do not fit together."""
    pointing: ModelPackage | None = None
    for stage, package in zip(chain.stages, packages, strict=True):
        edge = package.info.input.tile_edge_px
        if stage.tile_edge_px not in (None, edge):
            raise MissionError(
                f"Stage {stage.name} has tile_edge_px = {stage.tile_edge_px}, but {package.info.id} takes tiles of "
                f"{edge}. Write that, or leave it out."
            )
        if not stage.overlap_px < edge:
            raise MissionError(
                f"Stage {stage.name} has overlap_px = {stage.overlap_px} in tiles of {edge} px. Use less."
            )
        if stage.only_where is not None:
            if pointing is None:
                raise MissionError(f"Stage {stage.name} has only_where, but no stage before it gives labels or a mask.")
            unknown = sorted(set(stage.only_where.classes) - set(pointing.info.classes))
            if unknown or not stage.only_where.classes:
                raise MissionError(
                    f"Stage {stage.name} looks where {pointing.info.id} says {', '.join(unknown) or 'nothing'}; it "
                    f"knows {', '.join(pointing.info.classes)}. Choose among them."
                )
        if package.info.output.kind in _POINTING:
            pointing = package


@dataclass
class _Passage:
    """One scene on its way through the stages."""

    chain: Chain
    loaded: Sequence[_Loaded]
    path: Path
    out: Path
    options: InferOptions
    progress: ProgressCall | None
    picture: Path | None = None
    """What the latest picture stage made, None while the scene itself is looked at."""
    pointer: tuple[_Loaded, Path] | None = None
    """The latest label or mask stage and its answers."""

    def run(self) -> ChainScene:
        """All stages, or those before the first that fails."""
        results: list[tuple[str, SceneResult]] = []
        made_up: list[Path] = []
        for one in self.loaded:
            target = self.out / f"{self.path.stem}-{one.stage.name}{suffix_of(one.task.package)}"
            try:
                result = self._stage(one, target, made_up)
            except FrameError as error:
                result = unusable(self.path, str(error))
            results.append((one.stage.name, result))
            if result.error:
                break
            if one.kind in _POINTING:
                self.pointer = one, target
            if self._makes_picture(one):
                self.picture = target
                made_up += [target] if GENERATED in _band_names(one.task) else []
        return ChainScene(scene=self.path.stem, stages=tuple(results))

    def _stage(self, one: _Loaded, target: Path, made_up: Sequence[Path]) -> SceneResult:
        stage, package = one.stage, one.task.package
        options = _options_of(stage, self.options)
        guarded = made_up if self.chain.forbid_detection_on_generated else ()
        with self._frame(package) as frame, Guard(guarded) as guard, self._look(one) as look:
            windows = grid_for(frame, package, stage.overlap_px)
            admit = admit_by(windows, look, one.limit, _allowed(one, guard))
            bar = guard.bars if guard.watches and one.kind == "boxes" else None
            aligned = aligned_for(one.task, frame)
            return SceneJob(frame, one.task, options, self._progress_of(stage), admit, bar, aligned).write(target)

    def _progress_of(self, stage: Stage) -> ProgressCall | None:
        tell = self.progress
        return None if tell is None else lambda done, total, what: tell(done, total, f"{what}: {stage.name}")

    @contextmanager
    def _frame(self, package: ModelPackage) -> Iterator[RasterFrame | Stack]:
        if self.picture is not None:
            dtype = package.info.input.dtype
            with open_frame(self.picture, frame_id=self.path.stem, tile_dtype=dtype) as made:
                yield made
            return
        with open_for(package, self.path, self.options) as frame:
            if isinstance(frame, LineFrame):
                raise FrameError(f"{self.path} is a line stream, which passes only once. Store it as a GeoTIFF first.")
            yield frame

    @contextmanager
    def _look(self, one: _Loaded) -> Iterator[Look | None]:
        wanted = one.stage.only_where
        if wanted is None or self.pointer is None:
            yield None
            return
        before, answers = self.pointer
        if before.kind == "probabilities":
            yield LabelLook.read(answers, wanted)
            return
        names = before.task.package.info.classes
        with open_frame(answers) as mask:
            yield MaskLook(mask, tuple(names.index(name) for name in wanted.classes), wanted.min_frac)

    @staticmethod
    def _makes_picture(one: _Loaded) -> bool:
        """Whether later stages look at this one's picture instead of the scene."""
        return one.kind == "image" or GENERATED in _band_names(one.task)


def _options_of(stage: Stage, options: InferOptions) -> InferOptions:
    """How scenes are read, and the stage's own way to cut them."""
    cutting = replace(options.cutting, batch=stage.batch, overlap_px=stage.overlap_px, skip=stage.skip)
    return replace(options, cutting=cutting)


def _band_names(task: SceneTask) -> tuple[str, ...]:
    return task.band_names if isinstance(task, (ImageTask, MapTask)) else ()


def _allowed(one: _Loaded, guard: Guard) -> Callable[[Window], bool]:
    """Boxes are judged one by one, and only tiles that are made up altogether are spared the work."""
    finds_regions = isinstance(one.task, MapTask) and one.task.finds_regions
    if not guard.watches or not (one.kind in (*_ANSWERING, "boxes") or finds_regions):
        return lambda window: True
    if one.kind == "boxes":
        return lambda window: guard.tile_frac(window.ref) < 1.0
    return lambda window: guard.tile_frac(window.ref) == 0.0
