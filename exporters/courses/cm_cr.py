"""How CM-CR is trained on SEN12MS-CR: first the teacher, a denoiser, then the student that is distilled from it.

subsolar fit cm_cr --data DATA --size mini --set stage=teacher --out build/fit/teacher
subsolar fit cm_cr --data DATA --size mini --set teacher=build/fit/teacher/best.pt --out build/fit/student
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FitError
from ..metrics.spectral import Fidelity, fidelity
from ..readers.sen12mscr import RGB_INDEX, Triplet, cropped, overlaid, read_triplets
from ..registry import build_network, network_named, size_of
from ..tiles import Tiles
from ..training.course import Described
from ..zoo.cm_cr_sampler import (
    RHO,
    STEP_BANDS,
    T_MAX,
    T_MIN,
    fill,
    noise_at,
    paste,
    scale_optical,
    scale_radar,
    step_levels,
    unscale_optical,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

Float32Array = NDArray[np.float32]
LEVELS = 40
"""Of the distillation (D11)."""
TARGET_DECAY = 0.95
TEACHER = {"eps_t": 0.0, "dropout": 0.1}
HELD_ROWS = 64
"""Of each training patch, at its lower edge: they choose the epoch."""
RECIPE = {
    "lr": 1e-3,
    "weight_decay": 0.0,
    "warmup_frac": 0.1,
    "schedule": "cosine",
    "ema_decay": 0.99,
    "clip_norm": 1.0,
}
"""For short runs. The paper has RAdam at 1e-4 for the teacher and 1e-5 for the student, 700,000 steps."""
Batch = tuple["Tensor", "Tensor", "Tensor", "Tensor", "Tensor"]


@dataclass(kw_only=True)
class CloudCourse:
    """One stage of CM-CR. The student's target is the course's own: it follows the student from step to step."""

    network: str = "cm_cr"
    size: str
    stage: str
    train: tuple[Triplet, ...]
    held_out: tuple[Triplet, ...]
    donors: tuple[Triplet, ...]
    """Patches whose clouds are laid over the test patches."""
    teacher: Path | None
    seed: int
    batch: int
    crop_px: int
    steps_per_epoch: int
    steps: int
    tile_px: int
    dataset: str
    options: Mapping[str, Any] = field(default_factory=dict)
    _guide: Any = None
    _target: Any = None

    @property
    def switches(self) -> Mapping[str, Any]:
        """The teacher's scalings and dropout, or none."""
        return {**self.options, **(TEACHER if self.stage == "teacher" else {})}

    @property
    def metric(self) -> str:
        """A teacher is chosen by how well it denoises, a student by how well it fills."""
        return "denoised_db" if self.stage == "teacher" else "psnr_cloud_db"

    @property
    def recipe(self) -> Mapping[str, Any]:
        """Settings of the training loop that suit it."""
        return RECIPE if self.stage == "teacher" else {**RECIPE, "lr": 2e-4}

    def build(self) -> nn.Module:
        """Fresh weights; the student begins as its teacher."""
        network = build_network(self.network, size=self.size, **self.switches)
        if self.stage == "student":
            from ..checkpoint import load_checkpoint, load_weights

            if self.teacher is None:
                raise FitError("A student is distilled from its teacher. Train one (stage=teacher), then teacher=FILE.")
            checkpoint = load_checkpoint(self.teacher)
            found = checkpoint.network, checkpoint.size, checkpoint.switches
            if found != (self.network, self.size, {**self.options, **TEACHER}):
                raise FitError(
                    f"{self.teacher} is no teacher of {self.network} in size {self.size}. Train one: stage=teacher."
                )
            load_weights(network, checkpoint.state_dict, what=f"The teacher {self.teacher}")
            self._guide, self._target = checkpoint.build(), copy.deepcopy(network).eval()
        return network

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Clear optical, radar, noise, noise level and (student) the level below; crops in all eight symmetries."""
        import torch

        rng = np.random.default_rng((self.seed, epoch))
        grid = torch.from_numpy(rising_levels(LEVELS).astype(np.float32))
        for _ in range(self.steps_per_epoch):
            drawn = [self._crop(rng) for _ in range(self.batch)]
            clear, sar = (torch.from_numpy(np.stack(part)) for part in zip(*drawn, strict=True))
            z = torch.from_numpy(rng.standard_normal(clear.shape).astype(np.float32))
            places = torch.from_numpy(rng.integers(0, LEVELS - 1, self.batch))
            levels = torch.from_numpy(np.exp(rng.normal(-1.2, 1.2, self.batch)).astype(np.float32))
            yield clear, sar, z, (levels if self.stage == "teacher" else grid[places + 1]), grid[places]

    def loss(self, network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Equation 6 for the teacher, equation 12 for the student."""
        from ..zoo.cm_cr_loss import distillation_loss, teacher_loss

        clear, sar, z, t, below = batch
        if self.stage == "teacher":
            return {"loss": teacher_loss(network, clear, sar, z, t)}
        self._follow(network)
        return {"loss": distillation_loss(network, self._target, self._guide, clear, sar, z, t, below)}

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """PSNR on the rows held back: denoised at t = 0.5, or a square of half the side filled."""
        windows = [
            cropped(one, slice(-HELD_ROWS, None), slice(left, left + HELD_ROWS))
            for one in self.train
            for left in range(0, one.clear.shape[2] - HELD_ROWS + 1, HELD_ROWS)
        ]
        clear, sar = scaled(windows)
        rows, cols = np.indices((HELD_ROWS, HELD_ROWS))
        if self.stage == "teacher":
            noisy = clear + np.float32(0.5) * noise_at(rows, cols, seed=1, step=0)
            return {"denoised_db": _db(one_step(network)(noisy, 0.5, sar) - clear)}
        cloud = np.zeros((len(clear), 1, HELD_ROWS, HELD_ROWS), dtype=bool)
        quarter = HELD_ROWS // 4
        cloud[..., quarter:-quarter, quarter:-quarter] = True
        hidden = paste(np.ones_like(clear), clear, cloud)
        made = fill(
            one_step(network), hidden, cloud, sar, lambda n: noise_at(rows, cols, seed=1, step=n), steps=self.steps
        )
        return {"psnr_cloud_db": _db((made - clear)[np.broadcast_to(cloud, clear.shape)])}

    def test(self, network: nn.Module) -> Mapping[str, float]:
        """Whole test patches under their own clouds, and their clear images under others'; do-nothing beside.

        A teacher is no sampler: it is not tested.
        """
        if self.stage == "teacher":
            return {}
        figures: dict[str, float] = {"n": len(self.held_out)}
        for name, triplets in (("", self.held_out), ("laid_", self.laid_over())):
            for method, answers in answers_of(network, triplets, self.steps).items():
                found = [scored(answer, one) for answer, one in zip(answers, triplets, strict=True)]
                figures |= {f"{name}{method}_{key}": value for key, value in averaged(found).items()}
        ours = "cm_cr_" if "cm_cr_psnr_cloud_db" in figures else "laid_cm_cr_"  # a patch without cloud says nothing
        return {**{key: figures[ours + key] for key in ("ssim", "psnr_db") if ours + key in figures}, **figures}

    def laid_over(self) -> tuple[Triplet, ...]:
        """Every test patch under the clouds of every donor of its size."""
        return tuple(
            overlaid(one, donor)
            for one in self.held_out
            for donor in self.donors
            if donor.clear.shape == one.clear.shape and donor.cloud.any()
        )

    def tiles(self, split: str) -> Tiles:
        """Windows at every level of the sampler, with its noise: what the graph is really fed."""
        edge, levels = self.tile_px, step_levels(self.steps)
        stacked = []
        for number, one in enumerate(self.held_out if split == "test" else self.train):
            rows, cols = one.clear.shape[1:]
            for top in range(0, rows - edge + 1, edge):
                for left in range(0, cols - edge + 1, edge):
                    window = cropped(one, slice(top, top + edge), slice(left, left + edge))
                    stacked += [_fed(window, (top, left), level, at, number) for at, level in enumerate(levels)]
        return Tiles(f"{self.dataset}/{split} at the sampler's levels", np.stack(stacked))

    def describe(self) -> Described:
        """What the package says: one step of the sampler."""
        return Described(
            classes=(),
            bands=STEP_BANDS,
            edge_px=self.tile_px,
            mean=(0.0, 0.0, 0.0, -12.5, -16.25, 1.0),
            std=(1.0, 1.0, 1.0, 5.0, 6.5, 1.0),
            dtype="float32",
            dataset=self.dataset,
            licence="as the data set's: SEN12MS-CR is commonly cited as CC BY 4.0, which the samples do not state",
            notes={
                "stage": self.stage,
                "steps": self.steps,
                "train": [one.name for one in self.train],
                "test": [one.name for one in self.held_out],
                "seed": self.seed,
            },
            gsd_range_m=(8.0, 12.0),
        )

    def _crop(self, rng: np.random.Generator) -> tuple[Float32Array, Float32Array]:
        one = self.train[int(rng.integers(len(self.train)))]
        rows, cols = one.clear.shape[1] - HELD_ROWS, one.clear.shape[2]
        top, left = int(rng.integers(rows - self.crop_px + 1)), int(rng.integers(cols - self.crop_px + 1))
        clear, sar = scaled([cropped(one, slice(top, top + self.crop_px), slice(left, left + self.crop_px))])
        turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
        turned = [np.rot90(part[0], turns, axes=(1, 2)) for part in (clear, sar)]
        first, second = (np.ascontiguousarray(part[:, :, ::-1] if mirrored else part) for part in turned)
        return first, second

    def _follow(self, network: nn.Module) -> None:
        """The target is the student's average over the steps so far (D14)."""
        import torch

        device = next(network.parameters()).device
        self._guide, self._target = self._guide.to(device), self._target.to(device)
        with torch.no_grad():
            for own, other in zip(self._target.parameters(), network.parameters(), strict=True):
                own.lerp_(other, 1.0 - TARGET_DECAY)


