"""Energy as a cumulative reading in joules; each meter says whether it measures or estimates, what, and how well."""

from .estimate import EstimateMeter
from .finding import METERS, find_meter, open_meter
from .ina238 import HWMON_ROOT, PowerRail, find_power_rails
from .ina3221 import INA3221_ROOT, Ina3221Meter, Rail, find_rails, total_rails
from .meter import PowerMeter, RatedMeter, ReplayMeter
from .nvml import NvmlGpu, NvmlMeter
from .rapl import POWERCAP_ROOT, RaplMeter, rapl_zones
from .sampled import Channel, SampledMeter
from .trace import PowerTrace, TraceMeter, read_power_csv, read_tegrastats

__all__ = [
    "HWMON_ROOT",
    "INA3221_ROOT",
    "METERS",
    "POWERCAP_ROOT",
    "Channel",
    "EstimateMeter",
    "Ina3221Meter",
    "NvmlGpu",
    "NvmlMeter",
    "PowerMeter",
    "PowerRail",
    "PowerTrace",
    "Rail",
    "RaplMeter",
    "RatedMeter",
    "ReplayMeter",
    "SampledMeter",
    "TraceMeter",
    "find_meter",
    "find_power_rails",
    "find_rails",
    "open_meter",
    "rapl_zones",
    "read_power_csv",
    "read_tegrastats",
    "total_rails",
]
