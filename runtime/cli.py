"""The ``subsolar`` command. A subcommand parses, calls one library function and prints; the work is done elsewhere.

Exit codes: 0 ok, 1 failed, 2 usage, 3 degraded.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from exporters.errors import ExporterError
from policies.errors import PolicyError
from power_sim.errors import PowerSimError, ScenarioError

from .errors import MissionError, SubsolarError
from .home import open_package
from .progress import Progress

EXTRAS = {
    "torch": "export",
    "onnx": "export",
    "gymnasium": "train",
    "stable_baselines3": "train",
    "matplotlib": "sim",
    "onnxruntime": "cpu",
}
"""Which extra of the distribution brings a library."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
seed_option = click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of every draw.")
packages_option = click.option(
    "--packages", type=click.Path(path_type=Path), help="Folder of model packages.  [default: deploy/packages]"
)
scenes_option = click.option(
    "--scenes", type=click.Path(path_type=Path), help="Folder of scenes.  [default: deploy/scenes]"
)
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE", help="Override a scenario value."
)


def assignments(pairs: tuple[str, ...]) -> dict[str, str]:
    """Return ``("a.b=1",)`` as ``{"a.b": "1"}``."""
    split = [pair.partition("=") for pair in pairs]
    if wrong := [pair for pair, (key, sign, _) in zip(pairs, split, strict=True) if not sign or not key]:
        raise click.UsageError(
            f"--set {wrong[0]!r} is not SECTION.KEY=VALUE, for example --set power.panel_area_m2=0.1"
        )
    return {key: value for key, _, value in split}


def integers(text: str, option: str) -> tuple[int, ...]:
    """Return ``"1,8"`` as ``(1, 8)``."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise click.UsageError(f"{option} {text!r} is not a list of whole numbers, for example 1,8,32") from error


def say(line: str) -> None:
    """Print a line of progress."""
    print(line, file=sys.stderr, flush=True)


def show(result: Mapping[str, Any], as_json: bool, text: str) -> None:
    """Print ``result`` as JSON, or ``text`` for a person."""
    print(json.dumps(result, indent=2, default=str) if as_json else text)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="subsolar", prog_name="subsolar")
def cli() -> None:
    """Onboard inference for satellites and UAVs: the network whose answers are worth most per joule, slot by slot."""


@cli.command()
@click.argument("scenario", default="cubesat-6u")
@click.option("--policy", default="dqn", show_default=True, help="dqn, greedy, fixed:NAME … or a file of weights.")
@seed_option
@click.option("--orbits", type=click.IntRange(1, 5000), default=3, show_default=True, help="How long to fly.")
@click.option(
    "--tiles-per-slot",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    help="Tiles really inferred per slot; counts and joules are scaled from them.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("build/replay"),
    show_default=True,
    help="Folder for the report.",
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads per engine.")
@packages_option
@scenes_option
@set_option
@json_option
def replay(as_json: bool, overrides: tuple[str, ...], **given: Any) -> None:
    """Fly SCENARIO here: simulated orbit and power, real tiles, real engines, real packets to a ground station."""
    from .replay import ReplayOptions, fly

    options = ReplayOptions(overrides=assignments(overrides), **given)
    result = fly(options, Progress(sys.stderr))
    show(result.summary, as_json, result.table())


@cli.command()
@click.option(
    "--listen",
    default="127.0.0.1:0",
    show_default=True,
    help="UDP address to receive packets on; port 0 takes a free one.",
)
@click.option("--from", "recorded", type=click.Path(path_type=Path), help="Read a recorded packet file instead.")
@click.option("--record", type=click.Path(path_type=Path), help="Keep every packet as it came in this file.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("build/ground"),
    show_default=True,
    help="Folder for the products.",
)
@json_option
def ground(listen: str, recorded: Path | None, record: Path | None, out: Path, as_json: bool) -> None:
    """Receive packets until Ctrl-C, rebuild GeoJSON exactly once, report gaps."""
    from .ground import run_ground

    report = run_ground(listen=listen, recorded=recorded, out=out, record=record, announce=say)
    missing = f", {report['missing_packet']} packets missing" if report["missing_packet"] else ""
    show(report, as_json, f"{report['products']} products in {out / 'products.geojson'}{missing}")


@cli.command()
@click.argument("package", type=click.Path(path_type=Path))
@click.argument("scene", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
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
    default=0,
    show_default=True,
    help="Overlap of neighbouring tiles in pixels.",
)
@json_option
def infer(package: Path, scene: tuple[Path, ...], out: Path, bands: str | None, as_json: bool, **given: Any) -> None:
    """Run PACKAGE over each SCENE once: a raster in, GeoJSON out."""
    from .infer import infer_scenes

    names = tuple(bands.split(",")) if bands else ()
    result = infer_scenes(open_package(package), scene, out, band_names=names, progress=Progress(sys.stderr), **given)
    show(result.summary(), as_json, result.table())
    if not result.complete:
        raise click.exceptions.Exit(3 if any(not scene.error for scene in result.scenes) else 1)


@cli.command()
@click.argument("name", required=False)
@click.option(
    "--plot", type=click.Path(path_type=Path), help="Draw orbit, power, battery and load into this PNG or SVG."
)
@seed_option
@set_option
@json_option
def scenario(name: str | None, plot: Path | None, seed: int, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show the built-in scenarios, or one in full."""
    from power_sim.scenario import load_scenario, scenario_names

    if name is None:
        show({"scenarios": list(scenario_names())}, as_json, "\n".join(scenario_names()))
        return
    loaded = load_scenario(name, assignments(overrides))
    if plot is not None:
        from power_sim.plot import plot_scenario

        plot_scenario(loaded, seed=seed, path=plot)
    table = {"name": loaded.name, "sha256": loaded.sha256, **loaded.to_table()}
    show(table, as_json, json.dumps(table, indent=2, default=str))


