"""Where things lie: the folders that a checkout ships, and the packages and keys in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from exporters.package import ModelPackage, load_package

from .errors import MissionError

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
"""Beside the packages in a checkout; an installed wheel has none and is told where to look."""


def folder_or_default(given: Path | None, name: str, option: str) -> Path:
    """Return ``given``, or the checkout's ``deploy/name``; ``MissionError`` where there is neither."""
    path = given if given is not None else DEPLOY / name
    if not path.is_dir():
        advice = f"Give the folder with {option}." if given is None else "Check the path."
        raise MissionError(f"There is no folder {path}. {advice}")
    return path


def trusted_keys(package: Path) -> Path:
    """Return the folder of public keys for a package: ``keys`` beside its folder of packages, else the checkout's."""
    beside = package.resolve().parent.parent / "keys"
    return beside if beside.is_dir() else DEPLOY / "keys"


def resolve_package(path: Path) -> Path:
    """Return a package's folder: ``path`` itself, or the one of that name in the checkout's ``deploy/packages``."""
    known = DEPLOY / "packages" / path.name
    if not path.exists() and len(path.parts) == 1 and known.is_dir():
        return known
    if not path.is_dir():
        names = ", ".join(sorted(p.name for p in (DEPLOY / "packages").glob("*") if p.is_dir())) or "none"
        raise MissionError(f"There is no package {str(path)!r}. Give its folder, or one of those that ship: {names}.")
    return path


def open_package(path: Path) -> ModelPackage:
    """Verify and read one package, by folder or by the name of one that ships."""
    folder = resolve_package(path)
    return load_package(folder, trust=trusted_keys(folder))


def open_packages(folder: Path, names: Mapping[str, str]) -> dict[str, ModelPackage]:
    """Verify and read the packages that a pool asks for: ``names`` maps the pool's name to the package's id."""
    missing = sorted({package for package in names.values() if not (folder / package).is_dir()})
    if missing:
        present = ", ".join(sorted(path.name for path in folder.glob("*") if path.is_dir())) or "none"
        raise MissionError(
            f"{folder} lacks the packages {', '.join(missing)}; it has: {present}. Export or install them."
        )
    return {
        name: load_package(folder / package, trust=trusted_keys(folder / package)) for name, package in names.items()
    }
