"""SDENet fitted to each scene by itself, beside RX: AUC over seeds, untrained control, the paper's ablations.

    python benchmarks/zoo_sdenet.py --data DATA/had-hyperspectral-anomaly

Settings were chosen on the ``abu-*`` scenes alone; the four others are reported with them. Labels are used for AUC
only. Runs that are there already are read, not repeated.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from exporters.baselines.rx import global_rx, local_rx
from exporters.courses.sdenet import RECIPE, SceneCourse, course
from exporters.metrics.anomaly import auc, mahalanobis
from exporters.readers.hyperspectral import read_scenes
from exporters.training.loop import fit_course
from exporters.training.training import Training

RESULT = Path(__file__).parent / "results" / "zoo-sdenet.json"
CHOSEN_ON = ("abu-airport-1", "abu-airport-4")
VARIANTS: dict[str, dict[str, Any]] = {
    "published": {},
    "without variational mapping": {"variational": False},
    "without holes": {"holes": False},
}


def main() -> None:
    """Fit what is missing, print the table, write the result."""
    options = _options()
    scenes = sorted(read_scenes(options.data))
    rows: dict[str, dict[str, Any]] = {name: {"rx": _rx(options.data, name, options.local)} for name in scenes}
    for variant in options.variants:
        for seed in options.seeds if variant == "published" else options.seeds[:1]:
            for name in scenes:
                made = course(options.data, scene=name, size="published", seed=seed, **VARIANTS[variant])
                found = _fitted(made, options, f"{variant}-{name}-{seed}".replace(" ", "-"), seed)
                if not found:
                    continue
                rows[name].setdefault(variant, []).append(found)
                print(f"{variant:28s} {name:14s} seed {seed}: AUC {found['auc']:.4f}", flush=True)
        _write(rows, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("build/zoo/sdenet"))
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--collect", action="store_true", help="run nothing, put together what is there")
    parser.add_argument("--local", action="store_true", help="also RX with a dual window (half a minute a scene)")
    return parser.parse_args()


def _training(options: argparse.Namespace, seed: int) -> Training:
    return Training(**{**RECIPE, "epochs": options.epochs, "seed": seed, "threads": 1})


def _fitted(made: SceneCourse, options: argparse.Namespace, name: str, seed: int) -> dict[str, float]:
    """Figures of one run: as fitted, and with the weights that it began with."""
    import torch

    kept = options.out / name / "figures.json"
    if kept.is_file():
        stored: dict[str, float] = json.loads(kept.read_text(encoding="utf-8"))
        return stored
    if options.collect:
        return {}
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    untrained = made.test(made.build())["auc"]
    begin_s = time.process_time()
    notes = {"course": {"scene": made.scene.name}}
    result = fit_course(made, _training(options, seed), options.out / name, notes=notes)
    figures = {
        "seed": seed,
        "auc": result.test["auc"],
        "auc_untrained": untrained,
        "epoch": result.epoch,
        "score_max": result.validation["score_max"],
        "cpu_s": time.process_time() - begin_s,
    }
    kept.write_text(json.dumps(figures), encoding="utf-8")
    return figures


def _rx(data: Path, name: str, local: bool) -> dict[str, float]:
    made = course(data, scene=name, size="published")
    truth, every, some = made.scene.anomalies, made.scene.values, made.values()
    assert truth is not None
    figures = {
        "global, all bands": auc(global_rx(every), truth),
        "global, the network's 50 bands": auc(global_rx(some), truth),
        "global, all bands, ridge 1e-3": auc(mahalanobis(every, ridge=1e-3), truth),
    }
    if local:
        figures["local 9/21, the network's 50 bands"] = auc(local_rx(some, ridge=1e-2), truth)
    return figures


def _write(rows: dict[str, dict[str, Any]], options: argparse.Namespace) -> None:
    columns = {key: [rows[name]["rx"][key] for name in rows] for key in next(iter(rows.values()))["rx"]}
    fitted = _by_scene(rows, "auc")
    summary = {
        "mean_auc": float(np.mean(list(fitted.values()))),
        "mean_auc_untrained": float(np.mean(list(_by_scene(rows, "auc_untrained").values()))),
        "mean_auc_held_out_scenes": float(np.mean([value for name, value in fitted.items() if name not in CHOSEN_ON])),
        "mean_auc_rx": {key: float(np.mean(values)) for key, values in columns.items()},
        "mean_auc_rx_held_out_scenes": float(
            np.mean([row["rx"]["global, all bands"] for name, row in rows.items() if name not in CHOSEN_ON])
        ),
        "mean_auc_ablations": {
            key: float(np.mean([run["auc"] for row in rows.values() for run in row[key]]))
            for key in list(VARIANTS)[1:]
            if all(key in row for row in rows.values())
        },
        "runs_missing": sum(len(options.seeds) - len(row["published"]) for row in rows.values()),
    }
    report = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {platform.processor() or 'CPU'}, 1 thread",
        "command": "python benchmarks/zoo_sdenet.py --data DATA/had-hyperspectral-anomaly"
        + (" --local" if options.local else ""),
        "recipe": {"steps": options.epochs * 10, "batch": 4, "lr": 1e-3, "optimiser": "adamw", "weight_decay": 5e-6},
        "seeds": options.seeds,
        "scenes": rows,
        "summary": summary,
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for name, row in rows.items():
        print(f"{name:14s} RX {row['rx']['global, all bands']:.4f}  SDENet {fitted[name]:.4f}", flush=True)
    print(json.dumps(summary, indent=1), flush=True)


def _by_scene(rows: dict[str, dict[str, Any]], key: str) -> dict[str, float]:
    """Mean over the seeds that there are, by scene."""
    return {name: float(np.mean([run[key] for run in row["published"]])) for name, row in rows.items()}


if __name__ == "__main__":
    main()
