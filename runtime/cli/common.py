"""What the subcommands share: the command itself, its options, and how a result is printed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ..strict_json import strict_json

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
        raise click.UsageError(f"--set {wrong[0]!r} is not SECTION.KEY=VALUE, for example --set power.panel_m2=0.1")
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
    print(strict_json(result, indent=2) if as_json else text, flush=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="subsolar", prog_name="subsolar")
def cli() -> None:
    """Onboard inference for satellites and UAVs: the network whose answers are worth most per joule, slot by slot."""
