"""CM-CR: cost of each size, learning by heart, what the mini size learns of two scenes, the edge size as a graph.

`make bench-zoo-cm-cr`. Finished trainings are kept in ``build/fit/zoo-cm-cr`` and not repeated, so the run may be
interrupted and goes on. Writes ``benchmarks/results/zoo-cm-cr.json``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from reporting import REPO, measure_parts

DATA = REPO.parent / "shared" / "data" / "cr-sen12mscr-samples"
RESULT = REPO / "benchmarks" / "results" / "zoo-cm-cr.json"
FOLDS = {"139 to 112": "ROIs2017_winter_112", "112 to 139": "ROIs1970_fall_139"}
"""Trained on one region with radar, tested on the other; the first is the split of the samples' README."""
EPOCHS = {"teacher": 7, "student": 4}
STEPS = {"teacher": 50, "student": 30}
PAPER = {"psnr_db": 34.191, "ssim": 0.935, "sam_rad": 0.042, "mae_dn": 202.69}
LEVELS = (80.0, 5.0, 0.3, 0.0108)


def training(stage: str, seed: int) -> Any:
    """The recipe of one stage."""
    from exporters.courses.cm_cr import RECIPE
    from exporters.training.training import Training

    recipe: dict[str, Any] = {**RECIPE, "lr": 1e-3 if stage == "teacher" else 2e-4}
    return Training(**recipe, epochs=EPOCHS[stage], seed=seed, threads=1)


def trained(data: Path, out: Path, stage: str, seed: int, **settings: Any) -> Path:
    """The chosen checkpoint of one stage, trained now unless it is there."""
    from exporters.courses.cm_cr import course
    from exporters.training.loop import fit_course

    if not (out / "fit.json").is_file():
        made = course(data, size="mini", seed=seed, stage=stage, steps_per_epoch=STEPS[stage], **settings)
        begin_s = time.process_time()
        resume = (out / "last.pt").is_file() and stage == "teacher"
        fit_course(made, training(stage, seed), out, resume=resume, progress=lambda line: print(line, flush=True))
        (out / "cpu_s.txt").write_text(f"{time.process_time() - begin_s:.1f}\n")
    return out / "best.pt"


def students(data: Path, work: Path, fold: str, seeds: Sequence[int]) -> list[Path]:
    """The students of one fold, a teacher for each."""
    made = []
    for seed in seeds:
        folder, test = work / f"{fold.replace(' ', '-')}-seed{seed}", FOLDS[fold]
        teacher = trained(data, folder / "teacher", "teacher", seed, test=test)
        made.append(trained(data, folder / "student", "student", seed, test=test, teacher=str(teacher)))
    return made


