"""Subcommands that train and grade policies."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from power_sim.scenario import Scenario

from ..progress import Progress
from .common import assignments, cli, json_option, packages_option, seed_option, set_option, show
from .outputs import Folder, OutFile, make_room, writable


@cli.command()
@click.argument("policy", type=click.Choice(["dqn", "q-learning", "policy-gradient", "universal"]))
@click.option("--scenario", "name", default="cubesat-6u", show_default=True, help="Scenario to train in.")
@click.option(
    "--steps",
    type=click.IntRange(1),
    help="Slots to train for.  [default: 150000 for dqn, 2000000 for q-learning and policy-gradient]",
)
@click.option(
    "--out",
    type=Folder(),
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
    """Train POLICY in the simulator and write it as plain arrays with a card; the same command goes on after Ctrl-C."""
    trained = train_one(policy, name, assignments(overrides), packages, **given)
    result = {
        "policy": str(trained.path),
        "card": str(trained.card),
        "curve": str(trained.curve),
        "agreement_frac": trained.agreement_frac,
    }
    text = f"{trained.path}: exported and trained policy agree on {trained.agreement_frac:.2%} of the states"
    show(result, as_json, text)


def train_one(
    policy: str, name: str, overrides: dict[str, str], packages: Path | None, *, steps: int | None, seed: int, out: Path
) -> Any:
    """Return the trained policy: ``universal`` learns across drawn missions, the others in one scenario."""
    progress = Progress(sys.stderr)
    if policy == "universal":
        from policies.train_universal import train_universal

        return train_universal(seed=seed, out=writable(out), progress=progress)
    from ..replay import scenario_with_packages

    loaded = scenario_with_packages(name, overrides, packages)
    writable(out)
    if policy == "q-learning":
        from policies.train_q_learning import train_q_learning

        return train_q_learning(loaded, steps=steps or 2_000_000, seed=seed, out=out, progress=progress)
    if policy == "policy-gradient":
        from policies.train_gradient import train_gradient

        return train_gradient(loaded, steps=steps or 2_000_000, seed=seed, out=out, progress=progress)
    from policies.train_dqn import train_dqn

    return train_dqn(loaded, steps=steps or 150_000, seed=seed, out=out, progress=progress)


@cli.command()
@click.argument("names", metavar="[SCENARIO]...", nargs=-1)
@click.option(
    "--policies",
    default="fixed:*,greedy,auto",
    show_default=True,
    help="Policies to grade; fixed:* is each model of the pool.",
)
@click.option("--seeds", type=click.IntRange(2), default=30, show_default=True, help="Missions flown per policy.")
@click.option(
    "--executor",
    type=click.Choice(["processes", "ray"]),
    default="processes",
    show_default=True,
    help="Who flies: processes here, or a Ray cluster (RAY_ADDRESS, else one that is started here).",
)
@click.option("--workers", type=click.IntRange(1), help="Processes at once.  [default: one for each core]")
@click.option(
    "--plot", type=OutFile(".png", ".svg", ".pdf"), help="Draw value against joules into this PNG, SVG or PDF."
)
@packages_option
@set_option
@json_option
def evaluate(
    names: tuple[str, ...],
    overrides: tuple[str, ...],
    as_json: bool,
    plot: Path | None,
    packages: Path | None,
    **how: Any,
) -> None:
    """Grade policies on each SCENARIO over common seeds, against the best that perfect foresight allows."""
    from policies.evaluate import table_of
    from policies.frontier_plot import refuse_undrawable

    from ..replay import scenario_with_packages

    scenarios = [scenario_with_packages(name, assignments(overrides), packages) for name in names or ("cubesat-6u",)]
    if plot:
        refuse_undrawable(make_room(plot))
    reports = [graded(scenario, **how) for scenario in scenarios]
    result = reports[0] if len(reports) == 1 else {"reports": reports}
    show(result, as_json, "\n\n".join(map(table_of, reports)))
    if plot:
        draw_plots(reports, plot)


def graded(scenario: Scenario, *, policies: str, seeds: int, executor: str, workers: int | None) -> dict[str, Any]:
    """Return the report of one scenario; it does not depend on who flies."""
    from policies.evaluate import evaluate as grade
    from policies.spread import OnWorkers, Processes

    from ..pipeline.executors import make_executor

    spread = OnWorkers(make_executor("ray")) if executor == "ray" else Processes(workers)
    return grade(scenario, policies.split(","), range(seeds), executor=spread, progress=Progress(sys.stderr))


def draw_plots(reports: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw one picture per report; several get the scenario's name in theirs."""
    from policies.frontier_plot import draw_frontier

    for report in reports:
        own = path if len(reports) == 1 else path.with_name(f"{path.stem}-{report['scenario']}{path.suffix}")
        draw_frontier(report, own)
