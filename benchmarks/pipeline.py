"""The pipeline beside a bare engine and beside SAHI: `make bench-pipeline` writes build/bench/pipeline.json.

Times are CPU seconds of this process, so that other work on the machine changes them little; pairs are measured in
turn, and the median of their ratios counts. Memory is measured in processes of their own.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pipeline_parts import (
    OUT,
    Recorded,
    Waiting,
    at_once,
    cpu_s,
    mobilenet,
    package_of,
    scene,
    session,
    wall_s,
)
from reporting import Figure, figure, publish
from sahi_peer import sahi_model, sahi_run
from spot_detector import spot_detector

from exporters.package import ModelPackage
from runtime.engines.onnx_runtime import OnnxEngine
from runtime.frames import open_frame
from runtime.pipeline.scene import Cutting, grid_for, run_scene
from runtime.pipeline.sinks import BoxSink, LabelSink
from runtime.tasks import Boxes, Classifier, Detector, Overlap, suppress
from runtime.tiles import cut

Figures = dict[str, Figure]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", help="one of " + ", ".join(PARTS))
    parser.add_argument("--child", nargs=3, metavar=("KIND", "SCENE", "EDGE"), help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="leave out the 40,000 x 40,000 scene (3.2 GB on disk)")
    given = parser.parse_args()
    if given.child:
        print(json.dumps(child(*given.child)))
        return
    OUT.mkdir(parents=True, exist_ok=True)
    target = OUT / "pipeline.json"
    kept = json.loads(target.read_text())["figures"] if given.only and target.is_file() else {}
    figures: Figures = dict(kept)
    for name, part in PARTS.items():
        if given.only in (None, name) and not (given.quick and name == "huge"):
            figures |= part()
    publish(target, figures)


# P7


def sink_of(package: ModelPackage, engine: Any, frame: Any, overlap: Overlap | None = None) -> LabelSink | BoxSink:
    """A sink into memory that is thrown away."""
    if package.info.output.kind == "boxes":
        return BoxSink(io.StringIO(), frame, Detector(engine=engine, package=package, overlap=overlap or Overlap()))
    return LabelSink(io.StringIO(), frame, Classifier(engine=engine, package=package))


def run(package: ModelPackage, engine: Any, path: Path, **cutting: Any) -> BoxSink | LabelSink:
    """A scene from the file to features, in one thread unless told otherwise."""
    with open_frame(path) as frame:
        sink = sink_of(package, engine, frame)
        run_scene(frame, package, engine, sink, Cutting(**{"ahead_batch": 0, **cutting}))
    return sink


def throughput(edge_px: int, graph: bytes, repeats: int) -> tuple[float, float]:
    """Share of the bare loop's tiles per CPU second that the pipeline reaches, and the bare loop's tiles/s."""
    package = package_of(Path(), "probabilities", edge_px, tuple("abcdefghij"), 0.0)
    path = scene("p7-3000", 3000, 3000)
    running = session(graph)
    engine = OnnxEngine(running, "bench", "cpu", (3, edge_px, edge_px))
    with open_frame(path) as frame:
        grid = grid_for(frame, package, 0)
        tiles = [batch.pixels.copy() for batch in cut(frame, (w.ref for w in grid), (0, 1, 2), batch=32)]
    feed = running.get_inputs()[0].name
    ratios, bare = [], []
    for _ in range(repeats):
        bare.append(cpu_s(lambda: [running.run(None, {feed: batch}) for batch in tiles]))
        ratios.append(bare[-1] / cpu_s(lambda: run(package, engine, path)))
    return statistics.median(ratios), len(grid) / min(bare)


def p7() -> Figures:
    """P7: against a bare loop, and what each tile costs beside inference."""
    wide, wide_rate = throughput(224, mobilenet(224), 5)
    small, small_rate = throughput(64, mobilenet(64), 5)
    found = {
        "P7 tiles/s share at 224 px": figure(
            wide, "of bare session.run", at_least=0.95, peer=("bare tiles/CPU-s", wide_rate)
        ),
        "tiles/s share at 64 px": figure(small, "of bare session.run", peer=("bare tiles/CPU-s", small_rate)),
    }
    for edge_px, tiled, bar in ((224, True, 100.0), (224, False, None), (64, False, None)):
        path = scene("p7-3000-tiled", 3000, 3000, tiled=True) if tiled else scene("p7-3000", 3000, 3000)
        package = package_of(Path(), "boxes", edge_px, ("spot",), 0.5)
        rng = np.random.default_rng(3)
        answers = np.zeros((32, 16, 6), np.float32)
        corner = rng.uniform(0, edge_px - 14, (32, 4, 2))
        answers[:, :4, :2], answers[:, :4, 2:4], answers[:, :4, 4] = corner, corner + 12, 0.9
        with open_frame(path) as frame:
            tiles = len(grid_for(frame, package, 0))
        spent = [cpu_s(lambda: run(package, Recorded(answers), path)) for _ in range(15)]  # noqa: B023 - runs at once
        name = f"{'P7 ' if tiled else ''}overhead per tile, {edge_px} px, {'blocks' if tiled else 'strips'}"
        found[name] = figure(
            statistics.median(spent) / tiles * 1e6, "CPU us, 4 boxes each", at_most=bar, peer=("SAHI, published", 76.0)
        )
    return found


# P8


def p8() -> Figures:
    """P8: a 3000 x 3000 scene end to end with one session, beside SAHI; and equal merged detections."""
    edge_px, overlap_frac = 256, 0.25
    path = scene("p7-3000", 3000, 3000)
    running = session(spot_detector(edge_px))
    package = package_of(Path(), "boxes", edge_px, ("spot",), 0.4)
    engine = OnnxEngine(running, "bench", "cpu", (3, edge_px, edge_px))
    peer = sahi_model(running)
    ours: dict[str, Any] = {}
    theirs: dict[str, Any] = {}
    overlap_px = int(edge_px * overlap_frac)

    def run_ours() -> None:
        with open_frame(path) as frame:
            file = io.StringIO()
            task = Detector(engine=engine, package=package, overlap=Overlap(rejoin=False))
            sink = BoxSink(file, frame, task)
            run_scene(frame, package, engine, sink, Cutting(overlap_px=overlap_px, ahead_batch=0))
            sink.close_with("{}")
            ours["features"] = file.getvalue()

    def run_theirs() -> None:
        theirs["boxes"] = sahi_run(path, peer, edge_px, overlap_frac)

    run_ours(), run_theirs()
    ratios, rates = [], []
    with open_frame(path) as frame:
        tiles = len(grid_for(frame, package, overlap_px))
    for _ in range(5):
        ours_s, theirs_s = cpu_s(run_ours), cpu_s(run_theirs)
        ratios.append(theirs_s / ours_s)
        rates.append(tiles / ours_s)
    features = json.loads(ours["features"])["features"]
    mine = sorted(tuple(round(side) for side in f["properties"]["px_bbox"]) for f in features)
    other = sorted(tuple(round(side) for side in box) for box in theirs["boxes"])
    with open_frame(path) as frame:
        refs = (window.ref for window in grid_for(frame, package, overlap_px))
        batches = [batch.pixels.copy() for batch in cut(frame, refs, (0, 1, 2), batch=32)]
    bare_s = min(cpu_s(lambda: [engine.infer(batch) for batch in batches]) for _ in range(3))
    return {
        "P8 speed over SAHI": figure(
            statistics.median(ratios), "x, CPU", at_least=1.3, peer=("our tiles/CPU-s", statistics.median(rates))
        ),
        "P8 merged detections equal": figure(float(mine == other), f"1 if all {len(mine)} are", at_least=1.0),
        "P8 share of the time in session.run": figure(bare_s * statistics.median(rates) / tiles, "of our CPU time"),
    }


# Memory, in processes of their own


def child(kind: str, name: str, edge: str) -> dict[str, float]:
    """Run one scene; the peak above what the loaded and warmed model took."""
    edge_px, path = int(edge), OUT / f"{name}.tif"
    running = session(spot_detector(edge_px) if kind == "boxes" else mobilenet(edge_px))
    engine = OnnxEngine(running, "bench", "cpu", (3, edge_px, edge_px))
    package = package_of(Path(), kind, edge_px, ("spot",) if kind == "boxes" else tuple("abcdefghij"), 0.4)
    bands = ("red", "green", "blue")
    names, limits = ((), None) if name != "huge-40000" else (("red",), (0.0, 51_000.0))
    if names:
        package = replace(package, info=replace(package.info, input=replace(package.info.input, bands=("red",) * 3)))
    for _ in range(3):
        engine.infer(np.zeros((32, len(bands), edge_px, edge_px), np.uint8))
    before_kib = peak_of_process_kib()
    started_s = time.process_time()
    with open_frame(path, band_names=names, value_range=limits) as frame, (OUT / f".{name}.out").open("w") as file:
        task = (
            Detector(engine=engine, package=package) if kind == "boxes" else Classifier(engine=engine, package=package)
        )
        sink = BoxSink(file, frame, task) if isinstance(task, Detector) else LabelSink(file, frame, task)
        tally = run_scene(frame, package, engine, sink, Cutting())
    (OUT / f".{name}.out").unlink()
    peak_kib = peak_of_process_kib()
    return {
        "above_mb": (peak_kib - before_kib) * 1024 / 1e6,
        "tiles": tally.tiles,
        "done": tally.done,
        "cpu_s": time.process_time() - started_s,
    }


def peak_of_process_kib() -> int:
    """Peak resident memory since this program began; ``getrusage`` would carry the parent's over."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


