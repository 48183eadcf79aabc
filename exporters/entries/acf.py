"""ACF in the zoo."""

from __future__ import annotations

from ..prove import Bar
from ..registry import Network, Size

_VIG = "the paper gives no figures; with the 1000-class head its backbone has"

ENTRIES = (
    Network(
        name="acf",
        title="ACF",
        paper="Yang et al., Remote Sensing Cross-Modal Text-Image Retrieval Based on Attention Correction and "
        "Filtering, 2025",
        task="search",
        module="acf",
        cls="ACF",
        sizes={
            "published": Size(
                options={}, input=(3, 224, 224), note=f"{_VIG} 27.3 M and 4.6 GMACs as Pyramid ViG-S is published with"
            ),
            "edge": Size(
                options={"channels": (48, 96, 240, 384)},
                input=(3, 224, 224),
                note=f"{_VIG} 10.7 M and 1.7 GMACs as Pyramid ViG-Ti is published with",
            ),
        },
        deploy="acf_deploy:deploy",
        course="acf:course",
        kind="embedding",
        parity=Bar(1e-3, 1.0),  # the card's: a near tie among neighbours moves a value, the cosine of 0.99999 decides
    ),
)
