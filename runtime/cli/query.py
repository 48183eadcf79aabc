"""Subcommands that ask in words: which tiles show it, and what a tile answers."""

from __future__ import annotations

from pathlib import Path

import click

from ..home import open_package
from .common import cli, json_option, say, show


@cli.command()
@click.argument("text")
@click.argument("scene", nargs=-1, type=click.Path(path_type=Path))
@click.option("--package", type=click.Path(path_type=Path), required=True, help="Package of a text-image network.")
@click.option("--index", type=click.Path(path_type=Path), help="Folder of an index: SCENEs are added, all is searched.")
@click.option("--top", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Tiles to show.")
@click.option(
    "--capacity", type=click.IntRange(1, 1_000_000), default=100_000, show_default=True, help="Of a new index."
)
@click.option(
    "--request", type=click.Path(path_type=Path), help="Also write the uplink request for a craft to this file."
)
@json_option
def query(
    text: str,
    scene: tuple[Path, ...],
    package: Path,
    index: Path | None,
    top: int,
    capacity: int,
    request: Path | None,
    as_json: bool,
) -> None:
    """Find the tiles of SCENEs, or of an index, that TEXT describes."""
    from ..asking import search_scenes
    from ..tasks.request import UplinkRequest

    found = search_scenes(open_package(package), text, scene, index=index, count=top, capacity=capacity, progress=say)
    if request is not None:
        request.write_bytes(UplinkRequest(request_id=request.stem, kind="search", text=text, count=top).encode())
    show(found.summary(), as_json, found.table())


@cli.command()
@click.argument("question")
@click.option("--scene", type=click.Path(path_type=Path), required=True, help="The image that it is about.")
@click.option("--package", type=click.Path(path_type=Path), required=True, help="Package of a network that answers.")
@click.option(
    "--request", type=click.Path(path_type=Path), help="Also write the uplink request for a craft to this file."
)
@json_option
def ask(question: str, scene: Path, package: Path, request: Path | None, as_json: bool) -> None:
    """Answer QUESTION about each tile of a scene, with the confidence and the tile."""
    from ..asking import ask_scene
    from ..tasks.request import UplinkRequest

    answered = ask_scene(open_package(package), question, scene, progress=say)
    if request is not None:
        request.write_bytes(UplinkRequest(request_id=request.stem, kind="ask", text=question).encode())
    show(answered.summary(), as_json, answered.table())
