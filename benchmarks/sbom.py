"""Writes what an installed Subsolar consists of: a CycloneDX 1.6 bill of materials and a licence report.

Walks the requirements of the distribution (base and the extras named) through the environment it runs in, adds what the
report page carries and the model packages that ship, and fails where a licence is not on the list of those that may be
linked.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPO = Path(__file__).resolve().parents[1]
VENDORED = REPO / "runtime" / "report" / "vendor" / "README.md"
ALLOWED = (
    *("apache", "mit", "bsd", "isc", "psf", "python software foundation", "hpnd", "zlib", "cc0", "mpl", "0bsd"),
    "public domain",
)
LAND: dict[str, object] = {
    "type": "data",
    "name": "natural-earth-land",
    "description": "Land at 1:110m in the report page and at 1:50m in the simulator's cover map, by way of world-atlas",
    "licenses": [{"license": {"name": "public domain"}}],
}
FORBIDDEN = re.compile(r"\b(a?gpl|affero|gnu general public)", re.IGNORECASE)
CLASSIFIER = "License :: OSI Approved :: "


def closure(name: str, extras: frozenset[str]) -> dict[str, Distribution]:
    """All distributions that ``name`` with ``extras`` needs here, by canonical name."""
    found: dict[str, Distribution] = {}
    todo = [(name, extras)]
    while todo:
        wanted, with_extras = todo.pop()
        key = canonicalize_name(wanted)
        try:
            dist = distribution(wanted)
        except PackageNotFoundError:
            sys.exit(f"{wanted} is needed and not installed. Run: make venv")
        fresh = key not in found
        found[key] = dist
        if fresh or with_extras:
            todo += list(_needs(dist, with_extras, found))
    return found


def _needs(
    dist: Distribution, extras: frozenset[str], found: dict[str, Distribution]
) -> Iterator[tuple[str, frozenset[str]]]:
    for line in dist.requires or ():
        need = Requirement(line)
        applies = need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in (*extras, ""))
        if applies and (canonicalize_name(need.name) not in found or need.extras):
            yield need.name, frozenset(need.extras)


def licence_of(dist: Distribution) -> str:
    """What a distribution says of its licence: the expression, the classifiers, or the first line of the text."""
    meta = dist.metadata
    if meta.get("License-Expression"):
        return str(meta["License-Expression"])
    classified = [line.removeprefix(CLASSIFIER) for line in meta.get_all("Classifier") or () if CLASSIFIER in line]
    if classified:
        return "; ".join(classified)
    text = str(meta.get("License") or "unknown").strip().splitlines()
    return text[0][:80] if text else "unknown"


def component(name: str, dist: Distribution) -> dict[str, object]:
    """One library as CycloneDX has it."""
    licence = licence_of(dist)
    return {
        "type": "library",
        "name": name,
        "version": dist.version,
        "purl": f"pkg:pypi/{name}@{dist.version}",
        "licenses": [{"license": {"name": licence}}],
    }


def vendored_components() -> list[dict[str, object]]:
    """The libraries and the land inside the report page, a file each, as the table beside them states them."""
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in VENDORED.read_text().splitlines()[4:]]
    found: dict[str, dict[str, object]] = {}
    for row in rows:
        if len(row) != 5:
            continue
        file, source, version, licence, sha256 = row
        name = source.split("`")[1]
        if hashlib.sha256((VENDORED.parent / file).read_bytes()).hexdigest() != sha256:
            sys.exit(f"{file} is not what {VENDORED} says. Run: python benchmarks/vendor.py")
        part = {"type": "file", "name": file, "hashes": [{"alg": "SHA-256", "content": sha256}]}
        licences = [{"license": {"name": licence}}]
        library: dict[str, object] = {
            "type": "library", "name": name, "version": version, "purl": f"pkg:npm/{name}@{version}",
            "licenses": licences, "components": [],
        }  # fmt: skip
        kept = found.setdefault(name, library)["components"]
        assert isinstance(kept, list)
        kept.append(part)
    return list(found.values())


def model_component(folder: Path) -> dict[str, object]:
    """One shipped model package: its hash is that of the list of its files."""
    info = json.loads((folder / "package.json").read_text())
    return {
        "type": "machine-learning-model",
        "name": info["id"],
        "version": str(info["version"]),
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256((folder / "SHA256SUMS").read_bytes()).hexdigest()}],
        "licenses": [{"license": {"name": info["licence"]}}],
        "properties": [{"name": "training_data", "value": info["training_data"]}],
    }


def main() -> None:
    """Write both files and print the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=REPO / "build" / "sbom")
    parser.add_argument("--extras", default="cpu")
    given = parser.parse_args()
    parts = closure("subsolar", frozenset(given.extras.split(",")))
    own = parts.pop("subsolar")
    components = [component(name, dist) for name, dist in sorted(parts.items())]
    components += [*vendored_components(), LAND]
    components += [model_component(path.parent) for path in sorted((REPO / "deploy/packages").glob("*/package.json"))]
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": component("subsolar", own) | {"type": "application"}},
        "components": components,
    }
    rows = [(str(part["name"]), str(part.get("version", "-")), _licence(part)) for part in components]
    wrong = [row for row in rows if FORBIDDEN.search(row[2]) or not any(word in row[2].lower() for word in ALLOWED)]
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "subsolar.cdx.json").write_text(json.dumps(bill, indent=1) + "\n")
    report = "\n".join(f"{name:<32} {version:<14} {licence}" for name, version, licence in rows)
    (given.out / "licences.txt").write_text(report + "\n")
    print(report)
    if wrong:
        sys.exit("not on the list of licences that may be linked: " + ", ".join(f"{n} ({lic})" for n, _, lic in wrong))


def _licence(part: dict[str, object]) -> str:
    licences = part["licenses"]
    assert isinstance(licences, list)
    return str(licences[0]["license"]["name"])


if __name__ == "__main__":
    main()
