"""Finds out what is to be watched from what the command was given."""

from __future__ import annotations

import os
from pathlib import Path

from power_sim.scenario import Scenario, load_scenario

from ..errors import FrameError, MissionError
from ..frames.scenes import SceneSource
from ..home import DEPLOY
from .scenery import Scene
from .sources import DAEMON_STORE, DaemonSource, Source, StoreSource, flown_in, store_in


def choose_source(
    folder: Path | None, mission: Path | None, socket: Path | None, scenario: str | None, scenes: Path | None, last: int
) -> Source:
    """Return the source. Raises ``MissionError``, ``ScenarioError`` or ``StoreError`` where it cannot be."""
    if folder is not None:
        if mission or socket:
            raise MissionError("a folder and a daemon were given. Watch one of the two.")
        path = store_in(folder)
        flown = flown_in(path.parent, scenario)
        scene = Scene(
            title=_title(flown.scenario, path),
            scenario=flown.scenario,
            scenes=_scenes(scenes),
            policy=flown.policy,
            seed=flown.seed,
            simulated=path.name != DAEMON_STORE,
        )
        return StoreSource(path=path, scene=scene, last_slots=last)
    return _daemon(mission, socket, scenario, scenes, last)


def _title(scenario: Scenario | None, path: Path) -> str:
    return f"Subsolar watch: {scenario.name if scenario else path.resolve().parent.name}"


def _daemon(
    mission: Path | None, socket: Path | None, scenario: str | None, scenes: Path | None, last: int
) -> DaemonSource:
    path = socket or Path(os.environ.get("SUBSOLAR_SOCKET", "/run/subsolar/control.sock"))
    flown = None if scenario is None else load_scenario(scenario)
    store = None
    if mission is not None:
        from ..daemon.mission import load_mission

        loaded = load_mission(mission)
        path, flown, store = socket or loaded.socket, loaded.scenario, loaded.state / DAEMON_STORE
    pictures = None if scenes is None else SceneSource.from_folder(scenes)
    scene = Scene(title=_title(flown, path), scenario=flown, scenes=pictures, simulated=False)
    return DaemonSource(socket=path, store=store, scene=scene, last_slots=last)


def _scenes(given: Path | None) -> SceneSource | None:
    """Return the pictures for chips: those given, else the checkout's where there are any."""
    folder = given or DEPLOY / "scenes"
    try:
        return SceneSource.from_folder(folder) if folder.is_dir() else None
    except FrameError:
        if given is not None:
            raise
        return None
