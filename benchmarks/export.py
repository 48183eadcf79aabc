"""Exporters against their bars: INT8 speed, graph speed, cold load, flipped bits. `make bench-export`.

Prints a table and writes ``build/bench/export.json``. Times are CPU seconds of one thread, the median of runs that
alternate between the two sides of each ratio, because these machines are shared. Cold load is wall time, best of five.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

REPO = Path(__file__).resolve().parent.parent
SHIPPED = REPO / "deploy" / "packages"
KEYS = REPO / "deploy" / "keys"
DATA = REPO.parent / "shared" / "data" / "eurosat-rgb-subset"
BATCH, RUNS = 8, 60


def figure(value: float, unit: str, bar: float | None, *, at_most: bool = False, peer: Any = None) -> dict[str, Any]:
    """One row of the result."""
    met = None if bar is None else (value <= bar if at_most else value >= bar)
    return {"value": value, "unit": unit, "bar": bar, "met": met, **({"peer": peer} if peer else {})}


def alternate_s(sides: dict[str, Callable[[Any], Any]], tiles: Any, runs: int = RUNS) -> dict[str, float]:
    """Median CPU seconds of each side, run in turn, each turn in an order of its own: who follows whom matters."""
    samples: dict[str, list[float]] = {name: [] for name in sides}
    order = np.random.default_rng(0)
    for number in range(runs + 5):
        for name in order.permutation(list(sides)):
            begin_s = time.process_time()
            sides[name](tiles)
            if number >= 5:
                samples[name].append(time.process_time() - begin_s)
    return {name: float(np.median(found)) for name, found in samples.items()}


def int8_figures(tiles: Any, train: Any, test: Any) -> dict[str, Any]:
    """INT8 made from each shipped float graph, against that graph, at batch 8 in this process."""
    from exporters.engine_graphs import Request, make_graphs
    from exporters.graph import float32_weights
    from exporters.onnx_cpu import inferrer
    from exporters.package import load_package

    figures = {}
    for name, bar in (("resnet18", 1.0), ("mobilenet-v2", 1.0), ("mobilenet-v3-large", None)):
        package = load_package(SHIPPED / f"eurosat-{name}", trust=KEYS)
        plain = float32_weights(package.read_onnx())
        request = Request(
            info=package.info,
            precision="int8",
            targets=("cpu",),
            min_tiles=256,
            calibration_tiles=256,
            max_damage=0.015,
        )
        made = make_graphs(plain, request, test, train, lambda line: print(f"  {line}", file=sys.stderr))
        taken = alternate_s({"int8": inferrer(made.main), "fp32": inferrer(plain)}, tiles)
        label = name.replace("-", "_")
        figures[f"int8_speedup_{label}_b{BATCH}"] = figure(taken["fp32"] / taken["int8"], "x", bar)
        drop = 100 * (package.profile.accuracy.value - made.accuracy.value)
        figures[f"int8_drop_{label}"] = figure(drop, "points", 1.0, at_most=True)
        assert made.variant_accuracy is not None
        drop = 100 * (package.profile.accuracy.value - made.variant_accuracy.value)
        figures[f"int8_drop_{label}_tensorrt_graph"] = figure(drop, "points", 1.0, at_most=True)
        figures[f"int8_size_{label}"] = figure(len(made.main) / len(plain), "of fp32", None)
        float_layers = len(made.how[0].float_layers)
        figures[f"int8_float_layers_{label}"] = figure(float_layers, "layers", None)
    return figures


def graph_figures(tiles: Any, rounds: int) -> dict[str, Any]:
    """Our graph against a plain ``torch.onnx.export`` of the same network, all under ONNX Runtime, from uint8 tiles.

    ``plain`` has the normalisation inside, as ours has; ``host`` is the export of the bare network, numpy normalising
    the tiles within the time; ``free`` the same, normalised beforehand by nobody. ``again`` is ``plain`` once more:
    what these two differ by is noise. Where a session's weights come to lie in memory moves it by a percent for good,
    so each round opens every session anew, and the interval is over rounds.
    """
    import torch

    from exporters.checkpoint import Checkpoint
    from exporters.graph import trace, with_normalisation
    from exporters.registry import build_network
    from exporters.settings import ExportSettings
    from exporters.source import deployed_network, onnx_of

    figures = {}
    mean, std = (0.4,) * 3, (0.2,) * 3
    torch.manual_seed(3)
    for name in ("resnet18", "mobilenet_v2", "mobilenet_v3_large"):
        network = build_network(name, classes=10)
        checkpoint = Checkpoint(
            network=name,
            switches={"classes": 10, "stem_stride": 2},
            classes=tuple("abcdefghij"),
            edge_px=64,
            mean=mean,
            std=std,
            state_dict=network.state_dict(),
            notes={},
        )
        source, bare = with_normalisation(checkpoint.build(), mean, std), torch.nn.Sequential(checkpoint.build().eval())
        plain = trace(source, edge_px=64, bands=3).SerializeToString()
        graphs = {
            "ours": onnx_of(deployed_network(checkpoint, "float16"), checkpoint, ExportSettings()),
            "plain": plain,
            "again": plain,
            "host": trace(bare, edge_px=64, bands=3, dtype="float32").SerializeToString(),
        }
        for other, (value, low, high) in paired_speed(graphs, tiles, mean, std, rounds).items():
            bar = 1.0 if other in ("plain", "host") else None
            label = f"graph_speed_{name}_b{BATCH}" + ("" if other == "plain" else f"_{other}")
            peer = {"name": f"torch.onnx.export, {other}", "value": 1.0}
            row = figure(value, f"x {other}", bar, peer=peer)
            slower = None if bar is None else high < bar  # shown to be slower: the whole interval is below
            figures[label] = {
                **row,
                "ci95": [low, high],
                "rounds": rounds,
                "met": None if slower is None else not slower,
            }
    return figures


def paired_speed(
    graphs: dict[str, bytes], tiles: Any, mean: Any, std: Any, rounds: int, runs: int = 9
) -> dict[str, tuple[float, float, float]]:
    """CPU time of each other side over that of ``ours``: median over rounds of fresh sessions, with its interval."""
    from exporters.onnx_cpu import inferrer

    offset, scale = (np.array(values, np.float32)[:, None, None] for values in (mean, std))

    def normalised(raw: Any) -> Any:
        return (raw.astype(np.float32) / np.float32(255.0) - offset) / scale

    prepared, order = normalised(tiles), np.random.default_rng(0)
    ratios: dict[str, list[float]] = {}
    for number in range(rounds):
        opened = {name: inferrer(graphs[name]) for name in order.permutation(list(graphs))}
        sides = {name: (lambda infer=infer: infer(tiles)) for name, infer in opened.items() if name != "host"}
        sides["host"] = lambda infer=opened["host"]: infer(normalised(tiles))
        sides["free"] = lambda infer=opened["host"]: infer(prepared)
        samples: dict[str, list[float]] = {name: [] for name in sides}
        for run in range(runs + 2):
            for name in order.permutation(list(sides)):
                begin_s = time.process_time()
                sides[name]()
                if run >= 2:
                    samples[name].append(time.process_time() - begin_s)
        taken = {name: float(np.median(found)) for name, found in samples.items()}
        for name in ("plain", "host", "free"):
            ratios.setdefault(name, []).append(taken[name] / taken["ours"])
        ratios.setdefault("noise", []).append(taken["plain"] / taken["again"])
        print(f"  round {number + 1} of {rounds}", file=sys.stderr)
    return {name: (float(np.median(found)), *median_ci95(found)) for name, found in ratios.items()}


def median_ci95(values: Any) -> tuple[float, float]:
    """The bootstrap interval of a median."""
    sample = np.asarray(values)
    picks = np.random.default_rng(0).integers(len(sample), size=(4000, len(sample)))
    low, high = np.percentile(np.median(sample[picks], axis=1), [2.5, 97.5])
    return float(low), float(high)


COLD = """
import sys, time
begin = time.perf_counter()
from pathlib import Path
from exporters.package import load_package
from runtime.engines import open_engine
package = load_package(Path(sys.argv[1]), trust=Path(sys.argv[2]))
engine = open_engine(package, "cpu")
engine.infer(package.golden.tiles[:1])
print(time.perf_counter() - begin)
"""


def cold_figures() -> dict[str, Any]:
    """A fresh process: imports, signature, hashes, graph, golden tiles, first tile."""
    figures = {}
    for folder in sorted(path for path in SHIPPED.iterdir() if path.is_dir()):
        command = [sys.executable, "-c", COLD, str(folder), str(KEYS)]
        runs = [float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(5)]
        label = folder.name.replace("-", "_")
        figures[f"cold_load_{label}"] = figure(min(runs), "s", 1.5, at_most=True)
    return figures


def flip_figures(test: Any, flips: int) -> dict[str, Any]:
    """Flipped bits in the weights of the package that flies most."""
    from exporters.bitflips import inject_flips
    from exporters.package import load_package

    package = load_package(SHIPPED / "eurosat-mobilenet-v2", trust=KEYS)
    golden = package.info.golden_index or ()
    witnesses = test.pixels[[place for place in range(0, len(test), max(1, len(test) // 200)) if place not in golden]]
    report = inject_flips(package, witnesses, flips=flips, progress=lambda line: print(f"  {line}", file=sys.stderr))
    return {
        "flips_injected": figure(report.flips, "flips", None),
        "flips_that_change_a_golden_top1": figure(report.golden_changed, "flips", None),
        "flips_caught_of_those": figure(report.caught_of_golden_frac, "share", 0.99),
        "flips_that_change_a_top1_of_other_tiles": figure(report.harmful, "flips", None),
        "flips_other_tiles": figure(len(witnesses), "tiles", None),
        "flips_caught_of_those_by_golden_tiles": figure(report.caught_of_harmful_frac, "share", 0.99),
    }


def lint_figures() -> dict[str, Any]:
    """TensorRT's rules over every graph that ships."""
    from exporters.lint import lint
    from exporters.package import load_package

    errors = 0
    for folder in sorted(path for path in SHIPPED.iterdir() if path.is_dir()):
        content = load_package(folder, trust=KEYS).read_onnx("tensorrt")
        errors += sum(issue.severity == "error" for issue in lint(content))
    return {"tensorrt_rules_broken": figure(errors, "rules", 0, at_most=True)}


