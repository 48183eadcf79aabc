"""What ``[locate]`` of a mission makes of the packages that find where pictures were taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from exporters.package import ModelPackage

from ..errors import MissionError
from ..locate import open_gallery
from ..locator import LOCATE, LocatorNetwork, SightOf, locator_of
from ..onboard import LoadedNetwork
from ..staged import StagedNetwork
from .mission import Mission


def placer(mission: Mission, sight_of: SightOf) -> Callable[[LoadedNetwork], LoadedNetwork]:
    """A function that gives networks of the task ``locate`` their gallery and leaves others as they are."""
    section = mission.flight.locate

    def placed(network: LoadedNetwork) -> LoadedNetwork:
        if network.package.info.task != LOCATE or not section.gallery:
            return network
        return locator_of(
            network,
            open_gallery(mission.at(section.gallery), network.package),
            sight_of,
            camera={
                "gsd_m": section.gsd_m,
                "height_m": section.height_m,
                "focal_px": section.focal_px,
                "heading_deg": section.heading_deg,
                "tilt_deg": section.tilt_deg,
            },
            false_fix_frac=section.false_fix_frac,
            track=section.track,
            drift_m=section.drift_m,
        )

    return placed


def check_places(mission: Mission, packages: Iterable[ModelPackage]) -> None:
    """Raise ``MissionError`` or ``DatasetError`` where gallery and packages of a mission do not belong together."""
    gallery, own = mission.flight.locate.gallery, [one for one in packages if one.info.task == LOCATE]
    if not gallery:
        return
    if not own:
        raise MissionError(
            f"{mission.path.name}: locate.gallery is given, but no package of the pool is of the task {LOCATE}. "
            "Remove it, or add one."
        )
    for package in own:
        open_gallery(mission.at(gallery), package)


def takes_whole_frames(loaded: Iterable[LoadedNetwork | StagedNetwork]) -> bool:
    """Whether a flight's tiles are whole pictures. Raises ``MissionError`` for networks of both sorts in one pool."""
    kinds = {isinstance(one, LocatorNetwork) for one in loaded}
    if len(kinds) > 1:
        raise MissionError(
            "A pool with a gallery holds networks that look at whole pictures and others that look at tiles. Fly them "
            "as two missions, each with its inbox."
        )
    return True in kinds
