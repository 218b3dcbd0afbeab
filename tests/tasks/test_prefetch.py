"""Reading ahead gives what a plain loop gives, sooner."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from ai4diag.tasks.prefetch import Prefetch


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "ai4diag-prefetch"]


def test_what_is_drawn_is_what_a_plain_loop_draws():
    one, two = (torch.Generator().manual_seed(3) for _ in range(2))
    plain = [(key, torch.rand(2, generator=one)) for key in range(20)]
    ahead = list(Prefetch(lambda key: torch.rand(2, generator=two), range(20), ahead=3))
    assert [key for key, _ in ahead] == list(range(20))
    assert all(torch.equal(left, right) for (_, left), (_, right) in zip(plain, ahead, strict=True))
    assert torch.equal(one.get_state(), two.get_state())
    assert not threads()


def test_waiting_and_working_happen_at_the_same_time():
    def read(key):
        time.sleep(0.02)
        return key

    start = time.perf_counter()
    for _ in Prefetch(read, range(10)):
        time.sleep(0.02)
    assert time.perf_counter() - start < 0.33  # one after the other 0.40 s


def test_no_more_is_read_than_may_wait():
    done = []
    items = iter(Prefetch(lambda key: done.append(key), range(100), ahead=2))
    next(items)
    time.sleep(0.05)
    assert len(done) <= 4  # one taken, two waiting, one in the hand
    items.close()
    assert not threads()
    assert len(done) <= 4


def test_an_error_comes_in_its_turn():
    def read(key):
        if key == 3:
            raise OSError("the disk is gone")
        return key

    seen = []
    with pytest.raises(OSError, match="gone"):
        seen.extend(key for key, _ in Prefetch(read, range(9)))
    assert seen == [0, 1, 2]
    assert not threads()


def test_nothing_to_read():
    assert list(Prefetch(lambda key: key, [])) == []


def test_a_second_loop_reads_again():
    ahead = Prefetch(lambda key: -key, [1, 2])
    assert list(ahead) == list(ahead) == [(1, -1), (2, -2)]
