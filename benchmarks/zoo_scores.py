"""What the results of the ``bench-zoo-*`` commands say of each system in one line: its score beside its baseline."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import StatisticsError, fmean
from typing import Any

_PLAIN = {"nothing": "the clouds left", "mean": "the mean colour of what is clear"}
RESULTS = Path(__file__).resolve().parent / "results"
Row = tuple[str, float, float | None, str, int, int]
"""Metric, score, baseline, its name, test samples, seeds."""


def acf(result: Mapping[str, Any]) -> Row:
    """Mean recall, by the whole network."""
    arms = result["arms"]
    ours, plain = arms["acf"]["mR"], arms["dual"]["mR"]
    n = next(iter(result["runs"]["acf"].values()))["test"]["n"]
    return "mean recall", ours["mean"], plain["mean"], "a dual encoder", int(n), len(ours["values"])


def acr(result: Mapping[str, Any]) -> Row:
    """Right answers."""
    arms = result["arms"]
    ours, blind = arms["acr"]["overall"], arms["blind"]["overall"]
    n = next(iter(result["runs"]["acr"].values()))["test"]["n"]
    return "right answers", ours["mean"], blind["mean"], "the question alone", int(n), len(ours["values"])


def dwtma_net(result: Mapping[str, Any]) -> Row:
    """PSNR of what was hazy."""
    gains = result["figures"]["gains_long"]
    ours, prior = gains["dwtma_net"]["psnr_db"], gains["dark_channel"]["psnr_db"]
    return "PSNR, dB", ours["value"], prior["value"], "dark channel prior", ours["n"], len(gains["seeds"])


def sdenet(result: Mapping[str, Any]) -> Row:
    """Area under the curve, mean over scenes, beside the best of the forms of RX."""
    summary = result["summary"]
    name, best = max(summary["mean_auc_rx"].items(), key=lambda pair: pair[1])
    seeds = min(len(scene["published"]) for scene in result["scenes"].values())
    return "AUC", summary["mean_auc"], best, f"RX, {name}", len(result["scenes"]), seeds


def ssa_net(result: Mapping[str, Any]) -> Row:
    """F1 of changed pixels on the LEVIR samples."""
    ours, plain = (result["summary"][f"cd-levir-samples-{word}f1"]["mean"] for word in ("", "differencing-"))
    return "F1, LEVIR samples", ours, plain, "differencing", 0, len(result["runs"]["edge"])


def sscdh(result: Mapping[str, Any]) -> Row:
    """AP50 of ships."""
    ours, plain = (result["variants"][word]["ap50"] for word in ("sscdh", "yolov5n"))
    return "AP50", ours["mean"], plain["mean"], "YOLOv5n", result["runs"][0]["test"]["images"], len(ours["seeds"])


def cab_hl(result: Mapping[str, Any]) -> Row:
    """Overall accuracy on Houston pixels of other places than those it learned from."""
    name = "houston2013, hsi + lidar + cam"
    summary, runs = result["summary"][name], result["runs"]["houston2013"]["hsi + lidar + cam"]
    return "overall accuracy", summary["oa"]["mean"], summary["svm-oa"]["mean"], "an SVM on both", 0, len(runs)


def cm_cr(result: Mapping[str, Any]) -> Row:
    """PSNR under the clouds, mean of both folds, beside leaving the clouds."""
    folds = [fold.get("by_figure", {}) for fold in result["figures"]["folds"].values() if isinstance(fold, dict)]
    under = [fold for fold in folds if "cm_cr_psnr_cloud_db" in fold]
    means = {word: fmean(fold[f"{word}_psnr_cloud_db"]["mean"] for fold in under) for word in ("cm_cr", *_PLAIN)}
    best = max(_PLAIN, key=means.__getitem__)
    seeds = len(result["figures"]["folds"]["seeds"])
    return "PSNR under clouds, dB", means["cm_cr"], means[best], _PLAIN[best], len(under), seeds


def jspsr(result: Mapping[str, Any]) -> Row:
    """Error of terrain heights on the first of the test areas; lower is better."""
    summary, runs = result["summary"]["terrain"], result["runs"]["terrain"]
    plain = next(key for key in summary if key.endswith("-cubic-rmse_m") and not key.startswith("held"))
    ours = plain.replace("-cubic-rmse_m", "-rmse_m")
    name = f"RMSE, m (less is better), {ours.removesuffix('-rmse_m')}"
    return name, summary[ours]["mean"], summary[plain]["mean"], "cubic upsampling", 0, len(runs)


def hybrid_segufomer(result: Mapping[str, Any]) -> Row:
    """F1 of landslide pixels."""
    ours, plain = result["summary"]["hybrid"], result["summary"]["u-net"]
    return "F1", ours["f1"]["mean"], plain["f1"]["mean"], "U-Net", 0, len(result["runs"]["hybrid"])


def vmc_detr(result: Mapping[str, Any]) -> Row:
    """AP50 of aircraft."""
    found = {name: [r for r in result["runs"] if r["variant"] == name] for name in ("vmc_detr", "rtdetr_r18")}
    ours, plain = (fmean(run["test"]["ap50"] for run in runs) for runs in found.values())
    images = found["vmc_detr"][0]["test"].get("images", 0)
    return "AP50", ours, plain, "RT-DETR-R18", int(images), min(map(len, found.values()))


def geo_encoder(result: Mapping[str, Any]) -> Row:
    """Places found at first rank among all squares of the map."""
    ours, plain = (result["arms"][arm]["dense_r1"] for arm in ("mixer", "mean"))
    return "recall at 1, dense", ours["mean"], plain["mean"], "mean pooling", 0, len(result["runs"]["mixer"])


SCORES: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], Row]]] = {
    "acf": ("edge", acf),
    "acr": ("edge", acr),
    "dwtma_net": ("edge", dwtma_net),
    "sdenet": ("published", sdenet),
    "ssa_net": ("edge", ssa_net),
    "sscdh": ("edge", sscdh),
    "cab_hl": ("edge", cab_hl),
    "cm_cr": ("mini", cm_cr),
    "jspsr": ("edge", jspsr),
    "hybrid_segufomer": ("edge", hybrid_segufomer),
    "vmc_detr": ("edge", vmc_detr),
    "geo_encoder": ("edge", geo_encoder),
}
"""By network: the size that was trained, and where its result file keeps the score. A file with a block ``headline``
(size, metric, score, baseline, baseline_name, n, seeds) needs no entry."""


def scores(results: Path = RESULTS) -> dict[str, Any]:
    """The score of each system that a result file states, by row name."""
    from exporters.zoo_measured import Score, row_name

    found: dict[str, Any] = {}
    for path in sorted(results.glob("zoo-*.json")):
        network = path.stem.removeprefix("zoo-").replace("-", "_")
        if network == "table":
            continue
        result = json.loads(path.read_text(encoding="utf-8"))
        if "headline" in result:
            told = dict(result["headline"])
            size = told.pop("size", "edge")
            found[row_name(network, size)] = Score(source=path.name, **told)
        elif network in SCORES:
            size, read = SCORES[network]
            try:
                metric, score, baseline, name, n, seeds = read(result)
            except (KeyError, IndexError, StopIteration, StatisticsError) as missing:
                print(f"{path.name} states no score yet: {missing!r} is missing")
                continue
            found[row_name(network, size)] = Score(
                metric=metric,
                score=score,
                baseline=baseline,
                baseline_name=name,
                n=int(n),
                seeds=seeds,
                source=path.name,
            )
    return found