def course(
    data: Path,
    *,
    size: str,
    seed: int,
    stage: str = "student",
    teacher: str = "",
    batch: int = 4,
    crop_px: int = 32,
    steps_per_epoch: int = 50,
    steps: int = 13,
    tile_px: int = 0,
    test: str = "",
    radar: bool = True,
) -> CloudCourse:
    """A course on a folder of SEN12MS-CR. To train, ``stage`` ``student`` needs ``teacher``: the other's checkpoint.

    ``test`` names the test regions, separated by commas, if not the reader's own. ``tile_px`` is the deployed tile (0:
    64). ``radar`` False is the paper's ablation. Raises FitError for settings that do not fit, DatasetError for data.
    """
    multiple = 2 ** (len(size_of(network_named("cm_cr"), size).options.get("multipliers", range(6))) - 1)
    if stage not in ("teacher", "student"):
        raise FitError(f"CM-CR has no stage {stage!r}. Use stage=teacher, then stage=student with teacher=CHECKPOINT.")
    if crop_px < multiple or crop_px % multiple or tile_px % multiple:
        raise FitError(f"crop_px {crop_px} and tile_px {tile_px} must be multiples of {multiple} for size {size}.")
    regions = tuple(part.strip() for part in test.split(",") if part.strip())
    train = read_triplets(data, "train", test=regions)
    if any(min(one.clear.shape[1:]) < max(HELD_ROWS + crop_px, HELD_ROWS) for one in train):
        raise FitError(f"A training patch is smaller than {HELD_ROWS} rows held back and crops of {crop_px} px.")
    return CloudCourse(
        size=size,
        stage=stage,
        train=train,
        held_out=read_triplets(data, "test", test=regions),
        donors=read_triplets(data, "train", radar=False, test=regions),
        teacher=Path(teacher) if teacher else None,
        seed=seed,
        batch=batch,
        crop_px=crop_px,
        steps_per_epoch=steps_per_epoch,
        steps=steps,
        tile_px=tile_px or 64,
        dataset=data.name,
        options={} if radar else {"radar": False},
    )


