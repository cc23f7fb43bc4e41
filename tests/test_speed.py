"""Encoders are timed in turn, round by round, and compared round by round."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

from edge_retrieval.arrays import Embeddings, Images
from edge_retrieval.errors import EvaluationError
from edge_retrieval.speed import compare_speed, machine_is_busy, rounds_within, speed_ratio

IMAGES = np.arange(3, dtype=np.float32)[:, None, None, None].repeat(8, axis=2).repeat(8, axis=3)


class Clock:
    """A clock that only encoders move."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Timed:
    """An encoder that takes its time, as told call by call, and writes down who ran and on what."""

    def __init__(self, name: str, clock: Clock, seconds: float, log: list[tuple[str, list[float]]]):
        self.name, self.clock, self.seconds, self.log = name, clock, seconds, log

    def embed(self, images: Images) -> Embeddings:
        self.clock.now += self.seconds
        self.log.append((self.name, images[:, 0, 0, 0].tolist()))
        return np.ones((len(images), 1), np.float32)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "perf_counter", made.perf_counter)
    return made


def test_every_round_times_every_encoder_once_and_the_order_turns(clock: Clock) -> None:
    log: list[tuple[str, list[float]]] = []
    encoders = {name: Timed(name, clock, s, log) for name, s in (("a", 2.0), ("b", 1.0))}
    found = compare_speed(encoders, IMAGES, batch=1, rounds=4, warm_up=0)
    assert found == {"a": (2.0,) * 4, "b": (1.0,) * 4}
    assert [name for name, _ in log[1::2]] == ["a", "b", "b", "a", "a", "b", "b", "a"]


def test_before_each_call_that_is_timed_stands_one_of_the_same_encoder_that_is_not(
    clock: Clock,
) -> None:
    class Disturbed(Timed):
        def embed(self, images: Images) -> Embeddings:
            self.seconds = 1.0 if self.log and self.log[-1][0] == self.name else 9.0
            return super().embed(images)

    log: list[tuple[str, list[float]]] = []
    encoders = {name: Disturbed(name, clock, 0, log) for name in "ab"}
    found = compare_speed(encoders, IMAGES, batch=1, rounds=3, warm_up=0)
    assert found == {"a": (1.0,) * 3, "b": (1.0,) * 3}


def test_both_encoders_see_the_same_drawings_which_change_from_round_to_round(clock: Clock) -> None:
    log: list[tuple[str, list[float]]] = []
    encoders = {name: Timed(name, clock, 1.0, log) for name in "ab"}
    compare_speed(encoders, IMAGES, batch=2, rounds=2, warm_up=1)
    assert [shown for _, shown in log[::2]] == [[0, 1]] * 2 + [[2, 0]] * 2 + [[1, 2]] * 2


def test_the_warm_up_does_not_count(clock: Clock) -> None:
    class Warming(Timed):
        def embed(self, images: Images) -> Embeddings:
            self.seconds = 9.0 if len(self.log) < 6 else 1.0
            return super().embed(images)

    found = compare_speed({"a": Warming("a", clock, 0, [])}, IMAGES, batch=1, rounds=2, warm_up=3)
    assert found == {"a": (1.0, 1.0)}


def test_the_ratio_is_that_of_the_median_round_whatever_the_machine_does_between_rounds() -> None:
    slow = (2.0, 20.0, 4.0)  # the machine was busy in the second round, for both
    assert speed_ratio(slow, (1.0, 10.0, 2.0)) == 2.0
    assert speed_ratio((1.0, 10.0, 2.0), slow) == 0.5
    one_bad_call = (2.0, 2.0, 200.0)
    assert speed_ratio(one_bad_call, (1.0, 1.0, 1.0)) == 2.0


def test_rounds_are_fewer_where_a_call_is_slow(clock: Clock) -> None:
    def rounds(seconds: float) -> int:
        encoders = {name: Timed(name, clock, seconds, []) for name in "ab"}
        return rounds_within(0.5, encoders, IMAGES)

    assert rounds(0.00001) == 30
    assert rounds(0.0125) == 10
    assert rounds(2.0) == 5


def test_nothing_to_time_is_one_clear_error(clock: Clock) -> None:
    encoders = {"a": Timed("a", clock, 1.0, [])}
    for images, batch, rounds in ((IMAGES[:0], 1, 1), (IMAGES, 0, 1), (IMAGES, 1, 0)):
        with pytest.raises(EvaluationError, match="nothing to time"):
            compare_speed(encoders, images, batch=batch, rounds=rounds)
    for pair in (((), ()), ((1.0,), (1.0, 2.0))):
        with pytest.raises(EvaluationError, match="say nothing"):
            speed_ratio(*pair)


def test_a_machine_is_busy_where_others_use_its_cores_and_not_where_none_can_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for load, busy in ((0.1, False), (999.0, True)):
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, 0.0, 0.0), raising=False)
        assert machine_is_busy() is busy
    monkeypatch.delattr(os, "getloadavg")
    assert machine_is_busy() is False
