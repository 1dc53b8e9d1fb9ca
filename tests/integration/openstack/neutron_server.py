"""A real neutron-server with ML2 on this machine: no Keystone, no message broker, its database a file.

It comes from PyPI into an environment of its own, not from the distribution: there neutron-server takes about
200 packages, asks for passwords, starts services when it is installed, and from Debian 13 on has no Linux
bridges any more. ``requirements.txt`` pins the newest neutron that has them.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import aside
import msgspec
import requests

HERE = Path(__file__).parent
STARTS_WITHIN = 60.0

REPLACED = """\
[ml2]
mechanism_drivers = {drivers}

[experimental]
linuxbridge = true
"""
"""Read after the generated file, which stays as it is: icehouse's driver ``mlnx`` has left neutron; what has
become of it is networking-mlnx's ``mlnx_infiniband``. Linux bridges are nobody's care any more, hence
experimental."""

SERVER = """\
[DEFAULT]
bind_host = 127.0.0.1
bind_port = {port}
core_plugin = ml2
service_plugins =
auth_strategy = noauth
transport_url = fake://
api_paste_config = {home}/venv/etc/neutron/api-paste.ini
state_path = {folder}/state
api_workers = 1
rpc_workers = 0
rpc_state_report_workers = 0
notify_nova_on_port_status_changes = False
notify_nova_on_port_data_changes = False

[database]
connection = sqlite:///{folder}/neutron.sqlite

[oslo_concurrency]
lock_path = {folder}/lock
"""

TABLES = """\
import sys
import sqlalchemy
from neutron.db.migration.models import head
head.get_metadata().create_all(sqlalchemy.create_engine(sys.argv[1]))
"""
"""Neutron's migrations don't run on SQLite; its models make the same tables."""


class Neutron(msgspec.Struct, frozen=True):
    """A server that answers, and the file in which it says what it does."""

    url: str
    log: Path


def installed() -> Path:
    """Where neutron is: ``venv``, and ``empty.sqlite``, its tables with nothing in them."""
    requirements = HERE / "requirements.txt"

    def install(folder: Path) -> None:
        aside.call([sys.executable, "-m", "venv", folder / "venv"])
        pip = [python(folder), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--retries", "1"]
        aside.call([*pip, "--no-deps", "-r", requirements])
        aside.call([python(folder), "-W", "ignore", "-c", TABLES, f"sqlite:///{folder}/empty.sqlite"])

    says = "\n".join([str(aside.ASIDE), sys.version, requirements.read_text(), TABLES])
    return aside.kept("neutron", says, install)


def python(home: Path) -> Path:
    """The interpreter that neutron is installed for."""
    return home / "venv/bin/python"


@contextmanager
def neutron_server(folder: Path, ml2: str) -> Iterator[Neutron]:
    """A server that has read ``ml2``, the text of an ml2_conf.ini, and knows no network yet."""
    home = installed()
    port = _free_port()
    replaced = REPLACED.format(drivers=ml2_drivers(ml2))
    files = {"neutron.conf": SERVER.format(port=port, home=home, folder=folder)}
    files |= {"ml2_conf.ini": ml2, "replaced.conf": replaced}
    shutil.copyfile(home / "empty.sqlite", folder / "neutron.sqlite")
    neutron = Neutron(f"http://127.0.0.1:{port}", folder / "server.log")
    with neutron.log.open("wb") as log:
        server = subprocess.Popen(
            _command(home, folder, files),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=folder,
        )
    try:
        _wait(server, neutron)
        yield neutron
    finally:
        _end(server)


def ml2_drivers(ml2: str) -> str:
    """The file's mechanism drivers, in its order, the one that is gone replaced."""
    line = next(line for line in ml2.splitlines() if line.replace(" ", "").startswith("mechanism_drivers="))
    drivers = [driver.strip() for driver in line.split("=")[1].split(",")]
    return ",".join("mlnx_infiniband" if driver == "mlnx" else driver for driver in drivers)


def _command(home: Path, folder: Path, files: Mapping[str, str]) -> list[str | Path]:
    """``setpriv`` ends it with this process, however that ends."""
    options: list[str | Path] = []
    for name, text in files.items():
        (folder / name).write_text(text)
        options += ["--config-file", folder / name]
    start = ["setpriv", "--pdeathsig", "TERM", python(home), "-W", "ignore"]
    return [*start, home / "venv/bin/neutron-server", *options]


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _wait(server: subprocess.Popen[bytes], neutron: Neutron) -> None:
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until and server.poll() is None:
        try:
            requests.get(f"{neutron.url}/v2.0/networks", timeout=STARTS_WITHIN).raise_for_status()
        except requests.ConnectionError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("neutron-server did not start:\n" + neutron.log.read_text()[-5000:])


def _end(server: subprocess.Popen[bytes]) -> None:
    """SIGTERM lets its workers end; what is left of its process group is ended after that."""
    server.terminate()
    with suppress(subprocess.TimeoutExpired):
        server.wait(10)
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()
