"""SDENet beside plain Mahalanobis distance on made-up scenes with implanted targets (card, check 9).

    python benchmarks/zoo_sdenet_implanted.py

A low-rank background of 40 x 40 pixels and 50 bands, noise of 0.02, eight sub-pixel targets (15 to 40 %), six scenes,
300 steps each. Writes ``benchmarks/results/zoo-sdenet-implanted.json``.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

from exporters.metrics.anomaly import auc, mahalanobis
from exporters.zoo.sdenet import SDENet
from exporters.zoo.sdenet_loss import similarity_loss, with_holes

RESULT = Path(__file__).parent / "results" / "zoo-sdenet-implanted.json"
STEPS, SCENES, BAR = 300, 6, 0.05


def scene(seed: int) -> tuple[Any, Any]:
    """((50, 40, 40) reflectance from -0.1 to 0.1, (40, 40) where targets are)."""
    rng = np.random.default_rng(seed)
    smooth = np.kron(rng.random((4, 8, 8)), np.ones((1, 5, 5)))
    cube = np.einsum("kyx,kb->byx", smooth, rng.random((4, 50))) + rng.normal(0, 0.02, (50, 40, 40))
    truth = np.zeros((40, 40), dtype=bool)
    truth.ravel()[rng.choice(1600, 8, replace=False)] = True
    share = rng.uniform(0.15, 0.4, int(truth.sum()))
    cube[:, truth] = (1 - share) * cube[:, truth] + share * rng.random(50)[:, None]
    return (0.2 * (cube - cube.min()) / (cube.max() - cube.min()) - 0.1).astype(np.float32), truth


def scored(seed: int) -> dict[str, float]:
    """AUC of the fitted residual and of the data themselves."""
    cube, truth = scene(seed)
    x = torch.from_numpy(cube)[None]
    torch.manual_seed(seed)
    network, generator = SDENet(), torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(STEPS):
        loss = similarity_loss(network(with_holes(x, generator)), x, scales=4)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.inference_mode():
        residual = (x - network.eval()(x))[0].numpy()
    return {"sdenet": auc(mahalanobis(residual), truth), "rx": auc(mahalanobis(cube), truth)}


def main() -> None:
    """Fit the scenes and write what came of them."""
    torch.set_num_threads(1)
    rows = []
    for seed in range(SCENES):
        rows.append(scored(seed))
        print(f"scene {seed}: SDENet {rows[-1]['sdenet']:.4f}, RX {rows[-1]['rx']:.4f}", flush=True)
    gain = float(np.mean([row["sdenet"] - row["rx"] for row in rows]))
    result = {
        "machine": f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}",
        "command": "python benchmarks/zoo_sdenet_implanted.py",
        "steps": STEPS,
        "scenes": rows,
        "gain_mean": gain,
        "bar": BAR,
        "met": gain >= BAR,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"gain {gain:+.4f}, bar {BAR}")


if __name__ == "__main__":
    main()
