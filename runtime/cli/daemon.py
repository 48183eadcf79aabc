"""Subcommands of the daemon: run it, see what it does, tell it things, exchange its packages."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..counting import counted
from .common import assignments, cli, json_option, set_option, show
from .keys import keys
from .outputs import OutFile, write_out

F = Callable[..., Any]


def socket_option(command: F) -> F:
    """Add the two ways to name a daemon."""
    mission = click.option("--mission", type=click.Path(path_type=Path), help="Mission file of the daemon.")
    socket = click.option("--socket", type=click.Path(path_type=Path), help="Its control socket.")
    return mission(socket(command))


def socket_of(mission: Path | None, socket: Path | None) -> Path:
    """Return the control socket: as given, of the mission file, else where the packaged service has it."""
    if socket is not None:
        return socket
    if mission is not None:
        from ..daemon.mission import socket_in

        return socket_in(mission)
    return Path(os.environ.get("SUBSOLAR_SOCKET", "/run/subsolar/control.sock"))


def tell(mission: Path | None, socket: Path | None, as_json: bool, text: str, do: str, **arguments: Any) -> None:
    """Send one command and print the answer."""
    from ..daemon.control import ask

    answer = ask(socket_of(mission, socket), {"do": do, **arguments})
    show(answer, as_json, text.format(**answer))


@cli.command()
@click.argument("mission", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Only validate the file, its packages and its policy.")
@set_option
@json_option
def run(mission: Path, check: bool, overrides: tuple[str, ...], as_json: bool) -> None:
    """Fly MISSION on this machine until told to stop: the daemon."""
    from ..daemon.run import check_mission, run_mission

    if check:
        result = check_mission(mission, assignments(overrides))
        words = f"{mission} is good: {result['name']}, sha256 {result['sha256']}, policy: {result['policy']}"
        show(result, as_json, words)
        return
    words = f"subsolar: flying {mission}; stop with Ctrl-C, watch with: subsolar status --mission {mission}"
    run_mission(mission, os.environ, assignments(overrides), ready=lambda: print(words, file=sys.stderr))


@cli.command()
@socket_option
@click.option("--watch", "every_s", type=click.FloatRange(0.2, 3600), help="Show it again every so many seconds.")
@json_option
def status(mission: Path | None, socket: Path | None, every_s: float | None, as_json: bool) -> None:
    """Say what the daemon is doing; exit code 3 while it is degraded."""
    from ..status import status_of, table_of, watch

    path = socket_of(mission, socket)
    for said in watch(path, every_s) if every_s is not None else ():
        if not as_json:
            click.clear()
        show(said, as_json, table_of(said))
    said = status_of(path)
    show(said, as_json, table_of(said))
    if said["state"] in ("degraded", "safe"):
        raise click.exceptions.Exit(3)


@cli.command()
@socket_option
@json_option
def pause(mission: Path | None, socket: Path | None, as_json: bool) -> None:
    """Let the daemon infer nothing from the next slot on; passes and telemetry go on."""
    tell(mission, socket, as_json, "paused", "pause")


@cli.command()
@socket_option
@json_option
def resume(mission: Path | None, socket: Path | None, as_json: bool) -> None:
    """End a pause."""
    tell(mission, socket, as_json, "resumed", "resume")


@cli.command("pass")
@click.argument("what", type=click.Choice(["start", "stop", "auto"]))
@socket_option
@json_option
def contact(what: str, mission: Path | None, socket: Path | None, as_json: bool) -> None:
    """Start or stop a ground pass by hand; auto goes by the forecast again."""
    tell(mission, socket, as_json, "pass: {contact}, from the next slot on", "pass", what=what)


@cli.group()
def models() -> None:
    """List, install, activate, roll back and shadow the packages that a daemon flies."""


@models.command("list")
@socket_option
@json_option
def list_models(mission: Path | None, socket: Path | None, as_json: bool) -> None:
    """List the packages aboard, their slots and trials."""
    from ..daemon.control import ask

    answer = ask(socket_of(mission, socket), {"do": "models"})
    lines = [
        f"{row['id']:<32} flies {row['flying']:<8} slots {row['slots'] or 'empty'}  "
        f"{'on trial' if row['trial'] else row['refused'] or 'kept'}"
        for row in answer["models"]
    ]
    show(answer, as_json, "\n".join(lines))


@models.command("install")
@click.argument("package", type=click.Path(path_type=Path, exists=True))
@socket_option
@json_option
def install_model(package: Path, mission: Path | None, socket: Path | None, as_json: bool) -> None:
    """Verify PACKAGE (a folder or a packed file), put it into the free slot and fly it on trial."""
    tell(mission, socket, as_json, "{installed} v{version} flies on trial", "install", path=str(package.resolve()))


@models.command("activate")
@click.argument("package_id")
@click.argument("slot", type=click.Choice(["a", "b", "launched"]))
@socket_option
@json_option
def activate_model(package_id: str, slot: str, mission: Path | None, socket: Path | None, as_json: bool) -> None:
    """Fly the package in SLOT on trial."""
    tell(mission, socket, as_json, "{activated} flies slot {slot} on trial", "activate", id=package_id, slot=slot)


@models.command("rollback")
@click.argument("package_id")
@socket_option
@json_option
def rollback_model(package_id: str, mission: Path | None, socket: Path | None, as_json: bool) -> None:
    """Go back to the package before."""
    tell(mission, socket, as_json, "{rolled_back} flies slot {slot}", "rollback", id=package_id)


@models.command("shadow")
@click.argument("package", type=click.Path(path_type=Path, exists=True), required=False)
@socket_option
@json_option
def shadow_model(package: Path | None, mission: Path | None, socket: Path | None, as_json: bool) -> None:
    """Let PACKAGE score some tiles of each slot beside the active one; without PACKAGE, end it."""
    path = None if package is None else str(package.resolve())
    tell(mission, socket, as_json, "shadow: {shadow}" if path else "no shadow any more", "shadow", path=path)


@models.command("trust")
@click.argument("rotation", type=click.Path(path_type=Path, exists=True))
@socket_option
@json_option
def trust_keys(rotation: Path, mission: Path | None, socket: Path | None, as_json: bool) -> None:
    """Put a signed key rotation into force."""
    text = "rotation {number} is in force, keys {keys}; packages that can no longer be loaded: {lost}"
    tell(mission, socket, as_json, text, "trust", path=str(rotation.resolve()))


@keys.command("rotate")
@click.option("--number", type=click.IntRange(1), required=True, help="Higher than that of the rotation in force.")
@click.option("--sign-with", "signer", type=click.Path(path_type=Path), required=True, help="Private key trusted now.")
@click.option(
    "--keep", type=click.Path(path_type=Path), multiple=True, required=True, help="Public key of the new set."
)
@click.option("--revoke", multiple=True, metavar="KEY-ID", help="Key that is never to be trusted again.")
@click.option("--out", type=OutFile(), required=True, help="File to write.")
@json_option
def rotate_keys(
    number: int, signer: Path, keep: tuple[Path, ...], revoke: tuple[str, ...], out: Path, as_json: bool
) -> None:
    """Write a signed key rotation; install it aboard with `subsolar models trust`."""
    from exporters.keys import load_private, load_public

    from ..models import make_rotation

    write_out(out, make_rotation(number, [load_public(path) for path in keep], revoke, load_private(signer)))
    text = f"{out}: rotation {number} with {counted(len(keep), 'key')}, {len(revoke)} revoked"
    show({"rotation": str(out), "number": number, "keys": len(keep), "revoked": list(revoke)}, as_json, text)
