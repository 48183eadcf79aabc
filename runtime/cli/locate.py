"""Subcommands that find places without GNSS: make a gallery on the ground, find pictures in it aboard."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import click

from ..home import open_package
from .common import cli, json_option, say, show
from .outputs import OutFile, make_room


@cli.group()
def gallery() -> None:
    """Make and show galleries: the descriptors of a flight area, for subsolar locate."""


@gallery.command()
@click.argument("scene", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--package", type=click.Path(path_type=Path), required=True, help="Package of the encoder that flies.")
@click.option("--out", type=OutFile(), required=True, help="The gallery, a .npz file.")
@click.option("--tile", "tile_m", type=click.FloatRange(0, min_open=True), help="Side of a tile, m.  [the package's]")
@click.option("--step", "step_m", type=click.FloatRange(0, min_open=True), help="Between places, m.  [a quarter tile]")
@click.option("--crs", help="Of the scenes, instead of what they say: EPSG:CODE, or local for plain metres.")
@click.option("--headings", type=click.Choice(["1", "4"]), default="1", show_default=True, help="Turned views a place.")
@click.option("--tilt", "tilts", multiple=True, type=click.FloatRange(25, 90), help="Novel views this far below level.")
@click.option("--heights", type=click.Path(path_type=Path), help="Height model for the novel views, m.")
@click.option(
    "--calibrate", multiple=True, type=click.Path(path_type=Path), help="Imagery of another date: what fits by chance."
)
@json_option
def build(
    scene: tuple[Path, ...],
    package: Path,
    out: Path,
    tile_m: float | None,
    step_m: float | None,
    crs: str | None,
    headings: str,
    tilts: tuple[float, ...],
    heights: Path | None,
    calibrate: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Make the gallery of the georeferenced SCENEs with the encoder that flies."""
    from ..gallery_work import build_for

    made = build_for(
        open_package(package),
        scene,
        tile_m=tile_m,
        step_m=step_m,
        crs=crs,
        headings=int(headings),
        tilts_deg=tilts,
        heights=heights,
        calibrate=calibrate,
        progress=say,
    )
    size_byte = made.write(make_room(out))
    told = {
        "gallery": str(out),
        "views": len(made),
        "size_byte": size_byte,
        "crs": made.crs,
        "tile_m": made.tile_m,
        "step_m": made.step_m,
        "threshold": made.threshold(0.05),
        "threshold_from": made.null_kind,
        "package": made.package,
        "package_sha256": made.package_sha256,
        "sources": [asdict(source) for source in made.sources],
    }
    show(told, as_json, f"{out}: {len(made)} views of {made.tile_m:.1f} m in {made.crs}, {size_byte / 1e3:.0f} kB")


@cli.command()
@click.argument("package", type=click.Path(path_type=Path))
@click.argument("image", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--gallery", "known", type=click.Path(path_type=Path), required=True, help="Of subsolar gallery build.")
@click.option("--gsd", "gsd_m", type=click.FloatRange(0, min_open=True), help="Metres a pixel, seen straight down.")
@click.option("--height", "height_m", type=click.FloatRange(0, min_open=True), help="Above ground, m.")
@click.option("--focal", "focal_px", type=click.FloatRange(0, min_open=True), help="Focal length, px.")
@click.option("--heading", "heading_deg", type=float, default=0.0, show_default=True, help="Of the upper edge, deg.")
@click.option("--tilt", "tilt_deg", type=float, default=90.0, show_default=True, help="Of the axis below level, deg.")
@click.option("--log", type=click.Path(path_type=Path), help="CSV by image: heading_deg, height_m, east_m, north_m, …")
@click.option("--track", is_flag=True, help="The IMAGEs are one flight, in this order: fuse them.")
@click.option(
    "--drift", "drift_m", type=click.FloatRange(0, min_open=True), help="Error of motion an image, m.  [tile]"
)
@click.option(
    "--false-fixes", type=click.FloatRange(0, 0.5, min_open=True), default=0.05, show_default=True,
    help="Share of pictures from elsewhere that may get a position.",
)  # fmt: skip
@json_option
def locate(
    package: Path,
    image: tuple[Path, ...],
    known: Path,
    gsd_m: float | None,
    height_m: float | None,
    focal_px: float | None,
    heading_deg: float,
    tilt_deg: float,
    log: Path | None,
    track: bool,
    drift_m: float | None,
    false_fixes: float,
    as_json: bool,
) -> None:
    """Say where each IMAGE was taken, by a gallery; exit code 3 where no position can be given."""
    from ..engines import open_engine
    from ..gallery_work import pictures, read_log
    from ..locate import locate as find
    from ..locate import open_gallery, track_of

    opened = open_package(package)
    places = open_gallery(known, opened)
    told = {
        "gsd_m": gsd_m,
        "height_m": height_m,
        "focal_px": focal_px,
        "heading_deg": heading_deg,
        "tilt_deg": tilt_deg,
    }
    rows = read_log(log, image)
    with closing(open_engine(opened)) as engine:
        found = find(
            opened,
            engine,
            places,
            pictures(image, told, rows),
            false_fix_frac=false_fixes,
            track=track_of(places, drift_m) if track else None,
            moved_m=[row.moved_m for row in rows],
            name=str(known),
        )
    lines = [fix.line() for fix in (found.fixes if found.track is None else found.track)]
    show(asdict(found), as_json, "\n".join(lines))
    if not found.found:
        raise click.exceptions.Exit(3)
