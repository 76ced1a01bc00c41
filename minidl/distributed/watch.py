"""Whether the others are alive, while this rank waits for them."""

import socket
import threading
import time
from typing import Any

import numpy as np

__all__ = ["Watch"]

ASK = 4.0  # seconds of waiting before the others are asked whether they live, and between questions
SILENT = 10.0  # seconds without an answer: stopped, or gone
IDLE = 60.0  # seconds in which a rank that others wait for has computed nothing
BEAT = 0.2  # seconds between two looks at whether one is asked
LITTLE = 0.02  # of a core: what a process that waits uses for it
QUESTION, ANSWER = 1, 2


class Watch:
    """Answers the others' questions from a thread of its own, and asks them.

    A rank that the others wait for may be computing, or compiling kernels, and that may take
    minutes. So it isn't the time that tells, but whether it answers, and whether it computes.
    """

    def __init__(self, mpi: Any, rank: int, size: int) -> None:
        self._mpi, self._rank, self._size = mpi, rank, size
        self._done, self._what = 0, "start"  # how many things were done together, and the last
        self._thread: threading.Thread | None = None
        self._able = size > 1 and mpi.Query_thread() == mpi.THREAD_MULTIPLE
        if self._able:
            self._comm = mpi.COMM_WORLD.Dup()
            self._asked = self._heard = 0.0
            self._last: dict[int, tuple[float, int, float, float]] = {}
            self._over = threading.Event()
            self._thread = threading.Thread(target=self._answer, daemon=True, name="minidl-mpi")
            self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        if self._thread is not None:
            self._over.set()
            self._thread.join(5)

    def together(self, what: str) -> None:
        """Count something that all ranks do together."""
        self._done, self._what, self._asked = self._done + 1, what, 0.0

    def look(self, waited: float) -> None:
        """Called while this rank waits, for so many seconds: end all where a rank is lost."""
        if not self._able or waited < ASK:
            return
        now = time.monotonic()
        if not self._asked:  # the first question of this wait
            self._last, self._first, self._asked = {}, now, now - ASK
        if now >= self._asked + ASK / 2:
            self._asked = now
            for rank in self._others():
                self._comm.Isend(np.zeros(1), rank, QUESTION).Free()
        self._hear(now)
        lost = [self._why(rank, now) for rank in self._others()]
        found = [why for why in lost if why]
        if found:
            from minidl.distributed.faults import fail

            fail(f"{'; '.join(found)}. The others wait for it in the {self._what}")

    def _others(self) -> list[int]:
        return [rank for rank in range(self._size) if rank != self._rank]

    def _hear(self, now: float) -> None:
        """Take in the answers: when, things done together, CPU seconds and since when those."""
        status = self._mpi.Status()
        while self._comm.Iprobe(self._mpi.ANY_SOURCE, ANSWER, status):
            answer = np.empty(2)
            rank = status.Get_source()
            self._comm.Recv(answer, rank, ANSWER)
            done, cpu = int(answer[0]), float(answer[1])
            since, used = now, cpu
            if rank in self._last:
                _, _, since, used = self._last[rank]
                if cpu - used > max(LITTLE * (now - since), 0.1):
                    since, used = now, cpu
            self._last[rank] = now, done, since, used

    def _why(self, rank: int, now: float) -> str:
        """Why a rank is lost; "" if it isn't."""
        if rank not in self._last:
            silent = now - self._first
        else:
            heard, done, since, _ = self._last[rank]
            silent = now - heard
            if done < self._done and now - since > IDLE:
                return f"rank {rank} has computed nothing for {IDLE:.0f} s: it hangs"
        if silent > SILENT:
            return f"rank {rank} doesn't answer: it is stopped, or has ended before the others"
        return ""

    def _answer(self) -> None:
        """Answer questions, until `stop`."""
        status = self._mpi.Status()
        while not self._over.wait(BEAT):
            while self._comm.Iprobe(self._mpi.ANY_SOURCE, QUESTION, status):
                rank = status.Get_source()
                self._comm.Recv(np.empty(1), rank, QUESTION)
                answer = np.array([self._done, time.process_time()])
                self._comm.Send(answer, rank, ANSWER)


def host() -> str:
    """Return the machine's name."""
    return socket.gethostname()
