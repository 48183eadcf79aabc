"""Subcommands that train and grade policies."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ..progress import Progress
from .common import assignments, cli, json_option, packages_option, seed_option, set_option, show


@cli.command()
@click.argument("policy", type=click.Choice(["dqn", "universal"]))
@click.option("--scenario", "name", default="cubesat-6u", show_default=True, help="Scenario that a dqn is trained in.")
@click.option(
    "--steps", type=click.IntRange(1), default=150_000, show_default=True, help="Slots that a dqn trains for."
)
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
    policy: str, name: str, overrides: dict[str, str], packages: Path | None, *, steps: int, seed: int, out: Path
) -> Any:
    """Return the trained policy: ``universal`` learns across drawn missions, ``dqn`` in one scenario."""
    progress = Progress(sys.stderr)
    if policy == "universal":
        from policies.train_universal import train_universal

        return train_universal(seed=seed, out=out, progress=progress)
    from policies.train_dqn import train_dqn

    from ..replay import scenario_with_packages

    loaded = scenario_with_packages(name, overrides, packages)
    return train_dqn(loaded, steps=steps, seed=seed, out=out, progress=progress)


@cli.command()
@click.argument("name", metavar="SCENARIO", default="cubesat-6u")
@click.option(
    "--policies",
    default="fixed:*,greedy,auto",
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

    from ..replay import scenario_with_packages

    loaded = scenario_with_packages(name, assignments(overrides), packages)
    result = grade(loaded, policies.split(","), seeds=range(seeds), progress=Progress(sys.stderr))
    show(result, as_json, table_of(result))
