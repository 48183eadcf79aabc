"""CAB-HL at edge size on IDTReeS plots and Houston2013 pixels, beside a kernel machine and its own ablations.

    python benchmarks/zoo_cab_hl.py --data DATA

Disjoint splits; one random split of the same counts shows how much leaks. Runs that are there already are read, not
repeated.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from reporting import interval, trained_by, write_result

from exporters.courses.cab_hl import RECIPE, course
from exporters.training.loop import fit_course
from exporters.training.training import Training

RESULT = Path(__file__).parent / "results" / "zoo-cab-hl.json"
SETS = {"houston2013": "hsi-lidar-houston2013-pixels", "idtrees": "hsi-lidar-idtrees"}
VARIANTS: dict[str, dict[str, Any]] = {
    "hsi + lidar + cam": {},
    "hsi": {"lidar": False, "attention": False},
    "hsi + lidar": {"attention": False},
    "random split": {"split": "random"},
    "given split": {"split": "given"},
    "longer": {},
}
BATCH, EPOCHS = 32, {"houston2013": 10, "idtrees": 5}
LONGER = 4
"""Times the epochs of the others, for the variant of that name: whether more steps are what is missing."""
_ONE_SEED = {("idtrees", "hsi + lidar"), ("idtrees", "random split"), ("houston2013", "random split")}
"""What is a look, not a comparison."""


def main() -> None:
    """Train what is missing, print the table, write the result."""
    options = _options()
    runs: dict[str, dict[str, list[dict[str, float]]]] = {}
    for name in options.sets:
        for variant, settings in VARIANTS.items():
            if name == "idtrees" and variant == "given split":
                continue
            seeds = options.seeds[:1] if (name, variant) in _ONE_SEED else options.seeds
            found = [_trained(options, name, variant, settings, seed) for seed in seeds]
            if kept := [run for run in found if run is not None]:
                runs.setdefault(name, {})[variant] = kept
    _write(options, runs)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("build/zoo/cab_hl"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--no-training", action="store_true", help="only read what is there")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    return parser.parse_args()


def _trained(
    options: argparse.Namespace, name: str, variant: str, settings: dict[str, Any], seed: int
) -> dict[str, float] | None:
    out = options.out / f"{name}-{variant.replace(' ', '').replace('+', '-')}-{seed}"
    kept = out / "figures.json"
    if kept.is_file():
        stored: dict[str, float] = json.loads(kept.read_text(encoding="utf-8"))
        return stored
    if options.no_training:
        return None
    begin_s = time.process_time()
    beside = seed == 0 and variant in ("hsi + lidar + cam", "random split", "given split")
    made = course(options.data / SETS[name], seed=seed, batch=BATCH, beside=beside, **settings)
    epochs = EPOCHS[name] * (LONGER if variant == "longer" else 1)
    training = Training(**{**RECIPE, "epochs": epochs, "seed": seed, "threads": 1})
    result = fit_course(made, training, out, notes={"course": {"batch": BATCH, **settings}}, progress=print)
    figures = {"seed": seed, "val_oa": result.validation["oa"], **result.test}
    figures["cpu_s"] = round(time.process_time() - begin_s, 1)
    kept.write_text(json.dumps(figures), encoding="utf-8")
    return figures


def _write(options: argparse.Namespace, runs: dict[str, dict[str, list[dict[str, float]]]]) -> None:
    summary = {
        f"{name}, {variant}": {
            key: interval([run[key] for run in found if key in run], ci95=0.0, seeds=1)
            for key in found[0]
            if key not in ("seed", "cpu_s")
        }
        for name, variants in runs.items()
        for variant, found in variants.items()
    }
    report = {
        **trained_by("python benchmarks/zoo_cab_hl.py --data DATA"),
        "recipe": {"size": "edge", "batch": BATCH, **RECIPE, "epochs": EPOCHS, "longer": LONGER, "steps_per_epoch": 20},
        "seeds": options.seeds,
        "runs": runs,
        "summary": summary,
    }
    write_result(RESULT, report)
    for name, figures in summary.items():
        shown = "  ".join(
            f"{key} {figures[key]['mean']:.3f} ± {figures[key]['ci95']:.3f}"
            for key in ("oa", "aa", "kappa", "svm-oa")
            if key in figures
        )
        print(f"{name:36s} {shown}", flush=True)


if __name__ == "__main__":
    main()
