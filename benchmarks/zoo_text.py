"""What the benches of ACF and ACR share: fit what is missing, and the spread over seeds."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from exporters.training.loop import fit_course
from exporters.training.training import Training

T_95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776}
"""Student's t, two-sided 95 %, by degrees of freedom."""
RECIPE: dict[str, Any] = {
    "lr": 5e-4, "optimiser": "adamw", "weight_decay": 0.01, "schedule": "one-cycle", "warmup_frac": 0.15,
    "ema_decay": 0.0, "clip_norm": 2.0, "precision": "bf16", "threads": 1,
}  # fmt: skip


def options(name: str, doc: str | None, epochs: int) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(f"build/zoo/{name}"))
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only-read", action="store_true", help="fit nothing: report the runs that are there")
    return parser.parse_args()


def fitted(made: Any, given: argparse.Namespace, name: str, seed: int, epochs: int) -> dict[str, Any] | None:
    """Figures of one run, read if it was made before; None if it is not there and nothing is to be fitted."""
    kept = given.out / name / "figures.json"
    if kept.is_file():
        stored: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return stored
    if given.only_read:
        return None
    begin_s = time.process_time()
    training = Training(**RECIPE, epochs=epochs, seed=seed)
    result = fit_course(made, training, given.out / name, notes={"course": {"edge_px": made.edge_px}})
    figures = {
        "test": dict(result.test),
        "epoch": result.epoch,
        "cpu_s": time.process_time() - begin_s,
        "loop": "fit_course",
    }
    kept.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return figures


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean over seeds and its 95 % interval (Student's t); no interval for a single seed."""
    mean, count = float(np.mean(values)), len(values)
    half = T_95[count - 1] * float(np.std(values, ddof=1)) / count**0.5 if count > 1 else None
    return {"values": list(values), "mean": mean, "ci95": None if half is None else [mean - half, mean + half]}


def write(name: str, figures: Mapping[str, Any]) -> Path:
    """``benchmarks/results/zoo-NAME.json``, with what it was made on."""
    result = Path(__file__).parent / "results" / f"zoo-{name}.json"
    result.parent.mkdir(exist_ok=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    head = {
        "machine": f"{platform.machine()}, {platform.system()}, python {platform.python_version()}",
        "commit": commit.strip(),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
    }
    result.write_text(json.dumps({**head, **figures}, indent=1) + "\n", encoding="utf-8")
    return result