@cli.command()
@click.argument("policy", type=click.Choice(["dqn"]))
@click.option("--scenario", "name", default="cubesat-6u", show_default=True, help="Scenario to train in.")
@click.option("--steps", type=click.IntRange(1), default=100_000, show_default=True, help="Slots to train for.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("build/train"),
    show_default=True,
    help="Folder for weights, card and curve.",
)
@packages_option
@seed_option
@set_option
@json_option
def train(
    policy: str, name: str, overrides: tuple[str, ...], as_json: bool, packages: Path | None, **given: Any
) -> None:
    """Train POLICY in the simulator and write it as plain arrays with a card."""
    from policies.train_dqn import train_dqn

    from .replay import scenario_with_packages

    loaded = scenario_with_packages(name, assignments(overrides), packages)
    trained = train_dqn(loaded, progress=Progress(sys.stderr), **given)
    result = {
        "policy": str(trained.path),
        "card": str(trained.card),
        "curve": str(trained.curve),
        "steps": trained.steps,
        "agreement_frac": trained.agreement_frac,
    }
    text = (
        f"{trained.path} after {trained.steps} slots; exported and trained policy agree on {trained.agreement_frac:.2%}"
    )
    show(result, as_json, text)


@cli.command()
@click.argument("name", metavar="SCENARIO", default="cubesat-6u")
@click.option(
    "--policies",
    default="fixed:*,greedy,dqn",
    show_default=True,
    help="Policies to grade; fixed:* is each model of the pool.",
)
@click.option("--seeds", type=click.IntRange(2), default=30, show_default=True, help="Missions flown per policy.")
@packages_option
@set_option
@json_option
def evaluate(
    name: str, policies: str, seeds: int, packages: Path | None, overrides: tuple[str, ...], as_json: bool
) -> None:
    """Grade policies on SCENARIO over common seeds, against the best that perfect foresight allows."""
    from policies.evaluate import evaluate as grade
    from policies.evaluate import table_of

    from .replay import scenario_with_packages

    loaded = scenario_with_packages(name, assignments(overrides), packages)
    result = grade(loaded, policies.split(","), seeds=range(seeds), progress=Progress(sys.stderr))
    show(result, as_json, table_of(result))


@cli.command()
@click.argument("network")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of the data set (EuroSAT layout).")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for checkpoints and curve.  [default: build/fit/NETWORK]"
)
@click.option("--epochs", type=click.IntRange(1), default=40, show_default=True, help="Passes over the training chips.")
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

    from .home import resolve_package, trusted_keys

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
def new_key_pair(name: str, folder: Path) -> None:
    """Make the key pair NAME; the private half is readable by you alone."""
    from exporters.keys import new_key

    private, public = new_key(folder, name)
    print(f"private key {private} (keep it off the spacecraft)\npublic key  {public} (install it aboard)")


@keys.command("list")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Folder of public keys.  [default: deploy/keys]")
@json_option
def list_keys(folder: Path | None, as_json: bool) -> None:
    """List the public keys that packages are checked against."""
    from exporters.keys import load_trust

    from .home import folder_or_default

    known = sorted(load_trust(folder_or_default(folder, "keys", "--dir")))
    show({"keys": known}, as_json, "\n".join(known))


@cli.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what this machine has, what is missing, and what to do about it."""
    from .doctor import examine

    findings = examine()
    show({"findings": [asdict(f) for f in findings]}, as_json, "\n".join(f.line() for f in findings))
    if any(not f.good for f in findings):
        raise click.exceptions.Exit(3)


def main() -> None:
    """Run the command and turn every refusal into one line and an exit code."""
    try:
        code = cli(standalone_mode=False)
    except click.ClickException as problem:
        problem.show()
        code = 2
    except click.exceptions.Exit as leave:
        code = leave.exit_code
    except (ScenarioError, MissionError, PolicyError) as problem:
        code = refuse(problem, 2)
    except (SubsolarError, PowerSimError, ExporterError) as problem:
        code = refuse(problem, 1)
    except ModuleNotFoundError as problem:
        if problem.name not in EXTRAS:
            raise
        extra = EXTRAS[problem.name]
        code = refuse(f"this needs {problem.name}. Install it with: pip install 'subsolar[{extra}]'", 1)
    except (click.Abort, KeyboardInterrupt):
        code = refuse("stopped by the user", 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def refuse(problem: object, code: int) -> int:
    """Print one line and return the exit code."""
    print(f"subsolar: {' '.join(str(problem).split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
