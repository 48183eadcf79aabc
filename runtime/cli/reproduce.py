"""The subcommand that sets a paper's results beside ours."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..progress import Progress
from .common import cli, json_option, show
from .outputs import Folder, writable


@cli.command()
@click.argument("paper", type=click.Choice(["leo-iisat"]))
@click.option(
    "--out",
    type=Folder(),
    default=Path("build/reproduce"),
    show_default=True,
    help="Folder for report, tables, figures and trainings.",
)
@click.option("--quick", is_flag=True, help="Three seeds and the shortest trainings: shows the form, judges nothing.")
@click.option("--workers", type=click.IntRange(1), help="Trainings at once.  [default: one for each core]")
@json_option
def reproduce(paper: str, out: Path, quick: bool, workers: int | None, as_json: bool) -> None:
    """Reproduce PAPER: its tables and figures beside ours, opened by what it contradicts; goes on after Ctrl-C."""
    from policies.reproduce import FULL, QUICK
    from policies.reproduce import reproduce as run
    from policies.spread import Processes

    result = run(writable(out), QUICK if quick else FULL, executor=Processes(workers), progress=Progress(sys.stderr))
    checks = [{"check": check.text, "found": check.found, "verdict": check.verdict} for check in result.checks]
    lines = [f"{check['verdict']:10}  {check['check']}: {check['found']}" for check in checks]
    show(
        {"report": str(result.markdown), "page": str(result.page), "checks": checks},
        as_json,
        "\n".join([*lines, str(result.page)]),
    )
    if any(check.passed is False for check in result.checks):
        sys.exit(1)
