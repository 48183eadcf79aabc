"""Trains one network for any mission: first it learns what the exact programme would choose, then it practises.

Lessons: states come from random missions (``missions``), labels from the mission's linear programme on expectations
(``teacher``), and the loss is what a choice gives away: choices are drawn from the softmax of the scores, and the
expected loss against the best choice is minimised. Practice: ``train_rounds``.

Top to bottom: settings, lessons with resume, learning from them, practice, export and its proof.
"""

from __future__ import annotations

import json
from dataclasses import asdict, astuple, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253
from numpy.typing import NDArray

from power_sim.scenario import load_scenario

from .cards import write_card
from .curves import CurvePoint, draw_curve, write_curve
from .errors import TrainingError, TrainingInterrupted
from .evaluate import Executor
from .network import FloatArray, Mlp, PolicyFile, save_policy_file
from .practice import TRAIN_SEED, Actions, Checkpoint, Flags, Progress, best_open, visited, worth_on
from .registry import make_policy
from .scorer import Scorer
from .spread import crew
from .teacher import Lessons, join, lessons_of, load_lessons
from .train_rounds import Practice, Rounds, scores_of, variant
from .universal import describe_universal, split

AGREEMENT_STATES, AGREEMENT_MISSIONS = 10_000, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class UniversalSettings:
    """What is learned from, and how."""

    lessons: int = 60
    """Missions that the teacher explains, each flown with ``flights`` seeds: by the teacher and by the barrier rule."""
    flights: int = 2
    hidden: int = 64
    steps: int = 4_000
    batch: int = 1_024
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    practice: Rounds = field(default_factory=Rounds)


@dataclass(frozen=True, slots=True)
class TrainedUniversal:
    """What training left behind."""

    path: Path
    card: Path
    curve: Path
    file: PolicyFile
    lessons: int
    loss: float
    """Mean loss per choice on lessons kept aside, in mean slots of a mission; before practice."""
    agreement_frac: float


def train_universal(
    *,
    seed: int,
    out: Path,
    progress: Progress,
    settings: UniversalSettings | None = None,
    workers: int | None = None,
) -> TrainedUniversal:
    """Collect lessons, learn from them, practise, and write policy, card and learning curve into ``out``.

    The same call goes on where it was stopped, to the same bytes, whatever the number of ``workers`` (None: one for
    each core). Raises ``TrainingInterrupted`` on Ctrl-C, ``TrainingError`` for a folder that holds another training and
    ``EvaluationError`` where the solver is missing.
    """
    settings = settings or UniversalSettings()
    torch.set_num_threads(1)
    plan = {"seed": seed, **asdict(settings)}
    folder, store = out / "lessons", Checkpoint(out / "checkpoint" / "universal.npz", plan)
    _claim(folder, plan)
    try:
        with crew(workers) as hands:
            lessons = _collect(folder, settings, seed, progress, hands)
            practice, loss, points = _begun(store, lessons, settings, seed, progress)
            _practise(practice, settings.practice, hands, store, loss, points, progress)
    except KeyboardInterrupt:
        raise TrainingInterrupted(f"Training stopped. Run the same again to go on from {out}.") from None
    return _export(practice.model, lessons, settings, seed, out, points, loss)


def _claim(folder: Path, plan: dict[str, Any]) -> None:
    """Mark a folder as belonging to one plan, or refuse it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "plan.json"
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != plan:
        raise TrainingError(f"{folder} belongs to another training. Choose another --out, or remove that folder.")
    path.write_text(json.dumps(plan), encoding="utf-8")


def _collect(folder: Path, settings: UniversalSettings, seed: int, progress: Progress, hands: Executor) -> Lessons:
    paths = [folder / f"{number:05d}.npz" for number in range(settings.lessons)]
    missing = [number for number, path in enumerate(paths) if not path.is_file()]
    own_every = settings.practice.own_every
    jobs = [(str(paths[number]), number, seed, settings.flights, own_every) for number in missing]
    done = settings.lessons - len(missing)
    for _ in hands.map(teach, jobs):
        done += 1
        progress(done, settings.lessons, "collecting lessons")
    return join(map(load_lessons, paths))


def teach(job: tuple[str, int, int, int, int]) -> None:
    """Collect the lessons of one variant into a file. The job: path, number, seed, flights, own_every."""
    path, number, seed, flights, own_every = job
    scenario = variant(seed, number, own_every)
    first = TRAIN_SEED * (seed + 1) + number * flights
    drivers = (None, make_policy("barrier", scenario, seed=seed))
    lessons = join(lessons_of(scenario, first + n, driver=drivers[n % len(drivers)]) for n in range(flights))
    partial = Path(path).with_suffix(".partial.npz")
    lessons.save(partial)
    partial.replace(path)


def _begun(
    store: Checkpoint, lessons: Lessons, settings: UniversalSettings, seed: int, progress: Progress
) -> tuple[Practice, float, list[CurvePoint]]:
    """Return the practice to go on with, the loss on lessons and the curve: as the checkpoint has them, or new."""
    torch.manual_seed(seed)
    kept = store.load()
    if kept is None:
        model, loss = _learn(lessons, settings, seed, progress)
        return Practice(model, seed, settings.practice), loss, []
    arrays, state = kept
    practice = Practice(_fresh(lessons, settings), seed, settings.practice)
    practice.restore(arrays, state["round"])
    return practice, state["loss"], [CurvePoint(*point) for point in state["points"]]


def _fresh(lessons: Lessons, settings: UniversalSettings) -> Scorer:
    spread = lessons.slot.std(axis=0)
    spread[spread < 1e-3] = 1.0
    return Scorer(settings.hidden, lessons.slot.mean(axis=0), spread)


def _learn(lessons: Lessons, settings: UniversalSettings, seed: int, progress: Progress) -> tuple[Scorer, float]:
    """Return a network that chooses as the teacher would, and its mean loss on lessons kept aside."""
    rng = np.random.default_rng(seed)
    aside = rng.random(len(lessons.slot)) < 0.05
    model = _fresh(lessons, settings)
    learning = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    pace = torch.optim.lr_scheduler.OneCycleLR(learning, settings.learning_rate, settings.steps, pct_start=0.05)
    known, loss = np.flatnonzero(~aside), float("nan")
    for step in range(1, settings.steps + 1):
        given_away = expected_loss(model, lessons, rng.choice(known, settings.batch))
        learning.zero_grad()
        given_away.backward()  # type: ignore[no-untyped-call]
        learning.step()
        pace.step()
        if step % max(settings.steps // 60, 1) == 0 or step == settings.steps:
            loss = loss_of_choices(model, lessons, np.flatnonzero(aside))
            progress(step, settings.steps, f"gives away {loss:.4f} slots per choice")
    return model, loss


def _practise(
    practice: Practice,
    settings: Rounds,
    hands: Executor,
    store: Checkpoint,
    loss: float,
    points: list[CurvePoint],
    progress: Progress,
) -> None:
    """Fly the rounds that are left, with a checkpoint and a point of the curve now and then."""
    every, flights = max(settings.rounds // 40, 1), settings.at_once * settings.missions * settings.copies
    slots = points[-1].step if points else 0
    while practice.number < settings.rounds:
        slots += practice.fly_round(hands)
        done = practice.number
        progress(done, settings.rounds, "practising")
        if done % every == 0 or done == settings.rounds:
            points.append(CurvePoint(slots, done * flights, validated(practice.model), 0.0))
            state = {"round": done, "loss": loss, "points": [astuple(point) for point in points]}
            store.save(practice.state(), state)


def validated(model: Scorer) -> float:
    """Return what a network's best choices are worth in a mission of cubesat-6u, over the validation seeds."""
    scenario, network = load_scenario("cubesat-6u"), model.arrays()
    return worth_on(scenario, lambda row, is_open: best_of(network, len(scenario.pool.models), row, is_open))


