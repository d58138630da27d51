"""Debian roots of other processors, run by qemu's user-mode emulation.

No mount, no chroot, no change to this machine's packages: every path under the root shadows the host's
(``qemu -L``), so that the root's /proc and /sys are the board's. What emulation shows: which instructions
a core has, and what the kernels that are chosen for it compute. What it does not: time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

__all__ = ["BOARDS", "Board", "Root", "UnavailableError", "unavailable"]

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_OLD = "fp asimd evtstrm crc32 cpuid"
_NEW = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"


class UnavailableError(RuntimeError):
    """Debian's mirror or the package index does not answer: nothing is said of edgecv."""


@dataclass(frozen=True)
class Board:
    """What a board's kernel tells.

    Attributes:
        model: Of the device tree.
        core: For qemu.
        part: Of Arm's numbers; the engines choose their kernels by it.
        variant: Of the core.
        revision: Of the core.
        features: Of /proc/cpuinfo.
        kilohertz: Lowest and highest frequency.
        kilobytes: Of memory.
        code: Raspberry Pi revision.
    """

    model: str
    core: str
    part: int
    variant: int
    revision: int
    features: str
    kilohertz: tuple[int, int]
    kilobytes: int
    code: str


BOARDS = {
    "zero2": Board(
        "Raspberry Pi Zero 2 W Rev 1.0",
        "cortex-a53",
        0xD03,
        0,
        4,
        _OLD,
        (600_000, 1_000_000),
        429_000,
        "902120",
    ),
    "pi4": Board(
        "Raspberry Pi 4 Model B Rev 1.4",
        "cortex-a72",
        0xD08,
        0,
        3,
        _OLD,
        (600_000, 1_800_000),
        3_884_340,
        "c03114",
    ),
    "pi5": Board(
        "Raspberry Pi 5 Model B Rev 1.0",
        "cortex-a76",
        0xD0B,
        4,
        1,
        _NEW,
        (1_500_000, 2_400_000),
        8_245_000,
        "d04170",
    ),
}


def unavailable() -> str:
    """Why no root can be built here; empty when one can."""
    missing = [tool for tool in ("apt-get", "dpkg", "tar") if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} not found: this needs a Debian machine"
    if not _KEYRING.exists():
        return f"{_KEYRING} does not exist (package debian-archive-keyring)"
    if _mirror() is None:
        return "apt has no Debian mirror in /etc/apt"
    return ""


def _mirror() -> str | None:
    """The Debian mirror that this machine's apt uses."""
    lists = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for path in lists:
        if not path.is_file():
            continue
        for line in path.read_text(errors="replace").splitlines():
            words = line.split()
            if line.startswith("URIs:") and len(words) > 1 and "security" not in words[1]:
                return words[1]
            if line.startswith("deb ") and "security" not in line:
                address = next((w for w in words if "://" in w), None)
                if address:
                    return address
    return None


def _host_suite() -> str:
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    return "bookworm"


