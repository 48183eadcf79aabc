"""Space packets over a byte stream: TCP, or a serial line. A packet says its own length, so it needs no other frame."""

from __future__ import annotations

import os
import select
import socket
import termios
import time
import tty
from pathlib import Path

from ...errors import LinkError
from ...wire.packets import HEADER_BYTE, MAX_PACKET_BYTE, is_packet, may_begin
from .udp import parse_address

CHUNK_BYTE = 65_536
SEND_S = 5.0
STALLED_S = 2.0
"""A packet that has begun and does not go on for so long was none."""
SPEEDS = {9600: termios.B9600, 19200: termios.B19200, 57600: termios.B57600, 115200: termios.B115200}


class PacketSplitter:
    """Cuts a stream into packets; after damage it looks for the next place where a whole packet stands."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.skipped_byte = 0

    @property
    def waiting(self) -> bool:
        """A packet has begun and is not whole."""
        return bool(self._buffer)

    def insert(self, data: bytes) -> None:
        """Add what has come."""
        self._buffer += data

    def take(self) -> bytes | None:
        """The next packet with a right length and checksum, or None where more has to come first."""
        while len(self._buffer) > HEADER_BYTE:
            length = HEADER_BYTE + 1 + int.from_bytes(self._buffer[4:6], "big")
            if length <= MAX_PACKET_BYTE and may_begin(self._buffer):
                if len(self._buffer) < length:
                    return None
                packet = bytes(self._buffer[:length])
                if is_packet(packet):
                    del self._buffer[:length]
                    return packet
            self.skip()
        return None

    def skip(self) -> None:
        """No packet begins at the first byte."""
        if self._buffer:
            del self._buffer[0]
            self.skipped_byte += 1


class StreamLink:
    """A link over a file descriptor that carries bytes in order: a connected socket, a serial line, a pty."""

    def __init__(self, descriptor: int, name: str, *, owner: socket.socket | None = None) -> None:
        self._descriptor = descriptor
        self._name = name
        self._owner = owner
        self._splitter = PacketSplitter()
        self._last_byte_s = time.monotonic()
        self.ended = False
        """The other side has gone."""
        os.set_blocking(descriptor, False)

    @classmethod
    def connect_tcp(cls, address: str, *, timeout_s: float = 5.0) -> StreamLink:
        """Connect to ``HOST:PORT``; raises LinkError where nobody listens."""
        host, port = parse_address(address)
        try:
            connection = socket.create_connection((host, port), timeout=timeout_s)
        except OSError as error:
            raise LinkError(f"Cannot connect to {address}: {error}. Start the other side first.") from error
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(connection.fileno(), address, owner=connection)

    @classmethod
    def open_serial(cls, device: Path, *, baud: int = 115200) -> StreamLink:
        """Open a serial line or a pty as raw bytes; raises LinkError where it cannot be used."""
        if baud not in SPEEDS:
            raise LinkError(f"{baud} baud is not known here. Use one of {sorted(SPEEDS)}.")
        try:
            descriptor = os.open(device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError as error:
            raise LinkError(f"Cannot open {device}: {error}. Check its name and your rights to it.") from error
        try:
            tty.setraw(descriptor)
            settings = termios.tcgetattr(descriptor)
            settings[4] = settings[5] = SPEEDS[baud]
            termios.tcsetattr(descriptor, termios.TCSANOW, settings)
        except termios.error as error:
            os.close(descriptor)
            raise LinkError(f"{device} is no serial line: {error}. Give one, for instance /dev/ttyTHS1.") from error
        return cls(descriptor, str(device))

    @property
    def skipped_byte(self) -> int:
        """Received bytes that belonged to no packet."""
        return self._splitter.skipped_byte

    def send(self, packet: bytes) -> None:
        """Write the whole packet; raises LinkError where the other side has gone or takes nothing for some seconds."""
        left = memoryview(packet)
        while left:
            if not select.select([], [self._descriptor], [], SEND_S)[1]:
                raise LinkError(f"{self._name} has taken nothing for {SEND_S:.0f} s. Check the other side.")
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise LinkError(f"{self._name} is broken: {error}. Connect again.") from error

    def receive(self, timeout_s: float = 0.0) -> bytes | None:
        """The next packet; None where none is complete in time, or where the other side has gone."""
        until_s = time.monotonic() + timeout_s
        while (packet := self._splitter.take()) is None and not self.ended:
            left_s = max(0.0, until_s - time.monotonic())
            if not select.select([self._descriptor], [], [], left_s)[0]:
                break
            self._read()
        if packet is None and self._splitter.waiting and time.monotonic() - self._last_byte_s > STALLED_S:
            self._splitter.skip()
        return packet

    def fileno(self) -> int:
        """The descriptor, for ``select``."""
        return self._descriptor

    @property
    def buffered(self) -> bool:
        """Some bytes have been read and not given out."""
        return self._splitter.waiting

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, CHUNK_BYTE)
        except BlockingIOError:
            return
        except OSError:  # reset by the other side, or a pty whose other end is closed
            data = b""
        self.ended = not data
        self._last_byte_s = time.monotonic()
        self._splitter.insert(data)

    def close(self) -> None:
        """Close the descriptor."""
        if self._owner is not None:
            self._owner.close()
        else:
            os.close(self._descriptor)


class TcpServer:
    """Waits for one peer after the other; a link to whoever is connected now."""

    def __init__(self, address: str) -> None:
        try:
            self._listener = socket.create_server(parse_address(address))
        except OSError as error:
            raise LinkError(f"Cannot use {address}: {error}. Choose another address, or port 0 for any.") from error
        self._listener.setblocking(False)
        self._peer: StreamLink | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._listener.getsockname()[:2]
        return str(host), int(port)

    def send(self, packet: bytes) -> None:
        """Send to the peer; without one the packet is lost, as it would be in space."""
        if self._peer is not None:
            try:
                self._peer.send(packet)
            except LinkError:
                self._drop()

    def receive(self, timeout_s: float = 0.0) -> bytes | None:
        """The next packet of the peer; a new peer takes the place of the last."""
        busy = self._peer is not None and self._peer.buffered
        watched: list[socket.socket | StreamLink] = [self._listener, *([self._peer] if self._peer else [])]
        if self._listener in select.select(watched, [], [], 0.0 if busy else timeout_s)[0]:
            self._drop()
            connection, _ = self._listener.accept()
            self._peer = StreamLink(connection.fileno(), "the peer", owner=connection)
        if self._peer is None:
            return None
        packet = self._peer.receive()
        if packet is None and self._peer.ended:
            self._drop()
        return packet

    def close(self) -> None:
        """Close the connection and stop listening."""
        self._drop()
        self._listener.close()

    def _drop(self) -> None:
        if self._peer is not None:
            self._peer.close()
            self._peer = None
