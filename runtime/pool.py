"""Puts the measured profiles of packages into a scenario's pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from exporters.package import ModelPackage
from power_sim.profiles import ModelProfile
from power_sim.scenario import Scenario

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
    return replace(
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
