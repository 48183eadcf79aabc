"""Vehicles in aerial pictures: SSCDH beside YOLOv5n, from all pictures and from those of one licence alone.

A part of ``zoo_sscdh.py`` (``--only vehicles``). The training pictures of the aerial cars teach, whole pictures of
them are held back and choose the epoch, the 14 test pictures of two other sequences are looked at at the end, whole:
cut into tiles, and what is found merged, as the runtime does it.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

KIT = "*MOS*"
"""The pictures of the KIT AIS data set, CC BY 3.0; the others are CC BY-SA."""
COMMON: dict[str, Any] = {
    "edge_px": 256,
    "tile_px": 256,
    "batch": 8,
    "one_class": "vehicle",
    "flip": 0.5,
    "gsd_range_m": [0.04, 0.2],
    "lr": 2e-3,
    "precision": "bf16",
    "threads": 1,
}
RECIPES: dict[str, dict[str, Any]] = {
    "all": {"turns_deg": [0, 90], "empty_frac": 0.3, "epochs": 26, "licence": "CC-BY-SA-4.0"},
    "turned": {"turns_deg": [0, 30, 60, 90], "empty_frac": 0.5, "epochs": 9, "licence": "CC-BY-SA-4.0"},
    "kit": {
        "pictures": KIT,
        "zooms": [1, 2],
        "turns_deg": [0, 30, 60, 90],
        "empty_frac": 0.5,
        "epochs": 5,
        "licence": "CC-BY-3.0",
    },
}
"""1,100 to 1,300 steps each. The KIT pictures show cars of 38 px along two streets, the others of 75: what learns from
the former alone sees them turned, and twice as large too."""
OVERLAP_PX = 128
"""Of neighbouring tiles when whole pictures are looked at: wider than all cars."""
LEAST_SCORE, MIN_SCORE = 0.001, 0.5
"""Boxes below are not scored; boxes below are not shown by the package."""
RUNS = [("all", network, seed) for seed in (0, 1, 2) for network in ("sscdh", "yolov5n")] + [
    (recipe, "sscdh", 0) for recipe in ("turned", "kit")
]
METRICS = ("ap50", "ap50_95", "ap_small", "ap_medium", "ap_large", "precision", "recall", "f1", "threshold")


def train(out: Path, data: Path, recipe: str, network: str, seed: int) -> dict[str, Any]:
    """One run, gone on with where it stopped; its record."""
    from exporters.fit import fit_network

    record = out / "bench.json"
    if record.is_file():
        found: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        return found
    begin_s = time.process_time()
    settings = {**COMMON, **RECIPES[recipe]}
    resume = (out / "last.pt").is_file()
    fit = fit_network(network, data, out, size="edge", seed=seed, resume=resume, progress=print, **settings)
    found = {
        "recipe": recipe,
        "network": network,
        "seed": seed,
        "epoch": fit.epoch,
        "validation": dict(fit.validation),
        "test_tiles": dict(fit.test),
        "cpu_s": round(time.process_time() - begin_s, 1),
    }
    record.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def answers_on(pictures: Any, answer: Any) -> list[Any]:
    """(k, 6) boxes of each whole picture: cut with ``OVERLAP_PX``, answered tile by tile, merged by the runtime."""
    from runtime.tasks.boxes import Boxes, Overlap, suppress
    from runtime.tiles import tile_grid

    edge, found = COMMON["edge_px"], []
    for place in range(len(pictures)):
        pixels = pictures.pixels(place)
        rows, columns = pixels.shape[1:]
        refs = [window.ref for window in tile_grid(columns, rows, edge, OVERLAP_PX)]
        tiles = np.stack([pixels[:, ref.row_px : ref.row_px + edge, ref.col_px : ref.col_px + edge] for ref in refs])
        parts = [in_frame(raw, ref, rows, columns) for raw, ref in zip(answer(tiles), refs, strict=True)]
        boxes = Boxes.together(parts)
        kept = boxes.take(suppress(boxes, Overlap()))
        found.append(np.column_stack([kept.sides_px, kept.score, kept.class_id]))
    return found


def in_frame(raw: Any, ref: Any, rows: int, columns: int) -> Any:
    """One tile's (k, 6) answers in the pixels of its picture, marked where an inner border of the tile cuts them."""
    from runtime.tasks.boxes import Boxes

    raw = raw[raw[:, 4] >= LEAST_SCORE].astype(np.float64)
    edge, place = ref.edge_px, np.array([ref.col_px, ref.row_px])
    local = np.clip(raw[:, :4], 0.0, edge)
    before, after = place > 0, place + edge < np.array([columns, rows])
    cut = ((local[:, :2] < 1.0) & before | (local[:, 2:] > edge - 1.0) & after).any(1)
    sides = local + np.tile(place, 2)
    real = (sides[:, 2] > sides[:, 0]) & (sides[:, 3] > sides[:, 1])
    kinds, tile_px = raw[:, 5].astype(np.int64), np.tile([ref.row_px, ref.col_px], (len(raw), 1))
    return Boxes(sides, raw[:, 4], kinds, tile_px, cut).take(real)


