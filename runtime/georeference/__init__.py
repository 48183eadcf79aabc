"""From pixels to the ground: by map transform, control points, RPCs or a camera's pose."""

from .mapped import ControlPoint, MapGeoreference
from .place import Box, Georeference, footprints, outlines, pixel_size_m
from .pose import CameraPose, PoseGeoreference
from .rings import Ring, geometry_of, ring_of, rings_of
from .rpc import Rpc, RpcGeoreference

__all__ = [
    "Box",
    "CameraPose",
    "ControlPoint",
    "Georeference",
    "MapGeoreference",
    "PoseGeoreference",
    "Ring",
    "Rpc",
    "RpcGeoreference",
    "footprints",
    "geometry_of",
    "outlines",
    "pixel_size_m",
    "ring_of",
    "rings_of",
]
