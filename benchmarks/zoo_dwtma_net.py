"""DWTMA-Net at edge width: gain on RICE1 over the hazy input and the dark channel, ablations, use to a classifier.

`make bench-zoo-dwtma-net`. Finished trainings are kept in ``build/fit/zoo-dwtma-net`` and not repeated, so the run may
be interrupted and goes on. Writes ``benchmarks/results/zoo-dwtma-net.json``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from reporting import REPO, measure_parts

DATA = REPO.parent / "shared" / "data"
RESULT = REPO / "benchmarks" / "results" / "zoo-dwtma-net.json"
FULL = {"batch": 4, "crop_px": 96, "steps_per_epoch": 80}
ABLATION = {"batch": 4, "crop_px": 64, "steps_per_epoch": 100}
EPOCHS, ABLATION_EPOCHS = 4, 2
LONG, LONG_EPOCHS = {"batch": 8, "crop_px": 96, "steps_per_epoch": 40}, 12
OFF = {"dwb": False, "mab": False, "wdm": False}
ABLATIONS: dict[str, dict[str, bool]] = {
    "base": OFF,
    "+DWB": {**OFF, "dwb": True},
    "+MAB": {**OFF, "mab": True},
    "+DWB+MAB": {"wdm": False},
    "+MAB+WDM": {"dwb": False},
    "all": {},
    "all without CA": {"ca": False},
    "all without PA": {"pa": False},
    "all without FAM": {"fam": False},
}
PAPER_DB = {
    "base": 18.47,
    "+DWB": 20.53,
    "+MAB": 21.84,
    "+DWB+MAB": 22.87,
    "+MAB+WDM": 21.64,
    "all": 23.69,
    "all without CA": 23.16,
    "all without PA": 20.04,
    "all without FAM": 22.66,
}
HAZE_SEEDS = (2026, 2027, 2028)


def training(epochs: int, seed: int) -> Any:
    """The recipe that every run shares."""
    from exporters.training.training import Training

    return Training(
        epochs=epochs,
        seed=seed,
        lr=2e-3,
        weight_decay=0.01,
        warmup_frac=0.1,
        ema_decay=0.99,
        clip_norm=1.0,
        precision="bf16",
        threads=1,
    )


def trained(data: Path, out: Path, epochs: int, seed: int, settings: Mapping[str, Any]) -> Path:
    """The chosen checkpoint of one run, trained now unless it is there."""
    from exporters.courses.dwtma_net import course
    from exporters.training.loop import fit_course

    if not (out / "fit.json").is_file():
        made = course(data, size="edge", seed=seed, **settings)
        resume = (out / "last.pt").is_file()
        begin_s = time.process_time()
        fit_course(made, training(epochs, seed), out, resume=resume, progress=lambda line: print(line, flush=True))
        print(f"{out.name}: {time.process_time() - begin_s:.0f} CPU s", flush=True)
    return out / "best.pt"


def restorer(checkpoint: Path) -> Callable[[Any], Any]:
    """(3, rows, cols) uint8 to the same without haze, by the network at the image's own size."""
    from exporters.checkpoint import load_checkpoint
    from exporters.courses.restoration import restore_image
    from exporters.zoo.dwtma_net import restore_any_size

    network = load_checkpoint(checkpoint).build()
    return lambda image: restore_image(network, image, restore_any_size)


def chip_restorer(checkpoint: Path) -> Callable[[Any], Any]:
    """(n, 3, edge, edge) uint8 to the same without haze, 32 at a time."""
    import torch

    from exporters.checkpoint import load_checkpoint
    from exporters.zoo.dwtma_net import restore_any_size

    network = load_checkpoint(checkpoint).build()

    def restore(pixels: Any) -> Any:
        with torch.no_grad():
            parts = torch.split(torch.from_numpy(np.ascontiguousarray(pixels)), 32)
            clear = torch.cat([restore_any_size(network, part.float() / 255.0) for part in parts])
        return (clear * 255.0).round().to(torch.uint8).numpy()

    return restore


def qualities(pairs: Any, method: Callable[[Any], Any]) -> dict[str, Any]:
    """PSNR and SSIM of each image, (n,) arrays."""
    from exporters.metrics.restoration import quality

    found = [quality(method(hazy), clear) for hazy, clear in pairs]
    return {key: np.array([getattr(one, key) for one in found]) for key in ("psnr_db", "ssim")}


