"""Frames that were filled before they came: nothing is said of pixels that a network made up, unless it is allowed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

SIZE = 64, 48


def put_filled_frame(craft: Any, *, marked: bool = True) -> None:
    """A frame of twelve tiles, with one made-up pixel in the first and a made-up tile at the end."""
    import rasterio

    pixels = np.random.default_rng(3).integers(0, 256, (4, *SIZE), dtype=np.uint8)
    pixels[3] = 0
    pixels[3, 5, 7] = 1
    pixels[3, 48:, 32:] = 1
    inbox = craft.folder / "inbox"
    inbox.mkdir(exist_ok=True)
    profile: dict[str, Any] = {"driver": "GTiff", "dtype": "uint8", "count": 4, "height": SIZE[0], "width": SIZE[1]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(inbox / ".filled.tif", "w", **profile) as target:
            target.write(pixels)
            target.descriptions = ("red", "green", "blue", "generated" if marked else "nir")
    (inbox / ".filled.tif").rename(inbox / "filled.tif")


def test_tiles_with_made_up_pixels_are_shed_and_the_others_answered(craft: Any) -> None:
    put_filled_frame(craft)
    craft.fly()
    counts = craft.daemon.status["counts"]
    assert (counts["done_tile"], counts["shed_tile"]) == (10, 2)
    assert craft.daemon.status["queue"]["products"] == 10


def test_the_mission_may_allow_it(make_craft: Callable[..., Any]) -> None:
    flag = "forbid_detection_on_generated = false"
    craft = make_craft(change=('cover = "land"', f'cover = "land"\n{flag}'))
    put_filled_frame(craft)
    craft.fly()
    assert craft.daemon.status["counts"]["done_tile"] == 12


def test_a_frame_that_marks_nothing_is_worked_on_as_a_whole(craft: Any) -> None:
    put_filled_frame(craft, marked=False)
    craft.fly()
    assert craft.daemon.status["counts"]["done_tile"] == 12