def in_child(kind: str, name: str, edge_px: int) -> dict[str, float]:
    """``child`` in a fresh process."""
    command = [sys.executable, __file__, "--child", kind, name, str(edge_px)]
    told: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return told


def memory() -> Figures:
    """P8's second half: the peak does not grow with the scene."""
    found: Figures = {}
    for height in (3_000, 30_000):
        scene(f"memory-{height}", height, 3_000)
        for kind in ("boxes", "probabilities"):
            told = in_child(kind, f"memory-{height}", 224)
            name = "detector" if kind == "boxes" else "MobileNetV3-Large"
            found[f"peak above the model, {height} lines, {name}"] = figure(told["above_mb"], "MB", at_most=300.0)
        (OUT / f"memory-{height}.tif").unlink()
    return found


def huge() -> Figures:
    """40,000 x 40,000 striped pixels of 16 bits, made here, 3.2 GB."""
    path = scene("huge-40000", 40_000, 40_000, dtype="uint16", bands=1)
    told = in_child("boxes", "huge-40000", 256)
    path.unlink()
    return {
        "40,000 x 40,000, 16 bit: peak above the model": figure(told["above_mb"], "MB", at_most=300.0),
        "40,000 x 40,000, 16 bit: tiles done": figure(told["done"], f"of {told['tiles']:.0f}", at_least=told["tiles"]),
        "40,000 x 40,000, 16 bit: time": figure(told["cpu_s"], "CPU s"),
    }


