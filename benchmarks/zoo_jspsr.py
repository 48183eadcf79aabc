"""JSPSR at edge size on the real LiDAR tiles, beside cubic upsampling and a ground filter: errors in m over seeds.

    python benchmarks/zoo_jspsr.py --data DATA

Trained on San Diego's rows 0 to 699 alone, for the surface with made-up buildings and trees on them; San Diego's other
rows, UBC and Alexandria are looked at once, at the end of each run. Runs that are there already are read, not repeated.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from reporting import interval, trained_by, write_result

from exporters.courses.jspsr import RECIPE, TerrainCourse, course
from exporters.training.loop import fit_course
from exporters.training.training import Training

RESULT = Path(__file__).parent / "results" / "zoo-jspsr.json"
VARIANTS: dict[str, dict[str, Any]] = {
    "terrain": {"relief": "terrain"},
    "surface": {"relief": "surface"},
    "terrain without refinement": {"relief": "terrain", "refinement": False},
    "surface without outlines": {"relief": "surface", "guided": False},
    "surface without logarithm": {"relief": "surface", "scaling": "linear"},
}
MAIN = ("terrain", "surface")
"""Over all seeds; the ablations with the first one."""


def main() -> None:
    """Train what is missing, print the table, write the result."""
    options = _options()
    asked = [(variant, seed) for seed in options.seeds for variant in options.variants if seed == 0 or variant in MAIN]
    runs: dict[str, list[dict[str, float]]] = {variant: [] for variant in options.variants}
    for variant, seed in asked:
        found = _trained(options, variant, seed)
        if found:
            runs[variant].append(found)
    report = {
        **trained_by("python benchmarks/zoo_jspsr.py --data DATA --overfit"),
        "recipe": {**RECIPE, "epochs": options.epochs, "steps": 25 * options.epochs, "batch": 8, "edge_px": 48},
        "seeds": options.seeds,
        "runs": runs,
        **({"overfit": _overfit(options)} if options.overfit else {}),
        "summary": {variant: _summary(found) for variant, found in runs.items() if found},
    }
    write_result(RESULT, report)
    _print(report["summary"])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("build/zoo/jspsr"))
    parser.add_argument("--epochs", type=int, default=RECIPE["epochs"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--collect", action="store_true", help="run nothing, put together what is there")
    parser.add_argument("--overfit", action="store_true", help="also the card's overfit check (half a minute)")
    return parser.parse_args()


def _trained(options: argparse.Namespace, variant: str, seed: int) -> dict[str, float]:
    """Figures of one run; none where it is missing and nothing is to be run."""
    out = options.out / f"{variant.replace(' ', '-')}-{seed}"
    kept = out / "figures.json"
    if kept.is_file():
        stored: dict[str, float] = json.loads(kept.read_text(encoding="utf-8"))
        return stored
    if options.collect:
        return {}
    made = course(options.data, seed=seed, **VARIANTS[variant])
    assert isinstance(made, TerrainCourse)
    training = Training(**{**made.recipe, "epochs": options.epochs, "seed": seed, "threads": 1})
    begin_s = time.process_time()
    result = fit_course(made, training, out, notes={"course": VARIANTS[variant]}, progress=print)
    cpu_s = time.process_time() - begin_s
    figures = {"seed": seed, "epoch": result.epoch, **result.test, "held_rmse_m": result.validation["rmse_m"]}
    figures |= {"held_cubic_rmse_m": result.validation["cubic_rmse_m"], "cpu_s": cpu_s}
    kept.write_text(json.dumps(figures), encoding="utf-8")
    return figures


def _overfit(options: argparse.Namespace, *, steps: int = 120) -> dict[str, float]:
    """The card's check 8: four synthetic tiles with buildings that the picture shows; RMSE before and after."""
    import torch

    from exporters.zoo.jspsr import JSPSR
    from exporters.zoo.jspsr_loss import height_loss
    from exporters.zoo.jspsr_scaling import scaled, unscaled

    kept = options.out / "overfit.json"
    if kept.is_file():
        stored: dict[str, float] = json.loads(kept.read_text(encoding="utf-8"))
        return stored
    torch.set_num_threads(1)
    torch.manual_seed(0)
    surface, truth, picture = (torch.from_numpy(part) for part in _synthetic())
    base = surface.amin((2, 3), keepdim=True)
    given, wanted = torch.cat([scaled(surface - base), picture], dim=1), scaled(truth - base)
    network = JSPSR(8)
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-6)
    rmse_m = [float((surface - truth).square().mean().sqrt())]
    for _ in range(steps):
        found = network(given)
        optimiser.zero_grad()
        height_loss(found, wanted)["loss"].backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        rmse_m.append(float((unscaled(found.detach()) + base - truth).square().mean().sqrt()))
    figures = {"steps": steps, "before_rmse_m": rmse_m[0], "best_rmse_m": min(rmse_m), "after_rmse_m": rmse_m[-1]}
    kept.write_text(json.dumps(figures), encoding="utf-8")
    return figures


def _synthetic() -> tuple[Any, Any, Any]:
    """Surface, terrain and picture of four tiles: waves of 10 m, five buildings of 6 m on each."""
    rng = np.random.default_rng(0)
    row, col = np.mgrid[0:64, 0:64]
    truth = np.stack([10 * np.sin(row / (9 + n)) * np.cos(col / (11 + n)) + 40 for n in range(4)])[:, None]
    surface, picture = truth.copy(), np.full((4, 3, 64, 64), 0.4)
    for tile in range(4):
        for _ in range(5):
            top, left = rng.integers(2, 52, 2)
            spot = (slice(top, top + 10), slice(left, left + 10))
            surface[tile, 0][spot], picture[tile][:, spot[0], spot[1]] = truth[tile, 0][spot] + 6.0, 0.9
    return surface.astype(np.float32), truth.astype(np.float32), picture.astype(np.float32)


def _summary(runs: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    return {key: interval([run[key] for run in runs]) for key in runs[0] if key.endswith(("_m", "_db", "_frac"))}


def _print(summary: dict[str, Any]) -> None:
    for variant, found in summary.items():
        for key, value in found.items():
            if key.endswith("rmse_m"):
                print(f"{variant:28s} {key:32s} {value['mean']:.3f}{_spread(value)} m", flush=True)


def _spread(value: dict[str, float]) -> str:
    return f" ± {value['ci95']:.3f}" if "ci95" in value else ""


if __name__ == "__main__":
    main()
