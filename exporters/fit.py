"""Training of the zoo networks on labelled chips: AdamW, one cycle, averaged weights, optionally a teacher.

The recipe is for small sets and small machines. Part of the training chips is held back to choose the epoch; the test
chips are looked at once, after that choice. All randomness follows from the seed and the epoch, so a resumed run goes
on as if it had not stopped.
"""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .augment import augment, normalise
from .checkpoint import Checkpoint, load_checkpoint, read_torch, save_checkpoint
from .datasets import Chips, hold_back, read_chips
from .errors import CheckpointError, FitError
from .registry import build_network, title_of

if TYPE_CHECKING:
    from torch import Tensor, nn

Progress = Callable[[str], None]
NETWORK_DEFAULTS: dict[str, dict[str, Any]] = {"mobilenet_v2": {"lr": 4e-3}, "mobilenet_v3_large": {"lr": 4e-3}}
"""Where a network wants another setting than ``Recipe`` has."""
_CURVE_FIELDS = ("epoch", "loss", "val_accuracy", "lr", "epoch_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a network is trained."""

    network: str
    epochs: int = 40
    seed: int = 7
    stem_stride: int = 2
    """1 makes the network see small tiles at twice the detail, at about four times the cost."""
    batch: int = 64
    lr: float = 2e-3
    """The peak of the one-cycle schedule."""
    weight_decay: float = 0.05
    warmup_frac: float = 0.2
    label_smoothing: float = 0.1
    shift_px: int = 4
    ema_decay: float = 0.995
    batch_norm_momentum: float = 0.1
    precision: str = "fp32"
    """``bf16`` computes most layers in bfloat16: faster on some CPUs, slower on others."""
    held_back: int = 600
    """Training chips kept out to choose the epoch."""
    teacher: str | None = None
    """A checkpoint whose softened answers are learned beside the labels (Hinton et al., 2015)."""
    teacher_weight: float = 0.7
    temperature: float = 2.0
    threads: int = 2


@dataclass(frozen=True, slots=True)
class FitResult:
    """What a finished run leaves behind. Accuracies are fractions of all chips of the split."""

    best: Path
    last: Path
    curve: Path
    epoch: int
    val_accuracy: float
    test_accuracy: float
    test_chips: int


def fit_network(
    name: str,
    data: Path,
    out: Path,
    *,
    epochs: int = 40,
    seed: int = 7,
    teacher: Path | None = None,
    resume: bool = False,
    progress: Progress = lambda line: None,
    **recipe: Any,
) -> FitResult:
    """Train a zoo network on the chips in the folder ``data``; leaves best.pt, last.pt, curve.csv, fit.json in ``out``.

    Raises DatasetError, FitError (loss not finite, settings that do not fit), CheckpointError (resume or teacher).
    Ctrl-C raises KeyboardInterrupt after the message; ``last.pt`` then holds the last whole epoch.
    """
    title_of(name)  # an unknown name fails before any work
    settings = Recipe(
        network=name,
        epochs=epochs,
        seed=seed,
        teacher=None if teacher is None else str(teacher),
        **{**NETWORK_DEFAULTS.get(name, {}), **recipe},
    )
    cache = out.parent / "chips"
    train, held = hold_back(read_chips(data, "train", cache=cache), settings.held_back, seed=seed)
    trainer = Trainer(settings, train, held, out, progress)
    trainer.run(resume=resume)
    return _report(trainer, read_chips(data, "test", cache=cache), progress)


class Trainer:
    """Fits one network; the loop is ``run``, its state is what ``last.pt`` holds."""

    def __init__(self, recipe: Recipe, train: Chips, held: Chips, out: Path, progress: Progress) -> None:
        import torch

        if recipe.precision not in ("fp32", "bf16"):
            raise FitError(f"Training in {recipe.precision!r} is not possible. Use 'fp32' or 'bf16'.")
        self.recipe, self.held, self.out, self._progress = recipe, held, out, progress
        self._classes, self._edge_px = train.classes, train.pixels.shape[2]
        torch.set_num_threads(recipe.threads)
        torch.manual_seed(recipe.seed)
        self._pixels, self._labels = torch.from_numpy(train.pixels), torch.from_numpy(train.labels)
        self.mean, self.std = band_statistics(train.pixels)
        self._network = self._build()
        self._averaged = self._build()
        self._averaged.load_state_dict(self._network.state_dict())
        self._teacher = None if recipe.teacher is None else self._load_teacher(Path(recipe.teacher))
        self._steps = math.ceil(len(train) / recipe.batch)
        self._optimiser = torch.optim.AdamW(_decay_groups(self._network, recipe.weight_decay), lr=recipe.lr)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimiser, max_lr=recipe.lr, total_steps=self._steps * recipe.epochs, pct_start=recipe.warmup_frac
        )
        self._epoch, self._step = 0, 0
        self._curve: list[dict[str, float]] = []
        self._best_accuracy = -1.0

    def run(self, *, resume: bool = False) -> None:
        """Train the epochs that are left; each one ends with a checkpoint and a line of progress."""
        import torch

        if resume:
            self._restore()
        torch.set_flush_denormal(True)  # tiny gradients would slow a CPU down many times
        try:
            while self._epoch < self.recipe.epochs:
                self._run_epoch()
        except KeyboardInterrupt:
            self._progress(
                f"stopped in epoch {self._epoch + 1}; {self.last} holds epoch {self._epoch}, go on with resume"
            )
            raise
        finally:
            torch.set_flush_denormal(False)  # it is the whole thread's state, and others count on IEEE 754

    @property
    def best(self) -> Path:
        """The checkpoint with the best accuracy on the chips held back."""
        return self.out / "best.pt"

    @property
    def last(self) -> Path:
        """The checkpoint of the last whole epoch, with what a resumed run needs."""
        return self.out / "last.pt"

    def _build(self) -> nn.Module:
        import torch

        recipe = self.recipe
        network = build_network(recipe.network, classes=len(self._classes), stem_stride=recipe.stem_stride)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = recipe.batch_norm_momentum
        return _channels_last(network)

    def _load_teacher(self, path: Path) -> nn.Module:
        checkpoint = load_checkpoint(path)
        if checkpoint.classes != self._classes:
            raise FitError(
                f"The teacher {path} knows {checkpoint.classes}, the chips {self._classes}. Use another one."
            )
        return _channels_last(checkpoint.build())

    def _run_epoch(self) -> None:
        import torch

        begin_s = time.perf_counter()
        generator = torch.Generator().manual_seed(self.recipe.seed * 100_003 + self._epoch)
        torch.manual_seed(self.recipe.seed * 100_003 + self._epoch)
        self._network.train()
        order = torch.randperm(len(self._labels), generator=generator)
        losses = [self._train_batch(index, generator) for index in torch.split(order, self.recipe.batch)]
        accuracy = float(np.mean(predict(self._averaged, self.held.pixels, self.mean, self.std) == self.held.labels))
        self._epoch += 1
        epoch_s = time.perf_counter() - begin_s
        lr = self._optimiser.param_groups[0]["lr"]
        values = (self._epoch, float(np.mean(losses)), accuracy, lr, epoch_s)
        self._curve.append(dict(zip(_CURVE_FIELDS, values, strict=True)))
        self._save(accuracy)
        self._progress(
            f"{self.recipe.network} epoch {self._epoch}/{self.recipe.epochs} loss {values[1]:.3f} "
            f"validation {100 * accuracy:.1f} % (best {100 * self._best_accuracy:.1f} %) {epoch_s:.1f} s, "
            f"{(self.recipe.epochs - self._epoch) * epoch_s / 60:.0f} min left"
        )

    def _train_batch(self, index: Tensor, generator: Any) -> float:
        import torch

        pixels = augment(self._pixels[index], shift_px=self.recipe.shift_px, generator=generator)
        inputs = normalise(pixels, self.mean, self.std).contiguous(memory_format=torch.channels_last)
        with self._autocast():
            logits = self._network(inputs).float()
        loss = self._loss(logits, inputs, self._labels[index])
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FitError(
                f"The loss became {value} in epoch {self._epoch + 1} (step {self._step + 1}). {self.last} holds "
                f"the last whole epoch; start again with a lower lr than {self.recipe.lr}."
            )
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), 5.0)
        self._optimiser.step()
        self._schedule.step()
        self._step += 1
        _average(self._averaged, self._network, min(self.recipe.ema_decay, (1 + self._step) / (10 + self._step)))
        return value

    def _autocast(self) -> Any:
        import torch

        return torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.precision == "bf16")

    def _loss(self, logits: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        import torch
        from torch.nn import functional

        smoothing, t = self.recipe.label_smoothing, self.recipe.temperature
        loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        if self._teacher is None:
            return loss
        with torch.no_grad(), self._autocast():
            taught = self._teacher(inputs).float()
        soft = functional.kl_div(
            functional.log_softmax(logits / t, 1), functional.softmax(taught / t, 1), reduction="batchmean"
        )
        weight = self.recipe.teacher_weight
        return (1 - weight) * loss + weight * t * t * soft

    def _save(self, accuracy: float) -> None:
        checkpoint = Checkpoint(
            network=self.recipe.network,
            classes=self._classes,
            stem_stride=self.recipe.stem_stride,
            edge_px=self._edge_px,
            mean=tuple(self.mean.tolist()),
            std=tuple(self.std.tolist()),
            state_dict=self._averaged.state_dict(),
            notes={
                "recipe": asdict(self.recipe),
                "epoch": self._epoch,
                "val_accuracy": accuracy,
                "val": self.held.name,
            },
        )
        if accuracy > self._best_accuracy:
            self._best_accuracy = accuracy
            save_checkpoint(self.best, checkpoint)
        save_checkpoint(self.last, checkpoint, self._training_state())
        _write_curve(self.out / "curve.csv", self._curve)

    def _training_state(self) -> dict[str, Any]:
        return {
            "recipe": asdict(self.recipe),
            "network": self._network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "schedule": self._schedule.state_dict(),
            "epoch": self._epoch,
            "step": self._step,
            "best_accuracy": self._best_accuracy,
            "curve": self._curve,
        }

    def _restore(self) -> None:
        stored = read_torch(self.last)
        training = stored.get("training")
        if training is None or not _same_course(training["recipe"], asdict(self.recipe)):
            raise CheckpointError(
                f"{self.last} was trained with other settings. Repeat those settings, or start anew in another folder."
            )
        self._averaged.load_state_dict(stored["state_dict"])
        self._network.load_state_dict(training["network"])
        self._optimiser.load_state_dict(training["optimiser"])
        self._schedule.load_state_dict(training["schedule"])
        self._epoch, self._step, self._curve = training["epoch"], training["step"], training["curve"]
        self._best_accuracy = training["best_accuracy"]
        self._progress(f"resumed after epoch {self._epoch}")


def _same_course(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two recipes lead to the same weights; the number of threads is a matter of the machine."""
    return {**one, "threads": 0} == {**other, "threads": 0}


def band_statistics(pixels: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each band of (n, bands, rows, cols), in units of uint8 / 255."""
    import torch

    scaled = pixels.astype(np.float32) / 255.0
    mean, std = scaled.mean((0, 2, 3)), scaled.std((0, 2, 3))
    return torch.from_numpy(mean), torch.from_numpy(np.maximum(std, 1e-3))


def predict(
    network: nn.Module, pixels: NDArray[np.uint8], mean: Tensor, std: Tensor, *, batch: int = 200
) -> NDArray[np.int64]:
    """The most probable class of each chip, as (n,) int64. Leaves the network in evaluation mode."""
    import torch

    network.eval()
    answers: list[NDArray[np.int64]] = []
    with torch.inference_mode():
        for start in range(0, len(pixels), batch):
            inputs = normalise(torch.from_numpy(pixels[start : start + batch]), mean, std)
            answers.append(network(inputs.contiguous(memory_format=torch.channels_last)).argmax(1).numpy())
    return np.concatenate(answers)


def _channels_last(network: Any) -> nn.Module:
    """The network with its weights in the order in which CPUs convolve fastest."""
    import torch

    ordered: nn.Module = network.to(memory_format=torch.channels_last)
    return ordered


def _decay_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Biases and normalisation weights are not decayed: shrinking them costs accuracy and regularises nothing."""
    decayed = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    free = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


def _average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    import torch

    with torch.no_grad():
        for kept, new in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
            if kept.is_floating_point():
                kept.lerp_(new, 1.0 - decay)
            else:
                kept.copy_(new)


def _write_curve(path: Path, curve: list[dict[str, float]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_CURVE_FIELDS)
        writer.writerows([row[field] for field in _CURVE_FIELDS] for row in curve)


def _report(trainer: Trainer, test: Chips, progress: Progress) -> FitResult:
    best = load_checkpoint(trainer.best)
    answers = predict(best.build(), test.pixels, trainer.mean, trainer.std)
    result = FitResult(
        best=trainer.best,
        last=trainer.last,
        curve=trainer.out / "curve.csv",
        epoch=best.notes["epoch"],
        val_accuracy=best.notes["val_accuracy"],
        test_accuracy=float(np.mean(answers == test.labels)),
        test_chips=len(test),
    )
    text = json.dumps({**asdict(result), "recipe": best.notes["recipe"]}, indent=2, default=str)
    (trainer.out / "fit.json").write_text(text + "\n", encoding="utf-8")
    progress(
        f"{trainer.recipe.network} done: epoch {result.epoch}, validation {100 * result.val_accuracy:.1f} %, "
        f"test {100 * result.test_accuracy:.1f} % of {result.test_chips} chips"
    )
    return result
