"""The geo-localisation encoder in the zoo."""

from __future__ import annotations

from ..registry import Network, Size

_SILENT = "the paper gives no figures"

ENTRIES = (
    Network(
        name="geo_encoder",
        title="3DGS geo-localisation",
        paper="Ding et al., Cross-View Geo-Localization via 3D Gaussian Splatting-Based Novel View Synthesis",
        task="locate",
        module="geo_encoder",
        cls="GeoEncoder",
        sizes={
            "published": Size(
                options={},
                input=(3, 126, 518),
                note=f"query view; {_SILENT}; DINOv2 ViT-B/14 is published with 86.58 M",
            ),
            "published-reference": Size(
                options={"rows": 644, "cols": 644, "pool": True}, input=(3, 644, 644), note=f"map view; {_SILENT}"
            ),
            "uav": Size(
                options={"backbone": "vit_s", "rows": 224, "cols": 224},
                input=(3, 224, 224),
                note=f"both views of a UAV; {_SILENT}; DINOv2 ViT-S/14 is published with 22.06 M",
            ),
            "edge": Size(
                options={"backbone": "conv", "rows": 64, "cols": 64, "layers": 2, "channels": 64},
                input=(3, 64, 64),
                note="both views of a UAV; ours: no weights from elsewhere",
            ),
        },
        deploy="geo_encoder_deploy:deploy",
        course="geo_encoder:course",
        kind="embedding",
    ),
)
