"""Energy as a cumulative reading in joules; each meter says whether it measures or estimates."""

from .estimate import EstimateMeter
from .ina3221 import INA3221_ROOT, Ina3221Meter, Rail, find_rails, total_rails
from .meter import PowerMeter, ReplayMeter

__all__ = [
    "INA3221_ROOT",
    "EstimateMeter",
    "Ina3221Meter",
    "PowerMeter",
    "Rail",
    "ReplayMeter",
    "find_rails",
    "total_rails",
]
