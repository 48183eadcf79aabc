"""Profiles by batch, precision and power mode: picks those that a scenario works with.

A model of the pool may carry ``[[pool.models.profiles]]``, each with some of ``batch``, ``precision``, ``mode`` and the
figures measured there. ``pool.batch``, ``pool.precision`` and ``pool.modes`` choose; every mode that is left becomes an
option of its own, as if it had been written out as a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .config import read_table
from .errors import ScenarioError
from .profiles import ModelProfile
from .sections import PoolSection


def expand_pool(pool: object, source: str, chosen: PoolSection | None = None) -> object:
    """Return a parsed ``[pool]`` table whose models carry no ``profiles`` any more; anything that is not a pool is
    returned as it is, for the reader to refuse. ``chosen``: whose batch, precision and modes count, else its own."""
    models = pool.get("models") if isinstance(pool, Mapping) else None
    if not isinstance(pool, Mapping) or not isinstance(models, Sequence) or isinstance(models, str):
        return pool
    if not any(isinstance(model, Mapping) and "profiles" in model for model in models):
        return pool
    rest = {name: value for name, value in pool.items() if name != "models"}
    if chosen is None:
        chosen = read_table(PoolSection, rest, source=source, section="pool")
    flat: list[object] = []
    for number, model in enumerate(models):
        carries = isinstance(model, Mapping) and "profiles" in model
        flat += _expand(model, chosen, source, f"pool.models[{number}]") if carries else [model]
    return {**rest, "models": flat}


def _expand(model: Mapping[str, Any], chosen: PoolSection, source: str, where: str) -> list[dict[str, Any]]:
    entries = model["profiles"]
    if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
        raise ScenarioError(f"{source}: {where}.profiles = {entries!r} is not a list. Write [[{where}.profiles]].")
    common = {name: value for name, value in model.items() if name != "profiles"}
    found: list[tuple[ModelProfile, dict[str, Any]]] = []
    for number, entry in enumerate(entries):
        place = f"{where}.profiles[{number}]"
        if not isinstance(entry, Mapping):
            raise ScenarioError(f"{source}: {place} = {entry!r} is not a table. Write [[{where}.profiles]].")
        merged = {**common, **entry}
        found.append((read_table(ModelProfile, merged, source=source, section=place), merged))
    return _choose(found, chosen, f"{source}: {where}.profiles of {found[0][0].name}")


def _choose(
    found: Sequence[tuple[ModelProfile, dict[str, Any]]], chosen: PoolSection, where: str
) -> list[dict[str, Any]]:
    for key, wanted in (("batch", chosen.batch), ("precision", chosen.precision)):
        known = list(dict.fromkeys(str(getattr(model, key)) for model, _ in found))
        kept = [(model, table) for model, table in found if getattr(model, key) == wanted]
        if wanted and not kept:
            raise ScenarioError(f"{where} has no {key} {wanted}. Set pool.{key} to one of {', '.join(known)}.")
        if not wanted and len(known) > 1:
            raise ScenarioError(f"{where} has {key} {', '.join(known)}. Choose one with pool.{key}.")
        found = kept if wanted else found
    modes = [model.mode for model, _ in found]
    if chosen.modes and not set(modes) & set(chosen.modes):
        raise ScenarioError(
            f"{where} has no mode of pool.modes = {list(chosen.modes)}. Use some of {', '.join(modes)}."
        )
    return [table for model, table in found if not chosen.modes or model.mode in chosen.modes]
