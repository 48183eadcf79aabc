"""Write the built-in pool from the measured profiles of the shipped packages: ``make pool``."""

from __future__ import annotations

from pathlib import Path

from runtime.home import DEPLOY, open_package
from runtime.pool import WORKING_BATCH

ROOT = Path(__file__).resolve().parent.parent
POOL = ROOT / "power_sim" / "scenarios" / "pool-eurosat.toml"
PACKAGES = ("eurosat-mobilenet-v3-large", "eurosat-mobilenet-v2", "eurosat-resnet18")
HEAD = "# Written by `make pool` from the measured profiles of deploy/packages; a test compares the two. Do not edit.\n"


def model_table(name: str) -> str:
    """Return one ``[[models]]`` table with the figures of a package's profile at the working batch size."""
    package = open_package(DEPLOY / "packages" / name)
    accuracy, entry = package.profile.accuracy, package.profile.entry_for(batch=WORKING_BATCH)
    recalls = ", ".join(f"{label} = {recall!r}" for label, recall in accuracy.recall_by_class.items())
    lines = [
        "[[models]]",
        f'name = "{name}"',
        f'package_id = "{package.info.id}"',
        *(f"accuracy_{side}_frac = {accuracy.value!r}" for side in ("min", "max")),
        *(f"energy_{side}_j = {entry.energy_j_per_tile!r}" for side in ("min", "max")),
        *(f"time_{side}_s = {entry.tile_s!r}" for side in ("min", "max")),
        f'energy_kind = "{entry.energy_kind}"',
        f'source = "profile of {package.info.id}, batch {entry.batch}, {entry.machine}"',
        f"recall_by_class = {{ {recalls} }}",
    ]
    return "\n".join(lines) + "\n"


def pool_text() -> str:
    """Return the whole file."""
    return "\n".join([HEAD, *(model_table(name) for name in PACKAGES)])


if __name__ == "__main__":
    POOL.write_text(pool_text(), encoding="utf-8")
    print(f"wrote {POOL.relative_to(ROOT)}")
