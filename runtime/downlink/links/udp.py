"""Space packets as UDP datagrams, one each. Works in a network namespace that has nothing but loopback."""

from __future__ import annotations

import select
import socket

from ...errors import AddressError, LinkError

BUFFER_BYTE = 4 << 20
MAX_DATAGRAM_BYTE = 65_535


class UdpLink:
    """One UDP socket. The end that was bound answers whoever spoke last."""

    def __init__(self, connection: socket.socket, peer: tuple[str, int] | None) -> None:
        self._socket = connection
        self._peer = peer
        self.refused = 0
        """Packets that nobody was listening for."""

    @classmethod
    def bind(cls, address: str) -> UdpLink:
        """Listen at ``HOST:PORT``; port 0 takes a free one."""
        return cls(_open(address, bind=True), None)

    @classmethod
    def connect(cls, address: str) -> UdpLink:
        """Speak to ``HOST:PORT``."""
        return cls(_open(address, bind=False), parse_address(address))

    @property
    def address(self) -> tuple[str, int]:
        """Where this end can be reached."""
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    def send(self, packet: bytes) -> None:
        """Send one datagram; a packet that nobody listens for is lost, as it would be in space, and counted."""
        if self._peer is None:
            self.refused += 1
            return
        try:
            self._socket.sendto(packet, self._peer)
        except ConnectionRefusedError:
            self.refused += 1
        except OSError as error:
            host, port = self._peer
            raise LinkError(f"Cannot send {len(packet)} bytes to {host}:{port}: {error}. Check the address.") from error

    def receive(self, timeout_s: float = 0.0) -> bytes | None:
        """The next datagram; None where none comes in time, or where the peer is not there."""
        if not select.select([self._socket], [], [], timeout_s)[0]:
            return None
        try:
            packet, sender = self._socket.recvfrom(MAX_DATAGRAM_BYTE)
        except (ConnectionRefusedError, BlockingIOError):
            self.refused += 1
            return None
        self._peer = (str(sender[0]), int(sender[1]))
        return packet

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def parse_address(address: str) -> tuple[str, int]:
    """``HOST:PORT`` as host and number; raises AddressError for anything else."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise AddressError(f"{address!r} is no address. Write HOST:PORT, for instance 127.0.0.1:0 for any free port.")
    return host, int(port)


def _open(address: str, *, bind: bool) -> socket.socket:
    where = parse_address(address)
    connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTE)
        connection.setblocking(False)
        if bind:
            connection.bind(where)
        else:
            connection.bind(("127.0.0.1" if where[0] in ("127.0.0.1", "localhost") else "0.0.0.0", 0))
    except OSError as error:
        connection.close()
        raise LinkError(
            f"Cannot use {address}: {error}. Choose another address, or port 0 for any free port."
        ) from error
    return connection
