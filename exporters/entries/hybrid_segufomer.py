"""Hybrid-SegUFormer in the zoo."""

from __future__ import annotations

from ..registry import Network, Size

_COUNTED = (
    "the paper's 32.56 G leave out attention's products, count transposed convolutions on their output, and 4 and 11 "
    "operations an element of normalisation and bilinear growth; in truth it is 74.5 GMACs"
)

ENTRIES = (
    Network(
        name="hybrid_segufomer",
        title="Hybrid-SegUFormer",
        paper="Zhao et al., Hybrid-SegUFormer: A Hybrid Multi-Scale Network with Self-Distillation for Robust "
        "Landslide InSAR Deformation Detection, Remote Sensing",
        task="segmentation",
        module="hybrid_segufomer",
        cls="segmenter",
        sizes={
            "published": Size(options={}, input=(3, 256, 256), params_paper=12.55e6, gmacs_paper=32.56, note=_COUNTED),
            "edge": Size(options={"width": 16}, input=(3, 96, 96)),
        },
        deploy="hybrid_segufomer_deploy:deploy",
        course="hybrid_segufomer:course",
        kind="mask",
    ),
)