def best_of(network: Mlp, options: int, row: FloatArray, is_open: Flags) -> Actions:
    """Return the open choice of the best score for each row."""
    return best_open(scores_of(network, options, row, is_open), is_open)


def expected_loss(model: Scorer, lessons: Lessons, which: NDArray[np.intp]) -> torch.Tensor:
    """Return the mean loss of choices drawn from the softmax of the scores."""
    is_open = torch.from_numpy(lessons.open[which])
    scores = model(torch.from_numpy(lessons.slot[which]), torch.from_numpy(lessons.blocks[which]))
    chance = torch.softmax(scores.masked_fill(~is_open, -1e9), dim=-1)
    return (chance * torch.from_numpy(lessons.loss[which])).sum(dim=-1).mean()


def loss_of_choices(model: Scorer, lessons: Lessons, which: NDArray[np.intp]) -> float:
    """Return the mean loss of the best-scored choices."""
    with torch.no_grad():
        scores = model(torch.from_numpy(lessons.slot[which]), torch.from_numpy(lessons.blocks[which])).numpy()
    chosen = np.where(lessons.open[which], scores, -np.inf).argmax(axis=1)
    return float(lessons.loss[which, chosen].mean())


def _export(
    model: Scorer,
    lessons: Lessons,
    settings: UniversalSettings,
    seed: int,
    out: Path,
    points: list[CurvePoint],
    loss: float,
) -> TrainedUniversal:
    """Write the arrays once they choose as the trained network does on every one of the states. No proof, no file."""
    network = model.arrays()
    agreement = agreement_frac(model, network, seed, settings.practice.own_every)
    if agreement < 1.0:
        raise TrainingError(
            f"The export chooses otherwise than the trained network on {1 - agreement:.2%} of the states. "
            "No policy was written. Train with another seed."
        )
    trained = {
        "library": f"torch {torch.__version__}",
        "seed": seed,
        "states": len(lessons.slot),
        "loss_slots": loss,
        "agreement_frac": agreement,
        "agreement_states": AGREEMENT_STATES,
        **asdict(settings),
    }
    path = out / "universal.npz"
    names = ("cubesat-6u", "paper")
    about = describe_universal({name: load_scenario(name).sha256 for name in names}, trained)
    file = save_policy_file(path, network, about)
    curve = path.with_suffix(".csv")
    write_curve(curve, points)
    draw_curve(path.with_suffix(".png"), points, f"universal, seed {seed}: cubesat-6u, validation missions")
    return TrainedUniversal(path, write_card(path, file), curve, file, len(lessons.slot), loss, agreement)


def agreement_frac(model: Scorer, network: Mlp, seed: int, own_every: int) -> float:
    """Return the share of 10,000 states, of ten missions, on which arrays and trained network choose the same."""
    same = 0
    for number in range(AGREEMENT_MISSIONS):
        scenario = variant(seed, number, own_every)
        ours = partial(best_of, network, len(scenario.pool.models))
        rows, is_open = visited(scenario, seed, ours, None, AGREEMENT_STATES // AGREEMENT_MISSIONS)
        with torch.no_grad():
            slot, blocks = (torch.from_numpy(part) for part in split(rows, len(scenario.pool.models)))
            theirs = model(slot, blocks).numpy()[:, : is_open.shape[1]]
        same += int((best_open(theirs, is_open) == ours(rows, is_open)).sum())
    return same / AGREEMENT_STATES
