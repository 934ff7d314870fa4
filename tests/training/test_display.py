import socket
import sys

import pytest

from rucksac.training.display import X11_PORT, has_display

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a display, or none like it")


@pytest.fixture(autouse=True)
def no_display(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)


def test_a_wayland_display_is_there_as_long_as_it_answers(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-7")
    assert not has_display()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "wayland-7"))
        server.listen()
        assert has_display()
    assert not has_display()


def test_an_x11_display_of_another_machine_is_asked_at_its_port(monkeypatch):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        number = server.getsockname()[1] - X11_PORT
        monkeypatch.setenv("DISPLAY", f"127.0.0.1:{number}.0")
        assert has_display()
    assert not has_display()


def test_an_x11_display_of_this_machine_has_a_socket_with_its_number(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":77123")
    assert not has_display()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0/tmp/.X11-unix/X77123")
        server.listen()
        assert has_display()


@pytest.mark.parametrize("name", ["", "nonsense", ":", ":x", "no such host:0", "localhost:99999", "a..b:0"])
def test_what_names_no_display_is_none(name, monkeypatch):
    monkeypatch.setenv("DISPLAY", name)
    assert not has_display()