# P9 and two cores


def p9() -> Figures:
    """P9: 33,337 crowded boxes, beside SAHI's merge and brute force."""
    from sahi.postprocess.combine import nms

    rng = np.random.default_rng(9)
    count = 33_337
    centre, size = rng.uniform(0, 3000, (count, 2)), rng.uniform(20, 60, (count, 2))
    sides = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
    zeros = np.zeros(count, dtype=np.int64)
    boxes = Boxes(sides, rng.uniform(0, 1, count), zeros, np.zeros((count, 2), np.int64), zeros.astype(bool))
    table = np.column_stack([sides, boxes.score, zeros])
    pairs = [(cpu_s(lambda: suppress(boxes, Overlap())), cpu_s(lambda: nms(table, "IOU", 0.5))) for _ in range(7)]
    ours, theirs = (statistics.median(pair) for pair in zip(*pairs, strict=True))
    kept = set(suppress(boxes, Overlap()).tolist())
    equal = kept == brute_force(boxes)
    return {
        "P9 merge time over SAHI's": figure(
            statistics.median(a / b for a, b in pairs),
            f"x ({ours * 1e3:.0f} ms)",
            at_most=1.5,
            peer=("SAHI ms", theirs * 1e3),
        ),
        "P9 keep set of brute force": figure(float(equal), f"1 if all {len(kept)} are", at_least=1.0),
    }


