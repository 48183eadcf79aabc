"""Subcommands that make, prove and sign packages."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ..home import open_package
from .common import cli, integers, json_option, say, seed_option, show


@cli.command()
@click.argument("network")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of the data set (EuroSAT layout).")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for checkpoints and curve.  [default: build/fit/NETWORK]"
)
@click.option("--epochs", type=click.IntRange(1), default=40, show_default=True, help="Passes over the training chips.")
@click.option(
    "--lr", type=click.FloatRange(0, min_open=True), default=2e-3, show_default=True, help="Peak learning rate."
)
@click.option(
    "--stem-stride",
    type=click.IntRange(1, 2),
    default=2,
    show_default=True,
    help="1 sees small tiles at twice the detail, at about four times the cost.",
)
@click.option(
    "--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True, help="Of most layers."
)
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Threads of the trainer.")
@click.option(
    "--teacher", type=click.Path(path_type=Path), help="Checkpoint of a network to learn from beside the labels."
)
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in the folder.")
@seed_option
@json_option
def fit(network: str, data: Path, out: Path | None, as_json: bool, **given: Any) -> None:
    """Train NETWORK of the zoo on a folder of labelled chips."""
    from exporters.fit import fit_network

    result = fit_network(network, data, out or Path("build/fit") / network, progress=say, **given)
    show(
        asdict(result),
        as_json,
        f"{result.test_accuracy:.1%} on {result.test_chips} test chips; weights in {result.best}",
    )


@cli.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the data set that proves it (EuroSAT layout).",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the package to write.")
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    help="Private key that signs it; see `subsolar keys`.  [default: unsigned]",
)
@click.option("--replace", is_flag=True, help="Replace a package that is there.")
@json_option
def export(checkpoint: Path, data: Path, out: Path, key: Path | None, replace: bool, as_json: bool) -> None:
    """Turn CHECKPOINT into a proven, profiled, signed package; no proof, no package."""
    from exporters.export import export_network
    from exporters.keys import load_private

    signer = None if key is None else load_private(key)
    package = export_network(None, checkpoint, out, data, signer, replace_existing=replace, progress=say)
    text = f"{package.info.id} v{package.info.version}: {package.profile.accuracy.value:.1%}, sha256 {package.sha256}"
    show({"package": str(out), "sha256": package.sha256, "accuracy": package.profile.accuracy.value}, as_json, text)


@cli.command()
@click.argument("package", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
def check(package: tuple[Path, ...], as_json: bool) -> None:
    """Prove each PACKAGE again: hashes, signature, graph, golden tiles."""
    from exporters.check import check_package

    from ..home import resolve_package, trusted_keys

    paths = [resolve_package(path) for path in package]
    results = [asdict(check_package(path, trust=trusted_keys(path), progress=say)) for path in paths]
    lines = [
        f"{r['id']} v{r['version']}: good, {r['golden_tiles']} golden tiles, signed by {r['key_id']}" for r in results
    ]
    show({"packages": results}, as_json, "\n".join(lines))


@cli.command()
@click.argument("package", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--batch", "batches", default="1,8,32", show_default=True, help="Batch sizes to time.")
@click.option("--repeats", type=click.IntRange(5), default=30, show_default=True, help="Runs per batch size.")
@click.option(
    "--active-power-w",
    type=click.FloatRange(0.1, 60),
    default=15.0,
    show_default=True,
    help="Assumed power of a busy core, for the estimate of joules.",
)
@json_option
def bench(package: tuple[Path, ...], batches: str, repeats: int, active_power_w: float, as_json: bool) -> None:
    """Measure the time per tile of each PACKAGE on this machine."""
    from exporters.check import bench_package

    sizes = integers(batches, "--batch")
    rows = []
    for path in package:
        opened = open_package(path)
        profile = bench_package(opened, batches=sizes, repeats=repeats, active_power_w=active_power_w, progress=say)
        rows += [
            {"package": opened.info.id, "accuracy": profile.accuracy.value, **asdict(m)} for m in profile.measurements
        ]
    lines = [
        f"{r['package']:<32} batch {r['batch']:>3}  {r['tile_s'] * 1e3:8.3f} ms/tile  "
        f"{r['energy_j_per_tile'] * 1e3:8.2f} mJ/tile {r['energy_kind']}  {r['accuracy']:.1%}"
        for r in rows
    ]
    show({"measurements": rows}, as_json, "\n".join(lines))


@cli.command()
@json_option
def zoo(as_json: bool) -> None:
    """List the networks with their parameters and operations beside the published ones."""
    from exporters.zoo_table import zoo_table

    rows = [asdict(row) for row in zoo_table()]
    lines = [
        f"{r['name']:<20} {r['params'] / 1e6:7.2f} M (published {r['params_paper'] / 1e6:.2f} M)  "
        f"{r['gmacs']:.3f} GMAC (published {r['gmacs_paper']:.3f})"
        for r in rows
    ]
    print(json.dumps(rows, indent=2) if as_json else "\n".join(lines))


@cli.group()
def keys() -> None:
    """Make and list the ed25519 keys that sign packages."""


@keys.command("new")
@click.argument("name")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("build/keys"),
    show_default=True,
    help="Folder for the pair.",
)
@json_option
def new_key_pair(name: str, folder: Path, as_json: bool) -> None:
    """Make the key pair NAME; the private half is readable by you alone."""
    from exporters.keys import new_key

    private, public = new_key(folder, name)
    text = f"private key {private} (keep it off the spacecraft)\npublic key  {public} (install it aboard)"
    show({"private": str(private), "public": str(public)}, as_json, text)


@keys.command("list")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Folder of public keys.  [default: deploy/keys]")
@json_option
def list_keys(folder: Path | None, as_json: bool) -> None:
    """List the public keys that packages are checked against."""
    from exporters.keys import load_trust

    from ..home import folder_or_default

    known = sorted(load_trust(folder_or_default(folder, "keys", "--dir")))
    show({"keys": known}, as_json, "\n".join(known))
