"""Teaches one network to choose in any mission what the exact programme would choose, in minutes.

The loss is what a choice gives away: the network's choices are drawn from the softmax of its scores, and the expected
loss against the best choice is minimised. States come from random missions (``missions``), labels from the mission's
linear programme on expectations (``teacher``).

Top to bottom: settings, lessons with resume, training, export and its proof.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch  # noqa: TID253
from numpy.typing import NDArray
from torch import nn  # noqa: TID253

from power_sim.observation import OPTION_SIZE
from power_sim.scenario import load_scenario

from .cards import write_card
from .curves import CurvePoint, draw_curve, write_curve
from .errors import TrainingError, TrainingInterrupted
from .missions import random_mission
from .network import FloatArray, Mlp, PolicyFile, save_policy_file
from .registry import make_policy
from .teacher import Lessons, join, lessons_of, load_lessons
from .universal import SLOT_SIZE, describe_universal, score

Progress = Callable[[int, int, str], None]
AGREEMENT_STATES = 10_000
FIRST_SEED = 1_000_000
"""Missions to learn from are seeded from here on, so that none is ever graded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UniversalSettings:
    """What is learned from, and how."""

    variants: int = 150
    """Random missions, each flown with ``flights`` seeds: by the teacher and by the barrier rule in turn."""
    flights: int = 4
    own_every: int = 6
    """Every so manieth variant is cubesat-6u as it ships, and every fourth of those the paper's set-up."""
    hidden: int = 64
    steps: int = 12_000
    batch: int = 1_024
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3


@dataclass(frozen=True, slots=True)
class TrainedUniversal:
    """What training left behind."""

    path: Path
    card: Path
    curve: Path
    file: PolicyFile
    lessons: int
    loss: float
    """Mean loss per choice on lessons kept aside, in mean slots of a mission."""
    agreement_frac: float


def train_universal(
    *,
    seed: int,
    out: Path,
    progress: Progress,
    settings: UniversalSettings | None = None,
    executor: Executor | None = None,
) -> TrainedUniversal:
    """Collect lessons, train, and write policy, card and learning curve into ``out``.

    Lessons in ``out`` are not collected twice, so that the same call goes on where it was stopped. ``executor`` spreads
    the collection. Raises ``TrainingInterrupted`` on Ctrl-C and ``EvaluationError`` where the solver is missing.
    """
    settings = settings or UniversalSettings()
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    folder = out / "lessons"
    _claim(folder, {"seed": seed, **asdict(settings)})
    try:
        lessons = _collect(folder, settings, seed, progress, executor)
        return _learn(lessons, settings, seed, out, progress)
    except KeyboardInterrupt:
        raise TrainingInterrupted(
            f"Training stopped with {len(list(folder.glob('*.npz')))} of {settings.variants} lessons collected. "
            f"Run the same again to go on from {out}."
        ) from None