def answers_of(network: nn.Module, triplets: Sequence[Triplet], steps: int) -> dict[str, list[Float32Array]]:
    """RGB answers in reflectance times 10000: do-nothing, the clear pixels' mean colour, ours."""
    step = one_step(network)
    return {
        "nothing": [one.cloudy[list(RGB_INDEX)] for one in triplets],
        "mean": [mean_colour(one) for one in triplets],
        "cm_cr": [filled(step, one, steps) for one in triplets],
    }


def filled(step: Any, triplet: Triplet, steps: int, *, radar: bool = True, seed: int = 0) -> Float32Array:
    """A whole patch with its clouds filled, (3, rows, cols); measured pixels as they were, bit for bit."""
    cloudy, sar = scaled([triplet], cloudy=True)
    cloud = triplet.cloud[None, None]
    place = np.indices(triplet.cloud.shape)
    made = fill(
        step,
        cloudy,
        cloud,
        sar if radar else np.zeros_like(sar),
        lambda number: noise_at(place[0], place[1], seed=seed, step=number),
        steps=steps,
    )
    pasted: Float32Array = paste(unscale_optical(made), triplet.cloudy[list(RGB_INDEX)][None], cloud)[0]
    return pasted


def mean_colour(triplet: Triplet) -> Float32Array:
    """The patch with the mean of its clear pixels in place of its clouds; of all pixels where none is clear."""
    rgb, cloud = triplet.cloudy[list(RGB_INDEX)], triplet.cloud
    seen = rgb[:, ~cloud] if not cloud.all() else rgb.reshape(3, -1)
    pasted: Float32Array = np.where(cloud, seen.mean(axis=1)[:, None, None], rgb).astype(np.float32)
    return pasted


