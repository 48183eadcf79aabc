"""Deep Q-learning (equations 20 and 21 of LEO-IISat) with stable-baselines3, and proof that its export decides alike.

Top to bottom: settings, training with checkpoints, export, learning curve, card.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium  # noqa: TID253
import numpy as np
import torch  # noqa: TID253
from numpy.typing import NDArray
from stable_baselines3 import DQN  # noqa: TID253
from stable_baselines3 import __version__ as sb3_version  # noqa: TID253
from stable_baselines3.common.callbacks import BaseCallback  # noqa: TID253
from stable_baselines3.common.monitor import Monitor  # noqa: TID253

from power_sim.env import OrbitEnergyEnv
from power_sim.scenario import Scenario

from .cards import write_card
from .curves import CurvePoint, draw_curve, read_curve, write_curve
from .errors import TrainingError, TrainingInterrupted
from .learned import describe
from .network import Mlp, PolicyFile, save_policy_file
from .train_scales import Scales, Standardised, measure_scales

Progress = Callable[[int, int, str], None]
AGREEMENT_STATES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DqnSettings:
    """Hyperparameters. Learning rate, discount and first exploration are the paper's (Table 4)."""

    learning_rate: float = 1e-3
    final_learning_rate: float = 5e-5
    """Reached in a straight line at the last step; the paper keeps its rate, which leaves the choice noisy."""
    discount: float = 0.99
    first_exploration: float = 0.9
    final_exploration: float = 0.03
    exploration_frac: float = 0.4
    hidden: tuple[int, ...] = (64, 64)
    batch: int = 128
    replay: int = 100_000
    learning_starts: int = 1_000
    train_every: int = 4
    target_every: int = 500
    n_steps: int = 1
    orbits: float | None = None
    """Length of a training mission; ``None`` takes the scenario's."""


def settings_for(scenario: Scenario) -> DqnSettings:
    """Return settings that suit a scenario: the paper's own, or longer sight where the battery remembers."""
    return DqnSettings() if scenario.power.kind == "paper" else DqnSettings(discount=1.0, n_steps=3)


@dataclass(frozen=True, slots=True)
class TrainedPolicy:
    """What training left behind."""

    path: Path
    card: Path
    curve: Path
    file: PolicyFile
    steps: int
    agreement_frac: float
    """Share of states on which the exported arrays choose as stable-baselines3 does."""


def train_dqn(
    scenario: Scenario,
    *,
    steps: int,
    seed: int,
    out: Path,
    progress: Progress,
    settings: DqnSettings | None = None,
    checkpoint_every: int = 10_000,
) -> TrainedPolicy:
    """Train for ``steps`` environment steps and write policy, card and learning curve into ``out``.

    ``progress`` gets steps done, steps in all and a line. A checkpoint in ``out`` is gone on from, so that the same
    call finishes what was stopped. Raises ``TrainingInterrupted`` on Ctrl-C, after writing a checkpoint, and
    ``TrainingError`` for a folder that holds another training.
    """
    if steps < 1:
        raise TrainingError(f"{steps} training steps make no policy. Ask for 1 or more.")
    settings = settings or settings_for(scenario)
    torch.set_num_threads(1)
    plan = {"scenario_sha256": scenario.sha256, "seed": seed, "settings": json.loads(json.dumps(asdict(settings)))}
    checkpoint = _Checkpoint(out / "checkpoint", plan)
    flight = OrbitEnergyEnv(scenario, settings.orbits)
    scales = measure_scales(flight, seed)
    env = Standardised(Monitor(flight), scales)
    model = checkpoint.load(env) or _fresh(env, settings, seed)
    watch = _Watch(steps, checkpoint, checkpoint_every, progress)
    left = steps - model.num_timesteps
    try:
        if left > 0:
            model.learn(left, callback=watch, reset_num_timesteps=model.num_timesteps == 0)
    except KeyboardInterrupt:
        checkpoint.save(model, watch.points)
        raise TrainingInterrupted(
            f"Training stopped at step {model.num_timesteps} of {steps}. Run the same again to go on from {out}."
        ) from None
    checkpoint.save(model, watch.points)
    return _export(model, scenario, scales, settings, seed, out, watch.points)


