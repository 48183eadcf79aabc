"""Subcommands that fly, infer and receive."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ..home import open_package
from ..progress import Progress
from .common import assignments, cli, json_option, packages_option, say, scenes_option, seed_option, set_option, show
from .outputs import Folder, OutFile, make_room

if TYPE_CHECKING:
    from exporters.package import ModelPackage

    from ..infer import InferResult
    from ..pipeline.chaining import ChainResult


@cli.command()
@click.argument("scenario", default="cubesat-6u")
@click.option(
    "--policy",
    default="auto",
    show_default=True,
    help="auto (the best known here), dqn, universal, lookahead, greedy, fixed:NAME … or dqn:FILE.npz of your own.",
)
@seed_option
@click.option("--orbits", type=click.IntRange(1, 5000), help="How long to fly.  [default: as the scenario says]")
@click.option(
    "--tiles-per-slot",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    help="Tiles really inferred per slot; counts and joules are scaled from them.",
)
@click.option(
    "--out",
    type=Folder(),
    default=Path("build/replay"),
    show_default=True,
    help="Folder for the report.",
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads per engine.")
@click.option("--no-inference", is_flag=True, help="Look at no tile: decisions and energy alone, weeks in a minute.")
@click.option("--czml", is_flag=True, help="Write replay.czml, for CesiumJS.")
@click.option("--geojson", is_flag=True, help="Write replay.geojson: track, slots, stations, answers.")
@click.option("--csv", is_flag=True, help="Write products.csv beside slots.csv.")
@click.option("--parquet", is_flag=True, help="Write slots.parquet and products.parquet (needs pyarrow).")
@click.option(
    "--from-trace",
    "trace",
    type=click.Path(path_type=Path, exists=True),
    help="Fly a daemon's decision trace again instead, and compare every decision.",
)
@packages_option
@scenes_option
@set_option
@json_option
def replay(as_json: bool, no_inference: bool, trace: Path | None, overrides: tuple[str, ...], **given: Any) -> None:
    """Fly SCENARIO here: simulated orbit and power, real tiles, real engines, real packets to a ground station."""
    if trace is not None:
        replay_trace(trace, as_json)
        return
    from ..flight import ReplayOptions
    from ..replay import fly

    formats = frozenset(name for name in ("czml", "geojson", "csv", "parquet") if given.pop(name))
    options = ReplayOptions(overrides=assignments(overrides), formats=formats, infer=not no_inference, **given)
    result = fly(options, Progress(sys.stderr))
    show(result.summary, as_json, result.table())


def replay_trace(trace: Path, as_json: bool) -> None:
    """Fly a recorded flight again; exit code 1 where a decision differs."""
    from ..daemon.trace import fly_trace

    again = fly_trace(trace)
    show(asdict(again), as_json, again.table())
    if not again.complete:
        raise click.exceptions.Exit(1)


@cli.command()
@click.argument("package", type=click.Path(path_type=Path), required=False)
@click.argument("scene", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--chain",
    type=click.Path(path_type=Path),
    help="A TOML file of stages, such as dehaze then detect; then all arguments are scenes.",
)
@click.option(
    "--out",
    type=Folder(),
    default=Path("build/infer"),
    show_default=True,
    help="Folder for the GeoJSON.",
)
@click.option("--batch", type=click.IntRange(1, 256), default=32, show_default=True, help="Tiles per engine call.")
@click.option(
    "--bands", help="Band names of the scenes in file order, such as red,green,blue, where the files say nothing."
)
@click.option(
    "--range", "value_range", type=(float, float), help="LOW HIGH: what is 0 and 255 in 16-bit and float scenes."
)
@click.option(
    "--overlap",
    "overlap_px",
    type=click.IntRange(0),
    help="Of neighbouring tiles in pixels.  [default: 0; a quarter of the tile where restored images would show seams]",
)
@click.option(
    "--skip",
    default="",
    help="Pre-filters: dark, cloud, water, nodata, each with a share of the tile, such as cloud=0.8.",
)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Batches inferred at once, by threads."
)
@click.option("--provider", default="cpu", show_default=True, help="cpu, cuda, tensorrt, or a plug-in's name.")
@click.option(
    "--isolate", is_flag=True, help="Run the engine in a process of its own, replaced if it hangs or crashes."
)
@click.option("--stac", is_flag=True, help="Write a STAC item beside each output.")
@click.option(
    "--with",
    "beside",
    multiple=True,
    metavar="ROLE=FILE",
    help="Lay another scene over each: reference=before.tif, sar:vv,vh=radar.tif. Its bands are ROLE_BAND.",
)
@click.option("--preview", is_flag=True, help="Draw what was found into a PNG beside each output.")
@click.option(
    "--meter",
    default="",
    help="Say what each tile cost: estimate (by the profile), auto, ina3221, ina238, nvml, rapl, or a plug-in's name.",
)
@click.option(
    "--fill",
    type=float,
    default=0.0,
    show_default=True,
    help="Stands for missing values in float32 tiles; nan leaves them.",
)
@click.option("--resume", is_flag=True, help="Leave out scenes that an earlier run into the same folder finished.")
@click.option(
    "--executor",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Who works: this machine, or the Ray cluster that RAY_ADDRESS names.",
)
@json_option
def infer(
    package: Path | None,
    scene: tuple[Path, ...],
    chain: Path | None,
    out: Path,
    bands: str | None,
    skip: str,
    executor: str,
    beside: tuple[str, ...],
    as_json: bool,
    **given: Any,
) -> None:
    """Run PACKAGE over each SCENE once: rasters, folders, @LIST or line streams in, GeoJSON or GeoTIFF out.

    A scene of which every tile is screened out gets a file without answers, and a line says so. Exit code 3 where
    scenes or tiles failed, 1 where all did.
    """
    from ..errors import FrameError
    from ..frames import parse_beside
    from ..infer import infer_scenes
    from ..pipeline.executors import make_executor
    from ..prefilter import parse_skip

    if package is None:
        raise click.UsageError(f"Missing argument '{'PACKAGE' if chain is None else 'SCENE...'}'.")
    try:
        given |= {"skip": parse_skip(skip), "beside": [parse_beside(text) for text in beside]}
    except FrameError as error:
        raise click.UsageError(str(error)) from error
    given["band_names"] = tuple(bands.split(",")) if bands else ()
    if chain is not None:
        infer_by_chain(chain, (package, *scene), out, as_json, given)
        return
    if not scene:
        raise click.UsageError("Missing argument 'SCENE...'. Give at least one after the package.")
    runs, opened = make_executor(executor), open_package(package)
    if given["overlap_px"] is None:
        given["overlap_px"] = seamless_px(opened)
    result = infer_scenes(opened, scene, out, executor=runs, progress=Progress(sys.stderr), **given)
    conclude(result, scene, as_json)


def conclude(result: InferResult | ChainResult, scenes: Sequence[Path], as_json: bool) -> None:
    """Show a result; exit code 3 where a part is missing, 1 where all failed, 2 where no scene is there at all."""
    from ..pipeline.verdict import exit_code, remarks

    show(result.summary(), as_json, result.table())
    for line in remarks(result.parts):
        say(f"subsolar: {line}")
    code = exit_code(result.parts, complete=result.complete, any_whole=any(not scene.error for scene in result.scenes))
    there = any(scene.exists() or str(scene).startswith(("@", "/vsi")) for scene in scenes)
    if code == 1 and not there and not result.interrupted:
        code = 2
    if code:
        raise click.exceptions.Exit(code)


def seamless_px(package: ModelPackage) -> int:
    """How far tiles of this package overlap unless told otherwise: restored images fade into each other, and what a
    border cuts lies whole in the next tile."""
    info = package.info
    return info.input.tile_edge_px // 4 if info.output.kind in ("image", "boxes") else 0


NOT_WITH_CHAIN = {
    "batch": "Write batch into its stages.",
    "overlap_px": "Write overlap_px into its stages.",
    "skip": "Write skip into its stages.",
    "resume": "A chain does not resume; give only the scenes that are left.",
    "executor": "A chain runs on this machine.",
}


def infer_by_chain(chain: Path, scenes: tuple[Path, ...], out: Path, as_json: bool, given: dict[str, Any]) -> None:
    """Send scenes through a chain; cutting is the chain's own."""
    from ..pipeline.chaining import infer_chain
    from ..pipeline.job import InferOptions
    from ..pipeline.scene import Cutting
    from ..tasks.chain import Chain

    source_of = click.get_current_context().get_parameter_source
    for name, instead in NOT_WITH_CHAIN.items():
        if source_of(name) == ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.removesuffix('_px')} cannot be given with --chain. {instead}")
    cutting = Cutting(workers=given["workers"], fill=given["fill"])
    told = ("band_names", "value_range", "provider", "isolate", "stac", "preview", "meter")
    options = InferOptions(cutting=cutting, beside=tuple(given["beside"]), **{name: given[name] for name in told})
    result = infer_chain(Chain.read(chain), open_package, scenes, out, options=options, progress=Progress(sys.stderr))
    conclude(result, scenes, as_json)