def scored(answer: Float32Array, triplet: Triplet) -> Fidelity:
    """Figures of an RGB answer to a patch."""
    return fidelity(answer, triplet.clear[list(RGB_INDEX)], triplet.cloud)


def averaged(found: Sequence[Fidelity]) -> dict[str, float]:
    """Means over images, of figures that all of them have."""
    table = {key: [asdict(one)[key] for one in found] for key in (asdict(found[0]) if found else {})}
    return {key: float(np.mean(values)) for key, values in table.items() if np.isfinite(values).all()}


def one_step(network: nn.Module) -> Any:
    """A network as the sampler asks it, image by image."""
    import torch

    device = next(network.parameters()).device

    def step(noisy: Float32Array, t: float, sar: Float32Array) -> Float32Array:
        parts = []
        with torch.inference_mode():
            for one, radar in zip(noisy, sar, strict=True):
                given = [torch.from_numpy(part[None]).to(device) for part in (one, radar)]
                level = torch.full((1,), t, dtype=torch.float32, device=device)
                parts.append(network(given[0], level, given[1]).cpu().numpy())
        return np.concatenate(parts)

    return step


def scaled(windows: Sequence[Triplet], *, cloudy: bool = False) -> tuple[Float32Array, Float32Array]:
    """Clear (or cloudy) RGB and radar of patches of one size, in -1..1; radar 0 where there is none."""
    optical = np.stack([(one.cloudy if cloudy else one.clear)[list(RGB_INDEX)] for one in windows])
    empty = np.zeros((2, *windows[0].clear.shape[1:]), dtype=np.float32)
    sar = np.stack([empty if one.sar is None else scale_radar(one.sar) for one in windows])
    return scale_optical(optical), sar


def rising_levels(count: int) -> NDArray[np.float64]:
    """(count,) noise levels from 0.002 to 80 (equation 9)."""
    share = np.arange(count) / (count - 1)
    levels: NDArray[np.float64] = (T_MIN ** (1 / RHO) + share * (T_MAX ** (1 / RHO) - T_MIN ** (1 / RHO))) ** RHO
    return levels


def _fed(window: Triplet, corner: tuple[int, int], level: float, step: int, seed: int) -> Float32Array:
    clear, _ = scaled([window])
    rows, cols = np.indices(clear.shape[2:])
    noise = noise_at(rows + corner[0], cols + corner[1], seed=seed, step=step)
    noisy = clear[0] + np.float32(level) * noise
    assert window.sar is not None
    return np.concatenate([noisy, window.sar, np.full_like(noisy[:1], level)]).astype(np.float32)


def _db(error: NDArray[Any]) -> float:
    """PSNR of an error on -1..1."""
    return float(10.0 * np.log10(4.0 / max(float(np.mean(error.astype(np.float64) ** 2)), 1e-12)))
