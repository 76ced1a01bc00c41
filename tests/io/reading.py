"""Reading with the guarded reader."""

from minidl.io.guarded import open_guarded


def read_all(path, max_bytes=2**30):
    with open_guarded(path, max_bytes) as file:
        return {name: file.read(name) for name in file.datasets()}
