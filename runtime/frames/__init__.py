"""Where pixels come from: image files read window by window, line streams that grow, and the labelled
scenes that a replay draws from."""

from ..frame import Frame, Patch
from .bands import GENERATED, RGB, choose_bands
from .growing import LineFrame
from .lines import StreamCounts, StreamHeader
from .raster import RANGE_TAG, RasterFrame, open_frame
from .scenes import Scene, SceneSource, read_scene
from .sources import AnyFrame, CommandCamera, FrameSource, Inbox, expand, open_any
from .stack import Beside, Stack, open_stack, parse_beside

__all__ = [
    "GENERATED",
    "RANGE_TAG",
    "RGB",
    "AnyFrame",
    "Beside",
    "CommandCamera",
    "Frame",
    "FrameSource",
    "Inbox",
    "LineFrame",
    "Patch",
    "RasterFrame",
    "Scene",
    "SceneSource",
    "Stack",
    "StreamCounts",
    "StreamHeader",
    "choose_bands",
    "expand",
    "open_any",
    "open_frame",
    "open_stack",
    "parse_beside",
    "read_scene",
]
