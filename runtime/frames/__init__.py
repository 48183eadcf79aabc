"""Where pixels come from: image files read window by window, and the labelled scenes that a replay draws from."""

from ..frame import Frame, Patch
from .bands import RGB, choose_bands
from .raster import RANGE_TAG, RasterFrame, open_frame
from .scenes import Scene, SceneSource, read_scene

__all__ = [
    "RANGE_TAG",
    "RGB",
    "Frame",
    "Patch",
    "RasterFrame",
    "Scene",
    "SceneSource",
    "choose_bands",
    "open_frame",
    "read_scene",
]
