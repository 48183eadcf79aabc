"""Sources: folders, lists, an inbox that fills and a camera behind a command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runtime.errors import FrameError
from runtime.frames import CommandCamera, Inbox, LineFrame, StreamHeader, expand, open_any
from runtime.frames.lines import write_stream
from runtime.georeference import Box

WriteTiff = Callable[..., Path]


def test_files_folders_and_lists_become_files_in_order(tmp_path: Path) -> None:
    for name in ("b.tif", "a.PNG", "notes.txt", "c.lines"):
        (tmp_path / name).touch()
    (tmp_path / "scenes.list").write_text("b.tif\n\n# not this one\n/far/away.tif\n")
    folder = [tmp_path / name for name in ("a.PNG", "b.tif", "c.lines")]
    assert expand([tmp_path]) == folder
    assert expand([tmp_path / "missing.tif"]) == [tmp_path / "missing.tif"]
    assert expand([Path(f"@{tmp_path / 'scenes.list'}")]) == [tmp_path / "b.tif", Path("/far/away.tif")]


def test_an_empty_folder_and_a_list_that_is_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match="no scenes"):
        expand([tmp_path])
    with pytest.raises(FrameError, match="cannot be read"):
        expand([Path(f"@{tmp_path / 'none.list'}")])


def test_images_and_line_streams_open_by_what_they_are(write_tiff: WriteTiff, tmp_path: Path) -> None:
    pixels = np.full((3, 8, 8), 7, dtype=np.uint8)
    header = StreamHeader("pass", 8, ("red", "green", "blue"), "uint8")
    (tmp_path / "stream.tif").write_bytes(write_stream(header, [(n, pixels[:, n]) for n in range(8)]))
    with open_any(write_tiff("scene.tif", pixels)) as frame:
        assert frame.height_px == 8
    with open_any(tmp_path / "stream.tif") as frame:
        assert isinstance(frame, LineFrame)
        assert frame.wait_for(100) == 8
        assert (frame.window(Box(0, 0, 8, 8), (0, 1, 2)).pixels == 7).all()
    with pytest.raises(FrameError, match="no image"):
        open_any(tmp_path / "none.tif")
    (tmp_path / "cut.lines").write_bytes(header.to_bytes()[:30])
    with pytest.raises(FrameError, match=r"cut\.lines"):
        open_any(tmp_path / "cut.lines")


def test_an_inbox_hands_a_file_out_once_it_stops_growing_and_its_content_never_again(tmp_path: Path) -> None:
    inbox, scene = Inbox(tmp_path), tmp_path / "scene.tif"
    scene.write_bytes(b"half")
    (tmp_path / ".scene.part").write_bytes(b"x")
    (tmp_path / "readme.txt").write_bytes(b"x")
    assert inbox.take() == []
    scene.write_bytes(b"half and whole")
    assert inbox.take() == []
    assert inbox.take() == [scene]
    assert inbox.take() == []
    (tmp_path / "again.tif").write_bytes(b"half and whole")
    (tmp_path / "new.tif").write_bytes(b"another")
    assert inbox.take() == []
    assert inbox.take() == [tmp_path / "new.tif"]
    assert inbox.duplicate == 1
    with pytest.raises(FrameError, match="inbox"):
        Inbox(tmp_path / "none").take()


def test_a_camera_takes_one_picture_a_call(tmp_path: Path) -> None:
    script = "import sys; open(sys.argv[1], 'wb').write(b'picture')"
    camera = CommandCamera(f'{sys.executable} -c "{script}" {{out}}', tmp_path)
    assert [path.name for path in [*camera.take(), *camera.take()]] == ["shot-000000.jpg", "shot-000001.jpg"]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (f"{sys.executable} -c 'import sys; sys.exit(\"no light\")'", "no light"),
        (f"{sys.executable} -c pass", "wrote no"),
        (f"{sys.executable} -c 'import time; time.sleep(60)'", "no picture in 0.5 s"),
        ("no-such-camera {out}", "cannot run"),
    ],
)
def test_a_camera_that_fails_says_how(tmp_path: Path, command: str, told: str) -> None:
    with pytest.raises(FrameError, match=told):
        CommandCamera(command, tmp_path, timeout_s=0.5 if "sleep" in command else 30).take()
