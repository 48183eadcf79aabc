"""The mission file: what the daemon uses. It shares the physical sections with scenarios and is read once, whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from power_sim.config import key, override, read_table, read_toml, to_plain
from power_sim.elements import PUBLISHED, elements_of
from power_sim.errors import ScenarioError
from power_sim.frames import utc_from_unix
from power_sim.orbit import epoch_unix_s
from power_sim.scenario import Scenario, load_scenario, read_scenario

from ..downlink.rules import Rules
from ..errors import MissionError
from ..scenarios import SECTION, rules_from
from ..tasks.chain import Chain
from .fleet import CHAIN
from .sections import (
    LadderSection,
    LocateSection,
    MissionSection,
    ModelsSection,
    RadioSection,
    ReferencesSection,
    ReportsSection,
    RequestsSection,
    SourceSection,
    SupplySection,
    TaskSection,
    worth_by_task,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """The sections of the daemon alone."""

    mission: MissionSection
    source: SourceSection = field(default_factory=SourceSection)
    supply: SupplySection = field(default_factory=SupplySection)
    radio: RadioSection = field(default_factory=RadioSection)
    ladder: LadderSection = field(default_factory=LadderSection)
    models: ModelsSection = field(default_factory=ModelsSection)
    reports: ReportsSection = field(default_factory=ReportsSection)
    tasks: Mapping[str, TaskSection] = key({})
    references: ReferencesSection = field(default_factory=ReferencesSection)
    requests: RequestsSection = field(default_factory=RequestsSection)
    locate: LocateSection = field(default_factory=LocateSection)

    @property
    def worth(self) -> dict[str, float]:
        """What a right answer is worth, by the task as packages name it."""
        return worth_by_task(self.tasks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mission:
    """A validated mission file."""

    path: Path
    scenario: Scenario
    flight: Flight
    rules: Rules = field(default_factory=Rules)
    """What the operator wants first, from ``[downlink]``."""
    chain: Chain | None = None
    """What the pool's package ``chain`` is made of, from ``[[chain.stages]]``."""
    overrides: Mapping[str, str] = field(default_factory=dict)
    """What the command line set; a reload sets it again."""

    @property
    def name(self) -> str:
        """How status, log and products call it."""
        return self.scenario.name

    @property
    def sha256(self) -> str:
        """Hash of the effective configuration."""
        table = {"scenario": self.scenario.to_table(), "flight": to_plain(self.flight), "rules": to_plain(self.rules)}
        if self.chain is not None:
            table["chain"] = to_plain(self.chain)
        return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()

    def at(self, path: str) -> Path:
        """Return a path of the file, which starts at the file's folder unless it is absolute.

        Leading steps upwards are taken, as people would write it: no link lies between, for ``path`` is resolved.
        """
        return _below(self.path.parent, Path(path))

    @property
    def state(self) -> Path:
        """The folder that the daemon keeps everything in."""
        return self.at(self.flight.mission.state)

    @property
    def socket(self) -> Path:
        """The control socket."""
        given = self.flight.mission.socket
        return self.at(given) if given else self.state / "control.sock"


def load_mission(path: Path, overrides: Mapping[str, str] | None = None) -> Mission:
    """Read and validate a mission file; ``ScenarioError`` names the file, the key and what would be right.

    ``base = "NAME"`` takes a scenario's sections and lets the file's own keys replace theirs.
    """
    table = override(read_toml(path), overrides or {})
    rules = rules_from(table, path.name)
    table.pop(SECTION, None)
    chain = _chain_of(table, path.name)
    own = {part.name for part in fields(Flight)}
    flight = read_table(Flight, {name: table[name] for name in own & table.keys()}, source=path.name)
    physical = {name: value for name, value in table.items() if name not in own and name != "base"}
    physical.setdefault("name", path.stem)
    base = table.get("base", "")
    if not isinstance(base, str):
        raise ScenarioError(f"{path.name}: base = {base!r} is not a name. Write the name of a built-in scenario.")
    if base:
        physical = _over(load_scenario(base).to_table(), physical)
    scenario = _at_its_epoch(read_scenario(physical, path.name, path.parent))
    _check(flight, scenario, path.name)
    _check_chain(chain, scenario, path.name)
    given = dict(overrides or {})
    return Mission(path=path.resolve(), scenario=scenario, flight=flight, rules=rules, chain=chain, overrides=given)


def _below(folder: Path, path: Path) -> Path:
    parts = path.parts
    while parts[:1] == ("..",):
        folder, parts = folder.parent, parts[1:]
    return folder.joinpath(*parts)


