"""The replay page in a real browser: what a person does, and what appears. Needs Chromium; touches no network."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from runtime.report import ReplayReport, render_report


def load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def flight() -> ReplayReport:
    made: ReplayReport = load(Path(__file__).with_name("test_report.py"), "report_flight").fly()
    return made


@pytest.fixture(scope="module")
def page(flight: ReplayReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_report(flight), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser(repo: Path) -> Iterator[Any]:
    driver = load(repo / "benchmarks" / "browser.py", "subsolar_browser")
    program = driver.chromium()
    if program is None:
        pytest.skip("needs a headless browser: install chromium")
    with driver.Browser(program) as opened:
        yield opened


@pytest.fixture
def view(browser: Any, page: Path) -> Iterator[Any]:
    browser.size(1280, 900)
    browser.open("about:blank")
    browser.complaints.clear()
    browser.requests.clear()
    browser.open(page)
    browser.wait("document.documentElement.classList.contains('live')")
    browser.js("location.hash = 'slot=0'")
    browser.wait("document.querySelector('#inspector [data-field=slot]').textContent === 'Slot 0'")
    yield browser
    assert browser.complaints == []
    assert [url for url in browser.requests if not url.startswith(("data:", "file:", "about:"))] == []
    assert sum(url.startswith("file:") for url in browser.requests) == 1


def field(view: Any, name: str) -> str:
    return str(view.js(f"document.querySelector('#inspector [data-field={name}]').textContent"))


def ink(view: Any, query: str) -> int:
    """Return how many different colours a canvas shows."""
    return int(
        view.js(
            f"(() => {{ const c = document.querySelector({json.dumps(query)});"
            "const p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; const s = new Set();"
            "for (let i = 0; i < p.length; i += 16) s.add(p[i] << 16 | p[i + 1] << 8 | p[i + 2]); return s.size; })()"
        )
    )


def set_slider(view: Any, index: int) -> None:
    view.js(f"(() => {{ slider.value = {index}; slider.dispatchEvent(new Event('input')); return 1; }})()")


def test_it_opens_on_a_drawn_globe_charts_and_chips(view: Any, flight: ReplayReport) -> None:
    assert field(view, "slot") == "Slot 0"
    assert ink(view, "#globe") > 20
    assert view.js("document.querySelectorAll('.chart canvas').length") == 6
    assert ink(view, "[data-chart=battery] canvas") > 3
    assert view.js("document.querySelectorAll('#reel li').length") == 32
    view.wait("document.querySelector('#reel canvas').getContext('2d').getImageData(32, 32, 1, 1).data[3] === 255")


@pytest.mark.parametrize(
    ("idle", "rewards", "opens"),
    [
        ((), {9: 2.0, 30: 5.0, 40: 5.0}, 30),
        (range(5), {}, 5),
        ((30,), {9: 2.0, 30: 5.0}, 9),
        (range(72), {}, 0),
    ],
)
def test_it_opens_on_the_slot_whose_answers_are_worth_most(
    browser: Any, flight: ReplayReport, tmp_path: Path, idle: Collection[int], rewards: dict[int, float], opens: int
) -> None:
    slots = [
        replace(slot, model="idle" if slot.slot in idle else "resnet18", reward=rewards.get(slot.slot, -1.0))
        for slot in flight.slots
    ]
    path = tmp_path / "late.html"
    path.write_text(render_report(replace(flight, slots=slots)), encoding="utf-8")
    browser.open(path)
    browser.wait("document.documentElement.classList.contains('live')")
    assert field(browser, "slot") == f"Slot {opens}"
    browser.js("location.hash = 'slot=3'")
    browser.wait("document.querySelector('#inspector [data-field=slot]').textContent === 'Slot 3'")


def test_a_slot_of_no_known_cover_is_told_by_its_place_alone(
    browser: Any, flight: ReplayReport, tmp_path: Path
) -> None:
    for live in (False, True):
        path = tmp_path / "bare.html"
        slots = [replace(slot, cover="", latitude_deg=51.5, longitude_deg=-102.7) for slot in flight.slots]
        path.write_text(render_report(replace(flight, slots=slots), live=live), encoding="utf-8")
        browser.open("about:blank")
        browser.open(path)
        browser.wait("document.documentElement.classList.contains('live')")
        assert field(browser, "below") == "51.5° N 102.7° W"


def test_the_slider_moves_slot_globe_gauges_and_chips(view: Any, flight: ReplayReport) -> None:
    before = view.js("globe.toDataURL()")
    set_slider(view, 40)
    slot = flight.slots[40]
    assert field(view, "slot") == "Slot 40"
    assert field(view, "model") == slot.model
    assert field(view, "reason") == slot.reason
    assert field(view, "otherwise") == f"Otherwise: {slot.counterfactual}"
    assert view.js("globe.toDataURL()") != before
    width = float(view.js("document.getElementById('gauge-battery').style.width").rstrip("%"))
    assert width == pytest.approx(100 * slot.charge_frac, abs=0.1)
    assert f"{slot.sampled_tile} answers" in view.js("document.getElementById('reel-count').textContent")


def test_a_click_in_a_chart_goes_to_that_slot(view: Any) -> None:
    view.click("[data-chart=battery] .u-over", across=0.505)
    assert field(view, "slot") == f"Slot {int(0.505 * 71)}"


def test_a_drag_in_a_chart_zooms_all_and_the_button_goes_back(view: Any) -> None:
    assert view.js("whole.hidden") is True
    view.drag("[data-chart=joules] .u-over", 0.3, 0.5)
    assert view.js("whole.hidden") is False
    view.click("#whole")
    assert view.js("whole.hidden") is True


def test_keys_step_jump_and_find_the_next_pass(view: Any, flight: ReplayReport) -> None:
    view.key("ArrowRight")
    view.key("ArrowRight")
    assert field(view, "slot") == "Slot 2"
    view.key("ArrowLeft")
    assert field(view, "slot") == "Slot 1"
    view.key("End")
    assert field(view, "slot") == f"Slot {len(flight.slots) - 1}"
    view.key("Home")
    view.key("n")
    assert view.js("document.querySelector('#passes li.now').dataset.pass") == "0"
    assert view.js("contact.textContent").startswith(f"In contact with {flight.passes[0].station}")


def test_a_pass_shows_what_went_down_and_what_stayed(view: Any, flight: ReplayReport) -> None:
    view.click("#passes li[data-pass='1'] button")
    number = int(field(view, "slot").split()[1])
    down = sum(one.sent_in_slot == number for one in flight.products)
    stayed = sum(
        one.slot <= number and (one.sent_in_slot is None or one.sent_in_slot > number) for one in flight.products
    )
    assert down > 0
    assert f"{down} products" in view.js("document.getElementById('down-count').textContent")
    assert f"{stayed} products" in view.js("document.getElementById('left-count').textContent")


def test_it_plays_by_itself_and_stops_when_told(view: Any) -> None:
    view.js("(() => { speed.value = '30'; play.click(); return 1; })()")
    view.wait("document.querySelector('#inspector [data-field=slot]').textContent !== 'Slot 0'")
    view.js("play.click()")
    assert view.js("play.getAttribute('aria-label')") == "Play"


def test_the_map_takes_the_globes_place(view: Any) -> None:
    view.key("m")
    assert view.js("stage.classList.contains('flat')") is True
    assert view.js("globe.getBoundingClientRect().width > 700") is True


def test_a_tile_of_a_scene_tells_its_answer_and_its_slot(view: Any) -> None:
    view.click(".answers .tile:nth-of-type(40)")
    assert "score" in view.js("picked.textContent")


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False), (390, True)])
def test_it_fits_laptop_and_phone_in_light_and_dark(
    view: Any, width: int, dark: bool, tmp_path: Path, flight: ReplayReport
) -> None:
    view.size(width, 900, dark=dark)
    set_slider(view, 30)
    assert view.js("document.documentElement.scrollWidth") <= width
    assert ink(view, "#globe") > 20
    view.picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 20_000
    slider = view.js("(() => { const b = slider.getBoundingClientRect(); return [b.top, b.bottom]; })()")
    assert 0 <= slider[0] < slider[1] <= 900, "the slider is in view without scrolling"


def test_on_paper_the_drawings_without_script_stand(view: Any) -> None:
    view.call("Emulation.setEmulatedMedia", media="print")
    shown = "getComputedStyle(document.querySelector({})).display"
    assert view.js(shown.format("'svg.plot.still'")) != "none"
    assert view.js(shown.format("'.chart'")) == "none"
    view.call("Emulation.setEmulatedMedia", media="screen")


def test_without_scripts_the_page_still_tells_the_flight(browser: Any, page: Path) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.call("Page.navigate", url=page.as_uri())
        browser.wait("document.readyState === 'complete' && location.protocol === 'file:'")
        assert browser.js("document.documentElement.classList.contains('live')") is False
        shown = "document.querySelector({}).getBoundingClientRect().height"
        assert browser.js(shown.format("'svg.plot.still'")) > 100
        assert browser.js(shown.format("'#replay'")) == 0
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_hostile_words_stay_words_wherever_the_script_puts_them(
    browser: Any, flight: ReplayReport, tmp_path: Path
) -> None:
    evil = "</script><img src=x onerror=\"document.title='owned'\">"
    slots = [replace(slot, reason=evil, counterfactual=evil, overruled=evil, cover=evil) for slot in flight.slots]
    products = [replace(one, label=evil, truth=evil + "!") for one in flight.products[:64]]
    passes = [replace(one, station=evil) for one in flight.passes]
    path = tmp_path / "hostile.html"
    path.write_text(
        render_report(replace(flight, slots=slots, products=products, passes=passes, stations=())), encoding="utf-8"
    )
    browser.open("about:blank")
    browser.complaints.clear()
    browser.open(path)
    browser.wait("document.documentElement.classList.contains('live')")
    browser.key("n")
    assert evil in browser.js("document.getElementById('inspector').textContent")
    assert browser.js("document.querySelectorAll('img[src=x], [onerror]').length") == 0
    assert browser.js("document.title") == flight.title
    assert browser.complaints == []
