"""Who may decode when: in order, within the budget, and never for ever."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.decode.memory_budget import BudgetClosedError, PixelBudget

LIMIT = 100
WAIT = 240
"""Seconds after which a thread that should have got its turn has none."""

turns = st.lists(st.one_of(st.none(), st.integers(1, 150)), min_size=1, max_size=30)
"""Pixels of each picture; None where it fails before they are known."""


@settings(deadline=None, max_examples=60)
@given(turns, st.integers(1, 5), st.randoms(use_true_random=False))
def test_every_picture_comes_in_its_order_and_the_limit_holds(pixels: list[int | None], threads: int, chance: random.Random) -> None:
    budget, granted, held, most = PixelBudget(LIMIT), list[int](), list[int](), list[tuple[int, int]]()
    lock = threading.Lock()
    order = list(range(len(pixels)))

    def decode(turn: int) -> int:
        need = pixels[turn]
        if need is None:
            budget.skip(turn)
            return 0
        budget.take(turn, need)
        with lock:
            granted.append(turn)
            held.append(need)
            most.append((sum(held), len(held)))
        budget.skip(turn)  # as the finally clause of a decoder does
        return need

    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(decode, turn) for turn in order]
        for future in futures:  # the one who looks at them takes them in their order
            need = future.result(WAIT)
            if need:
                with lock:
                    held.remove(need)
                budget.release(need)
    assert sorted(granted) == [turn for turn in order if pixels[turn] is not None]
    assert all(together <= LIMIT or count == 1 for together, count in most)


def test_an_earlier_turn_is_waited_for() -> None:
    budget, got = PixelBudget(LIMIT), threading.Event()

    def second() -> None:
        budget.take(1, 10)
        got.set()

    thread = threading.Thread(target=second)
    thread.start()
    assert not got.wait(0.05)  # can only fail to notice a fault, never invent one
    budget.take(0, 10)
    assert got.wait(WAIT)
    thread.join()


def test_whoever_waits_is_told_that_it_is_over() -> None:
    budget, told = PixelBudget(LIMIT), list[BaseException]()
    budget.take(0, LIMIT)

    def wait() -> None:
        try:
            budget.take(1, 1)
        except BudgetClosedError as error:
            told.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    budget.close()
    thread.join(WAIT)
    assert len(told) == 1
    with pytest.raises(BudgetClosedError):
        budget.take(1, 1)


def test_skipping_a_turn_that_is_over_changes_nothing() -> None:
    budget = PixelBudget(LIMIT)
    budget.take(0, 60)
    budget.skip(0)
    budget.skip(2)
    budget.take(1, 40)  # would wait for ever if turn 1 had been taken for over
    budget.release(60)
    budget.take(3, 60)
