"""Whether a window can be opened here: a display is named, and something answers at its address."""

import os
import re
import socket
import sys

X11_PORT = 6000
SECONDS = 2.0  # a display on another machine may take that long


def has_display() -> bool:
    """Return whether the display that the environment names, X11 or Wayland, takes connections."""
    if sys.platform in ("darwin", "win32"):
        return True
    return _answers_wayland(os.environ.get("WAYLAND_DISPLAY", "")) or _answers_x11(os.environ.get("DISPLAY", ""))


def _answers_wayland(name: str) -> bool:
    path = os.path.join(os.environ.get("XDG_RUNTIME_DIR", ""), name)  # an absolute name stays as it is
    return bool(name) and _answers(socket.AF_UNIX, path)


def _answers_x11(name: str) -> bool:
    """Ask at the address of host:number.screen; without a host it is a socket of this machine."""
    match = re.fullmatch(r"(.*):(\d{1,5})(\.\d+)?", name)
    if not match:
        return False
    host, number = match[1], int(match[2])
    if host not in ("", "unix"):
        return _answers(socket.AF_INET, (host, X11_PORT + number))
    path = f"/tmp/.X11-unix/X{number}"
    return _answers(socket.AF_UNIX, path) or _answers(socket.AF_UNIX, f"\0{path}")


def _answers(family: socket.AddressFamily, address: str | tuple[str, int]) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(SECONDS)
        try:
            client.connect(address)
        except (OSError, OverflowError, UnicodeError):  # the last two for names that make no address
            return False
    return True