def main() -> int:
    """Measure, print, write."""
    from exporters.datasets import read_chips
    from exporters.measure import machine_name

    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--data", type=Path, default=DATA, help="EuroSAT subset; without it INT8 and flips are left out"
    )
    options.add_argument("--flips", type=int, default=1000)
    options.add_argument("--rounds", type=int, default=40, help="of fresh sessions, graph speed")
    options.add_argument("--only", nargs="+", choices=["graph", "int8", "flips"], help="parts to measure anew")
    given = options.parse_args()
    figures = {**cold_figures(), **lint_figures()}
    if (given.data / "classes.txt").is_file():
        cache = REPO / "build" / "chips"
        test, train = (read_chips(given.data, split, cache=cache) for split in ("test", "train"))
        tiles = np.ascontiguousarray(test.pixels[:BATCH])
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "graph": lambda: graph_figures(tiles, given.rounds),
            "int8": lambda: int8_figures(tiles, train, test),
            "flips": lambda: flip_figures(test, given.flips),
        }
        for name, measure in parts.items():
            if name in (given.only or parts):
                figures |= measure()
    else:
        print(f"no EuroSAT subset in {given.data}: INT8, graphs and flips are left out", file=sys.stderr)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=REPO).stdout.strip()
    result = {
        "machine": f"{machine_name()}, Python {platform.python_version()}",
        "commit": commit,
        "figures": figures,
    }
    target = REPO / "build" / "bench" / "export.json"
    if given.only and target.is_file():  # the rest stays as it was measured
        result["figures"] = figures = {**json.loads(target.read_text(encoding="utf-8"))["figures"], **figures}
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for name, row in figures.items():
        mark = {True: "met", False: "MISSED", None: ""}[row["met"]]
        mark += " ({:.4f} to {:.4f})".format(*row["ci95"]) if "ci95" in row else ""
        print(
            f"{name:<48} {row['value']:>10.4g} {row['unit']:<8} {'' if row['bar'] is None else row['bar']!s:>6} {mark}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
