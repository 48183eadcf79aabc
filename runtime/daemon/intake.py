"""Frames on their way in: from the inbox into the queue, tile by tile to the slot loop, and out when all have ended."""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from exporters.file_hash import sha256_of
from power_sim.cover import cover_code, cover_map
from power_sim.scenario import Scenario
from power_sim.slot import SlotState

from ..answers import View
from ..errors import FrameError, StoreError
from ..frames import GENERATED, RasterFrame, Stack, choose_bands
from ..georeference import Box, footprints
from ..georeference.rings import Float64Array
from ..onboard import picture_of
from ..pipeline.looking import MADE_UP
from ..records import Tile, TileOutcome, TileRef, UInt8Array
from ..tasks.declouded import generated_apart
from ..tiles import Filter, Window, cut, skip_empty, tile_grid
from .beside import Company, read_sight
from .ledger import Ledger, Waiting
from .references import References, plain_bands
from .sections import SourceSection

log = logging.getLogger(__name__)

UNFINISHED = (".part", ".tmp")
OPEN_MAX = 4
"""Files held open at once."""
COLLECT_MAX = 64
"""Frames taken on per slot, so that a burst cannot hold up the loop."""


@dataclass(kw_only=True)
class Intake:
    """The tile source of a flight. ``collect`` at the start of a slot, ``close_slot`` before it is committed."""

    section: SourceSection
    inbox: Path
    kept: Path
    """Folder of the frames that wait, named by content."""
    ledger: Ledger
    covers: Sequence[str]
    """Most valuable first."""
    values: Mapping[str, float]
    """What a right answer is worth, by cover."""
    waits: Mapping[str, bool]
    """Whether a cover's tiles may wait for a later slot."""
    edge_px: int
    queue_max_tile: int
    whole: bool = False
    """One tile a frame, the square in its middle, instead of tiles of ``edge_px``."""
    tile_dtype: str = "uint8"
    """In which frames are opened where nobody asks for tiles: ``float32`` if all networks take physical values."""
    references: References | None = None
    """What is laid under new tiles, for networks that compare two dates."""
    counts: Counter[str] = field(default_factory=Counter)
    last_event: str = ""
    condemned: dict[str, str] = field(default_factory=dict)
    """Frames (by id) that must not be touched again, and why: their tiles fail."""
    _keep: Filter = field(default_factory=skip_empty)
    _new: set[str] = field(default_factory=set)
    _reached: Counter[str] = field(default_factory=Counter)
    _shed: list[TileOutcome] = field(default_factory=list)
    _open: OrderedDict[tuple[str, str], RasterFrame | Stack] = field(default_factory=OrderedDict)
    _frames: dict[str, Waiting] = field(default_factory=dict)
    _now_s: float = 0.0

    def start(self, last_slot: int) -> None:
        """Bring queue and files together after whatever ended the last run."""
        try:
            self.inbox.mkdir(parents=True, exist_ok=True)
            self.kept.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{error.filename} cannot be made: {error.strerror}. Check the folder's owner.") from error
        self.ledger.recover(last_slot)
        self._recut()
        listed = {frame.file for frame in self.ledger.waiting()}
        for path in sorted(self.kept.iterdir()):
            if path.name not in listed and self._company.is_frame(path.name):
                self._take_on(path)

    def collect(self, slot: int) -> tuple[dict[str, int], dict[str, int]]:
        """Apply what slots before ``slot`` did and take on what is new; tiles by cover: arrived, waiting before."""
        for file in self.ledger.apply(slot - 1):
            self._drop(file)
        before = {frame.sha256 for frame in self.ledger.waiting()}
        for path in self._arrivals():
            self._take_on(path)
        self._reached, self._shed = Counter(), []
        self._frames = {frame.frame_id: frame for frame in self.ledger.waiting()}
        self._new = {frame.sha256 for frame in self._frames.values()} - before
        arrived, queued = dict.fromkeys(self.covers, 0), dict.fromkeys(self.covers, 0)
        for frame in self._frames.values():
            tally = arrived if frame.sha256 in self._new else queued
            tally[frame.cover] = tally.get(frame.cover, 0) + frame.left_tile
        return arrived, queued

    def draw(self, state: SlotState, count: int, edge_px: int) -> Sequence[TileRef]:
        """Return up to ``count`` windows: frames of the most valuable cover first, then the oldest, from the top on."""
        refs: list[TileRef] = []
        self._now_s = state.start_unix_s
        for frame in self._by_worth():
            if frame.frame_id in self.condemned:
                continue
            grid = self._grid(frame)
            last = min(frame.tile, frame.ended_tile + count - len(refs))
            refs += [grid[index].ref for index in range(frame.ended_tile, last)]
            if len(refs) >= count:
                break
        return refs

    def worth(self, refs: Sequence[TileRef], state: SlotState) -> Float64Array:
        """Return what a right answer about each window is worth: what the mission says of its frame's cover."""
        return np.array([self.values.get(self._frames[ref.frame_id].cover, 0.0) for ref in refs], dtype=np.float64)

    def read(
        self, refs: Sequence[TileRef], bands: Sequence[str], tile_dtype: str
    ) -> tuple[list[Tile], list[TileOutcome]]:
        """Return the tiles that could be read, and a failed outcome for each that could not."""
        self._reached.update(self._frames[ref.frame_id].sha256 for ref in refs)
        tiles: list[Tile] = []
        measured, made_up = self._generated_apart(refs, bands)
        ended = [TileOutcome(ref, "shed", MADE_UP) for ref in made_up]
        for run in _runs(measured):
            try:
                frame = self._frame(run[0].frame_id, tile_dtype)
                plain = plain_bands(bands)
                positions = choose_bands(frame.bands, plain, frame.frame_id)
            except FrameError as error:
                ended += [TileOutcome(ref, "failed", str(error)) for ref in run]
                continue
            for batch in cut(frame, run, positions, batch=len(run), keep=self._keep):
                new = [Tile(ref, pixels) for ref, pixels in zip(batch.refs, batch.pixels, strict=True)]
                ended += batch.left_out
                if len(plain) < len(bands):
                    new, alone = self._compared(new, plain, bands, frame)
                    ended += alone
                tiles += new
        return tiles, ended

    def _generated_apart(
        self, refs: Sequence[TileRef], bands: Sequence[str]
    ) -> tuple[Sequence[TileRef], Sequence[TileRef]]:
        """Tiles to work on, and those with made-up pixels; a network that asks for their mask is given all."""
        if not self.section.forbid_detection_on_generated or GENERATED in bands:
            return refs, ()
        return generated_apart(refs, lambda ref: self._frame(ref.frame_id, "float32"))

    def _compared(
        self, tiles: Sequence[Tile], plain: Sequence[str], bands: Sequence[str], frame: RasterFrame | Stack
    ) -> tuple[list[Tile], list[TileOutcome]]:
        """Return the tiles with their references under them, and those that cannot be compared as shed."""
        if self.references is None:
            return [], [TileOutcome(tile.ref, "failed", "the mission has no references.folder") for tile in tiles]
        laid: list[Tile] = []
        ended: list[TileOutcome] = []
        for tile in tiles:
            try:
                laid.append(self.references.under(tile, plain, bands, frame, self._now_s))
            except FrameError as error:  # noqa: PERF203  each tile on its own
                ended.append(TileOutcome(tile.ref, "shed", str(error)))
        return laid, ended

    def view(self, frame_id: str) -> View:
        """Return size and place of a frame that waits."""
        frame = self._frame(frame_id)
        return View(frame.width_px, frame.height_px, frame.georeference)

    def sight(self, frame_id: str) -> dict[str, float]:
        """Return what came with a frame about how it was taken. Raises ``FrameError``."""
        return read_sight(self.kept / self._frames[frame_id].file, frame_id)

    def look(self, ref: TileRef) -> UInt8Array | None:
        """Return a window's pixels for a picture without working on it, ``None`` where they cannot be read."""
        try:
            return picture_of(self._frame(ref.frame_id), ref)
        except FrameError:
            return None

    def close_slot(self, slot: int) -> None:
        """Claim durably what ends in this slot: the tiles that were reached, and those that cannot wait."""
        ended = self._reached.copy()
        self._shed = []
        room, kept = self.queue_max_tile, 0
        for frame in self._by_keeping():
            left = frame.left_tile - ended[frame.sha256]
            if reason := self.condemned.pop(frame.frame_id, ""):
                self._shed += self._windows(frame, frame.ended_tile, left, reason, "failed")
                ended[frame.sha256] += left
                continue
            reason = self._why_not_wait(frame, kept)
            may_wait = 0 if reason else min(left, room)
            room, kept = room - may_wait, kept + (may_wait > 0)
            if may_wait < left:
                first, reason = frame.ended_tile + ended[frame.sha256], reason or "the queue is full"
                self._shed += self._windows(frame, first, left - may_wait, reason)
                ended[frame.sha256] += left - may_wait
        self.ledger.claim(slot, [(sha256, tile) for sha256, tile in ended.items() if tile])

    def shed(self) -> Sequence[TileOutcome]:
        """Return the tiles that end in this slot without having been worked on."""
        return self._shed

    def close(self) -> None:
        """Release all files."""
        for frame in self._open.values():
            frame.close()
        self._open.clear()
        self.ledger.close()

    @property
    def _company(self) -> Company:
        return Company(self.section.beside)

    def _grid(self, frame: Waiting) -> Sequence[Window]:
        return self._windows_of(frame.width_px, frame.height_px, frame.overlap_px, frame.frame_id)

    def _windows_of(self, width_px: int, height_px: int, overlap_px: int, frame_id: str = "") -> Sequence[Window]:
        if not self.whole:
            overlap_px = min(overlap_px, self.edge_px - 1)
            return tile_grid(width_px, height_px, self.edge_px, overlap_px, frame_id=frame_id)
        side = min(width_px, height_px)
        top, left = (height_px - side) // 2, (width_px - side) // 2
        return [Window(TileRef(frame_id, top, left, side), Box(top, left, side, side))]

    def _recut(self) -> None:
        """Begin those waiting frames anew that the mission's networks cut otherwise than those of the last run."""
        for frame in self.ledger.waiting():
            tile = len(self._grid(frame))
            if tile != frame.tile:
                log.warning("frame %s begins anew: it is now cut into %d tiles", frame.frame_id, tile)
                self.ledger.recut(frame.sha256, tile)

    def _windows(self, frame: Waiting, first: int, count: int, reason: str, outcome: str = "shed") -> list[TileOutcome]:
        grid = self._grid(frame)
        return [TileOutcome(grid[index].ref, outcome, reason) for index in range(first, first + count)]

    def _by_worth(self) -> list[Waiting]:
        """Waiting frames, those first that are worked on first and shed last."""
        order = {cover: rank for rank, cover in enumerate(self.covers)}
        return sorted(self._frames.values(), key=lambda frame: (order.get(frame.cover, len(order)), frame.arrived))

    def _by_keeping(self) -> list[Waiting]:
        """Waiting frames, those last that are given up first: of least value, and of these the oldest."""
        return sorted(self._frames.values(), key=lambda frame: (-self.values.get(frame.cover, 0.0), -frame.arrived))

    def _why_not_wait(self, frame: Waiting, kept: int) -> str:
        if not self.waits.get(frame.cover, False):
            return f"{frame.cover} does not wait"
        if not self.values.get(frame.cover, 0.0) > 0.0:
            return f"{frame.cover} is worth nothing"
        return f"{kept} frames of more value wait" if kept >= self.section.frames_max else ""

    def _arrivals(self) -> list[Path]:
        """Whole files in the inbox, by name; ``StoreError`` where it cannot be read."""
        company = self._company
        try:
            with os.scandir(self.inbox) as entries:
                names = [
                    entry.name
                    for entry in entries
                    if not entry.name.startswith(".")
                    and not entry.name.endswith(UNFINISHED)
                    and not entry.name.endswith(".json")
                    and company.is_frame(entry.name)
                    and entry.is_file(follow_symlinks=False)
                ]
        except OSError as error:
            raise StoreError(f"{self.inbox} cannot be read: {error.strerror}. Check the folder.") from error
        return [self.inbox / name for name in sorted(names)[:COLLECT_MAX]]

    def _take_on(self, path: Path) -> None:
        """Move one file into the queue; what is a duplicate or no image is removed, counted and logged."""
        try:
            sha256 = sha256_of(path)
            if self.ledger.knows(sha256):
                self._refuse(path, "duplicate_frame", f"{path.name} came before")
                return
            file = f"{sha256[:32]}{path.suffix.lower()}"
            kept = self.kept / file
            have = {**dict(self._company.of(kept)), **dict(self._company.of(path))}
            if why := self._company.missing(have, path.name):
                self._refuse(path, "refused_frame", f"{path.name}: {why}")  # may come again, with what it needs
                return
            if path != kept:
                for role, beside in have.items():
                    self._move(beside, kept.with_name(f"{kept.stem}.{role}{beside.suffix.lower()}"))
                self._move(path, kept)
            self._register(kept, sha256, path.stem)
        except OSError as error:
            raise StoreError(f"{path} cannot be taken on: {error}. Check the folders' owner and room.") from error

    def _register(self, kept: Path, sha256: str, stem: str) -> None:
        name = "".join(c if c.isalnum() or c in "-_." else "_" for c in stem)[:40]
        frame_id = f"{name}-{sha256[:8]}"
        try:
            with self._opened(kept, frame_id, self.tile_dtype) as frame:
                pixels = frame.width_px * frame.height_px
                if pixels > self.section.pixels_max:
                    raise FrameError(f"{frame_id} has {pixels} pixels, more than source.pixels_max allows. Split it.")
                overlap_px = self.section.overlap_px
                tile = len(self._windows_of(frame.width_px, frame.height_px, overlap_px))
                cover, captured = self._cover(frame), frame.captured_unix_s
                size = frame.width_px, frame.height_px
        except FrameError as error:
            self.ledger.refuse(sha256, str(error))
            self._refuse(kept, "refused_frame", f"{frame_id}: {error}")  # the kept file has lost its name
            return
        self.ledger.add(Waiting(sha256, frame_id, kept.name, cover, captured, *size, tile, 0, 0, overlap_px))
        self.counts["arrived_frame"] += 1
        self.counts["arrived_tile"] += tile
        log.info("frame %s taken on: %d tiles of %s", frame_id, tile, cover)

    def _opened(self, path: Path, frame_id: str, tile_dtype: str) -> RasterFrame | Stack:
        section = self.section
        low, high = section.range_low, section.range_high
        value_range = None if low is None or high is None else (low, high)
        given = {"band_names": section.bands, "value_range": value_range}
        return self._company.open(path, frame_id=frame_id, tile_dtype=tile_dtype, **given)

    def _cover(self, frame: RasterFrame | Stack) -> str:
        """Return the cover at the frame's middle by the built-in map, or the mission's word where it has no place."""
        if frame.georeference is not None:
            middle = Box(frame.height_px // 2, frame.width_px // 2, 1, 1)
            with suppress(FrameError, ValueError):
                place = footprints(frame.georeference, [middle])[0]
                if place is not None:
                    lon, lat = np.radians(place.ring_deg[0])
                    name = cover_map()[1][int(cover_code(lat, lon))]
                    if name in self.covers:
                        return name
                    if name != "sea" and "land" in self.covers:
                        return "land"
        return self.section.cover or self.covers[0]

    def _frame(self, frame_id: str, tile_dtype: str = "") -> RasterFrame | Stack:
        key = frame_id, tile_dtype or self.tile_dtype
        if key in self._open:
            self._open.move_to_end(key)
            return self._open[key]
        while len(self._open) >= OPEN_MAX:
            self._open.popitem(last=False)[1].close()
        frame = self._opened(self.kept / self._frames[frame_id].file, *key)
        self._open[key] = frame
        return frame

    def _drop(self, file: str) -> None:
        gone = {name for name, frame in self._frames.items() if frame.file == file}
        for key in [key for key in self._open if key[0] in gone]:
            self._open.pop(key).close()
        for _, beside in list(self._company.of(self.kept / file)):
            beside.unlink(missing_ok=True)
        (self.kept / file).unlink(missing_ok=True)
        self.counts["ended_frame"] += 1

    def _refuse(self, path: Path, count: str, why: str) -> None:
        self.counts[count] += 1
        self.last_event = why
        log.warning("%s: %s", count, why)
        for _, beside in list(self._company.of(path)):
            beside.unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def _move(self, path: Path, kept: Path) -> None:
        try:
            os.replace(path, kept)
        except OSError:  # another file system: copy, then let the name appear at once
            partial = kept.with_name(f".{kept.name}.part")
            shutil.copyfile(path, partial)
            os.replace(partial, kept)
            path.unlink()


def _runs(refs: Sequence[TileRef]) -> list[list[TileRef]]:
    runs: list[list[TileRef]] = []
    for ref in refs:
        if runs and runs[-1][0].frame_id == ref.frame_id:
            runs[-1].append(ref)
        else:
            runs.append([ref])
    return runs


def covers_of(scenario: Scenario) -> tuple[str, ...]:
    """Return the covers, most valuable first, as the timeline orders them."""
    covers = scenario.workload.covers
    return tuple(sorted(covers, key=lambda name: (-covers[name].value, name)))
