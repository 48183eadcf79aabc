"""The ground side of finding places without GNSS: galleries of descriptors, and novel views by Gaussian splatting."""

from .build import Plan, build_gallery
from .gallery import Gallery, Source, read_gallery
from .sight import Sight, tile_of

__all__ = ["Gallery", "Plan", "Sight", "Source", "build_gallery", "read_gallery", "tile_of"]