def brute_force(boxes: Boxes) -> set[int]:
    """The plain loop: each box against all that are left."""
    left, top, right, bottom = boxes.sides_px.T
    area, alive, kept = (right - left) * (bottom - top), np.ones(len(boxes), bool), set[int]()
    for i in np.lexsort((bottom, right, top, left, -boxes.score)).tolist():
        if not alive[i]:
            continue
        kept.add(i)
        wide = np.minimum(right, right[i]) - np.maximum(left, left[i])
        high = np.minimum(bottom, bottom[i]) - np.maximum(top, top[i])
        shared = np.maximum(wide, 0) * np.maximum(high, 0)
        alive &= ~((shared >= 0.5 * (area + area[i] - shared)) & (shared > 0))
    return kept


def two_cores() -> Figures:
    """Two threads over one, wall time; on a busy machine beside what two bare threads gain at the same moment."""
    path = scene("p7-3000", 3000, 3000)
    package = package_of(Path(), "probabilities", 224, tuple("abcdefghij"), 0.0)
    running = session(mobilenet(224))
    engine = OnnxEngine(running, "bench", "cpu", (3, 224, 224))
    tiles = np.zeros((8, 3, 224, 224), np.uint8)

    def ours(workers: int, other: Any = engine) -> float:
        return wall_s(lambda: run(package, other, path, workers=workers, batch=8, ahead_batch=2))

    def bare(threads: int) -> float:
        def work() -> None:
            for _ in range(24 // threads):
                running.run(None, {"tiles": tiles})

        return wall_s(lambda: at_once(work, threads))

    bare(1), ours(1)
    rounds = [(ours(1), ours(2), bare(1), bare(2)) for _ in range(7)]
    our_one, our_two, bare_one, bare_two = (min(column) for column in zip(*rounds, strict=True))
    cost = statistics.median(cpu_s(lambda: ours(2)) / cpu_s(lambda: ours(1)) for _ in range(5))
    bare_cost = statistics.median(cpu_s(lambda: bare(2)) / cpu_s(lambda: bare(1)) for _ in range(5))
    free = min(ours(1, Waiting()) for _ in range(3)) / min(ours(2, Waiting()) for _ in range(3))
    gain, peer_gain = our_one / our_two, bare_one / bare_two
    load = os.getloadavg()[0]
    return {
        "two cores over one": figure(
            gain, f"x, wall, load {load:.1f}", at_least=1.8, peer=("two bare threads", peer_gain)
        ),
        "two cores, share of two bare threads' gain": figure(gain / peer_gain, "x", at_least=0.9),
        "CPU time of two threads over one": figure(cost, "x", peer=("two bare threads over one", bare_cost)),
        "two engines over one, at 4 ms a tile": figure(free, "x, wall, engines that wait", at_least=1.8),
    }


PARTS: dict[str, Callable[[], Figures]] = {
    "p7": p7,
    "p8": p8,
    "p9": p9,
    "two_cores": two_cores,
    "memory": memory,
    "huge": huge,
}


if __name__ == "__main__":
    main()
