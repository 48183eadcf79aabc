"""SSCDH beside YOLOv5n and a CA-CFAR detector on the same test images of SSDD: `make bench-zoo-sscdh`.

Trains every variant with one recipe, three seeds for the full network and the baseline, one for each single addition;
a finished run is not repeated. Checks overfitting and export parity at the published size. Writes
``benchmarks/results/zoo-sscdh.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from reporting import REPO, cached, measured_by, write_result
from zoo_sscdh_vehicles import vehicles

OUT = REPO / "build" / "zoo" / "sscdh"
RESULT = REPO / "benchmarks" / "results" / "zoo-sscdh.json"
BASE = {"attention": False, "head": "coupled", "box_loss": "ciou"}
VARIANTS: dict[str, dict[str, Any]] = {
    "sscdh": {},
    "yolov5n": BASE,
    "yolov5n + wiou": {**BASE, "box_loss": "wise"},
    "yolov5n + sa": {**BASE, "attention": True},
    "yolov5n + head": {**BASE, "head": "context"},
    "sscdh, plain head": {"head": "plain"},
}
RUNS = [(name, seed) for seed in (0, 1, 2) for name in ("sscdh", "yolov5n")]
RUNS += [(name, 0) for name in list(VARIANTS)[2:]]
METRICS = ("ap50", "ap50_95", "ap_small", "ap_medium", "precision", "recall", "f1")
STUDENT_95 = {1: 12.706, 2: 4.303}
"""Two-sided 95 % quantile of Student's t by degrees of freedom."""


def folder(name: str, seed: int) -> Path:
    """Where a run leaves its files."""
    return OUT / f"{name.replace(' ', '').replace(',', '-')}-seed{seed}"


def train(name: str, seed: int, args: argparse.Namespace) -> None:
    """One run, unless it is finished."""
    from exporters.courses.sscdh import course
    from exporters.training.loop import fit_course
    from exporters.training.training import Training

    out = folder(name, seed)
    if (out / "bench.json").is_file():
        return
    import torch

    torch.set_flush_denormal(True)
    made = course(args.data, size="edge", seed=seed, edge_px=args.edge, batch=args.batch, **VARIANTS[name])
    training = Training(
        epochs=args.epochs, seed=seed, lr=2e-3, weight_decay=0.05, precision=args.precision, threads=1, ema_decay=0.99
    )
    begin_s = time.process_time()
    found = fit_course(made, training, out, resume=(out / "last.pt").is_file(), progress=print)
    kept = {
        "variant": name,
        "seed": seed,
        "epoch": found.epoch,
        "validation": dict(found.validation),
        "test": dict(found.test),
        "cpu_s": round(time.process_time() - begin_s, 1),
        "epochs": args.epochs,
        "edge_px": args.edge,
        "batch": args.batch,
        "switches": {**VARIANTS[name], **{k: v for k, v in made.switches.items() if k == "anchors_px"}},
    }
    (out / "bench.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def auair(args: argparse.Namespace) -> dict[str, Any]:
    """SSCDH and its baseline on the AU-AIR subset: 50 frames of five flights to learn, 20 of two others to test."""
    from exporters.courses.sscdh import course
    from exporters.training.loop import fit_course
    from exporters.training.training import Training

    data = args.data.parent / "au-air-uav-subset"
    settings: dict[str, Any] = {"tile_px": 540, "one_class": "road user", "edge_px": args.edge, "batch": args.batch}
    training = Training(
        epochs=40, seed=0, lr=2e-3, weight_decay=0.05, precision=args.precision, threads=1, ema_decay=0.99
    )
    found: dict[str, Any] = {"settings": settings, "epochs": training.epochs, "seed": 0}
    for name in ("sscdh", "yolov5n"):
        made = course(data, size="edge", seed=0, **settings, **VARIANTS[name])
        out, begin_s = OUT / f"auair-{name}", time.process_time()
        result = fit_course(made, training, out, resume=(out / "last.pt").is_file(), progress=print)
        found |= {"train_tiles": len(made.fitted), "held_tiles": len(made.held)}
        found[name] = {"epoch": result.epoch, "validation": dict(result.validation), "test": dict(result.test)}
        found[name]["cpu_s"] = round(time.process_time() - begin_s, 1)
    return found


def cfar(args: argparse.Namespace) -> dict[str, float]:
    """The CA-CFAR detector on the same test images, at their full size."""
    from exporters.baselines.cfar import detect
    from exporters.metrics.detection import score_detections
    from exporters.readers.detection_formats import read_detections

    test = read_detections(args.data, "test")
    found = [detect(test.pixels(i)[0]) for i in range(len(test))]
    return score_detections(found, test.boxes, test.labels, classes=1).as_dict()


def chips(count: int = 8, edge_px: int = 256, ships: int = 5) -> list[Any]:
    """Noise 0..0.25 with bright ellipses of 8 to 38 px that do not overlap."""
    from exporters.metrics.boxes import overlaps

    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:edge_px, :edge_px] + 0.5
    made = []
    for _ in range(count):
        picture, boxes = rng.uniform(0.0, 0.25, (edge_px, edge_px)), np.zeros((0, 4))
        while len(boxes) < ships:
            w, h = rng.uniform(8, 38, 2)
            cx, cy = rng.uniform(w / 2, edge_px - w / 2), rng.uniform(h / 2, edge_px - h / 2)
            box = np.array([[cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]])
            if len(boxes) and overlaps(box, boxes).max() > 0:
                continue
            boxes = np.vstack([boxes, box])
            inside = ((columns - cx) / (w / 2)) ** 2 + ((rows - cy) / (h / 2)) ** 2 <= 1.0
            picture[inside] = rng.uniform(0.7, 1.0)
        pixels = np.repeat((picture * 255).astype(np.uint8)[None], 3, axis=0)
        made.append((pixels, boxes.astype(np.float32), np.zeros(ships, np.int64)))
    return made


