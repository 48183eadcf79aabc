"""SSCDH and its baseline in the zoo."""

from __future__ import annotations

from ..registry import Network, Size

_YOLO = {"attention": False, "head": "coupled"}

ENTRIES = (
    Network(
        name="sscdh",
        title="SSCDH",
        paper="Tang et al., Enhanced Shuffle Attention with Context Decoupling Head with Wise IoU Loss for SAR Ship "
        "Detection, Remote Sensing",
        task="detection",
        module="sscdh",
        cls="SSCDH",
        sizes={
            "published": Size(
                options={},
                input=(3, 640, 640),
                params_paper=None,
                gmacs_paper=4.9,
                note="the paper states 9.8 GFLOPs, two a multiply-accumulate, and no parameters",
            ),
            "edge": Size(options={"width": 0.125}, input=(3, 640, 640), params_paper=None, gmacs_paper=None),
        },
        deploy="sscdh_decode:deploy",
        course="sscdh:course",
        kind="boxes",
    ),
    Network(
        name="yolov5n",
        title="YOLOv5n",
        paper="SSCDH's baseline: YOLOv5 6.x without shuffle attention, fourth level and decoupled head",
        task="detection",
        module="sscdh",
        cls="SSCDH",
        sizes={
            "published": Size(
                options={**_YOLO, "classes": 80},
                input=(3, 640, 640),
                params_paper=1_872_157,
                gmacs_paper=2.25,
                note="4.5 GFLOPs at 80 classes, as its authors state",
            ),
            "edge": Size(options={**_YOLO, "width": 0.125}, input=(3, 640, 640), params_paper=None, gmacs_paper=None),
        },
        deploy="sscdh_decode:deploy",
        course="sscdh:course",
        kind="boxes",
    ),
)
