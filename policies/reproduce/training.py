"""The trainings of the reproduction: three methods in two presets, and the sweeps of Figure 12."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from power_sim.scenario import Scenario

from ..curves import CurvePoint, read_curve
from ..errors import TrainingError

METHODS = ("dqn", "q-learning", "policy-gradient")


@dataclass(frozen=True, slots=True)
class TrainJob:
    """One training. ``rate`` and ``discount`` None: tuned, or for DQN the paper's."""

    method: str
    scenario: Scenario
    steps: int
    seed: int
    out: Path
    rate: float | None = None
    discount: float | None = None


@dataclass(frozen=True, slots=True)
class TrainDone:
    """What a training left; ``path`` None where none could be kept, and why."""

    job: TrainJob
    path: Path | None
    points: tuple[CurvePoint, ...]
    seconds: float
    """Measured, in the run that finished it."""
    trouble: str = ""


def train_job(job: TrainJob) -> TrainDone:
    """Train, or go on with what an earlier run left in the job's folder."""
    start_s = time.perf_counter()
    try:
        path, curve = _train(job)
    except TrainingError as error:
        return TrainDone(job, None, (), time.perf_counter() - start_s, str(error))
    return TrainDone(job, path, tuple(read_curve(curve)), _took_s(job.out / "seconds.txt", start_s))


def _took_s(kept: Path, start_s: float) -> float:
    """Return how long the training took in the run that finished it: a later run only reads what is there."""
    if not kept.is_file():
        kept.write_text(f"{time.perf_counter() - start_s:.3f}\n", encoding="utf-8")
    return float(kept.read_text(encoding="utf-8"))


def _train(job: TrainJob) -> tuple[Path, Path]:
    def silent(done: int, of: int, line: str) -> None:
        pass

    if job.method == "dqn":
        return _train_dqn(job)
    if job.method == "q-learning":
        from ..train_q_learning import QSettings, train_q_learning

        best = QSettings("accuracy", job.rate if job.rate is not None else 0.0, job.discount or 0.0)
        table = train_q_learning(
            job.scenario,
            steps=job.steps,
            seed=job.seed,
            out=job.out,
            progress=silent,
            grid=None if job.rate is None else (best,),
        )
        return table.path, table.curve
    from ..train_gradient import GradientSettings, train_gradient

    point = GradientSettings(job.rate if job.rate is not None else 3e-3, 0.0, job.discount or 0.0)
    network = train_gradient(
        job.scenario,
        steps=job.steps,
        seed=job.seed,
        out=job.out,
        progress=silent,
        grid=None if job.rate is None else (point,),
    )
    return network.path, network.curve


def _train_dqn(job: TrainJob) -> tuple[Path, Path]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own deprecations on import
        from ..train_dqn import settings_for, train_dqn
    settings = settings_for(job.scenario)
    if job.rate is not None:
        last = min(job.rate, settings.final_learning_rate)
        settings = replace(settings, learning_rate=job.rate, final_learning_rate=last)
    if job.discount is not None:
        settings = replace(settings, discount=job.discount)
    trained = train_dqn(
        job.scenario,
        steps=job.steps,
        seed=job.seed,
        out=job.out,
        progress=lambda done, of, line: None,
        settings=settings,
        checkpoint_every=20_000,
    )
    return trained.path, trained.curve
