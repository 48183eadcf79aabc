"""Puts the measured profiles of packages into a scenario's pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from exporters.package import ModelPackage
from power_sim.errors import ScenarioError
from power_sim.profiles import ModelProfile
from power_sim.scenario import Scenario

from .tasks.declouded import runs_a_tile

WORKING_BATCH = 32


def measured_pool(scenario: Scenario, packages: Mapping[str, ModelPackage]) -> Scenario:
    """Return the scenario with each model's figures taken from its package; published figures stay.

    ``packages`` is keyed by the pool's names. Raises ``ScenarioError`` where a profile does not fit the device.
    """
    return scenario.with_pool(
        [
            model if model.energy_kind == "published" else measured_profile(model, packages[model.name])
            for model in scenario.pool.models
        ]
    )


def measured_profile(model: ModelProfile, package: ModelPackage) -> ModelProfile:
    """Return ``model`` with what the package's profile says at the working batch size."""
    accuracy, entry = package.profile.accuracy, package.profile.entry_for(batch=WORKING_BATCH)
    one_run = replace(
        model,
        accuracy_min_frac=accuracy.value,
        accuracy_max_frac=accuracy.value,
        energy_min_j=entry.energy_j_per_tile,
        energy_max_j=entry.energy_j_per_tile,
        time_min_s=entry.tile_s,
        time_max_s=entry.tile_s,
        recall_by_class=accuracy.recall_by_class,
        energy_kind=entry.energy_kind,
        source=f"profile of {package.info.id}, batch {entry.batch}, {entry.machine}",
    )
    return cut_profile(one_run, runs_a_tile(package.info))


def cut_profile(model: ModelProfile, parts: int) -> ModelProfile:
    """Return ``model`` for tiles that are cut into ``parts`` of its own."""
    return replace(
        model,
        energy_min_j=model.energy_min_j * parts,
        energy_max_j=model.energy_max_j * parts,
        time_min_s=model.time_min_s * parts,
        time_max_s=model.time_max_s * parts,
    )


def worth_fracs(values: Mapping[str, float]) -> dict[str, float]:
    """Return what a right answer of each network is worth, as a share of the dearest one's; none where all are alike.

    >>> worth_fracs({"ships": 4.0, "labels": 1.0}), worth_fracs({"a": 2.0, "b": 2.0})
    ({'ships': 1.0, 'labels': 0.25}, {})
    """
    if len(set(values.values())) < 2:
        return {}
    dearest = max(values.values())
    return {name: value / dearest for name, value in values.items()}


def valued_pool(scenario: Scenario, worth_frac: Mapping[str, float]) -> Scenario:
    """Return the scenario whose accuracies a slot policy weighs by the worth of each network's task.

    A policy compares options by right answers; a right answer that is worth half as much counts half. Raises
    ``ScenarioError`` with an accuracy floor: it would be held against the weighted figures.
    """
    if not worth_frac:
        return scenario
    if scenario.limits.accuracy_floor_frac > 0.0:
        raise ScenarioError(
            f"{scenario.name}: tasks of different value and limits.accuracy_floor_frac = "
            f"{scenario.limits.accuracy_floor_frac:g} do not go together. Remove the floor, or value the tasks alike."
        )
    return scenario.with_pool([_weighed(model, worth_frac.get(model.name, 1.0)) for model in scenario.pool.models])


def _weighed(model: ModelProfile, frac: float) -> ModelProfile:
    peak, sd = model.accuracy_peak_frac, model.accuracy_sd_frac
    return replace(
        model,
        accuracy_min_frac=model.accuracy_min_frac * frac,
        accuracy_max_frac=model.accuracy_max_frac * frac,
        accuracy_peak_frac=None if peak is None else peak * frac,
        accuracy_sd_frac=None if sd is None else sd * frac,
        recall_by_class={name: value * frac for name, value in model.recall_by_class.items()},
        accuracy_by_cover={name: value * frac for name, value in model.accuracy_by_cover.items()},
    )
