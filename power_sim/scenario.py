"""Scenarios: the whole frozen tree, read from a built-in or a user's TOML file."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from .batches import expand_pool
from .config import override, read_table, read_toml, to_plain
from .elements import PUBLISHED, elements_of, refuse_stale
from .errors import OrbitError, ScenarioError
from .frames import unix_from_utc
from .omm import load_omm
from .profiles import ModelProfile, check_envelope, check_ranges
from .sections import (
    LimitsSection,
    LinkSection,
    OrbitSection,
    PolicySection,
    PoolSection,
    PowerSection,
    RewardSection,
    ThermalSection,
    WorkloadSection,
)

FACES = ("ram", "wake", "nadir", "zenith", "north", "south")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is simulated. Equal trees have equal ``sha256``."""

    name: str
    summary: str = ""
    orbit: OrbitSection = field(default_factory=OrbitSection)
    power: PowerSection = field(default_factory=PowerSection)
    thermal: ThermalSection = field(default_factory=ThermalSection)
    workload: WorkloadSection = field(default_factory=WorkloadSection)
    pool: PoolSection = field(default_factory=PoolSection)
    policy: PolicySection = field(default_factory=PolicySection)
    link: LinkSection = field(default_factory=LinkSection)
    limits: LimitsSection = field(default_factory=LimitsSection)
    reward: RewardSection = field(default_factory=RewardSection)

    @property
    def sha256(self) -> str:
        """Hash of the effective configuration, pool included."""
        table = self.to_table()
        table["workload"].pop("trace")  # where it lies does not matter, what is in it does: trace_sha256
        return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()

    def to_table(self) -> dict[str, Any]:
        """Return the effective configuration as a TOML-able table."""
        table: dict[str, Any] = to_plain(self)
        return table

    def with_pool(self, profiles: Sequence[ModelProfile]) -> Scenario:
        """Return the scenario with other networks, checked as if they stood in the file."""
        pool = replace(self.pool, file="", models=tuple(profiles))
        return check_scenario(replace(self, pool=pool), self.name)


def scenario_names() -> tuple[str, ...]:
    """Return the names of the built-in scenarios."""
    entries = (entry.name for entry in _built_in().iterdir())
    return tuple(sorted(n.removesuffix(".toml") for n in entries if n.endswith(".toml") and not n.startswith("pool-")))


def load_scenario(name_or_path: str | Path, overrides: Mapping[str, str] | None = None) -> Scenario:
    """Return a built-in scenario by name or a file's by path, with ``SECTION.KEY`` overrides; ``ScenarioError`` for
    anything wrong."""
    if str(name_or_path) in scenario_names():
        with as_file(_built_in().joinpath(f"{name_or_path}.toml")) as path:
            return _load_file(path, overrides or {})
    path = Path(name_or_path)
    if not path.is_file():
        hint = f"Use one of {', '.join(scenario_names())}, or the path of a TOML file."
        close = difflib.get_close_matches(str(name_or_path).lower(), scenario_names(), n=1)
        if close and path.suffix != ".toml":
            hint = f"Did you mean {close[0]}? {hint}"
        raise ScenarioError(f"scenario {str(name_or_path)!r} is unknown. {hint}")
    return _load_file(path, overrides or {})


def read_scenario(table: Mapping[str, Any], source: str, folder: Path | None = None) -> Scenario:
    """Return the scenario that a parsed table describes. ``folder`` is where ``pool.file`` is looked for first."""
    if "pool" in table:
        table = {**table, "pool": expand_pool(table["pool"], source)}
    scenario = read_table(Scenario, table, source=source)
    if scenario.pool.file:
        if scenario.pool.models:
            raise ScenarioError(f"{source}: pool has both file and models. Keep one.")
        models = _read_pool(scenario.pool, source, folder)
        scenario = replace(scenario, pool=replace(scenario.pool, file="", models=models))
    if scenario.orbit.omm_file:
        scenario = replace(scenario, orbit=_read_omm_file(scenario.orbit, source, folder))
    if scenario.workload.kind == "trace" and scenario.workload.trace:
        scenario = replace(scenario, workload=_pin_trace(scenario.workload, source, folder))
    return check_scenario(scenario, source)


def check_scenario(scenario: Scenario, source: str) -> Scenario:
    """Return the scenario unchanged, or refuse what its keys together make impossible."""
    pool, power, orbit, work = scenario.pool, scenario.power, scenario.orbit, scenario.workload
    check_ranges(pool.models, source)
    if not pool.allow_implausible:
        check_envelope(pool.models, pool.device, pool.device_min_w, pool.device_max_w, source)
    if power.initial_charge_min_frac > power.initial_charge_max_frac:
        raise ScenarioError(f"{source}: power.initial_charge_min_frac is above initial_charge_max_frac. Swap them.")
    if unknown := sorted(power.faces_m2.keys() - set(FACES)):
        raise ScenarioError(f"{source}: power.faces_m2.{unknown[0]} is not a face. Use {', '.join(FACES)}.")
    _check_loads(power, {model.mode for model in pool.models}, source)
    _check_orbit(orbit, source)
    if scenario.thermal.throttle_c >= scenario.thermal.limit_c:
        raise ScenarioError(f"{source}: thermal.throttle_c must be below limit_c = {scenario.thermal.limit_c:g}.")
    _check_workload(work, source)
    return scenario