def scores(found: list[Any], pictures: Any) -> dict[str, Any]:
    """Figures of all pictures, and of each of the two kinds, which are two sequences."""
    from exporters.metrics.boxes import overlaps
    from exporters.metrics.detection import score_detections

    def of(places: list[int]) -> dict[str, float]:
        ours, truth = [found[at] for at in places], [pictures.boxes[at] for at in places]
        table = score_detections(ours, truth, [pictures.labels[at] for at in places], classes=1).as_dict()
        shown = [one[one[:, 4] >= MIN_SCORE] for one in ours]
        kept = score_detections(shown, truth, [pictures.labels[at] for at in places], classes=1)
        pairs = zip(shown, truth, strict=True)
        right = sum(int((overlaps(one, boxes) > 0.5).any(0).sum()) for one, boxes in pairs)
        count = max(sum(map(len, shown)), 1)
        operating = {"precision_at_0.5": right / count, "recall_at_0.5": right / max(kept.boxes, 1)}
        return {**{key: table[key] for key in METRICS}, **operating, "pictures": len(places), "boxes": kept.boxes}

    kit = [at for at, image in enumerate(pictures.images) if "MOS" in Path(image).name]
    others = [at for at in range(len(pictures)) if at not in kit]
    return {"all": of(list(range(len(pictures)))), "KIT AIS, MOS": of(kit), "DJI-00760": of(others)}


def test_pictures(data: Path) -> Any:
    """The test pictures, whole, all vehicles as one class."""
    from exporters.courses.detection_course import Reading

    return Reading(one_class=COMMON["one_class"]).read(data, "test")


def scored(checkpoint: Path, pictures: Any) -> dict[str, Any]:
    """Figures of trained weights on whole pictures."""
    from exporters.checkpoint import load_checkpoint
    from exporters.courses.detection import answer_of
    from exporters.zoo.sscdh import SSCDH
    from exporters.zoo.sscdh_decode import Deployed

    network = load_checkpoint(checkpoint).build()
    assert isinstance(network, SSCDH)
    return scores(answers_on(pictures, answer_of(Deployed(network, COMMON["edge_px"]).eval())), pictures)


def blobs(pictures: Any) -> list[Any]:
    """What needs no learning: groups of pixels that stand out from the ground around them, bright or dark.

    Its settings are the best of 12 on six training pictures (AP50 0.164 there).
    """
    from exporters.baselines.cfar import CfarSettings, detect

    settings = CfarSettings(guard_px=50, ring_px=100, false_alarm_frac=0.15, min_area_px=150, max_side_px=130)
    found = []
    for place in range(len(pictures)):
        grey = pictures.pixels(place).mean(0)
        found.append(detect(np.abs(grey - np.median(grey)), settings))
    return found


def vehicles(data: Path, out: Path, *, finished: bool = False) -> dict[str, Any]:
    """Train what is missing, score every run on whole test pictures; of what is ``finished`` alone where told."""
    pictures, runs = test_pictures(data), []
    for recipe, network, seed in RUNS:
        place = out / f"{recipe}-{network}-seed{seed}"
        if finished and not (place / "bench.json").is_file():
            continue
        found = train(place, data, recipe, network, seed)
        if "test" not in found:
            found |= {"test": scored(place / "best.pt", pictures)}
            (place / "bench.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        runs.append(found)
    return {
        "test": "14 whole pictures of two sequences that taught nothing, tiles of 256 px that share "
        f"{OVERLAP_PX} px, merged by the runtime",
        "common": COMMON,
        "recipes": RECIPES,
        "summary": summed(runs),
        "not learned": scores(blobs(pictures), pictures),
        "runs": runs,
    }


def summed(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and 95 % interval over the seeds, by recipe and network, then by sequence."""
    from reporting import interval

    keys = ("ap50", "ap50_95", "precision_at_0.5", "recall_at_0.5")
    table: dict[str, Any] = {}
    for name in dict.fromkeys(f"{run['network']}, {run['recipe']}" for run in runs):
        mine = [run for run in runs if f"{run['network']}, {run['recipe']}" == name]
        table[name] = {"cpu_s": sum(run["cpu_s"] for run in mine), "seeds": len(mine)}
        for sequence in mine[0]["test"]:
            table[name][sequence] = {key: interval([run["test"][sequence][key] for run in mine]) for key in keys}
    return table
