"""CM-CR in the zoo."""

from __future__ import annotations

from ..registry import Network, Size

_MEBIBYTE = "the paper prints 2730.71: mebibytes of float32 weights, which are 715.83 M parameters"

ENTRIES = (
    Network(
        name="cm_cr",
        title="CM-CR",
        paper="Han, Huang and Li, SAR-Conditioned Consistency Model for Effective Cloud Removal in Remote Sensing "
        "Images, Remote Sensing 2025",
        task="declouded",
        module="cm_cr",
        cls="CMCR",
        sizes={
            "published": Size(
                options={}, input=(5, 256, 256), params_paper=715.83e6, gmacs_paper=1458.0, note=_MEBIBYTE
            ),
            "edge": Size(
                options={"width": 64, "blocks": 2},
                input=(5, 256, 256),
                params_paper=34.615e6,
                gmacs_paper=71.3,
                note="the specification's figures: the paper has this size only as its diffusion baseline, 34.62 M",
            ),
            "tiny": Size(
                options={"width": 64, "blocks": 1, "multipliers": (1, 1, 2, 2, 4)},
                input=(5, 256, 256),
                params_paper=15.61e6,
                gmacs_paper=49.5,
                note="the specification's figures",
            ),
            "mini": Size(
                options={"width": 32, "blocks": 1, "multipliers": (1, 2, 2, 2), "attention_at": (8,)},
                input=(5, 64, 64),
                note="for learning on a small processor; what is trained here",
            ),
        },
        deploy="cm_cr_deploy:deploy",
        course="cm_cr:course",
        kind="map",
    ),
)