@cli.command()
@click.argument("name", required=False)
@click.option(
    "--plot",
    type=OutFile(".png", ".svg", ".pdf"),
    help="Draw orbit, power, battery and load into this PNG, SVG or PDF.",
)
@seed_option
@set_option
@json_option
def scenario(name: str | None, plot: Path | None, seed: int, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show the built-in scenarios, or one in full, as TOML to make your own of."""
    from power_sim.scenario import load_scenario, scenario_names
    from power_sim.toml_text import toml_text

    if name is None:
        width = max(map(len, scenario_names()))
        lines = [f"{known:{width}}  {load_scenario(known).summary}" for known in scenario_names()]
        show({"scenarios": list(scenario_names())}, as_json, "\n".join(lines))
        return
    loaded = load_scenario(name, assignments(overrides))
    if plot is not None:
        from power_sim.plot import plot_scenario

        plot_scenario(loaded, seed=seed, path=make_room(plot))
    table = {"name": loaded.name, "sha256": loaded.sha256, **loaded.to_table()}
    show(table, as_json, toml_text(loaded.to_table()).rstrip() if plot is None else f"wrote {plot}")


@cli.command()
@click.option("--mission", type=click.Path(path_type=Path), help="Look at what this mission file needs, too.")
@json_option
def doctor(mission: Path | None, as_json: bool) -> None:
    """Say what this machine has, what is missing, and what to do about it."""
    from ..doctor import examine

    findings = examine(mission)
    show({"findings": [asdict(f) for f in findings]}, as_json, "\n".join(f.line() for f in findings))
    if any(not f.good for f in findings):
        raise click.exceptions.Exit(3)
