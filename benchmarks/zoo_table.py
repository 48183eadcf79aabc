"""The table of every system of the zoo: counts, scores, packages. `make zoo-table`.

Writes ``benchmarks/results/zoo-table.json`` and ``docs/zoo.md`` from the registry, the results of the ``bench-zoo-*``
commands, and the packages that are here. What is known of a package that is not here stays as it was.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from zoo_scores import scores

REPO = Path(__file__).resolve().parent.parent
DOC = REPO / "docs" / "zoo.md"
SHIPPED = REPO / "deploy" / "packages"
FOLDERS = (SHIPPED, REPO / "build" / "packages", REPO / "build" / "zoo" / "packages")
NO = "–"


def packages(folders: Iterable[Path], *, time: bool) -> dict[str, tuple[Any, Any]]:
    """Facts of the packages in ``folders`` by row name, with the accuracy that they state; the first found counts."""
    from exporters.check import bench_package
    from exporters.errors import PackageError
    from exporters.package import load_package
    from exporters.registry import networks
    from exporters.zoo_measured import packed, row_name

    found: dict[str, tuple[Any, Any]] = {}
    for path in [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir()) if path.is_dir()]:
        try:
            package = load_package(path, trust=REPO / "deploy" / "keys", allow_unsigned=True)
        except PackageError as error:
            print(f"left out: {error}")
            continue
        info = package.info
        name = row_name(info.network, info.training.get("size", "published"))
        if info.network not in networks() or name in found or info.precision == "int8":
            continue
        size_byte = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        profile = bench_package(package, batches=(8,)) if time else package.profile
        found[name] = packed(info, profile, size_byte, ships=path.parent == SHIPPED), package.profile.accuracy
    return found


def collect(folders: Iterable[Path], *, time: bool, recount: bool) -> Any:
    """Everything that is known, counted anew where it was not counted before."""
    from exporters.measure import machine_name
    from exporters.registry import networks
    from exporters.zoo_measured import Counted, Measured, Score, ZooMeasured, read_measured, row_name
    from exporters.zoo_table import zoo_row

    before, stated, here = read_measured(), scores(), packages(folders, time=time)
    systems = {}
    for network in networks().values():
        for size in network.sizes:
            name = row_name(network.name, size)
            known = before.get(name)
            if known is None or recount:
                row = zoo_row(network, size)
                counted = Counted(
                    params=row.params,
                    params_paper=row.params_paper,
                    gmacs=row.gmacs,
                    gmacs_paper=row.gmacs_paper,
                    input=row.input,
                )
                known = Measured(counted=counted)
            score = stated.get(name)
            if name in here:
                package, accuracy = here[name]
                known = replace(known, package=package)
                if score is None and accuracy.metric == "top1":
                    score = Score(
                        metric="top-1",
                        score=accuracy.value,
                        baseline=None,
                        baseline_name="",
                        n=accuracy.n,
                        seeds=1,
                        source=package.id,
                    )
            systems[name] = replace(known, score=score or known.score)
    return ZooMeasured(
        machine=f"{machine_name()}, Python {platform.python_version()}",
        date=datetime.now(timezone.utc).date().isoformat(),
        command="make zoo-table",
        systems=systems,
    )


HEAD = """# The zoo

Every network of the collection in every size: what it counts, what it reaches on real data beside a baseline, and what
its package costs. Written by `make zoo-table`; do not edit. The systems' pages are linked
from the list of papers at the end.

## Counted

Parameters in millions and multiply-accumulates in 10^9 of this code, beside what the paper states where it states
them, at the input of the paper. Where they differ, the system's page says why.

| system | input | parameters | published | GMAC | published |
|---|---|---|---|---|---|
"""
SCORED = """
## Scored

On test data that chose nothing; one row a size that was trained here, on samples of the papers' data sets and two CPU
cores. The figures say whether the network does what it is for beside the baseline; they are not those of the papers.
`n`: test samples.

| system | metric | score | baseline | | n | seeds | from |
|---|---|---|---|---|---|---|---|
"""
PACKED = """
## Packaged

Parity: the worst difference between the graph under ONNX Runtime and the network in PyTorch on real tiles. Tiles a
second: one thread, in CPU seconds, as the package's profile or `make zoo-table TIME=--time` measured them. Weights ship
only where the licence of the data that taught them lets them.

| system | package | parity | tile | tiles a CPU second | batch | stored as | size | licence of the weights | ships |
|---|---|---|---|---|---|---|---|---|---|
"""


def render(found: Any) -> str:
    """``docs/zoo.md``."""
    from exporters.registry import networks

    def counted(name: str, row: Any) -> str:
        count = row.counted
        params = NO if count.params_paper is None else f"{count.params_paper / 1e6:.2f}"
        gmacs = NO if count.gmacs_paper is None else f"{count.gmacs_paper:.3g}"
        shape = " x ".join(map(str, count.input))
        return f"| {name} | {shape} | {count.params / 1e6:.2f} | {params} | {count.gmacs:.3g} | {gmacs} |\n"

    systems = sorted(found.systems.items())
    papers = "".join(f"- {linked(network)} (`{network.name}`): {network.paper}\n" for network in networks().values())
    return "".join(
        [
            HEAD,
            *(counted(name, row) for name, row in systems),
            SCORED,
            *(scored(name, row.score) for name, row in systems if row.score is not None),
            PACKED,
            *(package_row(name, row.package) for name, row in systems if row.package is not None),
            f"\nCounted and timed on {found.machine}, {found.date}.\n\n## Papers\n\n{papers}",
        ]
    )


def linked(network: Any) -> str:
    """Its title, as a link where a page of its own describes it."""
    page = f"zoo/{network.name.replace('_', '-')}.md"
    return f"[{network.title}]({page})" if (DOC.parent / page).is_file() else str(network.title)


def scored(name: str, score: Any) -> str:
    """A row of the scores."""
    baseline = NO if score.baseline is None else f"{score.baseline:.4g}"
    n = score.n or NO
    return (
        f"| {name} | {score.metric} | {score.score:.4g} | {baseline} | {score.baseline_name} | {n} | {score.seeds} "
        f"| {score.source} |\n"
    )


def package_row(name: str, package: Any) -> str:
    """A row of the packages."""
    shape, ships = " x ".join(map(str, package.tile)), "yes" if package.ships else "no"
    return (
        f"| {name} | {package.id} | {package.parity} | {shape} | {package.tiles_per_cpu_s:.4g} | {package.batch} "
        f"| {package.precision} | {package.size_byte / 1e6:.1f} MB | {package.licence} | {ships} |\n"
    )


def main() -> int:
    """Collect, write both files."""
    from exporters.strict_json import to_json
    from exporters.zoo_measured import FILE

    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--time", action="store_true", help="time each package here anew")
    options.add_argument("--recount", action="store_true", help="count every network anew, not only new ones")
    options.add_argument("--packages", type=Path, nargs="*", default=[], help="further folders of packages")
    given = options.parse_args()
    found = collect((*FOLDERS, *given.packages), time=given.time, recount=given.recount)
    FILE.write_bytes(to_json(found))
    DOC.write_text(render(found), encoding="utf-8")
    print(f"{len(found.systems)} rows in {DOC.relative_to(REPO)}")
    subprocess.run(["git", "diff", "--stat", "--", str(DOC)], cwd=REPO, check=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
