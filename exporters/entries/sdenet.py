"""SDENet in the zoo."""

from __future__ import annotations

from ..registry import Network, Size

_COUNTED = (
    "the paper's 8363.41 M operations are a batch of 16 on 72 x 72 px, with transposed convolutions counted on their "
    "output and both branches of the mapping; a 64 px tile costs 0.454 GMACs of convolutions and 0.072 of attention"
)

ENTRIES = (
    Network(
        name="sdenet",
        title="SDENet",
        paper="Liu et al., The Spectrum Difference Enhanced Network for Hyperspectral Anomaly Detection, Remote "
        "Sensing",
        task="anomaly",
        module="sdenet",
        cls="SDENet",
        sizes={
            "published": Size(
                options={}, input=(50, 64, 64), params_paper=0.34e6, gmacs_paper=8.36341 / 16, note=_COUNTED
            ),
            "edge": Size(options={"width": 16, "latent": 16}, input=(50, 64, 64)),
        },
        deploy="sdenet_deploy:deploy",
        course="sdenet:course",
        kind="map",
    ),
)
