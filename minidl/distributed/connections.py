"""TCP connections of rank 0 to all other ranks, made with the help of MPI.

Rank 0 tells the others, over MPI, a port and a token. Who connects says the token, and gets it
back: so each end knows that the other is of this run, whoever else listens or connects.
"""

import contextlib
import secrets
import selectors
import socket
import struct
import sys
import time
from collections.abc import Iterator
from typing import Any

__all__ = ["connected"]

PATIENCE = 5.0  # seconds to connect
LOCAL = "127.0.0.1"
BACKLOG = 4096  # ranks that connect at once
TOKEN = 16  # bytes by which a rank knows another
HELLO = struct.Struct(f"!{TOKEN}sI")  # the token, the rank


def connected(world: Any) -> dict[int, socket.socket]:
    """Return rank 0's connections to all others; on the others, the one to rank 0.

    None, on all ranks, where one of them can't reach rank 0; rank 0 says so.
    world: of which `rank`, `size`, `local` and `texts` are used.
    """
    hosts, token = world.texts(socket.gethostname()), secrets.token_bytes(TOKEN)
    local = world.local and len({*hosts}) == 1
    if world.rank == 0:
        with _server(local) as server:
            known = [LOCAL] if local else [LOCAL, *_addresses(hosts[0])]
            offer = f"{server.getsockname()[1]} {token.hex()} {' '.join(known)}"
            world.texts(offer)
            found = _accepted(server, token, world.size - 1)
    else:
        offer = world.texts("")[0]
        found = _reached(offer, world.rank, near=hosts[world.rank] == hosts[0])
    able = "" if found else "no"
    if world.rank == 0:
        able = " ".join(str(rank) for rank in range(1, world.size) if rank not in found)
    told = world.texts(able)
    unable = {rank for rank, text in enumerate(told) if text and rank}
    unable |= {int(rank) for rank in told[0].split()}
    if not unable:
        return found
    for each in found.values():
        each.close()
    if world.rank == 0:
        last = max(unable)
        print(
            f"minidl: rank {last} on {hosts[last]} can't reach rank 0 on {hosts[0]} by "
            f"TCP, port {offer.split()[0]}: a rank that is stopped won't be noticed",
            file=sys.stderr,
        )
    return {}


def _server(local: bool) -> socket.socket:
    """Return a socket that listens: to this machine alone, or to all that can reach it."""
    if local:
        return socket.create_server((LOCAL, 0), backlog=BACKLOG)
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):
            return socket.create_server(
                ("::", 0), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
            )
    return socket.create_server(("", 0), backlog=BACKLOG)


def _accepted(server: socket.socket, token: bytes, count: int) -> dict[int, socket.socket]:
    """Return the connections of up to so many ranks, each of which gets the token back.

    Strangers, who haven't the token, are shut, and hold nobody up: all are read as they come.
    """
    found: dict[int, socket.socket] = {}
    said: dict[socket.socket, bytes] = {}  # by those that haven't said all yet
    end = time.monotonic() + 3 * PATIENCE
    server.setblocking(False)
    with selectors.DefaultSelector() as waiting:
        waiting.register(server, selectors.EVENT_READ)
        while len(found) < count and (left := end - time.monotonic()) > 0:
            for key, _ in waiting.select(left):
                one: Any = key.fileobj
                if one is server:
                    _welcome(server, waiting, said)
                elif (hello := _hello(one, said)) is not None:
                    waiting.unregister(one)
                    if (rank := _rank_of(hello, token)) and _sent(one, hello):
                        found[rank] = one
                    else:
                        one.close()
        for one in said:
            one.close()
    return found


def _welcome(server: socket.socket, waiting: Any, said: dict[socket.socket, bytes]) -> None:
    """Take a connection, whoever it is."""
    with contextlib.suppress(OSError):  # it has gone meanwhile
        one, _ = server.accept()
        one.setblocking(False)
        waiting.register(one, selectors.EVENT_READ)
        said[one] = b""


def _hello(one: socket.socket, said: dict[socket.socket, bytes]) -> bytes | None:
    """Return what somebody has said, once that is all; None before."""
    try:
        got = one.recv(HELLO.size - len(said[one]))
    except BlockingIOError:
        return None
    except OSError:
        got = b""
    said[one] += got
    return said.pop(one) if not got or len(said[one]) == HELLO.size else None


def _rank_of(hello: bytes, token: bytes) -> int:
    """Return which rank says that; 0 for a stranger."""
    if len(hello) != HELLO.size or not secrets.compare_digest(hello[:TOKEN], token):
        return 0
    rank: int = HELLO.unpack(hello)[1]
    return rank


def _sent(one: socket.socket, text: bytes) -> bool:
    try:
        one.sendall(text)
    except OSError:
        return False
    return True


def _reached(offer: str, rank: int, near: bool) -> dict[int, socket.socket]:
    """Return the connection to rank 0 that it has offered, if one can be made.

    near: whether both are, by its name, on one machine. Who doesn't know the token isn't rank 0.
    """
    port, token, *addresses = offer.split()
    hello = HELLO.pack(bytes.fromhex(token), rank)
    for address in addresses if near else [each for each in addresses if each != LOCAL]:
        with contextlib.suppress(OSError):
            made = socket.create_connection((address, int(port)), PATIENCE)
            if _sent(made, hello) and _answer(made) == hello:
                made.setblocking(False)
                return {0: made}
            made.close()
    return {}


def _answer(made: socket.socket) -> bytes:
    """Return what rank 0 has said, or whoever it is, in PATIENCE seconds."""
    got, end = b"", time.monotonic() + PATIENCE
    with contextlib.suppress(OSError):
        while len(got) < HELLO.size and (left := end - time.monotonic()) > 0:
            made.settimeout(left)
            if not (more := made.recv(HELLO.size - len(got))):
                break
            got += more
    return got


def _addresses(host: str) -> Iterator[str]:
    """Yield by what name and number others may know this machine."""
    yield host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked, contextlib.suppress(OSError):
        asked.connect(("192.0.2.1", 9))  # sends nothing: it tells which address would be used
        yield asked.getsockname()[0]
