"""The subcommand that shows a flight live."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from .common import cli, json_option, scenes_option, show


@cli.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--mission", type=click.Path(path_type=Path), help="Mission file of a running daemon.")
@click.option("--socket", type=click.Path(path_type=Path), help="Control socket of a running daemon.")
@click.option("--scenario", help="Scenario that is flown, for track and stations.  [default: as FOLDER's summary says]")
@click.option("--last", type=click.IntRange(1, 20_000), default=1000, show_default=True, help="Newest slots shown.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8321, show_default=True, help="Port; 0 takes a free one."
)
@click.option("--open", "browse", is_flag=True, help="Open it in this machine's browser.")
@scenes_option
@json_option
def watch(
    folder: Path | None,
    mission: Path | None,
    socket: Path | None,
    scenario: str | None,
    last: int,
    port: int,
    browse: bool,
    scenes: Path | None,
    as_json: bool,
) -> None:
    """Serve the report page live on 127.0.0.1: of the replay in FOLDER, or of a running daemon. Reads only."""
    from ..watch import PageServer
    from ..watch.choose import choose_source

    source = choose_source(folder, mission, socket, scenario, scenes, last)
    source.version()  # a refusal comes before the address
    server = PageServer(source, port)
    show({"watching": server.address}, as_json, f"watching at {server.address}; Ctrl-C ends")
    if browse:
        webbrowser.open(server.address)
    server.serve()
