"""VMC-DETR beside RT-DETR-R18 on the same aircraft: `make bench-zoo-vmc-detr`.

Trains both at edge width with one recipe; a finished run is not repeated. Checks what the published size must hold:
counts, eight pictures by heart, parity of the graph. Writes ``benchmarks/results/zoo-vmc-detr.json``.
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

OUT = REPO / "build" / "zoo" / "vmc-detr-128"
RESULT = REPO / "benchmarks" / "results" / "zoo-vmc-detr.json"
DATA = REPO.parent / "shared" / "data" / "gdit-aerial-airport"
VARIANTS: dict[str, dict[str, Any]] = {
    "vmc_detr": {},
    "rtdetr_r18": {"network": "rtdetr_r18"},
    "rtdetr_r18 + vheat": {"network": "rtdetr_r18", "backbone": "vheat"},
    "rtdetr_r18 + cagfm": {"network": "rtdetr_r18", "cagfm": True},
    "rtdetr_r18 + mfadm": {"network": "rtdetr_r18", "mfadm": True},
    "rtdetr_r18 + c2f": {"network": "rtdetr_r18", "backbone": "c2f"},
    "vmc_detr - mfadm": {"mfadm": False},
    "vmc_detr - cagfm": {"cagfm": False},
    "vmc_detr - vheat": {"backbone": "r18"},
}
RUNS = [f"{name}:0" for name in ("rtdetr_r18", "vmc_detr", *(f"rtdetr_r18 + {m}" for m in ("vheat", "cagfm", "mfadm")))]
"""The two ends, and each module alone on the baseline."""
METRICS = ("ap50", "ap50_95", "ap_small", "precision", "recall", "f1")
LR, WEIGHT_DECAY = 5e-4, 1e-4
QUERIES, COPIES = 150, 50
"""Fewer than the 300 and 100 of the paper, whose layers take most of a step: all variants alike."""
BY_HEART_LR = 1e-3
BY_HEART_PX, BY_HEART_TILE_PX = 96, 150
"""Input of the overfit check, and the tiles that are scaled to it."""


def folder(name: str, seed: int) -> Path:
    """Where a run leaves its files."""
    return OUT / f"{name.replace(' ', '')}-seed{seed}"


def train(name: str, seed: int, args: argparse.Namespace) -> None:
    """One run, unless it is finished."""
    from exporters.courses.vmc_detr import course
    from exporters.training.loop import fit_course
    from exporters.training.training import Training

    out = folder(name, seed)
    if (out / "bench.json").is_file():
        return
    cut = {"edge_px": args.edge, "tile_px": args.tile, "queries": QUERIES, "copies": COPIES}
    made = course(args.data, size="edge", seed=seed, **cut, **VARIANTS[name])
    training = Training(
        epochs=args.epochs,
        seed=seed,
        lr=LR,
        weight_decay=WEIGHT_DECAY,
        warmup_frac=0.15,
        clip_norm=1.0,
        ema_decay=0.98,
        threads=1,
    )
    begin_s = time.process_time()
    found = fit_course(made, training, out, resume=(out / "last.pt").is_file(), progress=print)
    kept = {
        "variant": name,
        "seed": seed,
        "epoch": found.epoch,
        "epochs": args.epochs,
        "steps": args.epochs * made.steps_per_epoch,
        "train_tiles": len(made.fitted),
        "held_tiles": len(made.held),
        "validation": dict(found.validation),
        "test": dict(found.test),
        "cpu_s": round(time.process_time() - begin_s, 1),
        "loss_by_epoch": [round(row["loss"], 3) for row in curve(out)],
    }
    (out / "bench.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def curve(out: Path) -> list[dict[str, float]]:
    """The learning curve of a run."""
    import csv

    with (out / "curve.csv").open(encoding="utf-8", newline="") as lines:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(lines)]


def overfit(args: argparse.Namespace) -> dict[str, Any]:
    """Card 06, acceptance check 7, at edge width: eight real tiles by heart, denoising on, no augmentation."""
    import torch

    from exporters.courses.detection import answer_of, as_batch, letterbox
    from exporters.courses.vmc_detr import NO_SUPPRESSION, course
    from exporters.metrics.boxes import suppress
    from exporters.metrics.detection import score_detections
    from exporters.zoo.vmc_detr import VMCDETR
    from exporters.zoo.vmc_detr_deploy import Deployed
    from exporters.zoo.vmc_detr_loss import detection_loss

    made = course(args.data, size="edge", seed=0, edge_px=BY_HEART_PX, tile_px=BY_HEART_TILE_PX)
    chosen = [one for one in made.fitted if 2 <= len(one.boxes) <= 8][:8]
    framed = [letterbox(one, BY_HEART_PX) for one in chosen]
    views = [(pixels, boxes, one.labels) for one, (pixels, boxes, _) in zip(chosen, framed, strict=True)]
    torch.manual_seed(0)
    network, batch = made.build().train(), as_batch(views)
    assert isinstance(network, VMCDETR)
    optimiser = torch.optim.AdamW(network.parameters(), BY_HEART_LR, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, BY_HEART_LR, args.steps, pct_start=0.15)
    losses, begin_s = [], time.process_time()
    for step in range(args.steps):
        loss = detection_loss(network, batch["image"].float() / 255.0, batch["targets"])["loss"]
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if step % 20 == 0:
            print(f"by heart: step {step} of {args.steps}, loss {losses[-1]:.2f}", flush=True)
    answers = answer_of(Deployed(network.eval()).eval())(batch["image"].numpy())
    kept = [suppress(one, min_score=0.001, max_overlap=NO_SUPPRESSION) for one in answers]
    ap50 = score_detections(kept, [v[1] for v in views], [v[2] for v in views], classes=1).ap50
    share = losses[-1] / losses[0]
    return {
        "steps": args.steps,
        "edge_px": BY_HEART_PX,
        "boxes": sum(len(one[1]) for one in views),
        "loss_first": losses[0],
        "loss_last": losses[-1],
        "loss_share": share,
        "ap50": ap50,
        "met": ap50 >= 0.95 and share < 0.2,
        "cpu_s": round(time.process_time() - begin_s, 1),
    }


def parity(args: argparse.Namespace) -> dict[str, Any]:
    """Largest difference between torch as trained and ONNX Runtime on lowered weights, boxes in any order."""
    import torch

    from exporters import graph
    from exporters.checkpoint import load_checkpoint
    from exporters.courses.vmc_detr import course
    from exporters.metrics.boxes import paired_difference
    from exporters.onnx_cpu import inferrer
    from exporters.zoo.vmc_detr import VMCDETR
    from exporters.zoo.vmc_detr_deploy import Deployed, lower

    tiles = course(args.data, size="edge", seed=0, edge_px=args.edge, tile_px=args.tile).tiles("test").pixels
    tiles = np.ascontiguousarray(tiles[:: max(1, len(tiles) // args.tiles)][: args.tiles])
    network = load_checkpoint(folder("vmc_detr", 0) / "best.pt").build().eval()
    assert isinstance(network, VMCDETR)
    model = graph.simplify(graph.trace(Deployed(lower(network)).eval(), edge_px=args.edge, bands=3))
    theirs = inferrer(model.SerializeToString(), batch=4)(tiles)
    with torch.inference_mode():
        ours = np.concatenate([Deployed(network)(part).numpy() for part in torch.split(torch.from_numpy(tiles), 4)])
    apart = [paired_difference(one, other) for one, other in zip(ours, theirs, strict=True)]
    px, score = (max(pair[axis] for pair in apart) for axis in (0, 1))
    return {
        "what": "edge, trained, test tiles",
        "edge_px": args.edge,
        "tiles": len(tiles),
        "box_frac": px / args.edge,
        "score": score,
        "met": px / args.edge <= 1e-4 and score <= 1e-4,
        "ops": sorted({node.op_type for node in model.graph.node}),
    }


def counts() -> dict[str, Any]:
    """Parameters and GFLOPs at the published size, and what the paper and the card state."""
    import torch

    from exporters.zoo.vmc_detr import VMCDETR, stated_gflops

    plain = {"backbone": "r18", "mfadm": False, "cagfm": False}
    rows: dict[str, dict[str, Any]] = {
        "VMC-DETR, 10 classes": {},
        "plain C2f in place of VHeat C2f": {"backbone": "c2f"},
        "without MFADM": {"mfadm": False},
        "without CAGFM": {"cagfm": False},
        "C2f, RT-DETR's neck": {**plain, "backbone": "c2f"},
        "RT-DETR-R18, 80 classes": {**plain, "classes": 80},
        "RT-DETR-R18, 8 classes": {**plain, "classes": 8},
    }
    table = {}
    with torch.device("meta"):
        for name, switches in rows.items():
            network = VMCDETR(**switches)
            gflops = round(stated_gflops(network, edge_px=640), 2)
            table[name] = {"params": sum(one.numel() for one in network.parameters()), "gflops": gflops}
    return table


def main() -> int:
    """Train what is missing, check, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--edge", type=int, default=128)
    parser.add_argument("--tile", type=int, default=128, help="of the pictures, scaled to --edge")
    parser.add_argument("--steps", type=int, default=300, help="of the overfit check")
    parser.add_argument("--tiles", type=int, default=64, help="of the parity check")
    parser.add_argument("--runs", nargs="*", default=RUNS, help=f"of {list(VARIANTS)}")
    parser.add_argument("--only", help="one run, as VARIANT:SEED, or counts, overfit or parity; or 'write'")
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    parts = {"counts": counts, "overfit": lambda: overfit(args), "parity": lambda: parity(args)}
    if args.only in parts:
        print(json.dumps(cached(OUT / f"{args.only}.json", parts[args.only])))
        return 0
    if args.only != "write":
        for run in [args.only] if args.only else args.runs:
            train(*parted(run), args)
    if args.only is None:
        for name, make in parts.items():
            cached(OUT / f"{name}.json", make)
    if args.only in (None, "write"):
        write(args, list(parts))
    return 0


