"""A service of systemd's: readiness and watchdog are datagrams to a socket, and the unit is a text."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Final

__all__ = ["Watchdog", "notify", "unit"]

_UNIT: Final = """\
# Install: edgecv service-unit … | sudo tee /etc/systemd/system/edgecv-camera.service
#          sudo systemctl daemon-reload && sudo systemctl enable --now edgecv-camera
[Unit]
Description=edgecv camera
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
User={user}
# cameras belong to this group
SupplementaryGroups=video
# the watchdog is fed by the loop that answers frames, and a lost camera does not stop it
WatchdogSec={watchdog}
Restart=always
RestartSec=5
StateDirectory=edgecv-camera
WorkingDirectory=%S/edgecv-camera
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
LockPersonality=yes

[Install]
WantedBy=multi-user.target
"""


def notify(text: str, environment: Mapping[str, str] | None = None) -> bool:
    """Tell the service manager something, e.g. ``"READY=1"``.

    Returns:
        Whether there was one to tell.
    """
    address = (os.environ if environment is None else environment).get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto(text.encode(), address)
        except OSError:
            return False
    return True


class Watchdog:
    """Feeds systemd's watchdog from a loop; says that the service is ready with the first call.

    Args:
        environment: Where the manager's variables are; the process's own unless told otherwise.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment
        limit = self._environment.get("WATCHDOG_USEC", "")
        # half of the limit, as sd_watchdog_enabled(3) recommends
        self._every_ns = int(limit) * 500 if limit.isdigit() else 0
        self._next_ns = 0
        self._ready = False

    def __call__(self) -> None:
        """The loop is alive."""
        if not self._ready:
            self._ready = True
            notify("READY=1", self._environment)
        now = time.monotonic_ns()
        if self._every_ns and now >= self._next_ns:
            self._next_ns = now + self._every_ns
            notify("WATCHDOG=1", self._environment)


def unit(command: Sequence[str], *, user: str, watchdog_s: int = 30) -> str:
    """The text of a unit file.

    Args:
        command: Program, by its whole path, and arguments.
        user: Who runs it.
        watchdog_s: Seconds without a sign of life after which it is started anew.

    >>> text = unit(["/opt/bin/edgecv", "camera", "100% done"], user="pi")
    >>> [line for line in text.splitlines() if line.startswith("ExecStart=")]
    ['ExecStart=/opt/bin/edgecv camera "100%% done"']
    """
    return _UNIT.format(command=" ".join(map(_quoted, command)), user=user, watchdog=watchdog_s)


def _quoted(word: str) -> str:
    """A word as systemd reads it: % begins a specifier, $ a variable."""
    word = word.replace("%", "%%").replace("$", "$$")
    if word and not any(c in word for c in " \t\n\"'\\;"):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