def mean(values: Any) -> dict[str, Any]:
    """Mean, interval and count as plain values."""
    from exporters.metrics.restoration import mean_ci95

    return asdict(mean_ci95(values))


def gains(rice: Path, work: Path, seeds: Sequence[int], *, long: bool = False) -> dict[str, Any]:
    """The 20 test pairs of RICE1 at full size: hazy, dark channel, DWTMA-Net (mean over the seeds by image)."""
    from exporters.baselines.dark_channel import dehaze_dark_channel
    from exporters.readers.pairs import read_pairs

    pairs = read_pairs(rice, "test")
    hazy, dark = qualities(pairs, lambda image: image), qualities(pairs, dehaze_dark_channel)
    name, epochs, settings = ("rice1-long", LONG_EPOCHS, LONG) if long else ("rice1", EPOCHS, FULL)
    runs = [trained(rice, work / f"{name}-seed{seed}", epochs, seed, settings) for seed in seeds]
    by_seed = [qualities(pairs, restorer(run)) for run in runs]
    ours = {key: np.mean([one[key] for one in by_seed], axis=0) for key in hazy}
    figures: dict[str, Any] = {"images": len(pairs), "seeds": list(seeds)}
    for name, found in (("hazy", hazy), ("dark_channel", dark), ("dwtma_net", ours)):
        figures[name] = {key: mean(values) for key, values in found.items()}
    for name, base in (("hazy", hazy), ("dark_channel", dark)):
        figures[f"gain_over_{name}"] = {key: mean(ours[key] - base[key]) for key in hazy}
    figures["gain_over_hazy_db_by_seed"] = [float((one["psnr_db"] - hazy["psnr_db"]).mean()) for one in by_seed]
    figures["images_made_worse"] = int((ours["psnr_db"] < hazy["psnr_db"]).sum())
    figures["bar_3_db_and_above_dark_channel"] = bool(
        figures["gain_over_hazy"]["psnr_db"]["value"] >= 3.0
        and figures["gain_over_dark_channel"]["psnr_db"]["value"] > 0
    )
    return figures


