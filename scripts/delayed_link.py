"""Carry packets between two network namespaces with a latency, if the kernel has no netem.

python scripts/delayed_link.py link1 host2 link2 500    # devices made by `ip tuntap add NAME mode tap`, microseconds

Started in the namespace of link1, enters host2 for link2. Ends when its parent does. For scripts/two_hosts.sh.
"""

from __future__ import annotations

import collections
import ctypes
import fcntl
import os
import select
import struct
import sys
import time

TUNSETIFF, IFF_TAP, IFF_NO_PI, CLONE_NEWNET, PR_SET_PDEATHSIG, SIGTERM = 0x400454CA, 0x0002, 0x1000, 0x40000000, 1, 15


def tap(name: str) -> int:
    """Open a tap device of this namespace."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))
    return device


def enter(host: str) -> None:
    """Enter a named network namespace."""
    with open(f"/run/netns/{host}") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {host}")


def main() -> None:
    """Carry packets, each `delay` seconds after it came."""
    first, host, second, microseconds = sys.argv[1:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGTERM)
    one = tap(first)
    enter(host)
    ends, delay = {one: tap(second)}, float(microseconds) * 1e-6
    ends[ends[one]] = one
    waiting: collections.deque[tuple[float, int, bytes]] = collections.deque()
    while True:
        pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        for device in select.select(list(ends), [], [], pause)[0]:
            waiting.append((time.monotonic() + delay, ends[device], os.read(device, 65536)))
        while waiting and waiting[0][0] <= time.monotonic():
            _, device, packet = waiting.popleft()
            os.write(device, packet)


if __name__ == "__main__":
    main()
