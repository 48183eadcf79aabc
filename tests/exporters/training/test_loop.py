from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

HERE = Path(__file__).parent
sys.path.append(str(HERE))

from line_course import LineCourse  # noqa: E402

from exporters.checkpoint import load_checkpoint, read_torch  # noqa: E402
from exporters.errors import CheckpointError, FitError  # noqa: E402
from exporters.training.loop import fit_course  # noqa: E402
from exporters.training.training import FitResult, Training  # noqa: E402


def quick(**changes: Any) -> Training:
    return Training(**{"epochs": 4, "lr": 0.1, "threads": 1, "weight_decay": 0.0, "ema_decay": 0.9, **changes})


def weights(path: Path) -> Any:
    return load_checkpoint(path).state_dict["layer.weight"]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    return fit_course(LineCourse(), quick(epochs=12), tmp_path_factory.mktemp("line"))


def test_a_line_is_learned_and_everything_is_left_behind(done: FitResult) -> None:
    assert done.test["score"] > -0.15
    assert done.value == done.test["score"]
    for name in ("best.pt", "last.pt", "curve.csv", "curve.png", "fit.json"):
        assert (done.best.parent / name).stat().st_size > 0
    with done.curve.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert list(rows[0]) == ["epoch", "loss", "bias", "val_score", "val_error", "lr", "epoch_s"]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    stored = json.loads((done.best.parent / "fit.json").read_text())
    assert (stored["epoch"], stored["test"]) == (done.epoch, done.test)


def test_a_checkpoint_says_what_the_course_described(done: FitResult) -> None:
    best = load_checkpoint(done.best)
    assert (best.bands, best.dtype, best.licence, best.unit) == (("a", "b", "c"), "float32", "CC0-1.0", "m")
    assert (best.switches, best.notes["metric"], best.notes["test"]) == ({"drop": 0.0}, "score", done.test)
    assert best.notes["validation"] == done.validation
    assert not best.build().training


@pytest.mark.parametrize(
    "settings", [{}, {"optimiser": "sgd", "schedule": "cosine", "accumulate": 3}, {"ema_decay": 0}]
)
def test_a_resumed_run_equals_an_undisturbed_one(tmp_path: Path, settings: dict[str, Any]) -> None:
    whole = fit_course(LineCourse(drop=0.3), quick(**settings), tmp_path / "whole")
    lines: list[str] = []

    def interrupt(line: str) -> None:
        lines.append(line)
        if "epoch 2/4" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_course(LineCourse(drop=0.3), quick(**settings), tmp_path / "broken", progress=interrupt)
    assert lines[-1].startswith("stopped in epoch 3; ")
    resumed = fit_course(LineCourse(drop=0.3), quick(**settings), tmp_path / "broken", resume=True)
    assert torch.equal(weights(whole.last), weights(resumed.last))
    assert torch.equal(weights(whole.best), weights(resumed.best))
    assert (whole.epoch, whole.test) == (resumed.epoch, resumed.test)


def test_a_finished_run_resumes_to_the_same_result(tmp_path: Path) -> None:
    first = fit_course(LineCourse(), quick(epochs=1), tmp_path)
    assert fit_course(LineCourse(), quick(epochs=1), tmp_path, resume=True) == first


def test_other_settings_do_not_resume_but_another_machine_does(tmp_path: Path) -> None:
    fit_course(LineCourse(), quick(epochs=1), tmp_path)
    for change in ({"lr": 0.2}, {"epochs": 2}):
        with pytest.raises(CheckpointError, match="other settings"):
            fit_course(LineCourse(), quick(**{"epochs": 1, **change}), tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="other settings"):
        fit_course(LineCourse(drop=0.5), quick(epochs=1), tmp_path, resume=True)
    fit_course(LineCourse(), quick(epochs=1, threads=2), tmp_path, resume=True)


def test_a_loss_that_is_no_number_stops_and_names_the_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(
        FitError, match=r"became nan in epoch 3 \(step 9\).*last\.pt holds the last whole epoch.*lower lr"
    ):
        fit_course(LineCourse(poison_epoch=2), quick(), tmp_path)
    assert read_torch(tmp_path / "last.pt")["training"]["epoch"] == 2
    assert torch.isfinite(weights(tmp_path / "last.pt")).all()
    with pytest.raises(FitError, match="no epoch was finished yet"):
        fit_course(LineCourse(poison_epoch=0), quick(), tmp_path / "new")