def socket_in(path: Path) -> Path:
    """Return the control socket that a mission file names, also where the rest of the file does not hold: its daemon
    flies on with the last good one and is asked why. Raises like ``load_mission`` where the file names none."""
    section = read_toml(path).get("mission")
    if isinstance(section, Mapping):
        state, socket = section.get("state"), section.get("socket") or ""
        if isinstance(state, str) and isinstance(socket, str) and (state or socket):
            return _below(path.resolve().parent, Path(socket or Path(state) / "control.sock"))
    return load_mission(path).socket


def _chain_of(table: dict[str, Any], source: str) -> Chain | None:
    """Take the chain out of a file's table. Raises ``ScenarioError`` or ``MissionError`` for one that is none."""
    given = table.pop(CHAIN, None)
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise ScenarioError(f"{source}: chain = {given!r:.60} is no chain. Write a [[chain.stages]] table per network.")
    try:
        return Chain.from_table(given, source=f"{source} [chain]", word="chain.stages")
    except MissionError as error:
        raise ScenarioError(f"{source} [chain]: {error}") from error


def _check_chain(chain: Chain | None, scenario: Scenario, source: str) -> None:
    names = [model.name for model in scenario.pool.models if (model.package_id or model.name) == CHAIN]
    if chain is None and names:
        raise ScenarioError(f"{source}: {names[0]} is the chain, of which nothing is said. Write [[chain.stages]].")
    if chain is not None and not names:
        raise ScenarioError(
            f"{source}: no network of the pool is the chain. Give one package_id = {CHAIN!r}, or remove [chain]."
        )


def _over(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the keys of ``own`` in it, table by table; a pool of one's own replaces the other's."""
    merged = dict(base)
    for name, value in own.items():
        below = merged.get(name)
        if not isinstance(value, Mapping) or not isinstance(below, Mapping):
            merged[name] = value
            continue
        if name == "pool" and {"file", "models"} & value.keys():
            below = {key: item for key, item in below.items() if key not in ("file", "models")}
        merged[name] = _over(below, value)
    return merged


def _at_its_epoch(scenario: Scenario) -> Scenario:
    """Return the scenario without a window to draw its start from; published elements begin at their own epoch,
    since a flight tells its age by the clock."""
    orbit = replace(scenario.orbit, window_days=0.0)
    if orbit.kind in PUBLISHED:
        epoch = epoch_unix_s(elements_of(orbit, scenario.name))
        orbit = replace(orbit, start_utc=utc_from_unix(epoch))
    return replace(scenario, orbit=orbit)


def _check(flight: Flight, scenario: Scenario, source: str) -> None:
    """Refuse what keys together make impossible."""
    kind, supply, radio, ladder = flight.source, flight.supply, flight.radio, flight.ladder
    wrong = (
        (not flight.mission.state, "mission.state is empty. Name the folder that the daemon keeps everything in"),
        (not flight.mission.providers, "mission.providers is empty. Name at least one, such as 'cpu'"),
        (scenario.power.kind == "paper", "power.kind = 'paper' cannot be flown. Use 'physical'"),
        (scenario.pool.draw == "slot", "pool.draw = 'slot' is a simulation's. Use 'mean'"),
        (not scenario.workload.covers, "workload.covers is empty. Add at least one [workload.covers.NAME]"),
        (kind.kind == "stream" and not kind.stream, "source 'stream' needs source.stream, a FIFO or device"),
        (kind.kind == "command" and not any("{out}" in part for part in kind.command), "source.command lacks {out}"),
        (
            bool(kind.cover) and kind.cover not in scenario.workload.covers,
            f"source.cover = {kind.cover!r} is unknown. Use one of {', '.join(scenario.workload.covers)}",
        ),
        ((kind.range_low is None) != (kind.range_high is None), "source.range_low and range_high go together"),
        (supply.kind != "model" and not supply.path, f"supply.kind = {supply.kind!r} needs supply.path"),
        (radio.kind == "udp" and not radio.address, "radio.kind = 'udp' needs radio.address, HOST:PORT"),
        (
            not ladder.checkpoint_frac > ladder.shed_frac > ladder.safe_frac,
            "ladder: checkpoint_frac must be above shed_frac, and shed_frac above safe_frac",
        ),
    )
    for is_wrong, what in wrong:
        if is_wrong:
            raise ScenarioError(f"{source}: {what}.")
    for frame, spec in supply.can.items():
        _check_can(frame, spec, source)


def _check_can(frame: str, spec: str, source: str) -> None:
    parts = spec.split(":")
    try:
        int(frame, 16)
        name, first, count, scale = parts[0], int(parts[1]), int(parts[2]), float(parts[3])
        good = bool(name) and len(parts) == 4 and 0 <= first < 64 and 1 <= count <= 8 and scale == scale
    except (ValueError, IndexError):
        good = False
    if not good:
        raise ScenarioError(f"{source}: supply.can.{frame} = {spec!r}. Write HEXID = 'name:first_byte:bytes:scale'.")
