"""File transfers end with the same file or with a reason, over losses, gaps and reboots."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from runtime.cfdp import Condition, Timing
from runtime.cfdp.pdus import (
    Ack,
    Eof,
    FileData,
    Finished,
    Header,
    KeepAlive,
    Metadata,
    Nak,
    Prompt,
    TransactionId,
    decode,
    encode,
)
from runtime.downlink.links import Impairment
from runtime.errors import LinkError, StoreError
from runtime.faults import arm, disarm, passages

World = Any
MakeWorld = Callable[..., World]


def content(size_byte: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(size_byte)


def same(path: Path, expected: bytes) -> bool:
    return hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(expected).digest()


@pytest.mark.parametrize("size_byte", [0, 1, 1000, 100_003])
def test_a_file_arrives_as_it_was(make_world: MakeWorld, size_byte: int) -> None:
    world = make_world()
    target = world.offer(content(size_byte), "chips/slot-3.bin")
    world.run()
    assert same(target, content(size_byte))
    assert [report.good for report in world.board.reports + world.ground.reports] == [True, True]
    assert world.board.open_files == world.ground.open_files == 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("loss_frac", [0.01, 0.1, 0.3])
def test_r20_a_lossy_channel_only_costs_time(make_world: MakeWorld, loss_frac: float, seed: int) -> None:
    how = Impairment(loss_frac=loss_frac, duplicate_frac=0.02, reorder_frac=0.05, corrupt_frac=0.02)
    world = make_world(down=how, up=how, seed=seed, crc=True)
    target = world.offer(content(80_000))
    for _ in range(5):
        world.run()
        if world.board.reports:
            break
        world.pause()
    assert same(target, content(80_000))
    assert world.board.reports[0].good


def test_r20_bursts_are_survived(make_world: MakeWorld) -> None:
    world = make_world(down=Impairment(burst_start_frac=0.02, burst_packet=15), seed=3)
    target = world.offer(content(150_000))
    world.run()
    assert world.down.lost > 10
    assert same(target, content(150_000))


@pytest.mark.parametrize("seed", [0, 4])
def test_r20_at_ten_percent_loss_only_what_was_lost_is_sent_again(make_world: MakeWorld, seed: int) -> None:
    world = make_world(down=Impairment(loss_frac=0.1), seed=seed, pdu_byte=4096)
    target = world.offer(content(2_000_000))
    world.run()
    data = sum(isinstance(decode(raw)[1], FileData) for raw in world.sent)
    assert same(target, content(2_000_000))
    assert data <= -(-2_000_000 // 4080) + world.down.lost
    assert world.sent_byte <= 1.15 * 2_000_000


def test_r20_a_one_way_link_ends_in_suspension_not_in_a_loop(make_world: MakeWorld) -> None:
    world = make_world(up=Impairment(loss_frac=1.0))
    target = world.offer(content(20_000))
    world.run()
    assert not world.board.busy
    assert world.board.open_files == 1
    assert world.sent_byte < 21_000
    assert same(target, content(20_000))


def test_r21_a_transfer_goes_on_in_the_next_pass_from_what_is_missing(make_world: MakeWorld) -> None:
    world = make_world()
    target = world.offer(content(100_000))
    world.run(40_000)
    world.pause()
    world.run(40_000)
    world.pause()
    world.run()
    assert same(target, content(100_000))
    assert world.sent_byte < 103_000


def test_r21_an_eof_that_comes_while_suspended_does_not_get_stuck(make_world: MakeWorld) -> None:
    """yamcs issue 956."""
    world = make_world()
    target = world.offer(content(5000))
    raws = []
    while (raw := world.board.take(1024, 0.0)) is not None:
        raws.append(raw)
    for raw in raws[:-1]:
        world.ground.insert(raw, 0.0)
    world.ground.suspend("operator")
    world.ground.insert(raws[-1], 0.0)
    world.answer()
    world.run()
    assert same(target, content(5000))
    assert world.board.reports[0].good


def test_r21_resuming_with_no_gaps_still_finishes(make_world: MakeWorld) -> None:
    """yamcs issue 1153: everything has arrived, but the end of it was never said."""
    world = make_world()
    target = world.offer(content(5000))
    for _ in range(8):
        raw = world.board.take(1024, 0.0)
        if raw is not None:
            world.ground.insert(raw, 0.0)
    while world.ground.take(1024, 0.0) is not None:  # all answers are lost
        pass
    world.pause()
    world.run()
    assert same(target, content(5000))
    assert world.board.reports[0].good


def test_r21_more_than_a_thousand_holes_are_asked_for_in_several_naks(make_world: MakeWorld) -> None:
    """yamcs issue 830."""
    world = make_world(pdu_byte=128)
    expected = content(300_000)
    target = world.offer(expected)
    raws = []
    while (raw := world.board.take(128, 0.0)) is not None:
        raws.append(raw)
    for number, raw in enumerate(raws):
        if number % 2 == 0 or number == len(raws) - 1:
            world.ground.insert(raw, 0.0)
    naks = []
    while (raw := world.ground.take(128, 0.0)) is not None:
        assert len(raw) <= 128
        naks.append(decode(raw)[1])
        world.board.insert(raw, 0.0)
    asked = sum(len(nak.requests) for nak in naks if isinstance(nak, Nak))
    assert asked > 1000
    world.run()
    assert same(target, expected)


@pytest.mark.parametrize("victim", ["board", "ground"])
@pytest.mark.parametrize("after_byte", [1, 5000, 30_000, 59_000, 61_000])
def test_r22_a_reboot_of_either_side_costs_little(make_world: MakeWorld, victim: str, after_byte: int) -> None:
    world = make_world()
    target = world.offer(content(60_000))
    world.run(after_byte)
    if victim == "ground":
        world.ground.checkpoint()
    world.reboot(victim)
    world.board.resume(world.now_s)
    world.run()
    world.pause()
    world.run()
    assert same(target, content(60_000))
    assert world.sent_byte < 66_000
    assert world.board.open_files == 0


@pytest.mark.parametrize("step", range(0, 40, 3))
def test_r22_a_ground_that_forgets_since_its_last_checkpoint_asks_again(make_world: MakeWorld, step: int) -> None:
    world = make_world(pdu_byte=512)
    target = world.offer(content(12_000))
    for _ in range(step):
        raw = world.board.take(512, world.now_s)
        if raw is not None:
            world.ground.insert(raw, world.now_s)
            world.answer()
    world.reboot("ground")
    world.run()
    world.pause()
    world.run()
    assert same(target, content(12_000))
    assert world.board.open_files == 0
    assert [path.name for path in target.parent.iterdir() if path.is_file()] == ["file.bin"]


def test_i2_a_transfer_replayed_from_its_recording_leaves_one_file(make_world: MakeWorld) -> None:
    world = make_world()
    target = world.offer(content(5000))
    world.run()
    for raw in list(world.sent):
        world.ground.insert(raw, 0.0)
    world.reboot("ground")
    for raw in list(world.sent):
        world.ground.insert(raw, 0.0)
    assert [path.name for path in target.parent.iterdir() if path.is_file()] == ["file.bin"]
    assert len(world.ground.reports) <= 1


def test_files_go_down_by_value_per_byte_and_all_at_once(make_world: MakeWorld) -> None:
    world = make_world()
    dull = world.offer(content(20_000, 1), "dull.bin", value=1.0)
    worthy = world.offer(content(20_000, 2), "worthy.bin", value=50.0)
    world.run(21_500)
    assert worthy.exists()
    assert not dull.exists()
    world.pause()
    world.run()
    assert same(dull, content(20_000, 1))


def test_two_names_alike_are_both_kept(make_world: MakeWorld) -> None:
    world = make_world()
    target = world.offer(content(100, 1))
    world.run()
    world.offer(content(100, 2))
    world.run()
    kept = sorted(path.name for path in target.parent.iterdir() if path.is_file())
    assert kept == ["file.bin", "file~1-2.bin"]


def test_a_cancelled_transfer_ends_on_both_sides(make_world: MakeWorld) -> None:
    world = make_world()
    target = world.offer(content(50_000))
    world.run(10_000)
    world.board.cancel(TransactionId(1, 1))
    world.run()
    assert [report.verdict for report in world.board.reports] == [Condition.CANCELLED]
    assert [report.verdict for report in world.ground.reports] == [Condition.CANCELLED]
    assert not target.exists()
    assert not list((target.parent / ".incoming").iterdir())


def test_a_file_that_changed_before_a_reboot_is_refused(make_world: MakeWorld) -> None:
    world = make_world()
    target = world.offer(content(50_000))
    world.run(10_000)
    (world.folder / "board" / "outbox-file.bin").write_bytes(b"something else")
    world.reboot("board")
    world.run()
    assert [report.verdict for report in world.board.reports] == [Condition.FILESTORE_REJECTION]
    assert not target.exists()


def test_a_file_that_vanished_is_reported(make_world: MakeWorld) -> None:
    world = make_world()
    world.offer(content(50_000))
    (world.folder / "board" / "outbox-file.bin").unlink()
    world.reboot("board")
    assert [report.verdict for report in world.board.reports] == [Condition.FILESTORE_REJECTION]
    with pytest.raises(LinkError, match="can be read"):
        world.board.send(world.folder / "nothing", "x", 2)


@pytest.mark.parametrize("how", ["gone", "changed", "replaced"])
def test_a_file_that_changes_while_it_is_sent_is_given_up_and_the_others_go_on(make_world: MakeWorld, how: str) -> None:
    world = make_world()
    target, other = world.offer(content(50_000), value=9.0), world.offer(content(20_000, 1), "other.bin")
    world.run(10_000)
    path = world.folder / "board" / "outbox-file.bin"
    if how == "changed":
        path.write_bytes(content(50_001))
    else:
        path.unlink()
    if how == "replaced":
        path.write_bytes(content(50_000, 2))
    world.run()
    assert sorted(report.verdict for report in world.board.reports) == [
        Condition.NONE,
        Condition.FILESTORE_REJECTION,
    ]
    assert same(other, content(20_000, 1))
    assert not target.exists()


def test_r27_files_that_wait_for_a_pass_are_not_held_open(make_world: MakeWorld) -> None:
    world = make_world()
    before = len(list(Path("/proc/self/fd").iterdir()))
    targets = [world.offer(content(2_000, seed), f"{seed}.bin") for seed in range(40)]
    world.run(10_000)
    assert world.board.open_files > 30
    assert len(list(Path("/proc/self/fd").iterdir())) - before <= 10
    world.run()
    assert all(same(target, content(2_000, seed)) for seed, target in enumerate(targets))


def transfer(name: str, data: bytes, checksum: int, *, sequence: int = 9) -> list[bytes]:
    header = Header(TransactionId(1, sequence), 2)
    pdus = [Metadata(len(data), "a", name, 3), FileData(0, data), Eof(Condition.NONE, checksum, len(data))]
    return [encode(header, pdu) for pdu in pdus]


@pytest.mark.parametrize(
    "name", ["../escape", "/etc/passwd", "a/../../b", "", ".ssh/authorized_keys", "a\\b", "x\0y", "a" * 200, "~/x"]
)
def test_r23_a_name_that_leads_out_of_the_folder_is_rejected(make_world: MakeWorld, name: str) -> None:
    world = make_world()
    before = sorted(path for path in world.folder.rglob("*") if path.is_file())
    for raw in transfer(name, b"payload", crc32(b"payload")):
        world.ground.insert(raw, 0.0)
    assert [report.verdict for report in world.ground.reports] == [Condition.FILESTORE_REJECTION]
    after = sorted(path for path in world.folder.rglob("*") if path.is_file())
    assert [path for path in after if "sqlite" not in path.name] == [p for p in before if "sqlite" not in p.name]


def test_r23_a_wrong_checksum_is_an_explicit_failure(make_world: MakeWorld) -> None:
    world = make_world()
    for raw in transfer("x.bin", b"payload", 12345):
        world.ground.insert(raw, 0.0)
    assert [report.verdict for report in world.ground.reports] == [Condition.CHECKSUM_FAILURE]
    verdicts = []
    while (raw := world.ground.take(1024, 0.0)) is not None:
        verdicts.append(decode(raw)[1])
    assert Finished(Condition.CHECKSUM_FAILURE, False, False) in verdicts


def test_r23_sizes_beyond_the_bounds_are_refused(make_world: MakeWorld) -> None:
    world = make_world()
    header = Header(TransactionId(1, 5), 2)
    world.ground.insert(encode(header, FileData((1 << 31), b"far away")), 0.0)
    assert [report.verdict for report in world.ground.reports] == [Condition.FILE_SIZE_ERROR]
    assert not list((world.folder / "ground" / "files").rglob("*.part"))


def test_r23_a_flood_of_transactions_is_bounded(make_world: MakeWorld) -> None:
    world = make_world()
    for sequence in range(200):
        world.ground.insert(encode(Header(TransactionId(1, sequence), 2), FileData(0, b"x")), 0.0)
    assert world.ground.open_files == 64
    assert world.ground.rejected["busy"] == 136


def test_transfers_that_stand_still_make_room_and_come_back(make_world: MakeWorld) -> None:
    world = make_world(timing=Timing(inactivity_s=10.0))
    header = Header(TransactionId(1, 1), 2)
    world.ground.insert(encode(header, FileData(0, b"first half ")), 0.0)
    for sequence in range(2, 120):
        world.ground.insert(encode(Header(TransactionId(1, sequence), 2), FileData(0, b"x")), float(sequence))
        world.ground.tick(float(sequence))
    assert not world.ground.rejected
    whole = b"first half second half"
    for pdu in (FileData(11, whole[11:]), Metadata(len(whole), "a", "b.bin", 3), Eof(Condition.NONE, crc32(whole), 22)):
        world.ground.insert(encode(header, pdu), 200.0)
    assert (world.folder / "ground" / "files" / "b.bin").read_bytes() == whole


def test_r23_pdus_for_others_and_unknown_transactions_are_counted(make_world: MakeWorld) -> None:
    world = make_world()
    world.ground.insert(encode(Header(TransactionId(1, 1), 7), FileData(0, b"x")), 0.0)
    world.board.insert(encode(Header(TransactionId(9, 1), 2), Nak(0, 10, ((0, 10),))), 0.0)
    world.board.insert(encode(Header(TransactionId(1, 77), 2), Nak(0, 10, ((0, 10),))), 0.0)
    assert dict(world.ground.rejected) == {"entity": 1}
    assert dict(world.board.rejected) == {"entity": 1, "transaction": 1}


def test_a_prompt_for_progress_is_answered(make_world: MakeWorld) -> None:
    world = make_world()
    header = Header(TransactionId(1, 4), 2)
    world.ground.insert(encode(header, FileData(0, b"12345")), 0.0)
    world.ground.insert(encode(header, Prompt(keep_alive=True)), 0.0)
    raw = world.ground.take(1024, 0.0)
    assert raw is not None
    assert decode(raw)[1] == KeepAlive(5)


def test_a_late_end_of_a_forgotten_transfer_is_acknowledged(make_world: MakeWorld) -> None:
    world = make_world()
    world.board.insert(encode(Header(TransactionId(1, 8), 2), Finished(Condition.NONE, True, True)), 0.0)
    raw = world.board.take(1024, 0.0)
    assert raw is not None
    assert decode(raw)[1] == Ack(False, Condition.NONE, 3)


def test_r20_a_receiver_left_alone_stands_still_and_wakes_up_again(make_world: MakeWorld) -> None:
    world = make_world(timing=Timing(inactivity_s=30.0))
    target = world.offer(content(20_000))
    world.run(5000)
    for _ in range(40):
        world.now_s += 1.0
        world.ground.tick(world.now_s)
    assert not world.ground.busy
    world.run()
    assert same(target, content(20_000))


def test_timers_stand_still_between_passes(make_world: MakeWorld) -> None:
    world = make_world(timing=Timing(ack_s=5.0, ack_limit=1))
    target = world.offer(content(30_000))
    for _ in range(12):
        world.run(3000)
        world.pause()
    world.run()
    assert same(target, content(30_000))


def test_a_transfer_whose_end_could_not_be_noted_is_noted_in_the_next_pass(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    worlds: list[World] = []
    for name in ("calm", "full"):
        (tmp_path / name).mkdir()
        worlds.append(make_world(folder=tmp_path / name))
        worlds[-1].offer(content(3000))
    calm, full = worlds
    try:
        arm("cfdp.log.before_fsync", "count")
        calm.run()
        # the last note of all is the receiver's, the one before is the sender's
        arm("cfdp.log.before_fsync", "enospc", nth=passages("cfdp.log.before_fsync") - 1)
        with pytest.raises(StoreError, match="No space left"):
            full.run()
    finally:
        disarm()
    assert (len(calm.board.reports), len(full.board.reports)) == (1, 0)
    full.pause()
    full.run()
    assert [report.good for report in full.board.reports] == [True]
    assert full.board.open_files == 0
