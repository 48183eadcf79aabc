"""`subsolar models prepare`: build TensorRT engines ahead of time."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from exporters.package import ModelPackage

from ..home import open_package
from .common import integers, json_option, say, show
from .daemon import models
from .outputs import Folder, writable


def build(
    package: ModelPackage, engines: Path, dla: int | None, batches: tuple[int, ...] = (1, 8, 32)
) -> dict[str, Any]:
    """Build one engine on this device and say what it is."""
    from exporters.cuda import CudaPython
    from exporters.tensorrt import BuildSettings, build_engine, load_tensorrt

    vendor, settings = load_tensorrt(), BuildSettings(batches=batches, dla_core=dla)
    return asdict(build_engine(package, engines, trt=vendor, cuda=CudaPython(), settings=settings, progress=say))


@models.command("prepare")
@click.argument("package", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--engines", type=Folder(), required=True, help="Folder for engines and timing cache.")
@click.option("--batch", "batches", default="1,8,32", show_default=True, help="Batch sizes, an engine profile each.")
@click.option("--dla", type=click.IntRange(0), help="Place what can run there on this DLA core.")
@json_option
def prepare(package: tuple[Path, ...], engines: Path, batches: str, dla: int | None, as_json: bool) -> None:
    """Build the TensorRT engine of each PACKAGE on this device, so that no slot ever waits for one."""
    sizes = integers(batches, "--batch")
    built = [build(open_package(path), writable(engines), dla, sizes) for path in package]
    lines = [f"{row['folder']}: {row['size_byte'] / 1e6:.1f} MB in {row['build_s']:.0f} s" for row in built]
    show({"engines": built}, as_json, "\n".join(lines))
