"""DWTMA-Net in the zoo."""

from __future__ import annotations

from ..registry import Network, Size

ENTRIES = (
    Network(
        name="dwtma_net",
        title="DWTMA-Net",
        paper="Guan et al., DWTMA-Net: Discrete Wavelet Transform and Multi-Dimensional Attention Network for Remote "
        "Sensing Image Dehazing, Remote Sensing 2025",
        task="restoration",
        module="dwtma_net",
        cls="DWTMANet",
        sizes={
            "published": Size(
                options={},
                input=(3, 512, 512),
                params_paper=8.34e6,
                gmacs_paper=188.72,
                note="convolutions; the Fourier transforms, by constant products, come on top: 204 GMACs at 512 px, "
                "25.6 at 256",
            ),
            "edge": Size(
                options={"widths": (8, 16, 32, 16, 8), "depths": (1, 1, 2, 1, 1)},
                input=(3, 64, 64),
                params_paper=None,
                gmacs_paper=None,
            ),
        },
        deploy="dwtma_net_deploy:deploy",
        course="dwtma_net:course",
        kind="image",
    ),
)
