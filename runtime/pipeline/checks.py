"""What can be said of a request before the first scene is opened: one refusal instead of one for each scene."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from exporters.package import ModelPackage

from ..engines.onnx_runtime import PROVIDERS
from ..errors import MissionError
from ..frames.bands import canonical_name
from ..meters import METERS
from ..plugins import plugin_names
from ..prefilter import SKIPS
from .energy import AUTO, ESTIMATE
from .job import InferOptions


def check_options(options: InferOptions, packages: Sequence[ModelPackage]) -> None:
    """Raise ``MissionError`` for options that no scene could make right; what scenes decide is left to them."""
    cutting = options.cutting
    for package in packages:
        edge = package.info.input.tile_edge_px
        if not 0 <= cutting.overlap_px < edge:
            raise MissionError(
                f"An overlap of {cutting.overlap_px} px does not fit {package.info.id}, whose tiles have {edge}. "
                f"Use --overlap 0 to {edge - 1}."
            )
    for problem in (_skip(options), _range(options), _bands(options), _beside(options)):
        if problem:
            raise MissionError(problem)
    if math.isinf(cutting.fill):
        raise MissionError("--fill cannot be infinite: it would spread through the network. Give a number, or nan.")
    _among("--provider", options.provider, [*PROVIDERS, *plugin_names("engines")])
    if options.meter:
        name = options.meter.partition(":")[0]
        _among("--meter", name, [ESTIMATE, AUTO, *METERS, *plugin_names("meters")])


def _among(option: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise MissionError(f"{option} knows no {name!r}. Use one of {', '.join(known)}.")


def _skip(options: InferOptions) -> str:
    skip = options.cutting.skip
    if unknown := sorted(skip.keys() - set(SKIPS)):
        return f"There is no pre-filter {', '.join(unknown)}. Use {', '.join(SKIPS)}."
    if wrong := [f"{name}={share:g}" for name, share in skip.items() if not 0.0 < share <= 1.0]:
        return f"--skip {','.join(wrong)} gives no share of a tile. Give values above 0 and up to 1, such as 0.9."
    return ""


def _range(options: InferOptions) -> str:
    if options.value_range is None:
        return ""
    low, high = options.value_range
    sound = math.isfinite(low) and math.isfinite(high) and low < high
    return "" if sound else f"--range {low:g} {high:g} is empty. Give LOW HIGH with LOW below HIGH."


def _bands(options: InferOptions) -> str:
    if not all(name.strip() for name in options.band_names):
        return "--bands has an empty name. Name every band of the scenes in file order, such as red,green,blue."
    twice = list(_twice([canonical_name(name) for name in options.band_names]))
    return f"--bands names {', '.join(twice)} more than once. Each band needs a name of its own." if twice else ""


def _beside(options: InferOptions) -> str:
    if missing := [str(one.path) for one in options.beside if not one.path.exists()]:
        return f"There is no scene {', '.join(missing)} to lay over others. Correct --with."
    twice = list(_twice([one.role for one in options.beside]))
    return f"--with gives the role {', '.join(twice)} more than once. Give each scene its own." if twice else ""


def _twice(names: Sequence[str]) -> Iterator[str]:
    return (name for name, count in Counter(names).items() if count > 1)
