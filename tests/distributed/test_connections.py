"""The connections by which ranks watch each other: here each rank is a thread."""

import contextlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from minidl.distributed import connections
from minidl.distributed.connections import connected

RANKS = 3


class Ranks:
    """What one rank has of an MPI run whose ranks are threads."""

    def __init__(self, rank, meeting, said, local):
        self.rank, self.size, self.local = rank, RANKS, local
        self._meeting, self._said = meeting, said

    def texts(self, text):
        self._said[self.rank] = text
        self._meeting.wait(60)
        found = list(self._said)
        self._meeting.wait(60)
        return found


def all_connected(local, heard=lambda port: None):
    """What each rank gets. heard: is called with the port once rank 0 has told it."""
    meeting, said = threading.Barrier(RANKS), [""] * RANKS

    class Rank1(Ranks):
        def texts(self, text):
            found = super().texts(text)
            if len(found[0].split()) > 2:
                heard(int(found[0].split()[0]))
            return found

    kinds = [Ranks, Rank1, Ranks]
    with ThreadPoolExecutor(RANKS) as pool:
        worlds = [kind(rank, meeting, said, local) for rank, kind in enumerate(kinds)]
        return list(pool.map(connected, worlds))


def close(found):
    for ends in found:
        for each in ends.values():
            each.close()


@pytest.mark.parametrize("local", [True, False])
def test_strangers_hold_nobody_up(local):
    """One that says nothing, one that says too little and one that says anything, all shut."""
    strangers = []

    def come(port):
        for said in (b"", b"GET", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
            strangers.append(socket.create_connection(("127.0.0.1", port), 10))
            strangers[-1].sendall(said)

    found = all_connected(local, come)
    assert [sorted(ends) for ends in found] == [[1, 2], [0], [0]]
    for rank in (1, 2):
        found[rank][0].sendall(b"%d" % rank)
        found[0][rank].setblocking(True)
        assert found[0][rank].recv(10) == b"%d" % rank
    for each in strangers:
        each.settimeout(10)
        with contextlib.suppress(ConnectionResetError):  # shut with something unread
            assert each.recv(100) == b""
        each.close()
    close(found)


def test_who_listens_and_does_not_know_the_token_is_not_rank_0(monkeypatch):
    monkeypatch.setattr(connections, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        offer = f"{server.getsockname()[1]} {'00' * connections.TOKEN} 127.0.0.1"

        def answer():
            one, _ = server.accept()
            one.sendall(b"SSH-2.0-OpenSSH_9.6 and more")
            return one

        with ThreadPoolExecutor(1) as pool:
            impostor = pool.submit(answer)
            assert connections._reached(offer, 1, near=True) == {}
            impostor.result().close()


def test_a_rank_that_a_firewall_keeps_away(monkeypatch, capsys):
    reached = connections._reached

    def kept_away(offer, rank, near):
        return {} if rank == 2 else reached(offer, rank, near)

    monkeypatch.setattr(connections, "PATIENCE", 0.2)
    monkeypatch.setattr(connections, "_reached", kept_away)
    assert all_connected(False) == [{}, {}, {}]
    name = socket.gethostname()
    assert f"rank 2 on {name} can't reach rank 0 on {name} by TCP" in capsys.readouterr().err
