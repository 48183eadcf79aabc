"""The rings of log and trace turn over, also where the process dies meanwhile, and a trace says what it lacks."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from runtime.cli import cli
from runtime.daemon.ring import JsonRing, encode, read_lines
from runtime.daemon.trace import fly_trace
from runtime.errors import StoreError

LIMIT_BYTE = 2000
WRITE = """
import sys
from pathlib import Path
from runtime.daemon.ring import JsonRing
ring = JsonRing(Path(sys.argv[1]), int(sys.argv[2]), lambda: {"kind": "mission"})
number = int(sys.argv[3])
while True:
    ring.append({"n": number})
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
    number += 1
"""


def fill(ring: JsonRing) -> None:
    for number in range(6, 20):
        ring.append({"n": number})


def held(path: Path) -> list[int]:
    """The numbers of both files, oldest first; each file must begin with its header."""
    numbers = []
    for file in (path.with_name(path.name + ".1"), path):
        entries = list(read_lines(file)) if file.exists() else []
        assert not entries or entries[0] == {"kind": "mission"}
        numbers += [entry["n"] for entry in entries if "n" in entry]
    return numbers


def test_r27_a_ring_keeps_the_newest_half_and_never_grows_beyond_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "ring.jsonl"
    ring = JsonRing(path, LIMIT_BYTE, lambda: {"kind": "mission"})
    for number in range(250):
        ring.append({"n": number})
        numbers = held(path)
        assert numbers == list(range(numbers[0], number + 1))
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= LIMIT_BYTE
        newest = [len(encode({"n": n})) for n in numbers]
        assert numbers[0] == 0 or sum(newest) >= LIMIT_BYTE // 2 - 2 * len(encode({"kind": "mission"})) - newest[0]
    ring.close()


def test_a_process_killed_at_any_time_loses_no_line_that_it_has_written(tmp_path: Path, repo: Path) -> None:
    """It turns over every few dozen lines, so that some of the kills fall into a turn."""
    path, rng, number = tmp_path / "ring.jsonl", random.Random(3), 0
    for _ in range(6):
        command = [sys.executable, "-c", WRITE, str(path), str(LIMIT_BYTE), str(number)]
        with subprocess.Popen(command, cwd=repo, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(rng.randrange(200, 1200)):
                process.stdout.readline()
            process.kill()
            said = [int(line) for line in process.stdout.read().splitlines() if line.strip().isdigit()]
        numbers = held(path)
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert not said or numbers[-1] >= said[-2 if len(said) > 1 else -1]
        number = numbers[-1] + 1


@pytest.mark.parametrize("torn", [b'{"n": 2', b'{"n": 2}', b"\0" * 300])
def test_a_line_that_a_power_cut_tore_does_not_spoil_those_after_it(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "ring.jsonl"
    path.write_bytes(encode({"kind": "mission"}) + encode({"n": 1}) + torn)
    ring = JsonRing(path, LIMIT_BYTE, lambda: {"kind": "mission"})
    ring.append({"n": 3})
    ring.close()
    assert [entry.get("n") for entry in read_lines(path)] == [None, 1, None, 3]


def test_a_cut_between_the_two_steps_of_a_turn_leaves_the_older_file_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "ring.jsonl"
    path.with_name("ring.jsonl.1").write_bytes(encode({"kind": "mission"}) + encode({"n": 1}))
    ring = JsonRing(path, LIMIT_BYTE, lambda: {"kind": "mission"})
    ring.append({"n": 2})
    ring.close()
    assert held(path) == [1, 2]


def test_r03_a_ring_whose_turn_the_disk_refuses_goes_on_once_it_can(tmp_path: Path) -> None:
    path = tmp_path / "ring.jsonl"
    ring = JsonRing(path, 200, lambda: {"kind": "mission"})
    for number in range(6):
        ring.append({"n": number, "text": "x" * 4})
    older = path.with_name("ring.jsonl.1")
    older.unlink(missing_ok=True)
    older.mkdir()  # nothing can be renamed to this
    (older / "in-the-way").touch()
    with pytest.raises(StoreError, match="older lines are kept"):
        fill(ring)
    shutil.rmtree(older)
    ring.append({"n": 20})
    ring.close()
    assert held(path)[-1] == 20


def test_a_trace_says_which_slots_it_lacks_and_flies_the_rest_alike(make_craft: Callable[..., Any]) -> None:
    craft = make_craft("[reports]\ntrace_byte = 65536\n")
    state = craft.folder / "state"
    craft.fly(20)
    line_byte = (state / "trace.jsonl").stat().st_size // 20
    craft.fly(65536 // line_byte)  # two turns
    newer, older = fly_trace(state / "trace.jsonl"), fly_trace(state / "trace.jsonl.1")
    assert newer.complete
    assert older.complete
    first = next(entry["readings"]["slot"] for entry in read_lines(state / "trace.jsonl") if entry["kind"] == "slot")
    assert newer.missing == (f"slots 0 to {first - 1} are not in trace.jsonl: fly trace.jsonl.1, too",)
    assert older.missing[0].endswith("are not in trace.jsonl.1: the ring has turned over them")
    assert newer.missing[0] in CliRunner().invoke(cli, ["replay", "--from-trace", str(state / "trace.jsonl")]).output
    kept = [json.dumps(entry) for entry in read_lines(state / "trace.jsonl")]
    (state / "gap.jsonl").write_text("\n".join([*kept[:3], *kept[4:6], *kept[8:], ""]))
    gap = fly_trace(state / "gap.jsonl")
    assert gap.missing[1:] == (
        f"slot {first + 2} is missing: flown, but lost before the trace was written",
        f"slots {first + 5} to {first + 6} are missing: flown, but lost before the trace was written",
    )
