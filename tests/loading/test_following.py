"""The decisions of a watch, without a clock, a file or a thread."""

from __future__ import annotations

import pytest

from safeload._loading.following import MAX_RETRY, RETRY, Following, Step

OLD, NEW, EXPIRED = ("old", False), ("new", False), ("old", True)


@pytest.fixture
def following() -> Following:
    return Following("old")


def test_unchanged_files_are_left_alone(following: Following) -> None:
    assert [following.step(OLD, now) for now in (0.0, 1.0, 1e9)] == [Step.WAIT] * 3


@pytest.mark.parametrize("state", [NEW, EXPIRED])
def test_a_change_is_tried_once_until_the_files_change_again(following: Following, state: tuple[str, bool]) -> None:
    assert following.step(state, 0.0) is Step.TRY
    following.failed(0.0, again=False)  # refused
    assert following.step(state, 1e9) is Step.WAIT
    assert following.step(("another", False), 1e9) is Step.TRY


def test_what_was_served_needs_no_second_load(following: Following) -> None:
    assert following.step(NEW, 0.0) is Step.TRY
    following.failed(0.0, again=False)
    assert following.step(OLD, 1.0) is Step.RESTORED
    assert following.step(OLD, 2.0) is Step.WAIT


def test_a_new_model_is_served_from_then_on_and_has_not_expired(following: Following) -> None:
    assert following.step(("new", True), 0.0) is Step.TRY
    following.served(("new", True))
    assert following.step(NEW, 1.0) is Step.RESTORED
    assert following.step(OLD, 2.0) is Step.TRY


def test_an_error_is_tried_again_ever_more_rarely(following: Following) -> None:
    now, waits = 0.0, []
    assert following.step(NEW, now) is Step.TRY
    for _ in range(8):
        following.failed(now, again=True)
        wait = RETRY
        while following.step(NEW, now + wait - 0.01) is Step.WAIT and following.step(NEW, now + wait) is Step.WAIT:
            wait *= 2 if 2 * wait <= MAX_RETRY else MAX_RETRY / wait
        now += wait
        waits.append(wait)
    assert waits == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    following.served(NEW)
    assert following.step(OLD, now) is Step.TRY
    following.failed(now, again=True)
    assert following.step(OLD, now + RETRY) is Step.TRY  # a success starts the count anew


def test_an_interrupted_attempt_is_tried_at_the_next_look(following: Following) -> None:
    assert following.step(NEW, 0.0) is Step.TRY
    following.interrupted()
    assert following.step(NEW, 0.0) is Step.TRY


def test_a_forked_child_tries_what_its_parent_was_trying(following: Following) -> None:
    assert following.step(NEW, 0.0) is Step.TRY
    following.renew()
    assert following.step(NEW, 0.0) is Step.TRY
    following.renew()
    assert following.step(OLD, 0.0) is Step.WAIT
