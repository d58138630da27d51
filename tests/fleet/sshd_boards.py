"""Boards to log in to: an sshd each on 127.0.0.1, with a home, keys and processes of its own.

Each runs in its own process namespace, so that killing it is a power cut: nothing of it goes on. Nothing is
installed on this machine; an unpacked package, a private mount namespace and high ports do.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Board", "UnavailableError", "ansible", "check", "fetch_sshd", "until"]

_SETTINGS = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/client_key.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
Subsystem sftp internal-sftp
SetEnv {environment}
"""
#: What sshd asks of a system when it is root: a user and a folder.
_AS_ROOT = """\
mount -t tmpfs -o mode=755 none /run && mkdir -m 755 /run/sshd && mount --bind "$0/passwd" /etc/passwd &&
mount --bind "$0/shadow" /etc/shadow && exec "$@"
"""


def _isolated() -> list[str]:
    """Command in front of another that gives it processes of its own, which die with it."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-current-user"]
    return ["unshare", *user, "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


class UnavailableError(RuntimeError):
    """No board can be made here."""


def check() -> None:
    """Look for what a board is made of.

    Raises:
        UnavailableError: Something is missing.
    """
    tools = ("ssh", "ssh-keygen", "unshare", "flock", "setsid", "timeout")
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        raise UnavailableError(f"{', '.join(missing)} not found")
    _run(*_isolated(), "true")


def fetch_sshd(work: Path) -> Path:
    """This machine's sshd, or one unpacked into *work*."""
    if Path("/usr/sbin/sshd").exists():
        return Path("/usr/sbin/sshd")
    root = work / "sshd"
    if not (root / "usr/sbin/sshd").exists():
        archives = work / "archives"
        archives.mkdir(exist_ok=True)
        _run("apt-get", "-q", "download", "openssh-server", "libwrap0", cwd=archives)
        for archive in archives.glob("*.deb"):
            _run("dpkg", "-x", archive, root)
        shutil.rmtree(archives)
    return root / "usr/sbin/sshd"


def ansible(work: Path) -> Path:
    """``ansible-playbook``, in an environment of its own."""
    command = work / "ansible/bin/ansible-playbook"
    if not command.exists():
        _run(sys.executable, "-m", "venv", work / "ansible")
        _run(work / "ansible/bin/python", "-m", "pip", "install", "-q", "ansible-core>=2.14")
    return command


@dataclass
class Board:
    """A machine that can be logged in to.

    Attributes:
        name: In the inventory.
        folder: Everything of it lies below.
        sshd: The program.
    """

    name: str
    folder: Path
    sshd: Path
    port: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True)
        for key in ("host_key", "client_key"):
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / key)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        public = (self.folder / "host_key.pub").read_text()
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {public}")
        passwd = [x for x in Path("/etc/passwd").read_text().splitlines() if x[:5] != "sshd:"]
        passwd.append("sshd:x:64999:65534::/run/sshd:/usr/sbin/nologin")
        (self.folder / "passwd").write_text("\n".join(passwd) + "\n")
        (self.folder / "shadow").write_text("root:*:19000:0:99999:7:::\n")
        # a board's pip finds what this machine's finds
        passed = {k: v for k, v in os.environ.items() if k.startswith("PIP_")}
        passed["PATH"] = f"{Path(sys.executable).resolve().parent}:/usr/sbin:/usr/bin:/sbin:/bin"
        settings = _SETTINGS.format(
            port=self.port,
            folder=self.folder,
            environment=" ".join(f'"{k}={v}"' for k, v in {**passed, "HOME": self.home}.items()),
        )
        (self.folder / "sshd_config").write_text(settings)

    @property
    def home(self) -> Path:
        """Its user's home."""
        return self.folder / "home"

    @property
    def jobs(self) -> Path:
        """Where the playbook measures."""
        return self.home / ".edgecv-fleet/jobs"

    @property
    def inventory(self) -> str:
        """Its line."""
        options = (
            f"-F /dev/null -o UserKnownHostsFile={self.folder}/known_hosts -o IdentitiesOnly=yes"
        )
        return (
            f"{self.name} ansible_host=127.0.0.1 ansible_port={self.port}"
            f" ansible_ssh_private_key_file={self.folder}/client_key ansible_ssh_common_args='{options}'"
        )

    def start(self) -> None:
        """Power on."""
        words = [str(self.sshd), "-D", "-e", "-f", str(self.folder / "sshd_config")]
        if os.geteuid() == 0:
            words = ["sh", "-c", _AS_ROOT, str(self.folder), *words]
        libraries = (self.sshd.parents[1] / "lib").glob("*-linux-gnu*")
        with (self.folder / "sshd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_isolated(), *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, libraries))},
            )
        until(self._answers, f"sshd of {self.name}", (self.folder / "sshd.log").read_text)

    def power_off(self) -> None:
        """Kill sshd, its sessions, and everything that they started."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            until(lambda: not self._answers(), f"the end of {self.name}")

    def cut_connections(self) -> None:
        """Kill the sessions; what was detached from them goes on."""
        assert self._process is not None
        [listener] = _children(self._process.pid)
        sessions = [x for x in _children(listener) if _words(x)[0].startswith("sshd: ")]
        assert sessions, f"nobody is logged in to {self.name}"
        for session in sessions:
            for child in _children(session):
                os.kill(child, signal.SIGKILL)
            os.kill(session, signal.SIGKILL)

    def measures(self) -> bool:
        """A measurement runs right now."""
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # some end meanwhile
                here = (process / "cwd").readlink().is_relative_to(self.jobs)
                if here and _words(int(process.name))[2:4] == ["bench", "run"]:
                    return True
        return False

    def logins(self) -> int:
        """How often somebody logged in."""
        return (self.folder / "sshd.log").read_text().count("Accepted publickey")

    def _answers(self) -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", self.port)) == 0


def until(
    happened: Callable[[], bool], what: str, say: Callable[[], str] = str, *, timeout_s: float = 120
) -> None:
    """Wait for something."""
    end = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < end, f"{what} did not come in {timeout_s:.0f} s: {say()}"
        time.sleep(0.05)


def _children(pid: int) -> list[int]:
    return [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _words(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")


def _run(*words: str | Path, cwd: Path | None = None) -> None:
    try:
        subprocess.run(
            list(map(str, words)),
            check=True,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=cwd,
        )
    except FileNotFoundError as error:
        raise UnavailableError(f"{words[0]} not found") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr[-2000:]
        raise UnavailableError(
            f"'{words[0]}' ended with code {error.returncode}: {said}"
        ) from error
