"""Subcommands that train networks and list them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from .common import cli, json_option, say, seed_option, show
from .keys import keys

__all__ = ["fit", "keys", "zoo"]


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
@json_option
def zoo(as_json: bool) -> None:
    """List the networks with their parameters and operations beside the published ones."""
    from exporters.zoo_table import zoo_table

    rows = [asdict(row) for row in zoo_table()]
    print(json.dumps(rows, indent=2) if as_json else "\n".join(counted(row) for row in rows))


def counted(row: dict[str, Any]) -> str:
    """A row of ``zoo`` for a person."""
    params = "" if row["params_paper"] is None else f" (published {row['params_paper'] / 1e6:.2f} M)"
    gmacs = "" if row["gmacs_paper"] is None else f" (published {row['gmacs_paper']:.3f})"
    return f"{row['name']:<24} {row['params'] / 1e6:7.2f} M{params}  {row['gmacs']:.3f} GMAC{gmacs}"
