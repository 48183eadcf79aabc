"""``subsolar run``: builds the daemon from a mission file, listens to signals, and gives everything back at the end."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from exporters.keys import load_trust
from exporters.package import ModelPackage, load_package
from policies.registry import make_policy

from ..engines import Vendor
from ..home import DEPLOY
from ..pool import measured_profile
from .auto import mission_verdict, policy_of
from .clock import Clock, SystemClock
from .control import ControlServer
from .daemon import Daemon
from .metrics import MetricsServer
from .mission import load_mission
from .notify import Notifier
from .outfit import packages_aboard
from .places import check_places
from .radio import seal_of
from .ring import LOG, JsonRing, RingHandler
from .wiring import Aboard

log = logging.getLogger(__name__)


def run_mission(
    path: Path,
    environment: Mapping[str, str],
    overrides: Mapping[str, str] | None = None,
    *,
    ready: Callable[[], object] = lambda: None,
) -> None:
    """Fly ``path`` until SIGTERM or SIGINT; SIGHUP reads the file again. Raises before anything flies if it cannot.

    ``ready`` is called once everything has been checked and opened.
    """
    clock = SystemClock()
    with ExitStack() as stack:
        daemon = stack.enter_context(daemon_of(path, clock, environment, overrides))
        stack.enter_context(_signals(daemon))
        ready()
        daemon.run()


def check_mission(path: Path, overrides: Mapping[str, str] | None = None) -> dict[str, str]:
    """Validate a mission file with its packages and its policy; changes nothing. Raises like ``run_mission``."""
    mission = load_mission(path, overrides)
    section = mission.flight.mission
    folder = mission.at(section.packages) if section.packages else DEPLOY / "packages"
    trust = load_trust(mission.at(section.keys) if section.keys else DEPLOY / "keys")
    packages = packages_aboard(mission, lambda package_id: load_package(folder / package_id, trust=trust))
    check_places(mission, packages.values())
    seal_of(mission.flight.radio, mission.at)
    pool = [
        measured_profile(model, packages[name]) if name in packages and model.energy_kind != "published" else model
        for model in mission.scenario.pool.models
        for name in (model.package_id or model.name,)
    ]
    scenario = mission.scenario.with_pool(pool)
    verdict = mission_verdict(scenario)
    policy = make_policy(policy_of(scenario, verdict), scenario, seed=0)
    return {
        "name": mission.name,
        "sha256": mission.sha256,
        "packages": ", ".join(map(_word, packages.values())),
        "policy": policy.name if verdict is None else f"auto takes {policy.name}: {verdict.reason}",
    }


def _word(package: ModelPackage) -> str:
    info = package.info
    return f"{info.id} v{info.version} ({info.task}: {info.output.kind})"


@contextmanager
def daemon_of(
    path: Path,
    clock: Clock,
    environment: Mapping[str, str],
    overrides: Mapping[str, str] | None = None,
    vendor: Vendor | None = None,
) -> Iterator[Daemon]:
    """Build a daemon with its log, control socket and metrics; it does not fly yet."""
    mission = load_mission(path, overrides)
    notifier = Notifier.from_environment(environment, os.getpid(), clock.monotonic_s)
    with ExitStack() as stack:
        aboard = Aboard(mission, clock, vendor)
        stack.callback(aboard.close)
        ring = RingHandler(JsonRing(mission.state / LOG, mission.flight.reports.log_byte), clock.unix_s)
        stack.enter_context(_logging_to(ring))
        daemon = Daemon(aboard, clock, notifier)
        stack.callback(lambda: daemon.wired.feeder.close())
        stack.callback(lambda: daemon.wired.radio.close())
        stack.callback(lambda: daemon.wired.fleet.close())
        group = mission.flight.mission.socket_group
        control = ControlServer(mission.socket, group, lambda: daemon.status, aboard.store.path, daemon.commands)
        stack.callback(control.close)
        control.start()
        if port := mission.flight.reports.metrics_port:
            stack.callback(MetricsServer(port, aboard.metrics.text).close)
        log.info("mission %s (sha256 %s) begins at slot %d", mission.name, mission.sha256, aboard.next_slot())
        yield daemon


@contextmanager
def _logging_to(handler: logging.Handler) -> Iterator[None]:
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
        handler.close()


@contextmanager
def _signals(daemon: Daemon) -> Iterator[None]:
    """Turn the signals of a service manager into the daemon's own requests."""
    wanted = {signal.SIGTERM: daemon.stop, signal.SIGINT: daemon.stop, signal.SIGHUP: daemon.reload}
    before = {number: signal.signal(number, lambda *_, act=act: act()) for number, act in wanted.items()}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