def parted(run: str) -> tuple[str, int]:
    """Variant and seed of a run written as VARIANT:SEED."""
    name, _, seed = run.rpartition(":")
    return name, int(seed)


def unfinished(out: Path) -> bool:
    """Whether a run was stopped before its last epoch; the same command goes on with it."""
    return not (out / "bench.json").is_file()


def finished(out: Path) -> dict[str, Any]:
    """What a run came to, and how AP50 rose on what is held back."""
    kept: dict[str, Any] = json.loads((out / "bench.json").read_text(encoding="utf-8"))
    return {**kept, "held_ap50_by_epoch": [round(row["val_ap50"], 4) for row in curve(out)]}


def stopped(out: Path) -> dict[str, Any]:
    """What a run that was stopped had come to, on what is held back; its test data was not looked at."""
    rows = curve(out)
    kept = ("epoch", "loss", "class", "box", "giou", "denoising", "val_ap50", "val_ap50_95", "epoch_s")
    return {"run": out.name, "epochs_done": len(rows), "by_epoch": [{key: row[key] for key in kept} for row in rows]}


def write(args: argparse.Namespace, parts: list[str]) -> None:
    """The result of the runs and parts that there are, as a file and a table."""
    runs = [finished(path.parent) for path in sorted(OUT.glob("*/bench.json"))]
    files = {name: OUT / f"{name}.json" for name in parts}
    table = {
        **measured_by("make bench-zoo-vmc-detr"),
        "recipe": f"GDIT airport subset in tiles of {args.tile} px, scaled to {args.edge}; edge width 0.25, batch 8, "
        f"{QUERIES} queries, {COPIES} copies to denoise, "
        f"{args.epochs} epochs, AdamW {LR:g} one-cycle, weight decay {WEIGHT_DECAY:g}, EMA 0.98, clip 1.0, fp32; scale "
        "0.5, translate 0.1, mirror 0.5, HSV 0.015/0.7/0.4; the epoch is chosen by AP50-95 on what is held back",
        **{name: json.loads(path.read_text(encoding="utf-8")) for name, path in files.items() if path.is_file()},
        "not_measured": [name for name, path in files.items() if not path.is_file()],
        "runs": runs,
        "runs_stopped": [stopped(path.parent) for path in sorted(OUT.glob("*/curve.csv")) if unfinished(path.parent)],
        "runs_not_begun": [run for run in args.runs if not (folder(*parted(run)) / "curve.csv").is_file()],
    }
    write_result(RESULT, table)
    for run in runs:
        figures = "  ".join(f"{key} {run['test'].get(key, 0.0):.4f}" for key in METRICS)
        print(f"{run['variant']:<20} seed {run['seed']}  {figures}")


if __name__ == "__main__":
    sys.exit(main())