def _claim(folder: Path, plan: dict[str, object]) -> None:
    """Mark a folder as belonging to one plan, or refuse it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "plan.json"
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != plan:
        raise TrainingError(f"{folder} belongs to another training. Choose another --out, or remove that folder.")
    path.write_text(json.dumps(plan), encoding="utf-8")


def _collect(
    folder: Path, settings: UniversalSettings, seed: int, progress: Progress, executor: Executor | None
) -> Lessons:
    paths = [folder / f"{number:05d}.npz" for number in range(settings.variants)]
    missing = [number for number, path in enumerate(paths) if not path.is_file()]
    jobs = [(str(paths[number]), number, seed, settings.flights, settings.own_every) for number in missing]
    done = settings.variants - len(missing)
    for _ in (executor.map if executor else map)(teach, jobs):
        done += 1
        progress(done, settings.variants, "collecting lessons")
    return join(map(load_lessons, paths))


def teach(job: tuple[str, int, int, int, int]) -> None:
    """Collect the lessons of one variant into a file. The job: path, number, seed, flights, own_every."""
    path, number, seed, flights, own_every = job
    own = number % own_every == 0
    name = "paper" if number // own_every % 4 == 3 else "cubesat-6u"
    scenario = load_scenario(name) if own else random_mission(FIRST_SEED * (seed + 1) + number)
    first = FIRST_SEED * (seed + 1) + number * flights
    drivers = (None, make_policy("barrier", scenario, seed=seed))
    lessons = join(lessons_of(scenario, first + n, driver=drivers[n % len(drivers)]) for n in range(flights))
    partial = Path(path).with_suffix(".partial.npz")
    lessons.save(partial)
    partial.replace(path)


class Scorer(nn.Module):
    """The network of ``universal.score``; rows are scaled to middle 0 and spread 1 first."""

    def __init__(self, hidden: int, slot_mean: FloatArray, slot_spread: FloatArray) -> None:
        super().__init__()
        self.slot, self.option = nn.Linear(SLOT_SIZE, hidden), nn.Linear(OPTION_SIZE, hidden, bias=False)
        self.middle, self.last = nn.Linear(hidden, hidden), nn.Linear(hidden, 1, bias=False)
        self.mean, self.spread = torch.from_numpy(slot_mean), torch.from_numpy(slot_spread)

    def forward(self, slot: torch.Tensor, blocks: torch.Tensor) -> torch.Tensor:
        """Return (n, options) scores of (n, SLOT_SIZE) and (n, options, OPTION_SIZE)."""
        scaled = (slot - self.mean) / self.spread
        hidden = torch.relu(self.slot(scaled).unsqueeze(-2) + self.option(blocks))
        scores: torch.Tensor = self.last(torch.relu(self.middle(hidden))).squeeze(-1)
        return scores

    def arrays(self) -> Mlp:
        """Return the network as plain arrays, the scaling folded into the first layer."""
        with torch.no_grad():
            slot = self.slot.weight.double() / self.spread.double()
            bias = self.slot.bias.double() - slot @ self.mean.double()
            first = torch.cat((slot, self.option.weight.double()), dim=1)
            layers = [(first, bias), (self.middle.weight, self.middle.bias), (self.last.weight, torch.zeros(1))]
            weights = tuple(np.ascontiguousarray(weight.float().numpy().T) for weight, _ in layers)
            return Mlp(weights, tuple(bias.float().numpy() for _, bias in layers))


def _learn(lessons: Lessons, settings: UniversalSettings, seed: int, out: Path, progress: Progress) -> TrainedUniversal:
    rng = np.random.default_rng(seed)
    aside = rng.random(len(lessons.slot)) < 0.05
    spread = lessons.slot.std(axis=0)
    spread[spread < 1e-3] = 1.0
    model = Scorer(settings.hidden, lessons.slot.mean(axis=0), spread)
    learning = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    pace = torch.optim.lr_scheduler.OneCycleLR(learning, settings.learning_rate, settings.steps, pct_start=0.05)
    known, points, loss = np.flatnonzero(~aside), list[CurvePoint](), float("nan")
    for step in range(1, settings.steps + 1):
        given_away = expected_loss(model, lessons, rng.choice(known, settings.batch))
        learning.zero_grad()
        given_away.backward()  # type: ignore[no-untyped-call]
        learning.step()
        pace.step()
        if step % max(settings.steps // 60, 1) == 0 or step == settings.steps:
            loss = loss_of_choices(model, lessons, np.flatnonzero(aside))
            points.append(CurvePoint(step, 0, -loss, 0.0))
            progress(step, settings.steps, f"gives away {loss:.4f} slots per choice")
    return _export(model, lessons, settings, seed, out, points, loss)


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
    agreement = agreement_frac(model, network, lessons, AGREEMENT_STATES, seed)
    if agreement < 1.0:
        raise TrainingError(
            f"The export chooses otherwise than the trained network on {1 - agreement:.2%} of the states. "
            "No policy was written. Train with another seed."
        )
    trained = {
        "library": f"torch {torch.__version__}",
        "seed": seed,
        "lessons": len(lessons.slot),
        "loss_slots": loss,
        "agreement_frac": agreement,
        "agreement_states": min(AGREEMENT_STATES, len(lessons.slot)),
        **asdict(settings),
    }
    path = out / "universal.npz"
    names = ("cubesat-6u", "paper")
    about = describe_universal({name: load_scenario(name).sha256 for name in names}, trained)
    file = save_policy_file(path, network, about)
    curve = path.with_suffix(".csv")
    write_curve(curve, points)
    draw_curve(path.with_suffix(".png"), points, f"universal, seed {seed}: value per choice against the teacher")
    return TrainedUniversal(path, write_card(path, file), curve, file, len(lessons.slot), loss, agreement)


def agreement_frac(model: Scorer, network: Mlp, lessons: Lessons, count: int, seed: int) -> float:
    """Return the share of ``count`` states on which arrays and trained network choose the same."""
    which = np.random.default_rng(seed).permutation(len(lessons.slot))[:count]
    with torch.no_grad():
        theirs = model(torch.from_numpy(lessons.slot[which]), torch.from_numpy(lessons.blocks[which])).numpy()
    ours = np.array([score(network, lessons.slot[i], lessons.blocks[i]) for i in which])
    shut = np.where(lessons.open[which], 0.0, -np.inf)
    return float(np.mean((theirs + shut).argmax(axis=1) == (ours + shut).argmax(axis=1)))
