"""Hybrid-SegUFormer at edge size on the Bijie pictures, beside a U-Net and a threshold; memory of the published size.

    python benchmarks/zoo_hybrid_segufomer.py --data DATA

The Mexico City interferograms have no masks: there a threshold on the velocity labels the western columns, and the
figures only say whether the network finds the same threshold again in the eastern ones. Runs that are there already are
read, not repeated.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from reporting import interval, trained_by, write_result

from exporters.courses.hybrid_segufomer import RECIPE, course
from exporters.training.loop import fit_course
from exporters.training.training import Training

RESULT = Path(__file__).parent / "results" / "zoo-hybrid-segufomer.json"
BIJIE, MEXICO = "landslide-bijie-samples", "insar-mexico-city"
VARIANTS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "hybrid": (BIJIE, {}, True),
    "u-net": (BIJIE, {"baseline": "unet"}, True),
    "mexico, threshold labels": (MEXICO, {"steps_per_epoch": 8}, True),
    "without distillation": (BIJIE, {"distil": False}, False),
    "convolutional encoder": (BIJIE, {"encoder": "convolution"}, False),
}
"""Data, settings, and whether it is trained with every seed."""
_PEAK = """
import resource, sys, numpy, torch
from exporters.zoo.hybrid_segufomer import HybridSegUFormer
torch.manual_seed(0); torch.set_num_threads(1)
network = HybridSegUFormer(chunk=int(sys.argv[1])).eval()
image = torch.rand(1, 3, 256, 256)
with torch.inference_mode():
    answer = network(image).numpy()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
numpy.save(sys.argv[2], answer)
if len(sys.argv) > 3:
    import warnings, onnxruntime
    warnings.simplefilter("ignore")
    torch.onnx.export(network, (image,), sys.argv[3], dynamo=False, opset_version=18, input_names=["image"])
    session = onnxruntime.InferenceSession(sys.argv[3], providers=["CPUExecutionProvider"])
    other = session.run(None, {"image": image.numpy()})[0]
    print(float(abs(other - answer).max()), float(((other > 0) == (answer > 0)).mean()))
"""
"""Peak memory of a process that answers one tile at published size, and parity of its graph."""


def main() -> None:
    """Train what is missing, measure the memory, print the table, write the result."""
    options = _options()
    runs: dict[str, list[dict[str, float]]] = {}
    for variant, (_, _, every) in VARIANTS.items():
        found = [_trained(options, variant, seed) for seed in (options.seeds if every else options.seeds[:1])]
        if kept := [run for run in found if run is not None]:
            runs[variant] = kept
    _write(options, runs, _memory(options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("build/zoo/hybrid_segufomer"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--no-training", action="store_true", help="only read what is there")
    return parser.parse_args()


def _trained(options: argparse.Namespace, variant: str, seed: int) -> dict[str, float] | None:
    name, settings, _ = VARIANTS[variant]
    out = options.out / f"{variant.replace(' ', '-').replace(',', '')}-{seed}"
    kept = out / "figures.json"
    if kept.is_file():
        stored: dict[str, float] = json.loads(kept.read_text(encoding="utf-8"))
        return stored
    if options.no_training:
        return None
    begin_s = time.process_time()
    made = course(options.data / name, seed=seed, **settings)
    training = Training(**{**RECIPE, "seed": seed, "threads": 1})
    result = fit_course(made, training, out, notes={"course": settings}, progress=print)
    figures = {"seed": seed, "val_f1": result.validation["f1"], **result.test}
    figures["cpu_s"] = round(time.process_time() - begin_s, 1)
    kept.write_text(json.dumps(figures), encoding="utf-8")
    return figures


def _memory(options: argparse.Namespace) -> dict[str, Any]:
    """Largest resident set with the whole matrix of scores and in strips, how far the answers are apart, parity."""
    kept = options.out / "memory.json"
    if kept.is_file() or options.no_training:
        return json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    options.out.mkdir(parents=True, exist_ok=True)
    answers = [options.out / f"answer-{chunk}.npy" for chunk in (0, 1024)]
    whole = _told("0", str(answers[0]))
    strips = _told("1024", str(answers[1]), str(options.out / "published.onnx"))
    one, other = (np.load(path) for path in answers)
    found = {
        "peak_mib_whole": int(whole[0]),
        "peak_mib_strips_of_1024": int(strips[0]),
        "max_abs_between_them": float(np.abs(one - other).max()),
        "max_abs_onnxruntime": float(strips[1]),
        "mask_agreement_onnxruntime": float(strips[2]),
    }
    kept.write_text(json.dumps(found), encoding="utf-8")
    return found


def _told(*arguments: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", _PEAK, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.split()


def _write(options: argparse.Namespace, runs: dict[str, list[dict[str, float]]], memory: dict[str, Any]) -> None:
    summary = {
        variant: {
            key: interval([run[key] for run in found], ci95=0.0, seeds=1)
            for key in found[0]
            if key not in ("seed", "cpu_s")
        }
        for variant, found in runs.items()
    }
    report = {
        **trained_by("python benchmarks/zoo_hybrid_segufomer.py --data DATA"),
        "recipe": {"size": "edge", **RECIPE, "batch": 6, "steps_per_epoch": 12, "edge_px": 96, "shrink": 4},
        "seeds": options.seeds,
        "published_size_at_256_px": memory,
        "runs": runs,
        "summary": summary,
    }
    write_result(RESULT, report)
    for variant, figures in summary.items():
        shown = "  ".join(
            f"{key} {figures[key]['mean']:.3f} ± {figures[key]['ci95']:.3f}"
            for key in ("f1", "iou", "precision", "recall", "threshold-f1")
        )
        print(f"{variant:30s} {shown}", flush=True)


if __name__ == "__main__":
    main()