def test_a_metric_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(FitError, match="Validation gave score nan after epoch 1"):
        fit_course(LineCourse(scores=[float("nan")]), quick(), tmp_path)


def test_training_stops_early_when_nothing_gets_better(tmp_path: Path) -> None:
    lines: list[str] = []
    scores = [0.1, 0.5, 0.4, 0.3, 0.9, 0.9]
    result = fit_course(LineCourse(scores=scores), quick(epochs=6, patience=2), tmp_path, progress=lines.append)
    assert result.epoch == 2
    assert read_torch(result.last)["training"]["epoch"] == 4
    assert any("stopped early" in line for line in lines)


def test_accumulated_batches_make_one_step_of_their_mean_gradient(tmp_path: Path) -> None:
    plain = {"optimiser": "sgd", "momentum": 0.0, "schedule": "constant", "warmup_frac": 0, "ema_decay": 0}
    fit_course(LineCourse(), quick(epochs=1, accumulate=4, clip_norm=0, **plain), tmp_path)
    torch.manual_seed(7)
    network = LineCourse().build()
    loss = sum(LineCourse().loss(network, batch)["loss"] for batch in LineCourse().batches(0)) / 4
    loss.backward()
    expected = network.layer.weight - 0.1 * network.layer.weight.grad
    torch.testing.assert_close(weights(tmp_path / "last.pt"), expected.detach(), rtol=1e-5, atol=1e-6)


def test_half_precision_keeps_weights_whole(tmp_path: Path) -> None:
    result = fit_course(LineCourse(), quick(precision="bf16"), tmp_path)
    assert weights(result.best).dtype == torch.float32


def test_a_group_of_parameters_may_learn_slower(tmp_path: Path) -> None:
    class Frozen(LineCourse):
        def parameter_groups(self, network: Any) -> list[dict[str, Any]]:
            return [{"params": [network.layer.weight], "lr_scale": 0.0}, {"params": [network.layer.bias]}]

    torch.manual_seed(7)
    start = LineCourse().build()
    result = fit_course(Frozen(), quick(epochs=1, ema_decay=0), tmp_path)
    state = load_checkpoint(result.last).state_dict
    assert torch.equal(state["layer.weight"], start.layer.weight)
    assert not torch.equal(state["layer.bias"], start.layer.bias)


def test_a_course_that_gives_fewer_batches_than_promised_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FitError, match="gave 3 batches in epoch 1, it promised 4"):
        fit_course(LineCourse(batches_given=3), quick(), tmp_path)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("precision", "fp8"), ("optimiser", "lion"), ("schedule", "none"), ("device", "tpu"), ("epochs", 0), ("lr", 0.0)],
)
def test_settings_that_do_not_fit_are_refused(setting: str, value: Any) -> None:
    with pytest.raises(FitError, match=f"{setting} {value!r}"):
        quick(**{setting: value})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_machine_without_a_gpu_says_so(tmp_path: Path) -> None:
    with pytest.raises(FitError, match="no CUDA device"):
        fit_course(LineCourse(), quick(device="cuda"), tmp_path)


def test_two_workers_train_as_one_that_accumulates_two_batches(tmp_path: Path) -> None:
    if not torch.distributed.is_available():
        pytest.skip("this torch has no torch.distributed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"epochs": 3, "lr": 0.1, "threads": 1, "weight_decay": 0.0}
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "two_workers.py"), str(tmp_path / "two"), json.dumps(settings)]
    running = [
        subprocess.Popen(
            command, env={**os.environ, **shared, "RANK": str(rank)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for rank in range(2)
    ]
    answers = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0], answers
    fit_course(LineCourse(), Training(**{**settings, "accumulate": 2}), tmp_path / "one")
    alone = weights(tmp_path / "one" / "last.pt")
    for output, _ in answers:
        torch.testing.assert_close(torch.tensor(json.loads(output)), alone, rtol=1e-5, atol=1e-6)