def overfit(steps: int) -> dict[str, Any]:
    """Card 01, acceptance check 7: eight chips by heart at the published size."""
    import torch

    from exporters.courses.detection import answer_of, as_batch
    from exporters.metrics.boxes import overlaps, suppress
    from exporters.metrics.detection import score_detections
    from exporters.zoo.sscdh import SSCDH
    from exporters.zoo.sscdh_decode import Deployed
    from exporters.zoo.sscdh_loss import detection_loss

    torch.manual_seed(0)
    views = chips()
    batch, network, losses = as_batch(views), SSCDH().train(), []
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        loss = detection_loss(network, network(batch["image"].float() / 255), batch["targets"], edge_px=256)["loss"]
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
    answers = answer_of(Deployed(network.eval(), 256).eval())(batch["image"].numpy())
    kept = [suppress(one, min_score=0.25, max_overlap=0.45) for one in answers]
    right = sum(
        int((overlaps(one, boxes).max(0) > 0.5).sum())
        for one, (_, boxes, _) in zip(kept, views, strict=True)
        if len(one)
    )
    scored = [suppress(one, min_score=0.001, max_overlap=0.6) for one in answers]
    ap50 = score_detections(scored, [v[1] for v in views], [v[2] for v in views], classes=1).ap50
    false = sum(map(len, kept)) - right
    met = right >= 38 and false <= 2
    return {"steps": steps, "loss": [losses[0], losses[-1]], "right": right, "false": false, "ap50": ap50, "met": met}


def parity(network: Any, tiles: Any, what: str) -> dict[str, Any]:
    """Largest difference between torch and ONNX Runtime, equal scores in any order."""
    import torch

    from exporters import graph
    from exporters.metrics.boxes import paired_difference
    from exporters.onnx_cpu import inferrer
    from exporters.zoo.sscdh_decode import Deployed

    edge = int(tiles.shape[2])
    deployed = Deployed(network, edge).eval()
    model = graph.simplify(graph.trace(graph.fuse_batch_norms(deployed), edge_px=edge, bands=3))
    theirs = inferrer(model.SerializeToString(), batch=4)(tiles)
    with torch.inference_mode():
        ours = np.concatenate([deployed(part).numpy() for part in torch.split(torch.from_numpy(tiles), 4)])
    apart = [paired_difference(one, other) for one, other in zip(ours, theirs, strict=True)]
    px, score = (max(pair[axis] for pair in apart) for axis in (0, 1))
    operations = sorted({node.op_type for node in model.graph.node})
    met = px <= 1e-3 and score <= 1e-5
    return {
        "what": what,
        "edge_px": edge,
        "tiles": len(tiles),
        "box_px": px,
        "score": score,
        "met": met,
        "ops": operations,
    }


def speed(network: Any, edge_px: int) -> float:
    """Tiles a CPU-second of one thread under ONNX Runtime, batch 1, median of 30."""
    from exporters import graph
    from exporters.onnx_cpu import inferrer
    from exporters.zoo.sscdh_decode import Deployed

    deployed = graph.fuse_batch_norms(Deployed(network, edge_px).eval())
    infer = inferrer(graph.simplify(graph.trace(deployed, edge_px=edge_px, bands=3)).SerializeToString(), batch=1)
    tile, taken = np.zeros((1, 3, edge_px, edge_px), np.uint8), []
    for _ in range(35):
        begin_s = time.process_time()
        infer(tile)
        taken.append(time.process_time() - begin_s)
    return 1.0 / float(np.median(taken[5:]))


