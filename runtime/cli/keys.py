"""Subcommands that make and list keys, and sign with them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from .common import cli, json_option, show
from .outputs import Folder, OutFile


@cli.group()
def keys() -> None:
    """Make and list the ed25519 keys that sign packages."""


@keys.command("new")
@click.argument("name")
@click.option(
    "--dir",
    "folder",
    type=Folder(),
    default=Path("build/keys"),
    show_default=True,
    help="Folder for the pair.",
)
@click.option("--valid-days", type=click.IntRange(1), help="After so many days it verifies nothing.  [default: never]")
@json_option
def new_key_pair(name: str, folder: Path, valid_days: int | None, as_json: bool) -> None:
    """Make the key pair NAME; the private half is readable by you alone."""
    from exporters.keys import key_facts, new_key

    private, public = new_key(folder, name, valid_days=valid_days)
    facts = key_facts(public)
    text = (
        f"private key {private} (keep it off the spacecraft)\n"
        f"public key  {public} (install it aboard), id {facts.key_id}, {facts.validity}"
    )
    show({"private": str(private), "public": str(public), **asdict(facts)}, as_json, text)


@keys.command("list")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Folder of public keys.  [default: deploy/keys]")
@json_option
def list_keys(folder: Path | None, as_json: bool) -> None:
    """List the public keys that packages are checked against."""
    from exporters.keys import list_keys as facts_of

    from ..home import folder_or_default

    found = facts_of(folder_or_default(folder, "keys", "--dir"))
    lines = [f"{key.key_id}  {key.name}  {key.validity}" for key in found]
    usable = [key.key_id for key in found if not key.expired]
    show({"keys": usable, "details": [asdict(key) for key in found]}, as_json, "\n".join(lines) or "no keys")


@cli.command()
@click.argument("package", type=click.Path(path_type=Path))
@click.option("--key", type=click.Path(path_type=Path), required=True, help="Private key; see `subsolar keys new`.")
@click.option("--out", type=Folder(), help="Folder for the signed copy.  [default: in place]")
@click.option("--version", type=click.IntRange(1), help="Raise the package's version; a craft never goes back.")
@click.option("--archive", type=OutFile(), help="Also write it as one file for the uplink.")
@json_option
def sign(package: Path, key: Path, out: Path | None, version: int | None, archive: Path | None, as_json: bool) -> None:
    """Sign PACKAGE: unsigned, or signed by a key that is trusted here."""
    from exporters.archive import pack
    from exporters.keys import key_id, load_private
    from exporters.package import load_package, sign_package

    from ..home import resolve_package, trusted_keys

    signer, folder = load_private(key), resolve_package(package)
    sign_package(folder, signer, trust=trusted_keys(folder), out=out, version=version)
    public = signer.public_key()
    signed = load_package(out or folder, trust={key_id(public): public})
    result = {"package": str(signed.path), "version": signed.info.version, "key_id": signed.key_id}
    if archive is not None:
        result["archive"] = str(pack(signed, archive))
    show(
        {**result, "sha256": signed.sha256}, as_json, f"{signed.path} v{signed.info.version} signed by {signed.key_id}"
    )
