"""VMC-DETR and its baseline in the zoo."""

from __future__ import annotations

from ..registry import Network, Size

_PLAIN = {"backbone": "r18", "mfadm": False, "cagfm": False}
_EDGE = {"width": 0.25, "edge_px": 192}

ENTRIES = (
    Network(
        name="vmc_detr",
        title="VMC-DETR",
        paper="Ge et al., Enhancing Real-Time Aerial Image Object Detection with High-Frequency Feature Learning and "
        "Context-Aware Fusion, Remote Sensing",
        task="detection",
        module="vmc_detr",
        cls="VMCDETR",
        sizes={
            "published": Size(
                options={},
                input=(3, 640, 640),
                params_paper=None,
                gmacs_paper=35.25,
                note="the paper states 70.5 GFLOPs, two a multiply-accumulate, without products of attention, and no "
                "parameters",
            ),
            "edge": Size(options=_EDGE, input=(3, 192, 192), params_paper=None, gmacs_paper=None),
        },
        deploy="vmc_detr_deploy:deploy",
        course="vmc_detr:course",
        kind="boxes",
    ),
    Network(
        name="rtdetr_r18",
        title="RT-DETR-R18",
        paper="VMC-DETR's baseline: Zhao et al., DETRs Beat YOLOs on Real-time Object Detection, CVPR 2024",
        task="detection",
        module="vmc_detr",
        cls="VMCDETR",
        sizes={
            "published": Size(
                options={**_PLAIN, "classes": 80},
                input=(3, 640, 640),
                params_paper=20e6,
                gmacs_paper=30.0,
                note="20 M and 60 GFLOPs at 80 classes, as its authors round them; VMC-DETR's paper states 66.1",
            ),
            "edge": Size(options={**_PLAIN, **_EDGE}, input=(3, 192, 192), params_paper=None, gmacs_paper=None),
        },
        deploy="vmc_detr_deploy:deploy",
        course="vmc_detr:course",
        kind="boxes",
    ),
)
