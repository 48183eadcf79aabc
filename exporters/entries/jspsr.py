"""JSPSR in the zoo."""

from __future__ import annotations

from ..registry import Network, Size

_COUNTED = (
    "the paper's 66.8 and 89.4 G are twice the multiply-accumulates, with each transposed convolution counted on its "
    "output: 32.04 and 43.35 G otherwise"
)

ENTRIES = (
    Network(
        name="jspsr",
        title="JSPSR",
        paper="Cai and Wilson, JSPSR: Joint Spatial Propagation Super-Resolution Networks for Enhancement of "
        "Bare-Earth DEMs from Global Data",
        task="terrain",
        module="jspsr",
        cls="JSPSR",
        sizes={
            "published": Size(options={}, input=(4, 128, 128), params_paper=29.16e6, gmacs_paper=33.4, note=_COUNTED),
            "landuse": Size(
                options={"aux_bands": 15}, input=(19, 128, 128), params_paper=43.87e6, gmacs_paper=44.7, note=_COUNTED
            ),
            "edge": Size(options={"width": 8}, input=(4, 48, 48)),
        },
        deploy="jspsr_deploy:deploy",
        course="jspsr:course",
        kind="map",
    ),
)
