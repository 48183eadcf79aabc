"""Subcommands that write, prove and measure packages."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..home import open_package, resolve_package, trusted_keys
from .common import cli, integers, json_option, say, show
from .outputs import Folder, OutFile, writable, write_out
from .packages import settings_of

if TYPE_CHECKING:
    from exporters.package import ModelPackage

PRECISIONS = ("fp32", "fp16", "int8")
HEADS = ("logits", "probabilities", "boxes", "yolo", "image", "mask")


def numbers(text: str, option: str) -> tuple[float, ...]:
    """Return ``"0.5,0.5"`` as ``(0.5, 0.5)``."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise click.UsageError(f"{option} {text!r} is not a list of numbers, for example 0.485,0.456,0.406") from error


def words(text: str | None) -> tuple[str, ...] | None:
    """Return ``"a,b"`` as ``("a", "b")``; a file is read, one word a line."""
    if text is None:
        return None
    lines = Path(text).read_text(encoding="utf-8").split("\n") if Path(text).is_file() else text.split(",")
    return tuple(line.strip() for line in lines if line.strip())


@cli.command()
@click.argument("source")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Tiles that prove it: a data set in EuroSAT's layout, or a folder of rasters (then unlabelled).",
)
@click.option("--out", type=Folder(), required=True, help="Folder of the package to write.")
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="fp16",
    show_default=True,
    help="fp16 stores weights as float16; int8 calibrates on the train chips.",
)
@click.option("--network", help="Of what network a bare state dict is: one of the zoo, or module:Name.")
@click.option("--target", "targets", default="cpu", show_default=True, help="cpu, or cpu,tensorrt for a second graph.")
@click.option("--head", type=click.Choice(HEADS), default="logits", show_default=True, help="What an .onnx answers.")
@click.option("--classes", help="Names, or a file of them, where the data has none.  [default: the data's]")
@click.option("--mean", help="Per band, in 0..1, where the source does not say.  [default: ImageNet's]")
@click.option("--std", help="Per band, in 0..1.  [default: ImageNet's]")
@click.option("--edge-px", type=click.IntRange(8, 4096), default=64, show_default=True, help="Of unlabelled tiles.")
@click.option("--id", help="Name of the package.")
@click.option("--version", type=click.IntRange(1), default=1, show_default=True, help="Only grows aboard.")
@click.option(
    "--licence", default="", help="SPDX identifier of the weights.  [default: the checkpoint's, else unknown]"
)
@click.option(
    "--training-data", default="", help="What it learned from.  [default: as the checkpoint says, else unknown]"
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="A setting of the course that reads the tiles."
)
@click.option("--proof-tiles", type=click.IntRange(1), default=256, show_default=True, help="Tiles the proof needs.")
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    help="Private key that signs it; see `subsolar keys`.  [default: unsigned]",
)
@click.option("--engine", type=Folder(), help="Also build the TensorRT engine here, into this folder.")
@click.option("--replace", is_flag=True, help="Replace a package that is there.")
@json_option
def export(
    source: str,
    data: Path,
    out: Path,
    network: str | None,
    targets: str,
    head: str,
    classes: str | None,
    mean: str | None,
    std: str | None,
    edge_px: int,
    overrides: tuple[str, ...],
    key: Path | None,
    engine: Path | None,
    replace: bool,
    as_json: bool,
    **about: Any,
) -> None:
    """Turn SOURCE into a proven, profiled, signed package; no proof, no package.

    SOURCE is a checkpoint of `subsolar fit`, a state dict (say --network), an .onnx file, or module:Name of a
    torch.nn.Module. A checkpoint of the zoo takes its tiles from DATA as its own course reads them.
    """
    from exporters.export import export_network
    from exporters.keys import load_private
    from exporters.settings import ExportSettings

    if out.exists() and not replace:
        raise click.UsageError(f"{out} exists already. Choose another place, or give --replace.")
    writable(out)
    sys.path.insert(0, os.getcwd())  # where module:Name is looked for first
    settings = ExportSettings(targets=tuple(targets.split(",")), **about)
    given: dict[str, Any] = {"head": head, "classes": words(classes), "edge_px": edge_px}
    given |= {"course": settings_of(overrides)}
    given |= {} if mean is None else {"mean": numbers(mean, "--mean")}
    given |= {} if std is None else {"std": numbers(std, "--std")}
    signer = None if key is None else load_private(key)
    package = export_network(
        network, source, out, data, signer, settings=settings, replace_existing=replace, progress=say, **given
    )
    if engine is not None:
        from .prepare import build

        build(package, engine, None)
    show({"package": str(out), **exported(package)}, as_json, "\n".join([line_of(package), *package.profile.notes]))


