"""SSA-Net at edge size on the real LEVIR and WHU samples, beside differencing: F1, IoU, kappa over seeds.

    python benchmarks/zoo_ssa_net.py --data DATA

The DSIFN test pairs, whose masks mark any change, are scored too, as a look at another domain: nothing is trained or
chosen on them. Runs that are there already are read, not repeated.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

from reporting import interval, trained_by, write_result

from exporters.checkpoint import load_checkpoint
from exporters.courses.ssa_net import ChangeCourse, course
from exporters.metrics.change import Counts
from exporters.readers.change import read_pairs
from exporters.training.loop import fit_course
from exporters.training.training import Training

RESULT = Path(__file__).parent / "results" / "zoo-ssa-net.json"
VARIANTS: dict[str, dict[str, Any]] = {
    "edge": {},
    "without attention": {"attention": False},
    "plain convolutions": {"conv": "plain"},
}


def main() -> None:
    """Train what is missing, print the table, write the result."""
    options = _options()
    runs = {
        variant: [_trained(options, variant, seed) for seed in options.seeds if variant == "edge" or seed == 0]
        for variant in options.variants
    }
    keys = [key for key in runs["edge"][0] if key.endswith(("f1", "iou", "kappa", "precision", "recall"))]
    report = {
        **trained_by("python benchmarks/zoo_ssa_net.py --data DATA"),
        "recipe": _recipe(options),
        "seeds": options.seeds,
        "runs": runs,
        "summary": {key: interval([run[key] for run in runs["edge"]], ci95=math.nan) for key in keys},
    }
    write_result(RESULT, report)
    for key in keys:
        if not key.endswith(("precision", "recall")):
            found = report["summary"][key]
            print(f"{key:40s} {found['mean']:.3f} ± {found['ci95']:.3f}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("build/zoo/ssa_net"))
    parser.add_argument("--epochs", type=int, default=18)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    return parser.parse_args()


def _recipe(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "size": "edge",
        "epochs": options.epochs,
        "steps": 20 * options.epochs,
        "batch": 8,
        "edge_px": 128,
        "lr": 2e-3,
        "optimiser": "adamw",
        "weight_decay": 0.01,
        "schedule": "one-cycle",
        "precision": "bf16",
    }


def _trained(options: argparse.Namespace, variant: str, seed: int) -> dict[str, float]:
    out = options.out / f"{variant.replace(' ', '-')}-{seed}"
    kept = out / "figures.json"
    if kept.is_file():
        stored: dict[str, float] = json.loads(kept.read_text(encoding="utf-8"))
        return stored
    made = course(options.data, seed=seed, **VARIANTS[variant])
    training = Training(**{**made.recipe, "epochs": options.epochs, "seed": seed, "threads": 1})
    begin_s = time.process_time()
    result = fit_course(made, training, out, notes={"course": VARIANTS[variant]}, progress=print)
    network = load_checkpoint(result.best).build()
    figures = {
        "seed": seed,
        "val_f1": result.validation["f1"],
        **result.test,
        **_elsewhere(made, network, options.data),
    }
    figures["cpu_s"] = time.process_time() - begin_s
    kept.write_text(json.dumps(figures), encoding="utf-8")
    return figures


def _elsewhere(made: ChangeCourse, network: Any, data: Path) -> dict[str, float]:
    """The DSIFN test pairs, whose masks mark any change."""
    from exporters.baselines.differencing import difference_mask
    from exporters.courses.ssa_net import probability

    name = "cd-dsifn-samples"
    if not (data / name).is_dir():
        return {}
    pairs = read_pairs(data / name, "test")
    ours = Counts.sum(Counts.of(probability(network, p, made.edge_px) > 0.5, p.changed) for p in pairs)
    plain = Counts.sum(Counts.of(difference_mask(p.earlier, p.later), p.changed) for p in pairs)
    return ours.measures(f"{name}-") | plain.measures(f"{name}-differencing-")


if __name__ == "__main__":
    main()