def _fresh(env: gymnasium.Env[Any, Any], settings: DqnSettings, seed: int) -> DQN:
    return DQN(
        "MlpPolicy",
        env,
        learning_rate=_Decay(settings.learning_rate, settings.final_learning_rate),
        buffer_size=settings.replay,
        learning_starts=settings.learning_starts,
        batch_size=settings.batch,
        gamma=settings.discount,
        train_freq=settings.train_every,
        target_update_interval=settings.target_every,
        n_steps=settings.n_steps,
        exploration_initial_eps=settings.first_exploration,
        exploration_final_eps=settings.final_exploration,
        exploration_fraction=settings.exploration_frac,
        policy_kwargs={"net_arch": list(settings.hidden)},
        seed=seed,
        device="cpu",
    )


@dataclass(frozen=True, slots=True)
class _Decay:
    """A rate that falls in a straight line over the training."""

    first: float
    last: float

    def __call__(self, remaining_frac: float) -> float:
        return self.last + (self.first - self.last) * remaining_frac


class _Checkpoint:
    """Model, replay memory and curve so far, in one folder that belongs to one plan."""

    def __init__(self, folder: Path, plan: dict[str, Any]) -> None:
        self._folder, self._plan = folder, plan
        self._model, self._replay = folder / "model.zip", folder / "replay.pkl"
        self._plan_path, self._curve = folder / "plan.json", folder / "curve.csv"

    def load(self, env: gymnasium.Env[Any, Any]) -> DQN | None:
        """Return the model to go on with, or nothing where there is none."""
        if not self._plan_path.is_file():
            return None
        try:
            plan = json.loads(self._plan_path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise self._damaged(error) from error
        if plan != self._plan:
            raise TrainingError(
                f"{self._folder} belongs to a training with another scenario, seed or settings. "
                "Choose another --out, or remove that folder."
            )
        try:
            model = DQN.load(self._model, env=env, device="cpu")
            with self._replay.open("rb") as stream:
                model.load_replay_buffer(stream)
        except (
            OSError,
            ValueError,
            KeyError,
            EOFError,
            AssertionError,
            zipfile.BadZipFile,
            pickle.PickleError,
        ) as error:
            raise self._damaged(error) from error
        return model

    def _damaged(self, error: Exception) -> TrainingError:
        return TrainingError(f"The checkpoint in {self._folder} is damaged ({error}). Remove it to start anew.")

    def points(self) -> list[CurvePoint]:
        """Return the learning curve up to the checkpoint."""
        return read_curve(self._curve) if self._plan_path.is_file() else []

    def save(self, model: DQN, points: list[CurvePoint]) -> None:
        """Replace the checkpoint; the plan comes last, so that a cut leaves the old one or a whole new one."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for path, write in ((self._model, model.save), (self._replay, model.save_replay_buffer)):
            partial = path.with_name(f"partial-{path.name}")
            write(partial)
            partial.replace(path)
        write_curve(self._curve, points)
        self._plan_path.write_text(json.dumps(self._plan), encoding="utf-8")


class _Watch(BaseCallback):
    """Collects the learning curve, tells the progress, saves checkpoints."""

    def __init__(self, steps: int, checkpoint: _Checkpoint, every: int, progress: Progress) -> None:
        super().__init__()
        self.points = checkpoint.points()
        self._steps, self._checkpoint, self._every, self._progress = steps, checkpoint, every, progress
        self._report_every = max(1, steps // 200)
        self._rewards: list[float] = []
        self._episodes = self.points[-1].episodes if self.points else 0

    def _on_step(self) -> bool:
        self._rewards += [info["episode"]["r"] for info in self.locals["infos"] if "episode" in info]
        if self.num_timesteps % self._report_every == 0 and self._rewards:
            self._report()
        if self.num_timesteps % self._every == 0:
            self._checkpoint.save(self.model, self.points)  # type: ignore[arg-type]
        return True

    def _report(self) -> None:
        self._episodes += len(self._rewards)
        mean, epsilon = float(np.mean(self._rewards)), float(self.model.exploration_rate)  # type: ignore[attr-defined]
        self.points.append(CurvePoint(self.num_timesteps, self._episodes, mean, epsilon))
        self._rewards.clear()
        self._progress(self.num_timesteps, self._steps, f"reward {mean:.2f} per mission, exploring {epsilon:.0%}")


def _export(
    model: DQN,
    scenario: Scenario,
    scales: Scales,
    settings: DqnSettings,
    seed: int,
    out: Path,
    points: list[CurvePoint],
) -> TrainedPolicy:
    """Write the arrays, prove that they choose alike, then the card and the curve. No proof, no file."""
    fold_scales(model, scales)
    network = arrays_of(model)
    states = visit(OrbitEnergyEnv(scenario, settings.orbits), network, AGREEMENT_STATES, seed)
    agreement = agreement_frac(model, network, states)
    if agreement < 1.0:
        raise TrainingError(
            f"The export chooses otherwise than stable-baselines3 on {1 - agreement:.2%} of {len(states)} states. "
            "No policy was written. Train a little further: ask for more steps."
        )
    trained = {
        "library": f"stable-baselines3 {sb3_version}",
        "steps": model.num_timesteps,
        "seed": seed,
        "agreement_frac": agreement,
        "agreement_states": len(states),
        **{name: value for name, value in asdict(settings).items() if value is not None},
    }
    path = out / f"dqn-{scenario.name}.npz"
    file = save_policy_file(path, network, describe("dqn", scenario, trained))
    card = write_card(path, file)
    curve = path.with_suffix(".csv")
    write_curve(curve, points)
    draw_curve(path.with_suffix(".png"), points, f"dqn in {scenario.name}, seed {seed}")
    return TrainedPolicy(path, card, curve, file, model.num_timesteps, agreement)


def fold_scales(model: DQN, scales: Scales) -> None:
    """Let the first layer of a trained model read rows as the environment gives them."""
    first = next(layer for layer in model.q_net.q_net if isinstance(layer, torch.nn.Linear))
    with torch.no_grad():
        weight = first.weight.double() / torch.from_numpy(scales.row_spread).double()
        first.bias.copy_(first.bias.double() - weight @ torch.from_numpy(scales.row_mean).double())
        first.weight.copy_(weight)


def arrays_of(model: DQN) -> Mlp:
    """Return the Q-network of a model as plain arrays."""
    linear = [layer for layer in model.q_net.q_net if isinstance(layer, torch.nn.Linear)]
    weights = tuple(np.ascontiguousarray(layer.weight.detach().numpy().T, np.float32) for layer in linear)
    return Mlp(weights, tuple(layer.bias.detach().numpy().astype(np.float32) for layer in linear))


def visit(env: OrbitEnergyEnv, network: Mlp, count: int, seed: int) -> NDArray[np.float32]:
    """Return ``count`` observations, half from choices by chance and half from the network's own."""
    rng = np.random.default_rng(seed)
    rows = np.empty((count, network.inputs), np.float32)
    row, _ = env.reset(seed=seed)
    for index in range(count):
        rows[index] = row
        action = rng.integers(network.outputs) if rng.random() < 0.5 else int(np.argmax(network(row)))
        row, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            row, _ = env.reset()
    return rows


def agreement_frac(model: DQN, network: Mlp, states: NDArray[np.float32]) -> float:
    """Return the share of states on which both choose the same action, mask aside."""
    theirs, _ = model.predict(states, deterministic=True)
    ours = np.array([np.argmax(network(state)) for state in states])
    return float(np.mean(ours == theirs))
