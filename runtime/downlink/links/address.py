"""Links by address: ``HOST:PORT`` is UDP; ``tcp:``, ``serial:``, ``folder:`` and plug-ins' names say what else."""

from __future__ import annotations

from pathlib import Path

from ...errors import AddressError
from ...plugins import find_plugin
from .base import Link
from .folder import SUFFIX, FolderLink
from .stream import StreamLink, TcpServer
from .udp import UdpLink

FORMS = "HOST:PORT, tcp:HOST:PORT, serial:DEVICE, serial:DEVICE@BAUD or folder:PATH"


def board_link(address: str) -> Link:
    """The spacecraft's end of the link that ``address`` names. Raises LinkError."""
    kind, rest = _split(address)
    if kind == "tcp":
        return StreamLink.connect_tcp(rest)
    if kind == "serial":
        return _serial(rest)
    if kind == "folder":
        return FolderLink(Path(rest) / "down", Path(rest) / "up")
    name, _, argument = address.partition(":")
    if (make := find_plugin("links", name)) is not None:
        link: Link = make(argument)
        return link
    return UdpLink.connect(rest)


def station_link(address: str) -> tuple[Link, str]:
    """The station's end, and the address to give to the spacecraft: port 0 takes a free one. Raises LinkError."""
    kind, rest = _split(address)
    if kind == "tcp":
        server = TcpServer(rest)
        host, port = server.address
        return server, f"tcp:{host}:{port}"
    if kind == "serial":
        return _serial(rest), address
    if kind == "folder":
        return _station_folder(Path(rest)), address
    link = UdpLink.bind(rest)
    host, port = link.address
    return link, f"{host}:{port}"


def _station_folder(folder: Path) -> FolderLink:
    """Packets come in ``folder/down`` and answers go to ``folder/up``; a spacecraft's outbox itself is refused."""
    if not (folder / "down").is_dir() and any(folder.glob(f"*{SUFFIX}")):
        raise AddressError(
            f"{folder} holds packets itself, as a spacecraft's outbox does. Read them with: subsolar ground --from "
            f"{folder}. To listen, let the mission's [radio] have outbox = {folder / 'down'} and uplink = "
            f"{folder / 'up'}."
        )
    return FolderLink(folder / "up", folder / "down")


def _serial(text: str) -> StreamLink:
    device, _, baud = text.partition("@")
    if baud and not baud.isdigit():
        raise AddressError(f"{baud!r} is no baud rate. Write serial:DEVICE@115200.")
    return StreamLink.open_serial(Path(device), baud=int(baud or 115200))


def _split(address: str) -> tuple[str, str]:
    kind, _, rest = address.partition(":")
    if kind in ("tcp", "serial", "folder", "udp"):
        if not rest:
            raise AddressError(f"{address!r} is no address. Write {FORMS}.")
        return kind, rest
    return "udp", address
