"""The one training loop of the zoo: a course brings data, loss and measure, the loop everything else.

A course's validation data chooses the epoch; its test data is looked at once, after that choice. All randomness
follows from seed and epoch, so a resumed run ends with the weights of one that did not stop. Under ``torchrun`` each of
N processes takes every N-th batch, so that one step sees N times as many.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checkpoint import Checkpoint, load_checkpoint, read_torch, save_checkpoint
from ..errors import CheckpointError, FitError
from ..registry import is_own, network_named
from .course import Course
from .curve import draw_curve, write_curve
from .step import average, make_optimiser, set_rate
from .training import FitResult, Training, same_settings
from .workers import Workers, to_device, workers

if TYPE_CHECKING:
    from torch import nn

Progress = Callable[[str], None]
_LINE_EVERY_S = 60.0


def fit_course(
    course: Course,
    training: Training,
    out: Path,
    *,
    resume: bool = False,
    notes: Mapping[str, Any] | None = None,
    progress: Progress = lambda line: None,
) -> FitResult:
    """Train and test; leaves best.pt, last.pt, curve.csv, curve.png (with matplotlib) and fit.json in ``out``.

    ``notes``, JSON values only, go into the checkpoints beside those of the course.

    Raises FitError (loss or metric no number, settings that do not fit) and CheckpointError (resume). Ctrl-C raises
    KeyboardInterrupt after a message; ``last.pt`` then holds the last whole epoch, and ``resume`` goes on from it.
    """
    with workers(training.device) as crew, _machine(training):
        talk = progress if crew.first else _silent
        loop = Loop(course, training, out, crew, talk, notes)
        loop.run(resume=resume)
        return _tested(loop, talk)


class Loop:
    """Fits one course; ``run`` is the loop, its state is what ``last.pt`` holds."""

    def __init__(
        self,
        course: Course,
        training: Training,
        out: Path,
        crew: Workers,
        progress: Progress,
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        import torch

        self.course, self.training, self.out, self.crew, self._progress = course, training, out, crew, progress
        self._notes = dict(notes or {})
        self._batches = course.steps_per_epoch // crew.count
        if self._batches < 1:
            raise FitError(
                f"{course.steps_per_epoch} batches an epoch are too few for {crew.count} processes. Use less."
            )
        torch.manual_seed(training.seed)
        self.network = course.build().to(crew.device)
        self.kept = copy.deepcopy(self.network) if training.ema_decay > 0 else self.network
        self._optimiser = make_optimiser(course, self.network, training)
        self._epoch, self._step, self._worse = 0, 0, 0
        self._best: float | None = None
        self.curve: list[dict[str, float]] = []

    @property
    def best(self) -> Path:
        """The checkpoint of the epoch that the metric chose."""
        return self.out / "best.pt"

    @property
    def last(self) -> Path:
        """The checkpoint of the last whole epoch, with what a resumed run needs."""
        return self.out / "last.pt"

    def run(self, *, resume: bool = False) -> None:
        """Train the epochs that are left; each one ends with a checkpoint and a line of progress."""
        if resume:
            self._restore()
        patience = self.training.patience
        try:
            while self._epoch < self.training.epochs and not (patience and self._worse >= patience):
                self._run_epoch()
        except KeyboardInterrupt:
            self._progress(
                f"stopped in epoch {self._epoch + 1}; {self.last} holds epoch {self._epoch}, go on with resume"
            )
            raise
        finally:
            if self.crew.first:
                draw_curve(self.out / "curve.png", self.curve, self.course.metric)
        if self._epoch < self.training.epochs:
            self._progress(f"{self.course.network} stopped early: {patience} epochs without a better one")

    def _run_epoch(self) -> None:
        import torch

        begin_s = time.perf_counter()
        torch.manual_seed((self.training.seed * 100_003 + self._epoch) * self.crew.count + self.crew.rank)
        self.network.train()
        means, lr = self._train_epoch(begin_s)
        for network in {id(one): one for one in (self.network, self.kept)}.values():
            self.crew.average_buffers(network)
        found = self.crew.from_first(self._validate() if self.crew.first else None)
        self._epoch += 1
        epoch_s = time.perf_counter() - begin_s
        named = {f"val_{key}": value for key, value in found.items()}
        self.curve.append({"epoch": self._epoch, **means, **named, "lr": lr, "epoch_s": epoch_s})
        self._keep(found)
        metric = self.course.metric
        self._progress(
            f"{self.course.network} epoch {self._epoch}/{self.training.epochs} loss {means['loss']:.4g} validation "
            f"{metric} {found[metric]:.4g} (best {self._best:.4g}) {epoch_s:.1f} s, "
            f"{(self.training.epochs - self._epoch) * epoch_s / 60:.0f} min left"
        )

    def _train_epoch(self, begin_s: float) -> tuple[dict[str, float], float]:
        """Means of what the loss reports over the epoch, and the last learning rate."""
        sums: dict[str, float] = {}
        lr, said_s = 0.0, begin_s
        batches = self._checked(self.course.batches(self._epoch))
        for done, group in self._groups(batches):
            lr = set_rate(self._optimiser, self.training, self._step, self._steps)
            for key, value in self._train_step(group).items():
                sums[key] = sums.get(key, 0.0) + value
            if time.perf_counter() - said_s > _LINE_EVERY_S:
                said_s = time.perf_counter()
                self._progress(
                    f"epoch {self._epoch + 1}: batch {done} of {self._batches}, loss {sums['loss'] / done:.4g}"
                )
        return {key: value / self._batches for key, value in sums.items()}, lr

    @property
    def _steps(self) -> int:
        return math.ceil(self._batches / self.training.accumulate) * self.training.epochs

    def _checked(self, batches: Any) -> Iterator[Any]:
        """This process's batches, exactly as many as the course promised."""
        count = 0
        for count, batch in enumerate(islice(self.crew.own(batches), self._batches), start=1):  # noqa: B007
            yield to_device(batch, self.crew.device)
        if count < self._batches:
            raise FitError(
                f"The course of {self.course.network} gave {count} batches in epoch {self._epoch + 1}, it promised "
                f"{self._batches}. Correct its steps_per_epoch."
            )

    def _groups(self, batches: Iterator[Any]) -> Iterator[tuple[int, list[Any]]]:
        """(batches seen with this group, the batches of one step)."""
        done = 0
        while group := list(islice(batches, self.training.accumulate)):
            done += len(group)
            yield done, group

    def _train_step(self, group: list[Any]) -> dict[str, float]:
        """Sums over the group of what the loss reports; the weights have moved."""
        import torch

        sums: dict[str, float] = {}
        self._optimiser.zero_grad(set_to_none=True)
        for batch in group:
            with self._autocast():
                reported = self.course.loss(self.network, batch)
            loss = reported["loss"].float()
            for key, value in reported.items():
                sums[key] = sums.get(key, 0.0) + self.crew.mean(float(torch.as_tensor(value).detach()))
            self._refuse_nan(sums["loss"])
            (loss / len(group)).backward()  # type: ignore[no-untyped-call]
        trained = [value for part in self._optimiser.param_groups for value in part["params"]]
        self.crew.average_gradients(trained)
        if self.training.clip_norm > 0:
            torch.nn.utils.clip_grad_norm_(trained, self.training.clip_norm)
        self._optimiser.step()
        self._step += 1
        if self.kept is not self.network:
            average(self.kept, self.network, min(self.training.ema_decay, (1 + self._step) / (10 + self._step)))
        return sums

    def _refuse_nan(self, loss: float) -> None:
        if not math.isfinite(loss):
            kept = f"{self.last} holds the last whole epoch" if self._epoch else "no epoch was finished yet"
            raise FitError(
                f"The loss became {loss} in epoch {self._epoch + 1} (step {self._step + 1}); {kept}. "
                f"Now start again with a lower lr than {self.training.lr}."
            )

    def _autocast(self) -> Any:
        import torch

        return torch.autocast(self.crew.device.type, torch.bfloat16, enabled=self.training.precision == "bf16")

    def _validate(self) -> dict[str, float]:
        found = _measured(self.course.validate, self.kept)
        metric = self.course.metric
        if not math.isfinite(found.get(metric, math.nan)):
            raise FitError(
                f"Validation gave {metric} {found.get(metric)!r} after epoch {self._epoch + 1}; {self.last} holds the "
                "last whole epoch, if there was one. Correct the course, or start again with a lower lr."
            )
        return found

    def _keep(self, found: dict[str, float]) -> None:
        value = found[self.course.metric]
        better = self._best is None or value > self._best
        self._worse = 0 if better else self._worse + 1
        self._best = value if better else self._best
        if not self.crew.first:
            return
        checkpoint = self._checkpoint(found)
        if better:
            save_checkpoint(self.best, checkpoint)
        save_checkpoint(self.last, checkpoint, self._state())
        write_curve(self.out / "curve.csv", self.curve)

    def _checkpoint(self, found: dict[str, float]) -> Checkpoint:
        course, about = self.course, self.course.describe()
        kind = "probabilities" if is_own(course.network) else network_named(course.network).kind
        return Checkpoint(
            network=course.network,
            size=course.size,
            switches=dict(course.switches),
            kind=kind,
            classes=about.classes,
            bands=about.bands,
            edge_px=about.edge_px,
            mean=about.mean,
            std=about.std,
            dtype=about.dtype,
            unit=about.unit,
            gsd_range_m=about.gsd_range_m,
            dataset=about.dataset,
            licence=about.licence,
            state_dict={key: value.detach().cpu() for key, value in self.kept.state_dict().items()},
            notes={
                **about.notes,
                **self._notes,
                "training": asdict(self.training),
                "epoch": self._epoch,
                "metric": course.metric,
                "validation": found,
            },
        )

    def _state(self) -> dict[str, Any]:
        return {
            "settings": self._settings(),
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "epoch": self._epoch,
            "step": self._step,
            "worse": self._worse,
            "best": self._best,
            "curve": self.curve,
        }

    def _settings(self) -> dict[str, Any]:
        """What leads to the weights, as plain values."""
        course = {"network": self.course.network, "size": self.course.size, "switches": dict(self.course.switches)}
        notes = {"course": course, "notes": {**self.course.describe().notes, **self._notes}, "workers": self.crew.count}
        return {**asdict(self.training), **json.loads(json.dumps(notes))}

    def _restore(self) -> None:
        stored = read_torch(self.last)
        state = stored.get("training")
        if state is None or "settings" not in state or not same_settings(state["settings"], self._settings()):
            raise CheckpointError(
                f"{self.last} was trained with other settings. Repeat those settings, or start anew in another folder."
            )
        self.kept.load_state_dict(stored["state_dict"])
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._epoch, self._step, self._worse = state["epoch"], state["step"], state["worse"]
        self._best, self.curve = state["best"], state["curve"]
        self._progress(f"resumed after epoch {self._epoch}")