def _check_loads(power: PowerSection, modes: Set[str], source: str) -> None:
    if "nominal" in power.bus_by_mode_w:
        raise ScenarioError(f"{source}: power.bus_by_mode_w.nominal stands in power.bus_w. Set that instead.")
    if power.bus_mode != "nominal" and power.bus_mode not in power.bus_by_mode_w:
        known = ", ".join(("nominal", *power.bus_by_mode_w))
        raise ScenarioError(f"{source}: power.bus_mode = {power.bus_mode!r} has no draw. Use one of {known}.")
    for mode, draw_w in power.idle_compute_by_mode_w.items():
        where = f"{source}: power.idle_compute_by_mode_w.{mode}"
        if mode not in modes:
            raise ScenarioError(f"{where} is not a mode of the pool. Use one of {', '.join(sorted(modes))}.")
        if draw_w < power.idle_compute_w:
            raise ScenarioError(
                f"{where} = {draw_w:g} is below idle_compute_w = {power.idle_compute_w:g}, the lowest. Lower that."
            )


def _check_orbit(orbit: OrbitSection, source: str) -> None:
    try:
        unix_from_utc(orbit.start_utc)
    except ScenarioError as error:
        raise ScenarioError(f"{source}: orbit.start_utc = {error}") from error
    if orbit.kind == "tle" and len(orbit.tle) != 2:
        raise ScenarioError(f"{source}: orbit.tle has {len(orbit.tle)} lines. Give the two lines of one element set.")
    if orbit.kind == "omm" and not orbit.omm:
        raise ScenarioError(
            f"{source}: orbit.omm is empty. Name a file with orbit.omm_file, or give the fields in [orbit.omm]."
        )
    if orbit.kind in ("ideal", "sortie") and orbit.slots_per_orbit < 1:
        raise ScenarioError(
            f"{source}: orbit.slots_per_orbit = {orbit.slots_per_orbit} leaves no slots. Set 1 or more."
        )
    if orbit.kind in ("sgp4", "keplerian") and orbit.altitude_km < 120:
        raise ScenarioError(
            f"{source}: orbit.altitude_km = {orbit.altitude_km:g} is not an orbit. It must be at least 120."
        )
    if orbit.kind in ("sgp4", "keplerian") and orbit.perigee_km < 100:
        raise ScenarioError(
            f"{source}: orbit.eccentricity = {orbit.eccentricity:g} at altitude_km = {orbit.altitude_km:g} puts the "
            f"perigee at {orbit.perigee_km:.0f} km. It must be at least 100: lower the one or raise the other."
        )
    if orbit.kind in PUBLISHED:
        elements_of(orbit, source)


def _check_workload(work: WorkloadSection, source: str) -> None:
    if work.kind == "uniform" and not 0 < work.tile_max >= work.tile_min:
        raise ScenarioError(
            f"{source}: workload.tile_min..tile_max = {work.tile_min:g}..{work.tile_max:g}. Give 0 <= min <= max."
        )
    if work.kind != "uniform" and not work.covers:
        raise ScenarioError(f"{source}: workload.covers is empty. Add at least one [workload.covers.NAME].")
    if work.kind == "trace" and not work.trace:
        raise ScenarioError(f"{source}: workload.trace is missing. Name a CSV with the columns slot, cover, tile.")
    for name, cover in work.covers.items():
        total = sum(cover.classes.values())
        if cover.classes and abs(total - 1) > 1e-6:
            raise ScenarioError(f"{source}: workload.covers.{name}.classes add up to {total:g}. They must add up to 1.")


def _load_file(path: Path, overrides: Mapping[str, str]) -> Scenario:
    table = override(read_toml(path), overrides)
    table.setdefault("name", path.stem)
    scenario = read_scenario(table, path.name, path.parent)
    if scenario.orbit.kind in PUBLISHED:
        refuse_stale(scenario.orbit, path.name)
    return scenario


def _read_pool(pool: PoolSection, source: str, folder: Path | None) -> tuple[ModelProfile, ...]:
    name = pool.file
    beside = folder / name if folder is not None else None
    if beside is not None and beside.is_file():
        table = read_toml(beside)
    elif _built_in().joinpath(name).is_file():
        with as_file(_built_in().joinpath(name)) as path:
            table = read_toml(path)
    else:
        raise ScenarioError(f"{source}: pool.file = {name!r} is not beside it nor built in. Correct the name.")
    return read_table(PoolSection, expand_pool(table, name, pool), source=name, section="pool").models


def _read_omm_file(orbit: OrbitSection, source: str, folder: Path | None) -> OrbitSection:
    if orbit.omm:
        raise ScenarioError(f"{source}: orbit has both omm_file and omm. Keep one.")
    if orbit.kind != "omm":
        raise ScenarioError(f"{source}: orbit.omm_file is given but orbit.kind = {orbit.kind!r}. Set kind = 'omm'.")
    try:
        return replace(orbit, omm_file="", omm=load_omm((folder or Path()) / orbit.omm_file))
    except OrbitError as error:
        raise OrbitError(f"{source}: orbit.omm_file = {orbit.omm_file!r}: {error}") from error


def _pin_trace(work: WorkloadSection, source: str, folder: Path | None) -> WorkloadSection:
    path = (folder or Path()) / work.trace
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ScenarioError(f"{source}: workload.trace = {work.trace!r} cannot be read: {error.strerror}.") from error
    if work.trace_sha256 not in ("", digest):
        raise ScenarioError(f"{source}: workload.trace = {work.trace!r} is not the file that trace_sha256 names.")
    return replace(work, trace=str(path.resolve()), trace_sha256=digest)


def _built_in() -> Any:
    return files("power_sim").joinpath("scenarios")
