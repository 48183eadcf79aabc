"""Subcommands that ask in words: which tiles show it, and what a tile answers."""

from __future__ import annotations

from pathlib import Path

import click

from ..home import open_package
from .common import cli, json_option, say, show
from .outputs import Folder, OutFile

UPLINK = "Ask the craft of this mission file instead: the request goes into its uplink folder."
WORTH = "What the best tile gains, or a sure answer is worth, on board."


@cli.command()
@click.argument("text")
@click.argument("scene", nargs=-1, type=click.Path(path_type=Path))
@click.option("--package", type=click.Path(path_type=Path), help="Package of a text-image network.")
@click.option("--uplink", type=click.Path(path_type=Path), help=UPLINK)
@click.option("--worth", type=click.FloatRange(0, 1e6, min_open=True), default=1.0, show_default=True, help=WORTH)
@click.option("--index", type=Folder(), help="Folder of an index: SCENEs are added, all is searched.")
@click.option("--top", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Tiles to show.")
@click.option(
    "--capacity", type=click.IntRange(1, 1_000_000), default=100_000, show_default=True, help="Of a new index."
)
@click.option("--request", type=OutFile(), help="Also write the uplink request for a craft to this file.")
@json_option
def query(
    text: str,
    scene: tuple[Path, ...],
    package: Path | None,
    uplink: Path | None,
    worth: float,
    index: Path | None,
    top: int,
    capacity: int,
    request: Path | None,
    as_json: bool,
) -> None:
    """Find the tiles of SCENEs, or of an index, that TEXT describes."""
    from ..asking import search_scenes
    from ..uplink import send_request, write_request

    if uplink is not None:
        sent = send_request(uplink, "search", text, worth=worth, count=top)
        show(sent.summary(), as_json, sent.line())
        return
    if package is None:
        raise click.UsageError("Give --package PACKAGE to search here, or --uplink MISSION to let the craft search.")
    found = search_scenes(open_package(package), text, scene, index=index, count=top, capacity=capacity, progress=say)
    if request is not None:
        write_request(request, "search", text, worth=worth, count=top)
    show(found.summary(), as_json, found.table())


@cli.command()
@click.argument("question")
@click.option("--scene", type=click.Path(path_type=Path), help="The image that it is about.")
@click.option("--package", type=click.Path(path_type=Path), help="Package of a network that answers.")
@click.option("--uplink", type=click.Path(path_type=Path), help=UPLINK)
@click.option("--worth", type=click.FloatRange(0, 1e6, min_open=True), default=1.0, show_default=True, help=WORTH)
@click.option("--request", type=OutFile(), help="Also write the uplink request for a craft to this file.")
@json_option
def ask(
    question: str,
    scene: Path | None,
    package: Path | None,
    uplink: Path | None,
    worth: float,
    request: Path | None,
    as_json: bool,
) -> None:
    """Answer QUESTION about each tile of a scene, with the confidence and the tile; exit code 3 where none has data."""
    from ..asking import ask_scene
    from ..uplink import send_request, write_request

    if uplink is not None:
        sent = send_request(uplink, "ask", question, worth=worth)
        show(sent.summary(), as_json, sent.line())
        return
    if package is None or scene is None:
        raise click.UsageError("Give --scene and --package to ask here, or --uplink MISSION to ask the craft.")
    answered = ask_scene(open_package(package), question, scene, progress=say)
    if request is not None:
        write_request(request, "ask", question, worth=worth)
    show(answered.summary(), as_json, answered.table())
    if answered.best is None:
        raise click.exceptions.Exit(3)
