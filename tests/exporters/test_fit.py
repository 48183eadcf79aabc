from __future__ import annotations

import csv
import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from exporters.checkpoint import (  # noqa: E402
    Checkpoint,
    load_checkpoint,
    load_weights,
    read_state_dict,
    read_torch,
    save_checkpoint,
)
from exporters.courses.chips import ChipsCourse, ChipsSettings, band_statistics, predict  # noqa: E402
from exporters.datasets import Chips, hold_back  # noqa: E402
from exporters.errors import CheckpointError, ExporterError, FitError  # noqa: E402
from exporters.fit import fit_network  # noqa: E402
from exporters.registry import build_network, network_named  # noqa: E402
from exporters.training.loop import Loop  # noqa: E402
from exporters.training.training import TRAINING_FIELDS, Training  # noqa: E402
from exporters.training.workers import Workers  # noqa: E402

ALONE = Workers(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def small(chips: Chips) -> Chips:
    """The chips at half their size: quick."""
    return replace(chips, pixels=np.ascontiguousarray(chips.pixels[:, :, ::2, ::2]))


def chips_course(name: str, chips: Chips, **settings: Any) -> ChipsCourse:
    train, held = hold_back(chips, 10, seed=1)
    return ChipsCourse(name, train, held, ChipsSettings(batch=16, shift_px=1, **settings))


def trainer(name: str, chips: Chips, out: Path, lines: list[str] | None = None, **settings: Any) -> Loop:
    training = {key: settings.pop(key) for key in TRAINING_FIELDS if key in settings}
    progress = (lambda line: None) if lines is None else lines.append
    course = chips_course(name, chips, **settings)
    return Loop(course, Training(**{"epochs": 3, "threads": 1, **training}), out, ALONE, progress)


def curve(run: Loop) -> list[dict[str, str]]:
    with (run.out / "curve.csv").open() as file:
        return list(csv.DictReader(file))


def test_training_lowers_the_loss_on_real_chips(tmp_path: Path, small: Chips) -> None:
    lines: list[str] = []
    run = trainer("resnet18", small, tmp_path, lines, epochs=5, lr=1e-3)
    run.run()
    losses = [float(row["loss"]) for row in curve(run)]
    assert losses[-1] < 0.9 * losses[0]
    assert len(lines) == 5
    assert "epoch 5/5" in lines[-1]
    assert "min left" in lines[-1]
    best = load_checkpoint(run.best)
    assert best.classes == small.classes
    assert best.edge_px == 32
    assert best.notes["training"]["seed"] == 7
    assert best.switches == {"classes": 10, "stem_stride": 2}


def test_a_network_is_fitted_from_a_folder_and_tested_once(tmp_path: Path, small: Chips, tiny_name: str) -> None:
    write_folder(tmp_path / "set", small)
    lines: list[str] = []
    result = fit_network(
        tiny_name,
        tmp_path / "set",
        tmp_path / "fit" / "tiny",
        epochs=2,
        progress=lines.append,
        held_back=10,
        threads=1,
    )
    assert "test" in lines[-1]
    best = load_checkpoint(result.best)
    assert (result.test["n"], result.epoch) == (40, best.notes["epoch"])
    assert best.notes["test"] == result.test
    assert result.value == result.test["accuracy"]
    stored = json.loads((tmp_path / "fit" / "tiny" / "fit.json").read_text())
    assert stored["test"] == result.test
    again = fit_network(
        tiny_name, tmp_path / "set", tmp_path / "fit" / "tiny", epochs=2, resume=True, held_back=10, threads=1
    )
    assert again.test == result.test


def test_an_unknown_network_fails_before_any_data_is_read(tmp_path: Path) -> None:
    with pytest.raises(ExporterError, match=r"named 'resnet18@published'.*Write resnet18 with --size published"):
        network_named("resnet18@published")
    with pytest.raises(ExporterError, match="no network named 'vgg'"):
        fit_network("vgg", tmp_path / "nothing", tmp_path / "out")


def write_folder(root: Path, chips: Chips) -> None:
    """Chips in the folder layout of EuroSAT; the same ones for training and test."""
    import rasterio

    root.mkdir()
    (root / "classes.txt").write_text("\n".join(chips.classes))
    names = [f"images/{chips.classes[label]}/{number}.png" for number, label in enumerate(chips.labels)]
    for split in ("train", "test"):
        (root / f"{split}.txt").write_text("\n".join(names))
    edge = chips.pixels.shape[2]
    for name, pixels in zip(names, chips.pixels, strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with rasterio.open(
                root / name, "w", driver="PNG", height=edge, width=edge, count=3, dtype="uint8"
            ) as image:
                image.write(pixels)


def test_one_seed_gives_one_result(tmp_path: Path, small: Chips, tiny_name: str) -> None:
    runs = [trainer(tiny_name, small, tmp_path / name) for name in ("a", "b")]
    for run in runs:
        run.run()
    weights = [load_checkpoint(run.last).state_dict for run in runs]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_resumed_run_ends_where_an_unbroken_one_does(tmp_path: Path, small: Chips, tiny_name: str) -> None:
    whole = trainer(tiny_name, small, tmp_path / "whole")
    whole.run()

    def stop_in_epoch_two(line: str) -> None:
        if "epoch 1/3" in line:
            raise KeyboardInterrupt

    broken = Loop(chips_course(tiny_name, small), whole.training, tmp_path / "broken", ALONE, stop_in_epoch_two)
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    assert read_torch(broken.last)["training"]["epoch"] == 1
    resumed = trainer(tiny_name, small, tmp_path / "broken")
    resumed.run(resume=True)
    weights = [load_checkpoint(run.last).state_dict for run in (whole, resumed)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert len(curve(resumed)) == 3


def test_a_run_does_not_resume_with_other_settings(tmp_path: Path, small: Chips, tiny_name: str) -> None:
    trainer(tiny_name, small, tmp_path, epochs=1).run()
    with pytest.raises(CheckpointError, match="other settings"):
        trainer(tiny_name, small, tmp_path, epochs=1, lr=0.5).run(resume=True)


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(
    tmp_path: Path, small: Chips, tiny_name: str
) -> None:
    run = trainer(tiny_name, small, tmp_path, epochs=1)
    run.run()
    kept = run.last.read_bytes()
    bad = trainer(tiny_name, small, tmp_path, lr=1e30, epochs=2)
    with pytest.raises(FitError, match=r"The loss became (nan|inf) in epoch 1 .*start again with a lower lr"):
        bad.run()
    assert run.last.read_bytes() == kept


def test_a_teacher_is_listened_to(tmp_path: Path, small: Chips, tiny_name: str) -> None:
    teacher = trainer(tiny_name, small, tmp_path / "teacher")
    teacher.run()
    alone = trainer(tiny_name, small, tmp_path / "alone", epochs=1)
    taught = trainer(tiny_name, small, tmp_path / "taught", epochs=1, teacher=str(teacher.best))
    alone.run()
    taught.run()
    assert curve(alone)[0]["loss"] != curve(taught)[0]["loss"]


def test_a_teacher_of_other_classes_is_refused(tmp_path: Path, small: Chips, tiny_name: str) -> None:
    teacher = trainer(tiny_name, small, tmp_path, epochs=1)
    teacher.run()
    stored = load_checkpoint(teacher.best)
    save_checkpoint(tmp_path / "other.pt", replace(stored, classes=stored.classes[::-1]))
    with pytest.raises(FitError, match="Use another one"):
        trainer(tiny_name, small, tmp_path / "taught", teacher=str(tmp_path / "other.pt"))


def test_bf16_trains_too(tmp_path: Path, small: Chips, tiny_name: str) -> None:
    run = trainer(tiny_name, small, tmp_path, epochs=1, precision="bf16")
    run.run()
    assert all(value.dtype != torch.bfloat16 for value in load_checkpoint(run.best).state_dict.values())


def test_an_unknown_precision_is_refused(tmp_path: Path, small: Chips, tiny_name: str) -> None:
    with pytest.raises(FitError, match="'fp8'"):
        trainer(tiny_name, small, tmp_path, precision="fp8")


def test_predictions_do_not_depend_on_the_batch(small: Chips, tiny_name: str) -> None:
    torch.manual_seed(0)
    network = build_network(tiny_name, classes=10)
    mean, std = band_statistics(small.pixels)
    answers = [predict(network, small.pixels, mean, std, batch=batch) for batch in (7, 40)]
    np.testing.assert_array_equal(answers[0], answers[1])


def test_weights_that_do_not_fit_name_keys_and_shapes() -> None:
    network = build_network("resnet18", classes=10)
    other = build_network("mobilenet_v2", classes=10)
    with pytest.raises(CheckpointError, match=r"does not fit ResNet18: it lacks \['bn1.bias'"):
        load_weights(network, other.state_dict(), what="The file")
    with pytest.raises(CheckpointError, match=r"fc\.weight has shape \(7, 512\), the network needs \(10, 512\)"):
        load_weights(network, build_network("resnet18", classes=7).state_dict(), what="The file")


def test_a_bare_state_dict_is_read_as_weights(tmp_path: Path) -> None:
    network = build_network("mobilenet_v2", classes=3)
    torch.save(network.state_dict(), tmp_path / "w.pt")
    load_weights(build_network("mobilenet_v2", classes=3), read_state_dict(tmp_path / "w.pt"), what="The file")
    with pytest.raises(CheckpointError, match="its schema is None"):
        load_checkpoint(tmp_path / "w.pt")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04broken"])
def test_a_damaged_checkpoint_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        load_checkpoint(tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "nothing.pt")


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (print, ("executed",))

    torch.save({"schema": 1, "x": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(tmp_path / "evil.pt")


def test_a_checkpoint_that_lacks_a_field_is_refused(tmp_path: Path) -> None:
    torch.save({"schema": 1, "network": "resnet18"}, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match="lacks"):
        load_checkpoint(tmp_path / "c.pt")


def test_a_checkpoint_survives_a_file(tmp_path: Path, tiny_name: str) -> None:
    network = build_network(tiny_name, classes=2)
    stored = Checkpoint(
        network=tiny_name,
        switches={"classes": 2},
        classes=("a", "b"),
        edge_px=32,
        mean=(0.5,) * 3,
        std=(0.2,) * 3,
        state_dict=network.state_dict(),
        notes={"epoch": 1},
    )
    save_checkpoint(tmp_path / "c.pt", stored)
    read = load_checkpoint(tmp_path / "c.pt")
    assert (read.classes, read.mean, read.notes) == (stored.classes, stored.mean, stored.notes)
    assert not read.build().training


def test_a_checkpoint_of_the_first_schema_is_still_read(tmp_path: Path, tiny_name: str) -> None:
    network = build_network(tiny_name, classes=2)
    old = {
        "schema": 1,
        "network": tiny_name,
        "classes": ["a", "b"],
        "stem_stride": 1,
        "edge_px": 32,
        "mean": [0.5] * 3,
        "std": [0.2] * 3,
        "state_dict": network.state_dict(),
        "notes": {"epoch": 1},
        "training": None,
    }
    torch.save(old, tmp_path / "c.pt")
    read = load_checkpoint(tmp_path / "c.pt")
    assert (read.switches, read.kind, read.dtype) == ({"classes": 2, "stem_stride": 1}, "probabilities", "uint8")
    assert not read.build().training


def test_a_setting_that_a_course_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FitError, match=r"has no setting colour\. Use some of batch, "):
        fit_network("resnet18", tmp_path, tmp_path / "out", colour="red")
