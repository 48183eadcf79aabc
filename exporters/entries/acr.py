"""ACR in the zoo."""

from __future__ import annotations

from ..registry import Network, Size

ENTRIES = (
    Network(
        name="acr",
        title="ACR",
        paper="Gao et al., Adaptive Conditional Reasoning for Remote Sensing Visual Question Answering, 2025",
        task="ask",
        module="acr",
        cls="ACR",
        sizes={
            "published": Size(
                options={},
                input=(3, 512, 512),
                params_paper=47.9e6,
                note="the paper gives no operations; counted with nine words and both stacks",
            ),
            "edge": Size(
                options={
                    "base": 32,
                    "depths": (2, 2, 2, 2),
                    "width": 128,
                    "heads": 4,
                    "question_layers": 1,
                    "layers": 2,
                    "edge_px": 256,
                },
                input=(3, 256, 256),
            ),
        },
        deploy="acr_deploy:deploy",
        course="acr:course",
        kind="embedding",
    ),
)
