"""What a mission flies: its packages, and the scenario as their profiles and the worth of their tasks make it."""

from __future__ import annotations

from collections.abc import Callable

from exporters.package import ModelPackage
from power_sim.scenario import Scenario

from ..errors import MissionError
from ..onboard import LoadedNetwork
from ..parts import part_count
from ..pipeline.chaining import check_stages
from ..pool import cut_profile, measured_profile, valued_pool, worth_fracs
from ..staged import StagedNetwork
from .fleet import CHAIN, Fleet
from .mission import Mission
from .sections import TASK_WORDS


def packages_of(mission: Mission) -> tuple[str, ...]:
    """Return the ids of all packages that a mission flies, those of a chain's stages among them."""
    ids: list[str] = []
    for model in mission.scenario.pool.models:
        package_id = model.package_id or model.name
        chain = mission.chain if package_id == CHAIN else None
        ids += [package_id] if chain is None else [stage.package for stage in chain.stages]
    return tuple(dict.fromkeys(ids))


def packages_aboard(mission: Mission, load: Callable[[str], ModelPackage]) -> dict[str, ModelPackage]:
    """Load every package that a mission flies, by its id. Raises ``MissionError`` where tasks or stages do not fit."""
    packages = {package_id: load(package_id) for package_id in packages_of(mission)}
    tasks = {package.info.task for package in packages.values()}
    unknown = [name for name in mission.flight.tasks if TASK_WORDS.get(name, name) not in tasks]
    if unknown:
        raise MissionError(
            f"{mission.path.name}: no package of the pool is of the task in [tasks.{unknown[0]}]; there are "
            f"{', '.join(sorted(tasks))}. Correct the name, or remove the section."
        )
    if mission.chain is not None:
        check_stages(mission.chain, [packages[stage.package] for stage in mission.chain.stages])
    return packages


def flown_scenario(mission: Mission, fleet: Fleet, edge_px: int) -> tuple[Scenario, dict[str, float]]:
    """Return the scenario as the policy is to see it, and the networks' worth as shares of the dearest one's.

    Profiles are those of the packages that fly, for tiles of ``edge_px``; those that cannot be loaded keep the file's.
    """
    own, flight = mission.scenario, mission.flight
    loaded = {name: one.loaded for name, one in fleet.networks.items()}
    single = {name: one.package for name, one in loaded.items() if isinstance(one, LoadedNetwork)}
    models = []
    for model in own.pool.models:
        network = loaded.get(model.name)
        if isinstance(network, StagedNetwork):
            network.grid_px = edge_px
            model = network.profile_of(model)
        elif isinstance(network, LoadedNetwork) and model.energy_kind != "published":
            parts = part_count(edge_px, network.part_px)
            model = cut_profile(measured_profile(model, single[model.name]), parts)
        models.append(model)
    values = {name: flight.worth.get(one.package.info.task, 1.0) for name, one in loaded.items()}
    fracs = worth_fracs(values)
    return valued_pool(own.with_pool(models), fracs), fracs
