"""Training by name: finds the course of a network, shares the settings out, and runs the one training loop."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .errors import FitError
from .registry import PUBLISHED, is_own, network_named, size_of, zoo_function
from .training.course import Course
from .training.loop import Progress, fit_course
from .training.training import TRAINING_FIELDS, FitResult, Training

__all__ = ["FitResult", "course_of", "fit_network"]

OWN_COURSE = "chips:course"
"""What a network of one's own is trained by: labelled chips."""


def fit_network(
    name: str,
    data: Path,
    out: Path,
    *,
    size: str = PUBLISHED,
    seed: int = 7,
    resume: bool = False,
    progress: Progress = lambda line: None,
    **settings: Any,
) -> FitResult:
    """Train a network of the zoo, or ``module:Name`` on labelled chips, on the folder ``data``.

    ``settings`` are fields of ``Training`` and settings of the network's course; the course's own ``recipe`` stands
    behind them. See ``training.loop.fit_course`` for what is left in ``out`` and for the errors, to which the reader
    of the data adds DatasetError.
    """
    given = {key: value for key, value in settings.items() if key in TRAINING_FIELDS}
    course = course_of(name, data, size=size, seed=seed, cache=out.parent / "chips", **settings)
    recipe: Mapping[str, Any] = getattr(course, "recipe", {})
    own = {key: value for key, value in settings.items() if key not in TRAINING_FIELDS}
    notes = {"course": json.loads(json.dumps(own, default=str))}
    training = Training(**{**recipe, **given, "seed": seed})
    return fit_course(course, training, out, resume=resume, notes=notes, progress=progress)


def course_of(
    name: str, data: Path, *, size: str = PUBLISHED, seed: int = 7, cache: Path | None = None, **settings: Any
) -> Course:
    """The course of a network on the folder ``data``; fields of ``Training`` reach it where it names them.

    Raises ExporterError for an unknown network or size, FitError for one without course and for unknown settings.
    """
    maker = _maker(name, size)
    named = inspect.signature(maker).parameters
    for_all = {"network": name, "cache": cache, **{key: settings[key] for key in TRAINING_FIELDS if key in settings}}
    asked = {key: value for key, value in for_all.items() if key in named}
    own = {key: value for key, value in settings.items() if key not in TRAINING_FIELDS}
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in named.values())
    if not open_ended and (unknown := sorted(own.keys() - named.keys())):
        known = sorted({*named, *TRAINING_FIELDS} - {"data", "size", "seed", "network", "cache"})
        raise FitError(f"The course of {name} has no setting {', '.join(unknown)}. Use some of {', '.join(known)}.")
    course: Course = maker(data, size=size, seed=seed, **asked, **own)
    return course


def _maker(name: str, size: str) -> Callable[..., Course]:
    path: str | None = OWN_COURSE
    if not is_own(name):
        entry = network_named(name)
        size_of(entry, size)
        path = entry.course
    if path is None:
        raise FitError(f"{name} has no course: it is not trained here. Export its weights from where they come.")
    maker: Callable[..., Course] = zoo_function("courses", path)
    return maker
