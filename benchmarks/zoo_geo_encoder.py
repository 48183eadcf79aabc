"""The geo-localisation encoder beside its head without mixing, a classical matcher and chance, on the OrthoLoC sample.

    python benchmarks/zoo_geo_encoder.py --data DATA

All arms are the ``edge`` size from fresh weights. Runs that are there already are read, not repeated.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from geo_parts import flights, matcher_figures
from zoo_text import spread, write

from exporters.courses.geo_encoder import course, shares
from exporters.metrics.geolocation import chance
from exporters.training.loop import fit_course
from exporters.training.training import Training

RECIPE: dict[str, Any] = {
    "lr": 1e-3, "optimiser": "adamw", "weight_decay": 0.01, "schedule": "one-cycle", "warmup_frac": 0.15,
    "ema_decay": 0.0, "clip_norm": 5.0, "precision": "fp32", "threads": 1,
}  # fmt: skip
SURVEYS, STREETS, OTHERS = "cvgl-ortholoc-tiles", "cvgl-ground-aerial-samples", "aid-subset-150px"
ARMS: dict[str, dict[str, Any]] = {
    "mixer": {"others": OTHERS},
    "mean": {"others": OTHERS, "mixer": False},
    "surveys-alone": {},
    "street": {"data": STREETS, "batch": 8, "steps": 5},
}
WORDS = ("r1", "r5", "median_m", "dense_r1", "dense_r5", "dense_median_m")


def main() -> None:
    """Fit what is missing, print the table, write the result."""
    given = options()
    order = [(arm, seed) for seed in given.seeds for arm in ("mixer", "mean")]
    order += [(arm, seed) for seed in given.seeds for arm in ("street", "surveys-alone")]
    done = {one: fitted(given, *one) for one in order}
    runs = {arm: {seed: done[arm, seed] for seed in given.seeds} for arm in ARMS}
    runs = {arm: {seed: run for seed, run in kept.items() if run is not None} for arm, kept in runs.items()}
    if given.fit_only:
        return
    arms = {
        arm: {word: spread([run["test"][word] for run in kept.values()]) for word in WORDS if word in first(kept)}
        for arm, kept in runs.items()
        if kept
    }
    both = sorted(runs["mixer"].keys() & runs["mean"].keys())
    gain = [runs["mixer"][seed]["test"]["dense_r1"] - runs["mean"][seed]["test"]["dense_r1"] for seed in both]
    made = course(given.data / SURVEYS)
    figures = {
        "command": "make bench-zoo-geo-encoder",
        "recipe": {**RECIPE, "epochs": given.epochs, "steps": 25, "batch": 48, "edge_px": 64, "from": "fresh weights"},
        "runs": runs,
        "arms": arms,
        "dense_r1_gain_over_mean_head": spread(gain) if gain else None,
        "chance": chances(made),
        "matcher": matcher_figures(made),
        "flights": {seed: flights(given, made, seed) for seed in sorted(runs["mixer"])},
    }
    print(write("geo-encoder", figures))
    for arm, words in arms.items():
        print(arm, {word: round(value["mean"], 3) for word, value in words.items()})


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("build/zoo/geo_encoder"))
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only-read", action="store_true", help="fit nothing: report the runs that are there")
    parser.add_argument("--fit-only", action="store_true", help="fit what is missing and stop")
    return parser.parse_args()


def fitted(given: argparse.Namespace, arm: str, seed: int) -> dict[str, Any] | None:
    """Figures of one run, read if it was made before; None if it is not there and nothing is to be fitted."""
    kept = given.out / f"{arm}-{seed}" / "figures.json"
    if kept.is_file():
        stored: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return stored
    if given.only_read:
        return None
    settings = dict(ARMS[arm])
    data = given.data / settings.pop("data", SURVEYS)
    if "others" in settings:
        settings["others"] = str(given.data / settings["others"])
    begin_s = time.process_time()
    made = course(data, seed=seed, **settings)
    training = Training(**RECIPE, epochs=given.epochs, seed=seed)
    result = fit_course(made, training, kept.parent, notes={"course": {"edge_px": made.edge_px}})
    figures = {"test": dict(result.test), "epoch": result.epoch, "cpu_s": time.process_time() - begin_s}
    kept.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    print(f"{arm} seed {seed}: {result.test}", flush=True)
    return figures


def first(kept: dict[int, dict[str, Any]]) -> dict[str, float]:
    """The figures of any run."""
    test: dict[str, float] = next(iter(kept.values()))["test"]
    return test


def chances(made: Any) -> dict[str, float]:
    """What a random order of the same galleries scores."""
    from exporters.registry import build_network

    network = build_network("geo_encoder", size="edge")
    asked = [(place.row_px, place.col_px) for place in made.surveys.of("test")]
    known = [(place.row_px, place.col_px) for place in made.surveys.places]
    plain = chance(made._compare(network, asked, known, turned=False)[1], 0.1).as_table()
    dense = chance(made.dense(network)[1], 10.0).as_table()
    return {**shares(plain), **{f"dense_{key}": value for key, value in shares(dense).items()}}


if __name__ == "__main__":
    main()