@dataclass
class Root:
    """A Debian system of another architecture in a folder.

    Attributes:
        folder: Everything lies below it.
        suite: ``"bookworm"`` (Python 3.11) or ``"trixie"`` (3.13).
        arch: ``"arm64"`` or ``"armhf"``.
        emulated_core: Replaces the board's core (negative controls).
        name: Of a view: the same system with another board's /proc and /sys.
    """

    folder: Path
    suite: str = "bookworm"
    arch: str = "arm64"
    emulated_core: str | None = None
    name: str = ""
    _board: Board = field(default_factory=lambda: BOARDS["pi4"])

    @property
    def root(self) -> Path:
        """The root folder itself."""
        return self.folder / (f"root-{self.name}" if self.name else "root")

    @property
    def site(self) -> Path:
        """Where pip installs."""
        return self.root / "site"

    @property
    def python_version(self) -> str:
        """Of the suite."""
        return "3.13" if self.suite == "trixie" else "3.11"

    def build(self) -> None:
        """Fetch the emulator and the packages, and unpack them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._fetch_emulator()
        wanted = [f"python{self.python_version}-minimal", f"libpython{self.python_version}-stdlib"]
        wanted += ["libstdc++6", "zlib1g"]
        if self.arch == "armhf":
            # no wheels of NumPy and Pillow for 32-bit Arm
            wanted += ["libatomic1", "python3-numpy", "python3-pil"]
        state = self._apt_state(self.suite, self.arch)
        self._apt(state, self.arch, "-y", "-d", "install", *wanted)
        for name in ("usr/bin", "usr/sbin", "usr/lib", "proc", "sys", "tmp", "site"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        for name in ("bin", "sbin", "lib"):
            link = self.root / name
            if not link.exists():
                link.symlink_to(f"usr/{name}")
        for package in sorted((state / "cache/archives").glob("*.deb")):
            self._unpack(package)
            package.unlink()
        self._link_linear_algebra()
        self._wrap_python()
        self.board("pi4")

    def view(self, board: str) -> Root:
        """The same system as another board sees it; views can be used at the same time."""
        other = replace(self, name=board)
        other.root.mkdir(exist_ok=True)
        for entry in self.root.iterdir():
            link = other.root / entry.name
            if entry.name not in ("proc", "sys") and not link.is_symlink():
                link.symlink_to(Path("..") / self.root.name / entry.name)
        other.board(board)
        return other

    def _wrap_python(self) -> None:
        """In Python's place, a script that starts the emulator: processes that it starts are emulated, too."""
        place = self.root / f"usr/bin/python{self.python_version}"
        real = place.with_name(f"{place.name}.{self.arch}")
        if not real.exists():
            place.rename(real)
        partial = place.with_suffix(".part")
        partial.write_text(f'#!/bin/sh\nexec "{self._emulator}" -0 "$0" "{real}" "$@"\n')
        partial.chmod(0o755)
        partial.rename(place)

    def board(self, name: str) -> None:
        """Make /proc and /sys those of a board."""
        self._board = board = BOARDS[name]
        for folder in ("proc", "sys"):
            shutil.rmtree(self.root / folder, ignore_errors=True)
        files = {
            "sys/firmware/devicetree/base/model": f"{board.model}\x00",
            "sys/firmware/devicetree/base/compatible": "raspberrypi,fake\x00brcm,fake\x00",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": "48650\n",
        }
        midr = 0x410F0000 | board.variant << 20 | board.part << 4 | board.revision
        blocks = []
        for number in range(4):
            blocks.append(
                f"processor\t: {number}\nBogoMIPS\t: 108.00\nFeatures\t: {board.features}\n"
                "CPU implementer\t: 0x41\nCPU architecture: 8\n"
                f"CPU variant\t: {board.variant:#x}\nCPU part\t: {board.part:#x}\n"
                f"CPU revision\t: {board.revision}\n\n"
            )
            cpu = f"sys/devices/system/cpu/cpu{number}"
            files |= {
                f"{cpu}/regs/identification/midr_el1": f"{midr:#018x}\n",
                f"{cpu}/cpufreq/scaling_governor": "ondemand\n",
                f"{cpu}/cpufreq/cpuinfo_min_freq": f"{board.kilohertz[0]}\n",
                f"{cpu}/cpufreq/cpuinfo_max_freq": f"{board.kilohertz[1]}\n",
                f"{cpu}/cpufreq/scaling_cur_freq": f"{board.kilohertz[1]}\n",
                f"{cpu}/cpufreq/scaling_max_freq": f"{board.kilohertz[1]}\n",
                # what is missing here would be read from this machine
                f"{cpu}/cpu_capacity": "1024\n",
                f"{cpu}/topology/physical_package_id": "0\n",
                f"{cpu}/topology/core_id": f"{number}\n",
                f"{cpu}/topology/core_siblings_list": "0-3\n",
                f"{cpu}/topology/thread_siblings_list": f"{number}\n",
            }
        files |= {f"sys/devices/system/cpu/{n}": "0-3\n" for n in ("possible", "present", "online")}
        files |= {
            "proc/meminfo": f"MemTotal: {board.kilobytes} kB\nSwapTotal: 0 kB\n",
            "proc/sys/kernel/arch": "aarch64\n",
            "proc/sys/kernel/osrelease": "6.6.31+rpt-rpi-v8\n",
        }
        files["proc/cpuinfo"] = "".join(blocks) + (
            f"Revision\t: {board.code}\nSerial\t\t: 0000000000000000\nModel\t\t: {board.model}\n"
        )
        for path, text in files.items():
            place = self.root / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)

    def python(
        self, *arguments: str | Path, timeout_s: float = 600, path: str = "", direct: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run the root's Python under emulation.

        Args:
            *arguments: Of Python.
            timeout_s: Longest time.
            path: More of PYTHONPATH.
            direct: Without the script in between; what this starts in turn is then not emulated.
        """
        paths = [str(self.site), path]
        if self.arch == "armhf":
            paths.append(str(self.root / "usr/lib/python3/dist-packages"))
        core = "cortex-a15" if self.arch == "armhf" else self._board.core
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))},
            "QEMU_CPU": self.emulated_core or core,
            "QEMU_LD_PREFIX": str(self.root),
            "PYTHONPATH": os.pathsep.join(p for p in paths if p),
            "PYTHONNOUSERSITE": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        interpreter = self.root / f"usr/bin/python{self.python_version}"
        started = [str(self._emulator), f"{interpreter}.{self.arch}"] if direct else [interpreter]
        return subprocess.run(
            [*started, *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
            # not the checkout: with -c, Python imports from where it is started
            cwd=self.folder,
        )

    def pip(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """The root's own pip: its tags and markers are the board's, not this machine's."""
        pip = self.folder / "pip"
        if not pip.exists():
            wheels = self.folder / "pip-wheel"
            _run(
                sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", wheels, "pip>=25"
            )
            _run(sys.executable, "-m", "zipfile", "-e", next(wheels.glob("pip-*.whl")), pip)
        # pip looks into the interpreter's own file for the float ABI
        return self.python(
            "-m", "pip", "--disable-pip-version-check", *arguments, path=str(pip), direct=True
        )

    def install(self, wheel: Path, *requirements: str, extras: str = "") -> None:
        """Install into the root with its own pip, binary wheels only.

        Args:
            wheel: Of edgecv; it replaces one that is there.
            *requirements: Engines.
            extras: Of the wheel, e.g. ``"[litert]"``.
        """
        # an older root keeps its packages, but never its edgecv
        for stale in self.site.glob("edgecv*"):
            shutil.rmtree(stale)
        done = self.pip(
            "install", "-q", "--no-compile", "--only-binary=:all:", "--target", self.site,
            *(("--no-deps",) if self.arch == "armhf" else ()), f"{wheel}{extras}", *requirements,
        )  # fmt: skip
        if done.returncode:
            said = f"{done.stdout}{done.stderr}"
            network = any(
                word in said for word in ("Connection", "No matching distribution", "Timeout")
            )
            raise (UnavailableError if network else RuntimeError)(f"pip in the root failed: {said}")

    @property
    def _emulator(self) -> Path:
        return self.folder / ("qemu-arm" if self.arch == "armhf" else "qemu-aarch64")

    def _fetch_emulator(self) -> None:
        if self._emulator.exists():
            return
        suite = _host_suite()
        host = subprocess.run(
            ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
        ).stdout.strip()
        state = self._apt_state(suite, host)
        # static in its own package until Debian 12, in qemu-user since
        package = "qemu-user-static" if suite in ("bullseye", "bookworm") else "qemu-user"
        member = f"./usr/bin/{self._emulator.name}" + ("-static" if "static" in package else "")
        self._apt(state, host, "download", package)
        [archive] = state.glob(f"{package}_*.deb")
        partial = self._emulator.with_suffix(".part")
        with (
            partial.open("wb") as file,
            subprocess.Popen(
                ["dpkg", "--fsys-tarfile", archive], stdout=subprocess.PIPE
            ) as unpacked,
        ):
            subprocess.run(["tar", "xO", member], stdin=unpacked.stdout, stdout=file, check=True)
        archive.unlink()
        partial.chmod(0o755)
        partial.rename(self._emulator)

    def _apt_state(self, suite: str, arch: str) -> Path:
        """An apt of our own, with its lists fetched."""
        state = self.folder / f"apt-{suite}-{arch}"
        for name in ("lists/partial", "cache/archives/partial"):
            (state / name).mkdir(parents=True, exist_ok=True)
        (state / "status").touch()
        source = f"deb [signed-by={_KEYRING}] {_mirror()} {suite} main\n"
        (state / "sources.list").write_text(source)
        self._apt(state, arch, "update")
        return state

    def _apt(self, state: Path, arch: str, *words: str) -> None:
        settings = {
            "APT::Architecture": arch,
            "APT::Architectures::": arch,
            "Dir::State": state,
            "Dir::State::status": state / "status",
            "Dir::Etc::sourcelist": state / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Cache": state / "cache",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "APT::Install-Recommends": "false",
            "Acquire::Retries": "3",
        }
        options = [x for key, value in settings.items() for x in ("-o", f"{key}={value}")]
        _run("apt-get", "-q", *options, *words, cwd=state)

    def _unpack(self, package: Path) -> None:
        with subprocess.Popen(
            ["dpkg", "--fsys-tarfile", package], stdout=subprocess.PIPE
        ) as unpacked:
            subprocess.run(
                ["tar", "-x", "-C", self.root, "--keep-directory-symlink"],
                stdin=unpacked.stdout,
                check=True,
            )

    def _link_linear_algebra(self) -> None:
        """What update-alternatives would do for Debian's NumPy."""
        for name in ("blas", "lapack"):
            for library in (self.root / "usr/lib").glob(f"*/{name}/lib{name}.so.3"):
                link = library.parent.parent / library.name
                if not link.exists():
                    link.symlink_to(f"{name}/{library.name}")


def _run(*words: str | Path, cwd: Path | None = None) -> None:
    done = subprocess.run(
        list(map(str, words)),
        capture_output=True,
        text=True,
        errors="replace",
        cwd=cwd,
        check=False,
    )
    if done.returncode:
        tail = (done.stdout + done.stderr)[-2000:]
        failed = UnavailableError if words[0] == "apt-get" or "download" in words else RuntimeError
        raise failed(f"'{' '.join(map(str, words))}' ended with code {done.returncode}: {tail}")
