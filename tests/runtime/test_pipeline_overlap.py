"""Stages that overlap: order, bounds, errors and endings."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.pipeline.overlap import ahead, in_order


@settings(max_examples=50, deadline=None)
@given(count=st.integers(0, 30), depth=st.integers(0, 4), workers=st.integers(1, 4))
def test_results_come_in_order_whatever_the_depth_and_the_workers(count: int, depth: int, workers: int) -> None:
    with ahead(range(count), depth) as items:
        assert list(in_order(items, lambda n: n * n, workers)) == [(n, n * n) for n in range(count)]


def test_a_producer_never_runs_further_ahead_than_it_may() -> None:
    made, taken, widest = 0, 0, 0

    def produce() -> Iterator[int]:
        nonlocal made, widest
        for number in range(200):
            made += 1
            widest = max(widest, made - taken)
            yield number

    with ahead(produce(), 3) as items:
        for _ in items:
            taken += 1
    assert (made, taken) == (200, 200)
    assert widest <= 3 + 2  # the queue, one in the producer's hand, one in the taker's


def test_the_producer_works_while_the_taker_does() -> None:
    second = threading.Event()

    def produce() -> Iterator[int]:
        yield 1
        second.set()
        yield 2

    with ahead(produce(), 1) as items:
        for number in items:
            if number == 1:
                assert second.wait(10)


def test_work_runs_at_once_in_as_many_threads_as_asked_for() -> None:
    both = threading.Barrier(2, timeout=10)
    assert [result for _, result in in_order(range(4), lambda _: both.wait() >= 0, 2)] == [True] * 4


def take_all(items: Iterable[int], seen: list[int]) -> None:
    for item in items:
        seen.append(item)  # noqa: PERF402 - what came before an error counts


def test_errors_reach_the_taker_in_their_turn() -> None:
    def produce() -> Iterator[int]:
        yield 1
        raise ValueError("damaged")

    def work(number: int) -> int:
        if number == 3:
            raise KeyError(number)
        return number

    seen: list[int] = []
    with ahead(produce(), 4) as items, pytest.raises(ValueError, match="damaged"):
        take_all(items, seen)
    assert seen == [1]
    with pytest.raises(KeyError):
        take_all((number for number, _ in in_order(range(9), work, 2)), seen)
    assert seen == [1, 0, 1, 2]


@pytest.mark.parametrize("depth", [0, 1, 5])
def test_leaving_early_ends_the_producer_and_frees_what_it_holds(depth: int) -> None:
    ended = threading.Event()

    def produce() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            ended.set()

    before = threading.active_count()
    endless = produce()
    with ahead(endless, depth) as items:
        for number in items:
            if number == 7:
                break
    endless.close()
    assert ended.wait(10)
    assert threading.active_count() == before