def exported(package: ModelPackage) -> dict[str, Any]:
    """What ``export`` tells of a package in JSON."""
    profile = package.profile
    told = {"sha256": package.sha256, "accuracy": profile.accuracy.value, "precision": package.info.precision}
    return {**told, "notes": profile.notes}


def line_of(package: ModelPackage) -> str:
    """A package with its accuracy, for a person."""
    info, accuracy = package.info, package.profile.accuracy
    return f"{info.id} v{info.version}: {accuracy.metric} {accuracy.value:.1%}, sha256 {package.sha256}"


@cli.command()
@click.argument("package", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--data", type=click.Path(path_type=Path), help="Run the whole proof again on this data set's test tiles."
)
@json_option
def check(package: tuple[Path, ...], data: Path | None, as_json: bool) -> None:
    """Prove each PACKAGE again: hashes, signature, graphs, golden tiles; with --data the whole proof."""
    from exporters.check import check_package, tiles_of

    paths = [resolve_package(path) for path in package]
    results = []
    for path in paths:
        trust = trusted_keys(path)
        test = None if data is None else tiles_of(path, data, trust=trust)
        results.append(asdict(check_package(path, trust=trust, test=test, progress=say)))
    show({"packages": results}, as_json, "\n".join(checked(row) for row in results))


def checked(row: dict[str, Any]) -> str:
    """A result of ``check`` for a person."""
    parts = [
        f"{row['id']} v{row['version']}: good",
        f"{row['golden_tiles']} golden tiles",
        f"signed by {row['key_id']}",
        f"TensorRT: {row['tensorrt_issues'] or 'no'} rule broken, {row['tensorrt']}",
    ]
    if row["accuracy"] is not None:
        parts.append(f"{row['accuracy']:.1%} measured again")
    if row["proof"] is not None:
        proof = row["proof"]
        parts.append(f"proof run again on {proof['tiles']} tiles, worst difference {proof['max_abs_diff']:.2g}")
    return ", ".join(parts)


@cli.command()
@click.argument("package", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--device", default="cpu", show_default=True, help="Engine: cpu, cuda, tensorrt, or a plug-in's.")
@click.option("--batch", "batches", default="1,8,32", show_default=True, help="Batch sizes to time.")
@click.option(
    "--mode", "modes", default="offline", show_default=True, help="single-stream, offline, slot-burst; or all."
)
@click.option(
    "--repeats", type=click.IntRange(5), default=30, show_default=True, help="Runs per batch, without a meter."
)
@click.option("--meter", help="ina3221, ina238, nvml, rapl, or none.  [default: the first that is here]")
@click.option(
    "--window-s", type=click.FloatRange(0.01), default=60.0, show_default=True, help="Of each metered repeat."
)
@click.option("--windows", type=click.IntRange(5), default=5, show_default=True, help="Metered repeats.")
@click.option("--idle-s", type=click.FloatRange(0.01), default=30.0, show_default=True, help="To measure idle power.")
@click.option("--power-mode", default="default", show_default=True, help="Name of the board's mode, for the record.")
@click.option(
    "--active-power-w",
    type=click.FloatRange(0.1, 60),
    default=15.0,
    show_default=True,
    help="Assumed power of a busy core, for the estimate of joules.",
)
@click.option("--write", is_flag=True, help="Put the result into the package's profile (needs --key to stay signed).")
@click.option("--key", type=click.Path(path_type=Path), help="Private key that signs what --write changes.")
@click.option("--plot", type=OutFile(".svg"), help="Write accuracy against joules as an SVG.")
@json_option
def bench(
    package: tuple[Path, ...],
    device: str,
    batches: str,
    modes: str,
    repeats: int,
    windows: int,
    meter: str | None,
    write: bool,
    key: Path | None,
    plot: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Measure time, and energy where a meter is, of each PACKAGE on this machine."""
    from exporters.bench import MODES, BenchSettings
    from exporters.bench_report import plot_svg, rows, table

    from ..benching import bench_packages

    settings = BenchSettings(
        batches=integers(batches, "--batch"),
        modes=MODES if modes == "all" else tuple(modes.split(",")),
        runs=repeats,
        repeats=windows,
        **given,
    )
    opened = [open_package(path) for path in package]
    found = bench_packages(opened, settings, device=device, meter=meter, progress=say)
    made = rows(found)
    if write:
        from exporters.keys import load_private
        from exporters.package import replace_profile

        signer = None if key is None else load_private(key)
        for one, profile in found:
            replace_profile(one, profile, signer)
    show({"measurements": json.loads(json.dumps(made))}, as_json, table(made))
    if plot is not None:
        write_out(plot, plot_svg(made))
