"""A `python` that starts at once, because its processes are forks of one that has imported the large packages.

A job of a tiny run spends most of its time on imports: 4 s for torch and transformers, 8 s with DeepSpeed. `python()`
is a program for such jobs. It hands its arguments, folder, environment and open files to a server, which forks a
process for each. The program ends as that process ends: with its status, or by SIGKILL. The forks import Lander
themselves, so each runs the code that its PYTHONPATH names. Commands of other modules go to the real Python.

A variable that a large package reads when it is imported cannot differ between these processes.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
import warnings
from functools import cache
from pathlib import Path

CLIENT = """#!{python} -SE
import json, os, signal, socket, sys
arguments = sys.argv[2:] if sys.argv[1:2] == ["-u"] else sys.argv[1:]
module = arguments[1].split(".")[0] if arguments[:1] == ["-m"] else ""
if module not in ("lander", "snakemake", "torch") and not arguments[:1][0].endswith("_finetune.py"):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
server = socket.socket(socket.AF_UNIX)
server.connect({path!r})
request = json.dumps([arguments, os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(request).to_bytes(8, "big")], [0, 1, 2])
server.sendall(request)
reply = server.makefile("r")
process = int(reply.readline())
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _frame: os.kill(process, number))
status = reply.readline()
if not status:
    os.kill(os.getpid(), signal.SIGKILL)
os._exit(int(status))
"""
PACKAGES = (
    *("torch", "torch.distributed.run", "deepspeed", "deepspeed.ops", "peft", "transformers", "datasets", "sacrebleu"),
    *("transformers.models.bloom.modeling_bloom", "transformers.tokenization_utils_tokenizers", "py3langid"),
    *("pandas", "pyarrow.parquet", "pydantic", "babel", "ftfy", "emoji", "regex", "jinja2"),
    *("matplotlib.figure", "matplotlib.backends.backend_svg", "snakemake.cli", "snakemake.workflow"),
    *("snakemake.executors.dryrun", "snakemake.executors.local", "snakemake.persistence.file"),
)


@cache
def python() -> str:
    """The program's path. The server starts here and ends with the tests."""
    folder = tempfile.TemporaryDirectory(prefix="warm-")  # a socket needs a short path
    atexit.register(folder.cleanup)
    path = Path(folder.name, "socket")
    program = Path(folder.name, "bin", "python")
    program.parent.mkdir()
    program.write_text(CLIENT.format(python=sys.executable, path=str(path)), encoding="utf-8")
    program.chmod(0o755)
    command = [sys.executable, __file__, str(path)]
    server = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True)
    atexit.register(server.wait)
    atexit.register(server.terminate)
    assert any(line == "ready\n" for line in server.stdout)  # DeepSpeed prints lines before
    return str(program)


def environment(code: Path | str = "") -> dict[str, str]:
    """An environment in which `python` is `python()`, on the code in a folder."""
    folders = [str(Path(program).parent) for program in (python(), sys.executable)]
    path = os.pathsep.join([*folders, os.environ.get("PATH", "")])
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(code), "PATH": path}


def serve(path: str) -> None:
    """Fork a process for each connection, for ever."""
    for name in PACKAGES:
        importlib.import_module(name)
    sys.executable = str(Path(path).parent / "bin" / "python")  # what forks start is warm too: jobs, ranks
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    own = sys.path[1:]
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            become(connection, own)
        connection.close()


def become(connection: socket.socket, paths: list[str]) -> None:
    """Be the process that a client asks for, and end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, files, _, _ = socket.recv_fds(connection, 8, 3)
    with connection.makefile("rb") as stream:
        arguments, folder, variables = json.loads(stream.read(int.from_bytes(size, "big")))
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    first = folder if arguments[0] == "-m" else str(Path(arguments[0]).parent)
    sys.path[:] = [first, *filter(None, variables.get("PYTHONPATH", "").split(os.pathsep)), *paths]
    process, leave = os.getpid(), os._exit
    connection.sendall(f"{process}\n".encode())

    def end(status: int) -> None:
        if os.getpid() == process:  # not a fork of it
            connection.sendall(f"{status}\n".encode())
        leave(status)

    os._exit = end  # several ranks end by it
    status = run(arguments)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    end(status)


def run(arguments: list[str]) -> int:
    """Run a module or a file as Python would; its exit status."""
    warnings.filterwarnings("ignore", message=".*found in sys.modules")  # runpy's, of modules that are imported already
    try:
        if arguments[0] == "-m":
            sys.argv = arguments[1:]
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = arguments
            runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    serve(sys.argv[1])
