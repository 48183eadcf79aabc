"""One-shot inference over one scene or thousands: GeoJSON (RFC 7946), masks or restored images, STAC beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from exporters.package import ModelPackage

from .engines import Engine, open_engine
from .frames import Beside, expand
from .pipeline.checks import check_options
from .pipeline.executors import Executor, LocalExecutor
from .pipeline.files import make_folder, sweep
from .pipeline.job import TASKS, InferOptions, SceneResult, infer_scene, make_task, suffix_of, told
from .pipeline.ledger import Ledger, job_key
from .pipeline.scene import Cutting, ProgressCall

__all__ = ["TASKS", "InferOptions", "InferResult", "SceneResult", "infer_scenes", "make_task", "make_worker"]


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

    @property
    def parts(self) -> tuple[SceneResult, ...]:
        """Every result, in order."""
        return self.scenes

    def summary(self) -> dict[str, Any]:
        """The result as plain values for JSON."""
        return {**asdict(self), "complete": self.complete}

    def table(self) -> str:
        """The result for a person: one line per scene."""
        lines = [f"  {scene.scene}: {scene.error or told(scene)}" for scene in self.scenes]
        end = ["  stopped by the user"] if self.interrupted else []
        return "\n".join([f"{self.package} on {self.engine}", *lines, *end])


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
    beside: Sequence[Beside] = (),
    preview: bool = False,
    meter: str = "",
    fill: float = 0.0,
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
    ``beside`` lays further scenes over each; ``preview`` draws what was found; ``meter`` says who knows about joules;
    ``fill`` stands for missing values in float32 tiles.

    Raises ``MissionError`` for options that no scene could make right, ``StoreError`` if ``out`` cannot be written,
    ``EngineError`` if the package cannot be loaded.
    """
    options = InferOptions(
        cutting=Cutting(batch=batch, overlap_px=overlap_px, skip=skip or {}, workers=workers, fill=fill),
        band_names=tuple(band_names),
        value_range=value_range,
        stac=stac,
        beside=tuple(beside),
        preview=preview,
        meter=meter,
        provider=provider,
        isolate=isolate,
    )
    check_options(options, [package])
    make_folder(out)
    sweep(out)
    run = _Run(package, out, options, Ledger.open(out, resume=resume), expand(scenes))
    return _work_off(run, package, options, executor or LocalExecutor(), engine, progress)


def _work_off(
    run: _Run,
    package: ModelPackage,
    options: InferOptions,
    runs: Executor,
    runner: Engine | None,
    progress: ProgressCall | None,
) -> InferResult:
    """Do the jobs of ``run`` until the last or an interrupt; ``runner`` is opened here where none is given."""
    interrupted, many = False, not runs.here or len(run.jobs) > 1
    with ExitStack() as stack:
        if runner is None and runs.here and run.jobs:
            runner = stack.enter_context(closing(open_engine(package, options.provider, worker=options.isolate)))
        tiles = partial(_tell_tiles, progress, run) if progress is not None and many else progress
        making = partial(make_worker, package, options, runner, tiles if runs.here else None)
        try:
            for result in runs.run(making, run.jobs):
                run.note(result)
                if progress is not None and many:
                    progress(run.noted, len(run.jobs), result.scene)
        except KeyboardInterrupt:
            interrupted = True
        return InferResult(
            package=f"{package.info.id} v{package.info.version}",
            package_sha256=package.sha256,
            engine=options.provider if runner is None else runner.provider,
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
        targets = targets_of(paths, out, suffix_of(package))
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
        self.noted = 0
        """Jobs whose results are in."""

    def note(self, result: SceneResult) -> None:
        """Keep the next job's result; a scene without failed tiles goes into the ledger, the others are tried again."""
        key = next(self._todo)
        self.noted += 1
        self._results[key] = result
        if not result.error and not result.failed:
            self._ledger.add(key, asdict(result))

    def results(self) -> Iterator[SceneResult]:
        """Those that there are."""
        return (self._results[key] for key in self._keys if key in self._results)


def _tell_tiles(progress: ProgressCall, run: _Run, done: int, total: int, scene: str) -> None:
    """Of many scenes, how many are finished counts; the tiles of the present one are told in words."""
    progress(run.noted, len(run.jobs), f"{scene}, tile {done} of {total}")


def _finished(entry: Mapping[str, Any] | None) -> SceneResult | None:
    """A scene's result as the ledger has it; None where it is not there, not understood, or its output is gone."""
    known = {one.name for one in fields(SceneResult)}
    if entry is None or set(entry) != known or not Path(str(entry["output"])).is_file():
        return None
    return SceneResult(**{**entry, "more": tuple(entry["more"])})


def make_worker(
    package: ModelPackage, options: InferOptions, engine: Engine | None, progress: ProgressCall | None
) -> Callable[[tuple[Path, Path]], SceneResult]:
    """What does one scene after another with one engine, opened here unless given."""
    runner = engine or open_engine(package, options.provider, worker=options.isolate)
    task = make_task(package, runner)
    return partial(infer_scene, task, options, progress)


def targets_of(scenes: Sequence[Path], out: Path, suffix: str) -> list[Path]:
    """One file name per scene; scenes of one name get a number."""
    seen: Counter[str] = Counter()
    targets = []
    for path in scenes:
        seen[path.stem] += 1
        number = "" if seen[path.stem] == 1 else f"-{seen[path.stem]}"
        targets.append(out / f"{path.stem}{number}{suffix}")
    return targets
