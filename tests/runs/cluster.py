"""A SLURM of one machine for tests: munged, slurmctld and two slurmd, which play two nodes with two GPUs each.

Everything that it writes is in one folder, its ports are free ones, and it ends with the test. It needs no root. The
nodes claim more cores and memory than the machine may have, and GPUs that do not exist, so that SLURM really handles
what a job asks for. There is no accounting database.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel")
PACKAGES = ("munge", "slurm-wlm")
PLUGINS = ("snakemake-executor-plugin-slurm==2.8.0", "snakemake-executor-plugin-slurm-jobstep==0.6.1")
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=5,bf_interval=5
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
GresTypes=gpu
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={node1} CPUs=8 RealMemory=64000 Gres=gpu:2
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={node2} CPUs=8 RealMemory=64000 Gres=gpu:2
PartitionName=all Nodes=node1,node2 Default=YES MaxTime=INFINITE State=UP
"""
GRES = "Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n"  # a GPU is a device; no job opens these as one

# The plugin's jobs call srun without the variables of SLURM, so without SLURM_CONF.
SRUN = """#!/bin/sh
SLURM_CONF={folder}/slurm.conf exec {srun} "$@"
"""


def missing() -> list[str]:
    """Programs that a cluster needs and this machine does not have."""
    return [name for name in PROGRAMS if find(name) is None]


def find(program: str) -> str | None:
    """Where a program is; daemons are in folders that not every PATH has."""
    return shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))


def install() -> None:
    """Install Debian's packages; needs root and a network."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *PACKAGES]):
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=900)


def install_plugins(folder: Path) -> None:
    """Install the executor plugin into a folder of its own, so that the environment stays as it is."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *PLUGINS]
    subprocess.run(command, check=True, capture_output=True, timeout=300)


class Cluster:
    """The daemons, and the environment in which the commands of SLURM find them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemons: list[subprocess.Popen] = []
        path = os.pathsep.join([str(folder / "bin"), os.environ.get("PATH", "")])
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}

    def start(self) -> None:
        """Start all daemons and wait until both nodes take jobs; a RuntimeError has the ends of their logs."""
        for name in ("state", "spool.node1", "spool.node2", "bin"):
            (self.folder / name).mkdir(parents=True)
        self.folder.chmod(0o755)
        controller, node1, node2 = free_ports(3)
        values = {"host": socket.gethostname().split(".")[0], "user": getpass.getuser(), "folder": self.folder}
        conf = CONF.format(controller=controller, node1=node1, node2=node2, **values)
        (self.folder / "slurm.conf").write_text(conf, encoding="utf-8")
        (self.folder / "gres.conf").write_text(GRES, encoding="utf-8")
        srun = self.folder / "bin" / "srun"
        srun.write_text(SRUN.format(folder=self.folder, srun=find("srun")), encoding="utf-8")
        srun.chmod(0o755)
        self._start_munge()
        self._daemon("slurmctld", "-D")
        for node in ("node1", "node2"):
            self._daemon("slurmd", "-D", "-N", node)
        self._wait(lambda: self.run("sinfo", "-h", "-o", "%D %t").stdout.split() == ["2", "idle"], "the nodes")

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        files = {name: self.folder / f"munge.{name}" for name in ("socket", "pid", "log", "seed")}
        flags = [f"--key-file={key}", f"--socket={files['socket']}"]
        flags += [f"--{name}-file={files[name]}" for name in ("pid", "log", "seed")]
        self._daemon("munged", "--foreground", "--force", "--num-threads=2", *flags)
        self._wait(files["socket"].exists, "munged")

    def _daemon(self, name: str, *flags: str) -> None:
        with open(self.folder / f"{name}.out", "ab") as out:
            pipes = {"stdout": out, "stderr": out, "stdin": subprocess.DEVNULL, "start_new_session": True}
            command = [find(name) or name, *flags]
            self.daemons.append(subprocess.Popen(command, **pipes, env=os.environ | self.environment))

    def _wait(self, ready, what: str) -> None:
        end = time.monotonic() + 60
        while not ready():
            dead = [daemon.args[0] for daemon in self.daemons if daemon.poll() is not None]
            if dead or time.monotonic() > end:
                logs = sorted([*self.folder.glob("*.out"), *self.folder.glob("*.log")])
                tails = [f"{log.name}: {log.read_text(encoding='utf-8', errors='replace')[-1500:]}" for log in logs]
                raise RuntimeError("\n".join([f"{what}: not ready; ended: {dead}", *tails]))
            time.sleep(0.3)

    def run(self, *command: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a command of SLURM."""
        environment = os.environ | self.environment
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=check)

    def jobs(self, rule: str, states: str = "RUNNING") -> list[str]:
        """Ids of the jobs of a rule that are running, or in other states."""
        lines = self.run("squeue", "-h", f"--states={states}", "-o", "%i %k").stdout.splitlines()
        return [line.split()[0] for line in lines if line.split()[1].startswith(f"rule_{rule}")]

    def record(self, job: str) -> dict[str, str]:
        """What SLURM knows of a job."""
        text = self.run("scontrol", "show", "job", job).stdout
        return dict(word.split("=", 1) for word in text.split() if "=" in word)

    def stop(self) -> None:
        """End all jobs and daemons."""
        with suppress(subprocess.TimeoutExpired):  # a cluster that has not come up does not answer
            self.run("scancel", "--user", getpass.getuser())
            end = time.monotonic() + 45  # SLURM kills after 30 s; without its daemons a job's own process would stay
            while self.run("squeue", "-h").stdout.strip() and time.monotonic() < end:
                time.sleep(0.5)
        for daemon in reversed(self.daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in reversed(self.daemons):
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nothing listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