def folds(data: Path, work: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """Both folds: PSNR, SSIM, SAM, MAE of do-nothing, the mean colour and CM-CR, its mean and range over the seeds."""
    from exporters.checkpoint import load_checkpoint

    found: dict[str, Any] = {"paper_full_size": PAPER, "seeds": list(seeds)}
    for fold in FOLDS:
        checkpoints = students(data, work, fold, seeds)
        notes = [load_checkpoint(path).notes for path in checkpoints]
        tests = [one["test"] for one in notes]
        folders = [folder for path in checkpoints for folder in (path.parent, path.parent.parent / "teacher")]
        found[fold] = {
            "train": notes[0]["train"],
            "test": FOLDS[fold],
            "by_figure": {
                key: spread([one[key] for one in tests]) for key in tests[0] if key not in ("n", "ssim", "psnr_db")
            },
            "cpu_s": [float((folder / "cpu_s.txt").read_text()) for folder in folders],
        }
    return found


def radar_used(data: Path, work: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """PSNR under the clouds with the radar and with zeros in its place, on each fold's test patch."""
    from exporters.checkpoint import load_checkpoint
    from exporters.courses.cm_cr import filled, one_step, scored
    from exporters.readers.sen12mscr import overlaid, read_triplets

    found: dict[str, Any] = {}
    for fold, test in FOLDS.items():
        (held,) = read_triplets(data, "test", test=(test,))
        donor = next(one for one in read_triplets(data, "train", radar=False, test=(test,)) if "136_p140" in one.name)
        shown = held if held.cloud.any() else overlaid(held, donor)
        step = one_step(load_checkpoint(students(data, work, fold, seeds[:1])[0]).build())
        values = {
            name: scored(filled(step, shown, 13, radar=radar), shown).psnr_cloud_db
            for name, radar in (("radar", True), ("zeros", False))
        }
        found[fold] = {**values, "patch": shown.name, "drop_db": values["radar"] - values["zeros"]}
    return found


def by_steps(data: Path, work: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """PSNR under the clouds by number of evaluations: table 3 of the paper in small, with one student."""
    from exporters.checkpoint import load_checkpoint
    from exporters.courses.cm_cr import filled, one_step, scored
    from exporters.readers.sen12mscr import read_triplets

    fold = "112 to 139"
    (held,) = read_triplets(data, "test", test=(FOLDS[fold],))
    step = one_step(load_checkpoint(students(data, work, fold, seeds[:1])[0]).build())
    return {str(steps): scored(filled(step, held, steps), held).psnr_cloud_db for steps in (1, 5, 13)}


def cost() -> dict[str, Any]:
    """Parameters and multiply-accumulates of each size, without memory for weights."""
    from exporters.registry import network_named
    from exporters.zoo_table import zoo_row

    rows = (zoo_row(network_named("cm_cr"), size) for size in network_named("cm_cr").sizes)
    return {row.name: {"params": row.params, "gmacs": row.gmacs, "input": list(row.input)} for row in rows}


def overfit(teacher_steps: int = 400, student_steps: int = 300) -> dict[str, Any]:
    """Acceptance 7 and 8: four images of 32 px by heart, the radar showing what is under the cloud."""
    import torch

    from exporters.courses.cm_cr import one_step, rising_levels
    from exporters.zoo.cm_cr import CMCR
    from exporters.zoo.cm_cr_loss import distillation_loss, teacher_loss
    from exporters.zoo.cm_cr_sampler import fill, noise_at, paste

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    clear, sar = four_images(rng)
    x, radar = torch.from_numpy(clear), torch.from_numpy(sar)
    small: dict[str, Any] = {"width": 32, "multipliers": (1, 2), "blocks": 1, "attention_at": (2,)}
    teacher, student, target = CMCR(**small, eps_t=0.0), CMCR(**small), CMCR(**small)

    def noise() -> Any:
        return torch.from_numpy(rng.standard_normal(clear.shape).astype(np.float32))

    def teach() -> Any:
        t = torch.from_numpy(np.exp(rng.normal(-1.2, 1.2, len(x))).astype(np.float32))
        return teacher_loss(teacher, x, radar, noise(), t)

    levels = torch.from_numpy(rising_levels(40).astype(np.float32))

    def distil() -> Any:
        with torch.no_grad():
            for own, other in zip(target.parameters(), student.parameters(), strict=True):
                own.lerp_(other, 0.05)
        at = torch.from_numpy(rng.integers(0, 39, len(x)))
        return distillation_loss(student, target, teacher, x, radar, noise(), levels[at + 1], levels[at])

    begin_s = time.process_time()
    descend(teacher, teach, teacher_steps, 2e-3)
    for network in (student, target):
        network.load_state_dict(teacher.state_dict())
    teacher.eval()
    descend(student, distil, student_steps, 5e-4)
    spent_s = time.process_time() - begin_s
    cloud = np.zeros((4, 1, 32, 32), dtype=bool)
    cloud[..., 8:24, 8:24] = True
    rows, cols = np.indices((32, 32))
    hidden, box = paste(np.ones_like(clear), clear, cloud), np.broadcast_to(cloud, clear.shape)

    def filled_db(steps: int, shown: Any) -> float:
        step = one_step(student.eval())
        made = fill(step, hidden, cloud, shown, lambda n: noise_at(rows, cols, seed=0, step=n), steps=steps)
        return float(10.0 * np.log10(4.0 / np.mean((made - clear)[box] ** 2)))

    one, blind = filled_db(1, sar), filled_db(1, np.zeros_like(sar))
    return {
        "psnr_cloud_db_1_step": one,
        "psnr_cloud_db_13_steps": filled_db(13, sar),
        "psnr_cloud_db_1_step_without_radar": blind,
        "drop_db": one - blind,
        "bars": {"psnr_cloud_db": 25.0, "drop_db": 2.0},
        "cpu_s": spent_s,
    }


def four_images(rng: np.random.Generator) -> tuple[Any, Any]:
    """Fields of colour, (4, 3, 32, 32), and a radar that shows some of their brightness, (4, 2, 32, 32)."""
    clear, sar = np.zeros((4, 3, 32, 32), np.float32), np.zeros((4, 2, 32, 32), np.float32)
    for number in range(4):
        clear[number] += rng.uniform(-0.6, 0.2, (3, 1, 1))
        for _ in range(6):
            row, col, high, wide = rng.integers((0, 0, 6, 6), (24, 24, 16, 16))
            clear[number, :, row : row + high, col : col + wide] = rng.uniform(-0.8, 0.6, (3, 1, 1))
        sar[number, 0] = clear[number].mean(0)
        sar[number, 1] = 0.5 * clear[number, 0] - 0.5 * clear[number, 2]
    return clear, (sar + 0.05 * rng.standard_normal(sar.shape)).astype(np.float32)


def descend(network: Any, loss_of: Callable[[], Any], steps: int, lr: float) -> None:
    """Adam down a cosine."""
    import torch

    network.train()
    optimiser = torch.optim.Adam(network.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        loss_of().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()


def graph(edge_px: int = 64) -> dict[str, Any]:
    """One step of the edge size as a graph of opset 18, random weights: worst difference to torch, size, time."""
    import torch

    from exporters.graph import serialise, simplify, trace
    from exporters.onnx_cpu import inferrer
    from exporters.registry import build_network
    from exporters.zoo.cm_cr_deploy import OneStep

    torch.manual_seed(0)
    network = build_network("cm_cr", size="edge").eval()
    shaken(network)
    deployed = OneStep(network).eval()  # type: ignore[arg-type]
    model = simplify(trace(deployed, edge_px=edge_px, bands=6, dtype="float32", output="answers"))
    content = serialise(model)
    infer, rng = inferrer(content), np.random.default_rng(0)
    differences, times_s = {}, []
    for level in LEVELS:
        tile = rng.standard_normal((1, 6, edge_px, edge_px)).astype(np.float32)
        tile[:, :3] = 0.3 * tile[:, :3] + level * rng.standard_normal((1, 3, edge_px, edge_px))
        tile[:, 3:5] = 4.0 * tile[:, 3:5] - 14.0
        tile[:, 5] = level
        with torch.no_grad():
            expected = deployed(torch.from_numpy(tile)).numpy()
        begin_s = time.process_time()
        differences[str(level)] = float(np.abs(infer(tile) - expected).max())
        times_s.append(time.process_time() - begin_s)
    kinds = sorted({node.op_type for node in model.graph.node})
    return {
        "size": "edge",
        "edge_px": edge_px,
        "opset": 18,
        "max_abs_diff": differences,
        "bar": 1e-4,
        "file_mib": len(content) / 2**20,
        "operators": len(model.graph.node),
        "kinds": kinds,
        "cpu_s_per_evaluation": min(times_s),
    }


def shaken(network: Any) -> None:
    """Random weights where training begins with zeros, so that every path carries something."""
    import torch

    with torch.no_grad():
        for weight in network.parameters():
            if not weight.any():
                weight.normal_(0.0, 0.02)


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean and each seed's value."""
    return {"mean": float(np.mean(values)), "by_seed": [round(float(value), 5) for value in values]}


def main() -> int:
    """Measure the chosen parts and write them over those of the last run."""
    sys.path.insert(0, str(REPO))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, default=REPO / "build/fit/zoo-cm-cr")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--only", nargs="+", help="parts to measure")
    options = parser.parse_args()
    given = options.data, options.work, options.seeds
    parts: dict[str, Callable[[], Any]] = {
        "cost": cost,
        "folds": lambda: folds(*given),
        "radar": lambda: radar_used(*given),
        "by_steps": lambda: by_steps(*given),
        "overfit": overfit,
        "graph": graph,
    }
    recipe = {stage: {"steps_per_epoch": STEPS[stage], **asdict(training(stage, 0))} for stage in EPOCHS}
    measure_parts(RESULT, parts, options.only, command="make bench-zoo-cm-cr", recipe=recipe)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
