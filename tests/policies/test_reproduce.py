"""The reproduction of LEO-IISat in its shortest form."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

pytest.importorskip("stable_baselines3", reason="needs the extra 'train'")
pytest.importorskip("matplotlib", reason="needs the extra 'train'")

from policies.curves import CurvePoint
from policies.registry import make_policy
from policies.reproduce import QUICK, Reproduction, reproduce
from policies.reproduce.figures import curve_variance
from policies.reproduce.flights import fly_bound, fly_orbit, totals
from policies.reproduce.page import Grid, Heading, Text, write_page
from policies.reproduce.report import acceptance
from power_sim import load_scenario


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Reproduction:
    return reproduce(tmp_path_factory.mktemp("leo-iisat"), QUICK)


def test_every_figure_and_table_is_written(made: Reproduction) -> None:
    folder = made.markdown.parent
    for number in range(8, 14):
        assert (folder / f"figure-{number:02d}.png").read_bytes().startswith(b"\x89PNG")
        assert (folder / f"figure-{number:02d}.csv").stat().st_size > 30
    for number in (3, 5, 6):
        assert (folder / f"table-{number:02d}.csv").stat().st_size > 30
    rows = list(csv.DictReader((folder / "comparison.csv").read_text(encoding="utf-8").splitlines()))
    assert {"quantity", "published", "paper", "paper-hidden"} == rows[0].keys()


def test_the_decisions_open_the_report_and_the_page_needs_nothing_else(made: Reproduction) -> None:
    text, page = made.markdown.read_text(encoding="utf-8"), made.page.read_text(encoding="utf-8")
    assert text.index("DECISION") < text.index("## Acceptance")
    for both in ("slot 15", "in slot 11", "86 to 297 W", "cannot exceed 1.30", "4.74 per slot", "sigma = 0.183"):
        assert both in text, both
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("data:image/png;base64,") == 6


def test_what_no_training_decides_passes_and_the_rest_is_not_judged(made: Reproduction) -> None:
    assert [check.passed for check in made.checks] == [True] * 4 + [None] * 3 + [True]
    judged = acceptance(load_scenario("paper"), made.rows["paper"], "fixed:MobileNetV2", True, True)
    assert {check.verdict for check in judged} <= {"pass", "FAIL"}


def test_no_policy_exceeds_the_bound_in_either_preset(made: Reproduction) -> None:
    for rows in made.rows.values():
        assert all(row.of_bound <= 1.0 + 1e-12 for row in rows.values())
        assert rows["bound"].of_bound == 1.0


def test_a_second_run_goes_on_with_the_trainings_and_writes_the_same_tables(made: Reproduction) -> None:
    folder = made.markdown.parent
    before = {path.name: path.read_bytes() for path in folder.glob("*.csv") if path.name != "figure-13.csv"}
    reproduce(folder, QUICK)
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_the_bounds_orbit_is_that_of_greedy_where_the_draws_are_seen() -> None:
    scenario = load_scenario("paper")
    orbit = fly_orbit(scenario, 4, make_policy("greedy", scenario, seed=0))
    assert orbit == fly_bound(load_scenario("paper-hidden"), 4)
    assert totals((orbit,))[0] == pytest.approx(sum(line.index for line in orbit))


def test_the_variance_of_a_straight_curve_is_nothing() -> None:
    straight = [CurvePoint(30 * n, n, 30.0 * n, 0.0) for n in range(1, 41)]
    assert curve_variance(straight, 30) == pytest.approx(0.0, abs=1e-20)
    jagged = [CurvePoint(30 * n, n, 30.0 * (n % 2), 0.0) for n in range(1, 41)]
    assert curve_variance(jagged, 30) == pytest.approx(1.0)
    assert curve_variance([], 30) == 0.0


def test_what_stands_in_a_table_is_not_taken_for_markup(tmp_path: Path) -> None:
    blocks = (Heading("A <b>", 1), Text("a & b"), Grid(("x",), (("1 | <2>",),)))
    markdown, page = write_page(tmp_path, "p", blocks)
    assert "| 1 / <2> |" in markdown.read_text(encoding="utf-8")
    assert "<td>1 | &lt;2&gt;</td>" in page.read_text(encoding="utf-8")
