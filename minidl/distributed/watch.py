"""Whether the other ranks are alive, told by connections of their own, without MPI.

Rank 0 has a TCP connection to each other rank. Once a second both ends send a `Beat`, from a thread
that does nothing else, so that a rank that computes answers as well as one that waits. The kernel
closes the connection of a process that is killed: the others know at once. One that is stopped
(SIGSTOP), or whose machine is gone, sends no more: they know after SILENT seconds.
"""

import contextlib
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from minidl.distributed.connections import connected

__all__ = ["Watch"]

BEAT = 1.0  # seconds between two messages
PAUSE = 1e-3  # seconds between two looks whether all have come to their end
SILENT = 10.0  # seconds without a message: stopped, or gone
LAUNCHER = 2.0  # seconds for MPI's launcher to end all after a rank's death, and tell it
IDLE = 60.0  # seconds in which a rank that others wait for has computed nothing
LITTLE = 0.02  # of a core: what a process that waits uses
STATE = struct.Struct("!Qd?")


class Beat(NamedTuple):
    """What a rank tells: things done together, seconds of CPU, whether it is about to leave MPI."""

    done: int
    cpu: float
    left: bool


class _Peer:
    """A rank at the other end, and what was last heard of it."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection, self._bytes = connection, b""
        self.heard = self.since = time.monotonic()  # anything; that it had computed
        self.beat, self._used, self.gone = Beat(0, 0.0, False), 0.0, False

    def read(self, now: float) -> None:
        """Take in what has come."""
        try:
            self._bytes += (got := self.connection.recv(4096))
        except BlockingIOError:
            return
        except OSError:
            got = b""
        if not got:
            self.gone = True
        while len(self._bytes) >= STATE.size:
            self.beat = Beat(*STATE.unpack(self._bytes[: STATE.size]))
            self._bytes = self._bytes[STATE.size :]
            if self.beat.cpu - self._used > max(LITTLE * (now - self.since), 0.1):
                self.since, self._used = now, self.beat.cpu
            self.heard = now

    def tell(self, beat: Beat) -> None:
        """Send one's own state."""
        try:
            self.connection.send(STATE.pack(*beat))
        except BlockingIOError:  # it is stopped, or the network is
            pass
        except OSError:
            self.gone = True


class Watch:
    """Tells the others that this rank lives, and ends all where another one doesn't.

    world: see `connections.connected`, which it is for.
    """

    def __init__(self, world: Any) -> None:
        self._rank, self._done, self._left = world.rank, 0, False
        self._parent = os.getppid()
        self._peers = {rank: _Peer(each) for rank, each in connected(world).items()}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="minidl-watch")
        with contextlib.suppress(RuntimeError):  # as Python ends, from 3.12 on: `leave` is next
            self._thread.start()

    def together(self) -> None:
        """Count something that all ranks do together."""
        self._done += 1

    def leave(self, have_all: Callable[[], bool]) -> None:
        """Tell the others that this rank has come to its end, until `have_all` is true."""
        self._left, told = True, 0.0
        while not have_all():
            if (now := time.monotonic()) > told + BEAT:
                told = now
                self._tell()
            time.sleep(PAUSE)

    def stop(self) -> None:
        """Watch no more: all have come to their end."""
        self._over.set()
        for peer in self._peers.values():
            with contextlib.suppress(OSError):
                peer.connection.shutdown(socket.SHUT_RDWR)  # wakes the thread, too
        if self._thread.ident is not None:
            self._thread.join(BEAT)
        self.forget()

    def forget(self) -> None:
        """Close the connections: in a forked child they would outlive this process."""
        for peer in self._peers.values():
            peer.connection.close()

    def _run(self) -> None:
        """Watch, until `stop`."""
        told = seen = 0.0
        with selectors.DefaultSelector() as waiting:
            for peer in self._peers.values():
                waiting.register(peer.connection, selectors.EVENT_READ, peer)
            while not self._over.is_set():
                now = time.monotonic()
                if now - seen > 2 * BEAT:  # this process was stopped, or slow: so others may be
                    for peer in self._peers.values():
                        peer.heard = peer.since = now
                seen = now
                if now >= told + BEAT:
                    told = now
                    self._tell()
                self._end_if_lost(now)
                self._read(waiting, told + BEAT - now)

    def _tell(self) -> None:
        left = self._left  # first: who has left does no more, and what it has done is all
        beat = Beat(self._done, time.process_time(), left)
        for peer in self._peers.values():
            peer.tell(beat)

    def _read(self, waiting: selectors.BaseSelector, seconds: float) -> None:
        """Take in what comes in so many seconds."""
        if not waiting.get_map():
            self._over.wait(seconds)
        for key, _ in waiting.select(max(seconds, 0.0)) if waiting.get_map() else ():
            key.data.read(time.monotonic())
            if key.data.gone:
                waiting.unregister(key.fileobj)

    def _end_if_lost(self, now: float) -> None:
        if os.getppid() != self._parent:
            os._exit(1)  # MPI's launcher is gone, and nobody else would end this process
        found = self._lost(now)
        if any(peer.gone for peer in self._peers.values()):
            # Twice, so that a process that was stopped meanwhile has the time to come to `stop`
            for _ in range(2):
                self._over.wait(LAUNCHER / 2)
        if found and not self._over.is_set():
            from minidl.distributed.faults import fail

            fail("; ".join(found))

    def _lost(self, now: float) -> list[str]:
        """Return which ranks are lost, and why."""
        most = max([self._done, *(peer.beat.done for peer in self._peers.values())])
        found = []
        for rank, peer in self._peers.items():
            left, behind = peer.beat.left, peer.beat.done < most
            if left and (behind or peer.gone):
                found.append(f"rank {rank} has ended before the others")
            elif peer.gone:
                found.append(f"rank {rank} was killed, or its machine is gone")
            elif now - peer.heard > SILENT:
                found.append(f"rank {rank} doesn't answer: it is stopped, or its machine is gone")
            elif behind and now - peer.since > IDLE:
                found.append(f"rank {rank} has computed nothing for {IDLE:.0f} s: it hangs")
        return found