def _measured(measure: Callable[[nn.Module], Mapping[str, float]], network: nn.Module) -> dict[str, float]:
    import torch

    network.eval()
    with torch.no_grad():
        return {key: float(value) for key, value in measure(network).items()}


def _tested(loop: Loop, progress: Progress) -> FitResult:
    """Look at the test data once, with the chosen weights; the figures go into best.pt and fit.json."""
    from dataclasses import replace

    crew = loop.crew
    found = None
    if crew.first:
        best = load_checkpoint(loop.best)
        loop.kept.load_state_dict(best.state_dict)
        found = (best.notes["epoch"], best.notes["validation"], _measured(loop.course.test, loop.kept))
        save_checkpoint(loop.best, replace(best, notes={**best.notes, "test": found[2]}))
    epoch, validation, test = crew.from_first(found)
    result = FitResult(
        best=loop.best,
        last=loop.last,
        curve=loop.out / "curve.csv",
        epoch=epoch,
        metric=loop.course.metric,
        validation=validation,
        test=test,
    )
    if crew.first:
        text = json.dumps({**asdict(result), "settings": loop._settings()}, indent=2, default=str)
        (loop.out / "fit.json").write_text(text + "\n", encoding="utf-8")
    figures = ", ".join(f"{key} {value:.4g}" for key, value in test.items())
    progress(f"{loop.course.network} done: epoch {epoch}, test {figures}")
    return result


@contextmanager
def _machine(training: Training) -> Iterator[None]:
    """Threads and denormals are the whole process's state, and others count on what they were."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(training.threads)
    torch.set_flush_denormal(True)  # tiny gradients would slow a CPU down many times
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)


def _silent(line: str) -> None:
    """Processes beside the first say nothing."""
