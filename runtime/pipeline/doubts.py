"""Why a scene's answers may say less than they seem to: what a person has to hear beside them."""

from __future__ import annotations

from exporters.records import PackageInfo

from ..frames import AnyFrame
from ..tasks.aligned import AlignedFrame


def doubts(frame: AnyFrame, info: PackageInfo, aligned: object) -> str:
    """Return what is to be said of a scene under a network's answers; empty where nothing is.

    ``aligned``: the scene as it was laid over its references, None where it has none.
    """
    return "; ".join(one for one in (_small(frame, info), _misplaced(frame, info, aligned)) if one)


def _small(frame: AnyFrame, info: PackageInfo) -> str:
    wide, high, edge = frame.width_px, frame.height_px, info.input.tile_edge_px
    if min(wide, high) >= edge:
        return ""
    return (
        f"the scene is {wide} x {high} px, smaller than a tile of {edge} px: the rest was filled in, "
        "so its answer says little"
    )


def _misplaced(frame: AnyFrame, info: PackageInfo, aligned: object) -> str:
    if isinstance(aligned, AlignedFrame) and aligned.done == "unverified":
        return "the shift between the two dates could not be told, so their georeferences are believed"
    gsd_m, (low_m, high_m) = frame.gsd_m, info.gsd_range_m
    if gsd_m is None:
        return "the scene has no georeference, so places and pixel size are unknown"
    if low_m <= gsd_m <= high_m:
        return ""
    return f"its pixels are {gsd_m:.3g} m wide, the network was made for {low_m:g} to {high_m:g} m"
