"""Ctrl-C while calls run in threads: the first finishes those under way, the second drops them."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from vivace.core.crew import Crew

PATIENCE_S = 30.0


def interrupt() -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def test_results_come_as_they_finish_and_more_may_be_submitted() -> None:
    found = []
    with Crew[int](2, "test") as crew:
        for number in (1, 2, 3):
            crew.submit(lambda n: n * 10, number)
        for future in crew.finished():
            found.append(future.result())
            if future.result() == 10:
                crew.submit(lambda: 7)
    assert sorted(found) == [7, 10, 20, 30]


def test_what_is_under_way_finishes_and_what_waits_is_not_begun(capsys: pytest.CaptureFixture[str]) -> None:
    release, begun, found = threading.Event(), [], []

    def call(number: int) -> int:
        begun.append(number)
        if len(begun) == 2:
            interrupt()
            threading.Timer(0.6, release.set).start()
        assert release.wait(PATIENCE_S)
        return number

    def play() -> None:
        with Crew[int](2, "test") as crew:
            for number in range(9):
                crew.submit(call, number)
            for future in crew.finished():
                found.append(future.result())
                assert crew.submit(call, 99).cancelled()

    before = signal.getsignal(signal.SIGINT)  # ignored, where the tests run in the background
    with pytest.raises(KeyboardInterrupt):
        play()
    assert sorted(found) == sorted(begun) == [0, 1]
    said = capsys.readouterr().err
    assert said.count("finishing 2 attempts that are under way; press Ctrl-C again to drop them") == 1
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_signal_leaves_at_once() -> None:
    release = threading.Event()

    def twice() -> None:
        for _ in range(2):
            time.sleep(0.3)
            interrupt()

    def play() -> None:
        with Crew[bool](1, "test") as crew:
            crew.submit(release.wait, PATIENCE_S)
            threading.Thread(target=twice).start()
            list(crew.finished())

    start = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            play()
        assert time.monotonic() - start < PATIENCE_S / 2
    finally:
        release.set()


def test_another_error_waits_for_what_is_under_way() -> None:
    ended = threading.Event()

    def slow() -> None:
        time.sleep(0.3)
        ended.set()

    def play() -> None:
        with Crew[object](2, "test") as crew:
            crew.submit(slow)
            crew.submit(lambda: 1 / 0)
            for future in crew.finished():
                future.result()

    with pytest.raises(ZeroDivisionError):
        play()
    assert ended.is_set()