def checks(args: argparse.Namespace) -> dict[str, Any]:
    """What does not depend on the trained variants, and the parity and speed of the one that ships."""
    import torch

    from exporters.checkpoint import load_checkpoint
    from exporters.courses.sscdh import course
    from exporters.registry import build_network

    torch.manual_seed(0)
    edge = load_checkpoint(folder("sscdh", 0) / "best.pt").build().eval()
    plain = load_checkpoint(folder("yolov5n", 0) / "best.pt").build().eval()
    tiles = course(args.data, size="edge", seed=0, edge_px=args.edge).tiles("test").pixels
    large = course(args.data, size="edge", seed=0, edge_px=640).tiles("test").pixels[:4]
    published = build_network("sscdh").eval()
    return {
        "parity": [
            parity(edge, tiles, "edge, trained, SSDD test"),
            parity(published, tiles[:8], "published size, fresh weights"),
            parity(published, large, "published size, fresh weights"),
        ],
        "tiles_per_cpu_s": {"sscdh edge": speed(edge, args.edge), "yolov5n edge": speed(plain, args.edge)},
    }


def spread(values: list[float]) -> dict[str, Any]:
    """Mean, and the half-width of its 95 % interval over the seeds."""
    half = STUDENT_95[len(values) - 1] * float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "ci95_half": half, "seeds": values}


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures by variant, and what each has over the baseline of its seeds."""
    base = {run["seed"]: run["test"] for run in runs if run["variant"] == "yolov5n"}
    table: dict[str, Any] = {}
    for name in VARIANTS:
        mine = [run for run in runs if run["variant"] == name]
        if mine:
            paired = [run for run in mine if run["seed"] in base and name != "yolov5n"]
            table[name] = {
                **{key: spread([run["test"][key] for run in mine]) for key in METRICS},
                "over_yolov5n": {
                    key: spread([run["test"][key] - base[run["seed"]][key] for run in paired])
                    for key in ("ap50", "ap50_95")
                    if paired
                },
                "cpu_s": sum(run["cpu_s"] for run in mine),
            }
    return table


def main() -> int:
    """Train what is missing, score, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=REPO.parent / "shared" / "data" / "ssdd-sar-ships")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--edge", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=320, help="of the overfit check")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument(
        "--only", help="one run, as VARIANT:SEED, or 'cfar', 'overfit', 'checks', 'auair', 'vehicles'; writes no result"
    )
    parser.add_argument("--report", action="store_true", help="write the result of what is finished, train nothing")
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    import torch

    torch.set_num_threads(1)
    parts = {
        "cfar": lambda: cfar(args),
        "overfit": lambda: overfit(args.steps),
        "checks": lambda: checks(args),
        "auair": lambda: auair(args),
        "vehicles": lambda: vehicles(args.data.parent / "aerial-cars", OUT / "vehicles", finished=args.report),
    }
    if args.only in parts:
        print(json.dumps(cached(OUT / f"{args.only}.json", parts[args.only])))
        return 0
    if args.report:
        paths = {name: OUT / f"{name}.json" for name in parts}
        write({name: cached(path, parts[name]) for name, path in paths.items() if path.is_file()}, args)
        return 0
    wanted = [(args.only.rpartition(":")[0], int(args.only.rpartition(":")[2]))] if args.only else RUNS
    for name, seed in wanted:
        train(name, seed, args)
    if not args.only:
        write({name: cached(OUT / f"{name}.json", make) for name, make in parts.items()}, args)
    return 0


def write(parts: dict[str, Any], args: argparse.Namespace) -> None:
    """The result, as a file and a table."""
    paths = [folder(name, seed) / "bench.json" for name, seed in RUNS]
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]
    table = {
        **measured_by("make bench-zoo-sscdh"),
        "recipe": f"SSDD subset, 301 train, 43 held back, 116 test; edge width 0.125, {args.edge} px, batch "
        f"{args.batch}, {args.epochs} epochs, AdamW 2e-3 one-cycle, weight decay 0.05, EMA 0.99, {args.precision}; "
        "mosaic 1.0, scale 0.5, translate 0.1, mirror 0.5, value 0.4; the epoch is chosen by AP50-95 on what is held "
        "back",
        "variants": summary(runs),
        **parts,
        "runs": runs,
    }
    write_result(RESULT, table)
    for name, row in table["variants"].items():
        figures = "  ".join(
            f"{key} {row[key]['mean']:.3f}" + (f" ± {row[key]['ci95_half']:.3f}" if row[key]["ci95_half"] else "")
            for key in ("ap50", "ap50_95", "f1")
        )
        print(f"{name:<20} {figures}")
    print(f"{'CA-CFAR':<20} ap50 {parts['cfar']['ap50']:.3f}  ap50_95 {parts['cfar']['ap50_95']:.3f}")


if __name__ == "__main__":
    sys.exit(main())