def ablations(rice: Path, work: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """The paper's table 5 in small: PSNR on the same test pairs, each variant trained identically."""
    from exporters.readers.pairs import read_pairs

    pairs = read_pairs(rice, "test")
    rows: dict[str, Any] = {}
    for name, switches in ABLATIONS.items():
        slug = name.replace("+", "plus-").replace(" ", "-").lower()
        runs = [
            trained(rice, work / f"ablation-{slug}-seed{seed}", ABLATION_EPOCHS, seed, {**ABLATION, **switches})
            for seed in seeds
        ]
        by_seed = [float(qualities(pairs, restorer(run))["psnr_db"].mean()) for run in runs]
        rows[name] = {"psnr_db": mean(by_seed), "psnr_db_by_seed": by_seed, "paper_psnr_db": PAPER_DB[name]}
    whole = rows["all"]["psnr_db_by_seed"]
    for row in rows.values():
        differences = [one - other for one, other in zip(whole, row["psnr_db_by_seed"], strict=True)]
        row["all_minus_this_db"] = mean(differences)
        row["all_minus_this_db_paper"] = round(PAPER_DB["all"] - row["paper_psnr_db"], 2)
    return {"seeds": list(seeds), "rows": rows}


def classifier_effect(eurosat: Path, checkpoint: Path) -> dict[str, Any]:
    """Accuracy of the shipped MobileNetV2 on EuroSAT's test chips: clear, hazed, dehazed; three draws of haze."""
    from exporters.datasets import read_chips
    from exporters.metrics.haze_effect import haze_effect
    from exporters.onnx_cpu import inferrer
    from exporters.package import load_package
    from exporters.readers.haze import add_haze_to_all

    package = load_package(REPO / "deploy/packages/eurosat-mobilenet-v2", trust=REPO / "deploy/keys")
    chips, infer = read_chips(eurosat, "test"), inferrer(package.read_onnx())

    def accuracy(pixels: Any) -> float:
        return float((infer(pixels).argmax(axis=1) == chips.labels).mean())

    effects = [
        haze_effect(
            chips.pixels,
            haze=lambda pixels, seed=seed: add_haze_to_all(pixels, seed),
            dehaze=chip_restorer(checkpoint),
            score=accuracy,
        )
        for seed in HAZE_SEEDS
    ]
    keys = ("clear", "hazed", "dehazed", "clear_dehazed", "recovered_frac")
    return {
        "chips": len(chips),
        "haze_seeds": list(HAZE_SEEDS),
        "dehazer": recipe_of(checkpoint),
        **{key: mean(getattr(effect, key) for effect in effects) for key in keys},
    }


def detector_effect(cars: Path, detector: Path, checkpoint: Path, most: int = 200) -> dict[str, Any]:
    """AP50 of a vehicle detector on test tiles of 256 px, each with a vehicle: clear, hazed, dehazed; three draws.

    ``detector`` is a checkpoint of SSCDH learned on clear training tiles of the same set.
    """
    from dataclasses import replace

    from exporters.checkpoint import load_checkpoint
    from exporters.courses.detection import answer_of, evaluate, fit_all
    from exporters.courses.detection_course import Reading
    from exporters.metrics.haze_effect import haze_effect
    from exporters.readers.haze import add_haze_to_all
    from exporters.zoo.sscdh import SSCDH
    from exporters.zoo.sscdh_decode import Deployed

    stored = load_checkpoint(detector)
    network, edge = stored.build(), stored.edge_px
    assert isinstance(network, SSCDH)
    answer = answer_of(Deployed(network, edge).eval())
    whole = Reading(tile_px=edge, one_class="vehicle").read(cars, "test")
    square = [place for place in range(len(whole)) if whole.pixels(place).shape[1:] == (edge, edge)]
    shown = [place for place in square if len(whole.boxes[place])][:most]
    tiles = whole.take(np.array(shown), f"{whole.name}, with a vehicle")
    clear = np.stack([tiles.pixels(place) for place in range(len(tiles))])

    def ap50(pixels: Any) -> float:
        seen = replace(tiles, images=tuple(pixels))
        return evaluate(answer, seen, fit_all(seen, edge), edge_px=edge).ap50

    restore = chip_restorer(checkpoint)
    effects = [
        haze_effect(clear, haze=lambda pixels, seed=seed: add_haze_to_all(pixels, seed), dehaze=restore, score=ap50)
        for seed in HAZE_SEEDS
    ]
    keys = ("clear", "hazed", "dehazed", "clear_dehazed", "recovered_frac")
    return {
        "tiles": len(tiles),
        "vehicles": int(sum(len(boxes) for boxes in tiles.boxes)),
        "haze_seeds": list(HAZE_SEEDS),
        "detector": recipe_of(detector),
        "bar_half_recovered": bool(mean(effect.recovered_frac for effect in effects)["value"] >= 0.5),
        **{key: mean(getattr(effect, key) for effect in effects) for key in keys},
    }


def recipe_of(checkpoint: Path) -> Any:
    """How those weights came to be."""
    from exporters.checkpoint import load_checkpoint

    notes = load_checkpoint(checkpoint).notes
    return {key: notes[key] for key in ("recipe", "training", "epoch", "validation", "test") if key in notes}


def quality_on_chips(eurosat: Path, checkpoint: Path) -> dict[str, Any]:
    """PSNR and SSIM on EuroSAT's test chips under synthetic haze."""
    from exporters.baselines.dark_channel import DarkChannel, dehaze_dark_channel
    from exporters.courses.dwtma_net import hazed_pairs
    from exporters.datasets import read_chips

    pairs = hazed_pairs(read_chips(eurosat, "test"), HAZE_SEEDS[0])
    small = DarkChannel(radius_px=15)
    methods: dict[str, Callable[[Any], Any]] = {
        "hazy": lambda image: image,
        "dark_channel": lambda image: dehaze_dark_channel(image, small),
        "dwtma_net": restorer(checkpoint),
    }
    return {
        name: {key: mean(values) for key, values in qualities(pairs, method).items()}
        for name, method in methods.items()
    }


def overfit(steps: int = 400) -> dict[str, Any]:
    """PSNR after learning eight hazed chips by heart at edge width, batch normalisation by their own statistics."""
    import torch

    from exporters.readers.haze import HazeModel, add_haze, smooth_field
    from exporters.registry import build_network
    from exporters.zoo.dwtma_net_loss import dehazing_loss

    rng = np.random.default_rng(8)
    fields = [[smooth_field(64, 64, rng, (2, 4, 8, 16)) for _ in range(3)] for _ in range(8)]
    clear = np.rint(180 * np.array(fields)).astype(np.uint8)
    hazy = np.stack([add_haze(image, rng, HazeModel()).pixels for image in clear])
    x, y = (torch.from_numpy(part).float() / 255.0 for part in (hazy, clear))
    torch.manual_seed(0)
    network = build_network("dwtma_net", size="edge").train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        dehazing_loss(network(x), y)["loss"].backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        error = ((network(x).clamp(0, 1) - y) ** 2).mean().item()
        before = ((x - y) ** 2).mean().item()
    value = -10.0 * float(np.log10(error))
    return {"images": 8, "steps": steps, "input_db": -10.0 * float(np.log10(before)), "psnr_db": value, "bar": 30.0}


def parity(edges: Sequence[int] = (240, 256)) -> dict[str, Any]:
    """The published size: torch with its FFT against the exported graph, worst difference on 0..1, one random tile."""
    import torch

    from exporters.graph import serialise, simplify, trace
    from exporters.onnx_cpu import inferrer
    from exporters.registry import build_network
    from exporters.zoo.dwtma_net_deploy import Restorer, deploy_at

    torch.manual_seed(0)
    network = build_network("dwtma_net").eval()
    figures: dict[str, Any] = {"bar": 1e-4}
    for edge in edges:
        model = simplify(trace(deploy_at(network, edge), edge_px=edge, bands=3))
        tile = np.random.default_rng(edge).integers(0, 256, (1, 3, edge, edge), dtype=np.uint8)
        with torch.no_grad():
            expected = Restorer(network)(torch.from_numpy(tile)).numpy()
        difference = float(np.abs(inferrer(serialise(model))(tile) - expected).max()) / 255.0
        figures[str(edge)] = {"max_abs_diff": difference, "operators": len(model.graph.node)}
    return figures


def speed(repeats: int = 15) -> dict[str, Any]:
    """Tiles per CPU-second of the edge width at 64 px, one thread, batch 8, random weights."""
    import torch

    from exporters.graph import serialise, simplify, trace
    from exporters.onnx_cpu import inferrer
    from exporters.registry import build_network
    from exporters.zoo.dwtma_net_deploy import deploy_at

    torch.manual_seed(0)
    deployed = deploy_at(build_network("dwtma_net", size="edge").eval(), 64)
    infer = inferrer(serialise(simplify(trace(deployed, edge_px=64, bands=3))))
    tiles = np.random.default_rng(0).integers(0, 256, (8, 3, 64, 64), dtype=np.uint8)
    times_s = []
    for _ in range(repeats + 3):
        begin_s = time.process_time()
        infer(tiles)
        times_s.append(time.process_time() - begin_s)
    return {"tiles_per_cpu_s": len(tiles) / float(np.median(times_s[3:])), "edge_px": 64, "batch": 8}


def parts(options: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    """What can be measured, by name."""
    rice, eurosat = options.data / "rice1-thin-cloud-pairs", options.data / "eurosat-rgb-subset"
    return {
        "gains": lambda: gains(rice, options.work, options.seeds),
        "gains_long": lambda: gains(rice, options.work, options.seeds, long=True),
        "overfit": overfit,
        "parity": parity,
        "speed": speed,
        "eurosat": lambda: quality_on_chips(eurosat, options.dehazer),
        "classifier": lambda: classifier_effect(eurosat, options.dehazer),
        "detector": lambda: detector_effect(options.data / "aerial-cars", options.detector, options.dehazer),
        "ablations": lambda: ablations(rice, options.work, options.ablation_seeds),
    }


def main() -> int:
    """Measure the chosen parts and write them over those of the last run."""
    sys.path.insert(0, str(REPO))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, default=REPO / "build/fit/zoo-dwtma-net")
    parser.add_argument("--dehazer", type=Path, default=REPO / "build/fit/dwtma-net-eurosat/best.pt")
    parser.add_argument("--detector", type=Path, default=REPO / "build/fit/sscdh-vehicles/best.pt")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--ablation-seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", help="parts to measure")
    options = parser.parse_args()
    recipe = {
        "rice1": {**FULL, **asdict(training(EPOCHS, 0))},
        "ablations": {"epochs": ABLATION_EPOCHS, **ABLATION},
    }
    measure_parts(RESULT, parts(options), options.only, command="make bench-zoo-dwtma-net", recipe=recipe)
    return 0


if __name__ == "__main__":
    sys.exit(main())
