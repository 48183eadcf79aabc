"""Subcommands that train networks and list them."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..strict_json import strict_json
from .common import cli, json_option, say, seed_option, show
from .keys import keys
from .outputs import Folder, writable

if TYPE_CHECKING:
    from exporters.zoo_measured import Measured

__all__ = ["fit", "keys", "zoo"]


def settings_of(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Return ``("hard=true", "margin=0.2")`` as ``{"hard": True, "margin": 0.2}``; what is no JSON is a word."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key.isidentifier():
            raise click.UsageError(f"--set {pair!r} is not KEY=VALUE, for example --set label_smoothing=0.05")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found


@cli.command()
@click.argument("network")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of the data set.")
@click.option("--size", default="published", show_default=True, help="Size of the network; see `subsolar zoo`.")
@click.option("--out", type=Folder(), help="Folder for checkpoints and curve.  [default: build/fit/NETWORK]")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training data.  [default: 40]")
@click.option("--lr", type=click.FloatRange(0, min_open=True), help="Peak learning rate.  [default: 0.002]")
@click.option("--batch", type=click.IntRange(1), help="Samples in a batch.")
@click.option("--stem-stride", type=click.IntRange(1, 2), help="Classifiers: 1 sees small tiles at twice the detail.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), help="Of most layers.  [default: fp32]")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="Where it trains.  [default: cpu]")
@click.option("--threads", type=click.IntRange(1), help="Threads of the trainer.  [default: 2]")
@click.option(
    "--teacher", type=click.Path(path_type=str), help="Checkpoint of a network to learn from beside the labels."
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Any setting of the course or of the training."
)
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in the folder.")
@seed_option
@json_option
def fit(
    network: str, data: Path, size: str, out: Path | None, overrides: tuple[str, ...], as_json: bool, **given: Any
) -> None:
    """Train NETWORK of the zoo, or module:Name of one's own on labelled chips, on a folder of data.

    The defaults are those of the network's own course where it has others. Under torchrun, several processes share
    the batches.
    """
    from exporters.fit import fit_network

    sys.path.insert(0, os.getcwd())  # where module:Name is looked for first
    told = {key: value for key, value in given.items() if value is not None}
    name = network if size == "published" else f"{network}-{size}"
    out = out or Path("build/fit") / name.replace(":", "-")
    result = fit_network(network, data, writable(out), size=size, progress=say, **{**told, **settings_of(overrides)})
    figures = ", ".join(f"{key} {value:.4g}" for key, value in result.test.items())
    show(asdict(result), as_json, f"test {figures}; weights in {result.best}")


@cli.command()
@json_option
def zoo(as_json: bool) -> None:
    """List the networks with their parameters and operations beside the published ones, and what was measured."""
    from exporters.zoo_measured import read_measured
    from exporters.zoo_table import zoo_table

    rows, measured = zoo_table(), read_measured()
    if as_json:
        found = {
            name: {"score": asdict(one)["score"], "package": asdict(one)["package"]} for name, one in measured.items()
        }
        print(strict_json([{**asdict(row), "measured": found.get(row.name)} for row in rows], indent=2))
    else:
        print("\n".join(counted(asdict(row)) + known(measured.get(row.name)) for row in rows))


def counted(row: dict[str, Any]) -> str:
    """A row of ``zoo`` for a person."""
    params = "" if row["params_paper"] is None else f" (published {row['params_paper'] / 1e6:.2f} M)"
    gmacs = "" if row["gmacs_paper"] is None else f" (published {row['gmacs_paper']:.3f})"
    return f"{row['name']:<32} {row['params'] / 1e6:7.2f} M{params}  {row['gmacs']:.3f} GMAC{gmacs}"


def known(row: Measured | None) -> str:
    """What was measured of it, for a person; empty where nothing was."""
    parts = []
    if row is not None and row.score is not None:
        score = row.score
        beside = "" if score.baseline is None else f" (baseline {score.baseline:.4g})"
        parts.append(f"{score.metric} {score.score:.4g}{beside}")
    if row is not None and row.package is not None:
        package = row.package
        parts.append(f"parity {package.parity}")
        parts.append(f"{float(f'{package.tiles_per_cpu_s:.3g}'):,.0f} tiles a CPU second")
        parts.append(f"{package.size_byte / 1e6:.1f} MB")
        parts.append(f"{package.licence}, {'ships' if package.ships else 'does not ship'}")
    return "".join(f"; {part}" for part in parts)
