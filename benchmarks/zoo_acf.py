"""ACF beside a plain dual encoder trained identically, and chance, on the RSICD sample; the index's speed.

    python benchmarks/zoo_acf.py --data DATA/rsicd-text-image-subset

Both are the ``edge`` size from fresh weights, at 96 px. Runs that are there already are read, not repeated.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from zoo_text import RECIPE, fitted, options, spread, write

from exporters.courses.acf import course
from exporters.metrics.retrieval import chance
from runtime.records import TileRef
from runtime.text_index import TextIndex

EDGE_PX = 96
ARMS: dict[str, dict[str, Any]] = {"acf": {}, "dual": {"gat": False, "fusion": False, "matching": "global"}}
WORDS = ("s_r1", "s_r5", "s_r10", "i_r1", "i_r5", "i_r10", "mR", "global_mR")


def main() -> None:
    """Fit what is missing, print the table, write the result."""
    given = options("acf", __doc__, 30)
    runs: dict[str, dict[int, dict[str, Any]]] = {arm: {} for arm in ARMS}
    for seed in given.seeds:
        for arm, switches in ARMS.items():
            made = course(given.data, size="edge", seed=seed, edge_px=EDGE_PX, **switches)
            found = fitted(made, given, f"{arm}-{seed}", seed, given.epochs)
            if found is not None:
                runs[arm][seed] = found
                print(f"{arm:5s} seed {seed}: mR {100 * found['test']['mR']:.1f} %", flush=True)
    arms = {
        arm: {word: spread([run["test"][word] for run in kept.values()]) for word in WORDS}
        for arm, kept in runs.items()
        if kept
    }
    both = sorted(runs["acf"].keys() & runs["dual"].keys())
    gain = [runs["acf"][seed]["test"]["mR"] - runs["dual"][seed]["test"]["mR"] for seed in both]
    figures = {
        "command": "make bench-zoo-acf",
        "recipe": {**RECIPE, "epochs": given.epochs, "edge_px": EDGE_PX, "batch": 31, "from": "fresh weights"},
        "runs": runs,
        "arms": arms,
        "mR_gain_over_dual": spread(gain) if gain else None,
        "chance": {word: 0.01 * value for word, value in chance(62, 5).as_table().items()},
        "index": index_speed(),
    }
    print(write("acf", figures))


def index_speed(tiles: int = 100_000, dim: int = 512, repeats: int = 7) -> dict[str, float]:
    """CPU seconds of one search, the fastest of some, one thread."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        index = TextIndex.open(Path(folder), network="bench", dim=dim, capacity=tiles)
        for start in range(0, tiles, 1000):
            vectors = rng.standard_normal((1000, dim), dtype=np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            index.add([TileRef("f", start + n, 0, 224) for n in range(1000)], vectors, captured_unix_s=0.0)
        query, taken = vectors[0], []
        for _ in range(repeats):
            begin_s = time.process_time()
            index.search(query, 200)
            taken.append(time.process_time() - begin_s)
    return {"tiles": tiles, "dim": dim, "search_cpu_s": min(taken), "bar_s": 0.05}


if __name__ == "__main__":
    main()
