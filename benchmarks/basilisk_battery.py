"""Battery charge over one day beside Basilisk's simpleBattery: same orbit, panel and load, each with its own eclipse.

Needs the ``basilisk`` wheel (``pip install 'bsk>=2.9,<2.13'``), best in an environment of its own. Basilisk
integrates every 10 s; ours
takes slots of 180 s. Prints the root mean square of the difference over the capacity; the bar is 1 %.

    python benchmarks/basilisk_battery.py
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from power_sim import IDLE, Simulator, load_scenario
from power_sim.constants import EARTH_RADIUS_M, SOLAR_IRRADIANCE_W_M2
from power_sim.sun import sun_eci_m
from power_sim.timeline import timeline_of
from power_sim.track import state_at

BAR_FRAC = 0.01
STEP_S = 10
BASILISK_FLUX_W_M2 = 1372.5398
CHANGES = {
    "orbit.kind": "keplerian",
    "orbit.window_days": "0",
    "orbit.orbits": "15.3",
    "power.panel_mount": "fixed",
    "power.panel_m2": "0.095",
    "power.battery_wh": "40",
    "power.initial_charge_min_frac": "0.8",
    "power.initial_charge_max_frac": "0.8",
    "power.charge_eff_frac": "1.0",
    "power.discharge_eff_frac": "1.0",
    "power.eclipse_heater_w": "0",
    "power.radio_w": "0",
    "power.max_charge_w": "1000",
    "power.reserve_frac": "0.0",
}


def ours() -> tuple[np.ndarray, np.ndarray, float]:
    """Times of the slots' ends (s), charge there (J) and CPU seconds."""
    start = time.process_time()
    simulator = Simulator(load_scenario("cubesat-6u", CHANGES), 0)
    charge = [simulator.advance(IDLE, None).charge_j for _ in range(simulator.slots)]
    spent = time.process_time() - start
    return simulator.track().unix_s + 180.0, np.array(charge), spent


def basilisk(ends: np.ndarray) -> tuple[np.ndarray, float]:
    """Charge (J) at the same times by Basilisk's modules, and CPU seconds."""
    from Basilisk.architecture import messaging
    from Basilisk.simulation import eclipse, simpleBattery, simplePowerSink, simpleSolarPanel
    from Basilisk.utilities import RigidBodyKinematics, SimulationBaseClass, macros

    scenario = load_scenario("cubesat-6u", CHANGES)
    power, plant = scenario.power, timeline_of(scenario).plant
    efficiency = (
        power.cell_eff_frac * power.panel_health_frac * power.panel_temperature_frac * power.conversion_eff_frac
    )
    sim: Any = SimulationBaseClass.SimBaseClass()
    sim.CreateNewProcess("p").addTask(sim.CreateNewTask("t", macros.sec2nano(STEP_S)))
    craft, sun, earth = messaging.SCStatesMsg(), messaging.SpicePlanetStateMsg(), messaging.SpicePlanetStateMsg()
    shadow, panel = eclipse.Eclipse(), simpleSolarPanel.SimpleSolarPanel()
    bus, battery = simplePowerSink.SimplePowerSink(), simpleBattery.SimpleBattery()
    shadow.sunInMsg.subscribeTo(sun)
    shadow.addPlanetToModel(earth)
    shadow.addSpacecraftToModel(craft)
    panel.setPanelParameters([0.0, 0.0, 1.0], power.panel_m2, efficiency * SOLAR_IRRADIANCE_W_M2 / BASILISK_FLUX_W_M2)
    panel.stateInMsg.subscribeTo(craft)
    panel.sunInMsg.subscribeTo(sun)
    panel.sunEclipseInMsg.subscribeTo(shadow.eclipseOutMsgs[0])
    bus.nodePowerOut = -(power.bus_w + power.idle_compute_w)
    battery.storageCapacity, battery.storedCharge_Init = plant.capacity_j, 0.8 * plant.capacity_j
    battery.addPowerNodeToModel(panel.nodePowerOutMsg)
    battery.addPowerNodeToModel(bus.nodePowerOutMsg)
    for module in (shadow, panel, bus, battery):
        sim.AddModelToTask("t", module)
    begin = float(ends[0]) - 180.0
    times = np.arange(begin, float(ends[-1]) + STEP_S / 2, STEP_S)
    r, v = state_at(scenario.orbit, times)
    to_sun = sun_eci_m(times)
    charge, nanos = [], [macros.sec2nano(float(t - begin)) for t in times]
    start = time.process_time()
    for i, now in enumerate(nanos):
        body = messaging.SCStatesMsgPayload(r_BN_N=r[i].tolist(), v_BN_N=v[i].tolist())
        up, normal = r[i] / np.linalg.norm(r[i]), np.cross(r[i], v[i])
        side = normal / np.linalg.norm(normal)
        body.sigma_BN = RigidBodyKinematics.C2MRP(np.array([side, np.cross(up, side), up])).tolist()
        craft.write(body, now)
        sun.write(messaging.SpicePlanetStateMsgPayload(PositionVector=to_sun[i].tolist(), PlanetName="sun"), now)
        earth.write(messaging.SpicePlanetStateMsgPayload(PositionVector=[0.0] * 3, PlanetName="earth"), now)
        if i == 0:
            sim.InitializeSimulation()
        sim.ConfigureStopTime(now)
        sim.ExecuteSimulation()
        charge.append(battery.batPowerOutMsg.read().storageLevel)
    return np.interp(ends, times, charge), time.process_time() - start


def main() -> int:
    """Print the comparison; 1 where the bar is missed, 3 without Basilisk."""
    try:
        import Basilisk  # noqa: F401
    except ImportError:
        print("Basilisk is not installed here: pip install 'bsk>=2.9,<2.13'")
        return 3
    ends, charge, our_s = ours()
    theirs, their_s = basilisk(ends)
    capacity_j = timeline_of(load_scenario("cubesat-6u", CHANGES)).plant.capacity_j
    error = (charge - theirs) / capacity_j
    rms = float(np.sqrt(np.mean(error**2)))
    print(
        f"{len(ends)} slots of 180 s, Earth radius {EARTH_RADIUS_M:.0f} m, charge {charge.min() / capacity_j:.3f} to 1"
    )
    print(f"difference in charge: {rms:.3%} RMS, {np.abs(error).max():.3%} worst, bar {BAR_FRAC:.0%}")
    print(f"CPU: ours {our_s:.3f} s, Basilisk {their_s:.1f} s with its Python loop")
    return 0 if rms <= BAR_FRAC else 1


if __name__ == "__main__":
    sys.exit(main())
