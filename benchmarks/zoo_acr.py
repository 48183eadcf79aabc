"""ACR on the RSVQA sample beside the majority answer of each kind of question, and beside itself without the picture.

    python benchmarks/zoo_acr.py --data DATA/vqa-rsvqa-samples/lr

The ``edge`` size from fresh weights, at 256 px. Runs that are there already are read, not repeated.
"""

from __future__ import annotations

from typing import Any

from zoo_text import RECIPE, fitted, options, spread, write

from exporters.courses.acr import course

EDGE_PX = 256
ARMS: dict[str, dict[str, Any]] = {"acr": {}, "blind": {"looks": False}}
KINDS = ("overall", "kind_presence", "kind_comp", "kind_count", "kind_rural_urban")


def main() -> None:
    """Fit what is missing, print the table, write the result."""
    given = options("acr", __doc__, 24)
    runs: dict[str, dict[int, dict[str, Any]]] = {arm: {} for arm in ARMS}
    floor: dict[str, float] = {}
    for seed in given.seeds:
        for arm, switches in ARMS.items():
            made = course(given.data, size="edge", seed=seed, edge_px=EDGE_PX, **switches)
            floor = {key: 0.01 * value for key, value in made.floor(made.tested).as_table().items()}
            epochs = given.epochs if arm == "acr" else given.epochs // 2
            found = fitted(made, given, f"{arm}-{seed}", seed, epochs)
            if found is not None:
                runs[arm][seed] = found
                print(f"{arm:6s} seed {seed}: {100 * found['test']['overall']:.1f} %", flush=True)
    arms = {
        arm: {kind: spread([run["test"][kind] for run in kept.values()]) for kind in KINDS}
        for arm, kept in runs.items()
        if kept
    }
    figures = {
        "command": "make bench-zoo-acr",
        "recipe": {**RECIPE, "epochs": given.epochs, "blind_epochs": given.epochs // 2, "edge_px": EDGE_PX},
        "runs": runs,
        "arms": arms,
        "floor": floor,
        "gain_over_floor": {
            kind: spread([run["test"][kind] - floor[kind] for run in runs["acr"].values()]) for kind in KINDS
        } if runs["acr"] else None,
    }  # fmt: skip
    print(write("acr", figures))


if __name__ == "__main__":
    main()
