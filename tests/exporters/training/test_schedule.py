from __future__ import annotations

import pytest

from exporters.training.schedule import cycled_momentum, lr_frac

torch = pytest.importorskip("torch")


def test_one_cycle_is_that_of_torch() -> None:
    steps, peak = 37, 0.3
    optimiser = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=peak, total_steps=steps, pct_start=0.2)
    for step in range(steps):
        group = optimiser.param_groups[0]
        assert peak * lr_frac("one-cycle", step, steps, 0.2) == pytest.approx(group["lr"], rel=1e-9)
        assert cycled_momentum(step, steps, 0.2) == pytest.approx(group["betas"][0], rel=1e-9)
        optimiser.step()
        if step < steps - 1:
            theirs.step()


def test_a_cosine_warms_up_and_falls_to_nothing() -> None:
    found = [lr_frac("cosine", step, 10, 0.2) for step in range(10)]
    assert found[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert found[6] == pytest.approx(0.5)  # half of the eight steps that follow the warm-up
    assert found[9] == pytest.approx(0.03806, abs=1e-5)  # (1 + cos(7 pi / 8)) / 2


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "linear", "constant"])
@pytest.mark.parametrize(("steps", "warmup_frac"), [(1, 0.0), (2, 0.5), (5, 0.0), (5, 0.2)])
def test_no_rate_is_below_nothing_or_above_the_peak(schedule: str, steps: int, warmup_frac: float) -> None:
    assert all(0.0 < lr_frac(schedule, step, steps, warmup_frac) <= 1.0 for step in range(steps))
