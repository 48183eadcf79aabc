"""Subcommands of the ground station and of the link."""

from __future__ import annotations

from pathlib import Path

import click

from ..counting import counted
from .common import cli, json_option, say, show
from .outputs import Folder, OutFile, make_room, write_out


@cli.command()
@click.option(
    "--listen",
    default="127.0.0.1:0",
    show_default=True,
    help="HOST:PORT (UDP), tcp:HOST:PORT, serial:DEVICE or folder:PATH; port 0 takes a free one.",
)
@click.option(
    "--from", "recorded", type=click.Path(path_type=Path), help="Read a recording, or an outbox's packets, instead."
)
@click.option("--record", type=OutFile(), help="Keep every packet as it came in this file.")
@click.option(
    "--out",
    type=Folder(),
    default=Path("build/ground"),
    show_default=True,
    help="Folder for the products.",
)
@click.option("--key", type=click.Path(path_type=Path), help="File with the key that the spacecraft's [radio] names.")
@json_option
def ground(listen: str, recorded: Path | None, record: Path | None, out: Path, key: Path | None, as_json: bool) -> None:
    """Receive packets until Ctrl-C, rebuild GeoJSON exactly once, report gaps."""
    from ..ground import run_ground

    if record is not None:
        make_room(record)
    report = run_ground(listen=listen, recorded=recorded, out=out, record=record, announce=say, watch=say, key=key)
    missing = f", {counted(report['missing_packet'], 'packet')} missing" if report["missing_packet"] else ""
    show(report, as_json, f"{counted(report['products'], 'product')} in {out / 'products.geojson'}{missing}")


@cli.command()
@click.option("--out", type=OutFile(), help="File to write instead of printing.")
@json_option
def telemetry(out: Path | None, as_json: bool) -> None:
    """Print the telemetry's dictionary (XTCE 1.2), as ground systems read it."""
    from ..wire.dictionary import dictionary

    text = dictionary()
    if out is not None:
        write_out(out, text)
    show({"xtce": text}, as_json, text if out is None else str(out))


@cli.command()
@json_option
def faults(as_json: bool) -> None:
    """List the named points where a test can strike: kill, tear, fill, delay."""
    from ..faults import POINTS

    width = max(map(len, POINTS))
    show(POINTS, as_json, "\n".join(f"{name:<{width}}  {what}" for name, what in POINTS.items()))
