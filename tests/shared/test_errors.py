"""What the machine lacks is told as that, never as damage to a file; closed streams; one line for all of it."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from safetensors import SafetensorError

from lander import cli
from lander.shared import yamlfile
from lander.shared.errors import UserError, lacking, run_main

TORCH = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"
)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError(f"{TORCH} 400 bytes. Error code 12 (Cannot allocate memory)"), "not enough memory"),
        (RuntimeError("unable to mmap 4 bytes from file <x>: Cannot allocate memory (12)"), "not enough memory"),
        (SafetensorError("Cannot allocate memory (os error 12)"), "not enough memory"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "not enough memory"),
        (SystemError("error return without exception set"), "not enough memory"),
        (MemoryError(), "not enough memory"),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "not enough memory"),
        (pd.errors.ParserError("Error tokenizing data. C error: out of memory"), "not enough memory"),
        (pa.ArrowMemoryError("malloc of size 64 failed"), "not enough memory"),
        (torch.OutOfMemoryError("CUDA out of memory."), "not enough memory on the GPU"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE), "model.safetensors"), "too many open files"),
        (OSError(errno.ENFILE, os.strerror(errno.ENFILE)), "too many open files"),
        (RuntimeError("can't start new thread"), "no thread or process can be started"),
        (BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)), "no thread or process can be started"),
    ],
)
@pytest.mark.parametrize("deep", [False, True])
def test_a_lack_is_not_a_damaged_file(error, said, deep, capsys):
    def read() -> None:
        try:
            raise error
        except Exception as found:
            raise UserError(f"x.safetensors: damaged ({found}); `rm x.safetensors`") from None

    def fail() -> None:
        try:
            read()
        except UserError as found:
            if deep:  # said once more by a reader above
                raise UserError(f"model: {found}") from None
            raise

    for main in (fail, lambda: (_ for _ in ()).throw(error)):
        with pytest.raises(SystemExit) as stopped:
            run_main(main, "x")
        told = capsys.readouterr().err
        assert stopped.value.code == 1
        assert told.startswith(f"lander x: error: {said}")
        assert told.count("\n") == 1
        assert "rm x" not in told


def test_a_panic_for_lack_of_memory_is_told_and_any_other_is_ours(capsys):
    """What a library in Rust raises is no Exception."""
    panic = type("PanicException", (BaseException,), {})
    for said, ends in (("Cannot allocate memory (os error 12)", SystemExit), ("index out of bounds", panic)):
        with pytest.raises(ends):
            run_main(lambda said=said: (_ for _ in ()).throw(panic(said)), "x")
    assert capsys.readouterr().err.startswith("lander x: error: not enough memory (Cannot allocate")


@pytest.mark.parametrize("error", [ValueError("bad"), OSError(errno.EIO, "Input/output error"), KeyError("memory")])
def test_a_damaged_file_is_still_one(error):
    assert lacking(error) is None
    said = UserError("x: damaged")
    said.__context__ = error  # as in `except ...: raise`
    assert str(said) == "x: damaged"


def test_a_number_that_numpy_cannot_hold_is_a_lack():
    with pytest.raises(MemoryError) as found:
        np.zeros(1 << 50)
    assert lacking(found.value).startswith("not enough memory (Unable to allocate 8.00 PiB")


LIMITED = """
import resource, sys
from lander.models import loading
from lander.shared.errors import run_main
loading.load("lander-tiny")  # all modules are there
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit, value = {limit}
resource.setrlimit(limit, (value, value))
run_main(lambda: [loading.load("lander-tiny") for _ in range(1000)], "x")
"""


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("resource.RLIMIT_AS, size + (1 << 20)", "not enough memory ("),
        ("resource.RLIMIT_NOFILE, 3", "too many open files ("),
    ],
)
def test_a_model_for_which_there_is_no_room(limit, said):
    """Of a real system: no memory to map the weights, no number for their file."""
    done = subprocess.run([sys.executable, "-c", LIMITED.format(limit=limit)], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"lander x: error: {said}"), done.stderr


@pytest.mark.parametrize(
    ("closed", "said"),
    [
        ("<&-", "standard input: no text"),
        (">&- <in.txt", "standard output is closed"),
        ("<&- >&-", "standard output is closed"),
    ],
)
def test_closed_streams(closed, said, tmp_path):
    (tmp_path / "in.txt").write_text("hello\n")
    command = f"{sys.executable} -m lander.cli translate lander-tiny --direction en-de {closed}"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"lander translate: error: {said}")
    assert done.stderr.count("\n") == 1


def test_what_is_said_on_a_closed_stream_goes_nowhere_else(tmp_path):
    """Neither into standard output nor into the next file that is opened, which would get number 2."""
    code = (
        "import os, sys; from lander.shared.errors import run_main\n"
        "def main():\n"
        "    with open('file', 'w') as file:\n"
        "        print('said', file=sys.stderr, flush=True); os.write(2, b'said by a library'); file.write('written')\n"
        "    print('result')\n"
        "run_main(main, 'x')"
    )
    done = subprocess.run(
        ["sh", "-c", '"$0" -c "$1" 2>&-', sys.executable, code], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    assert (done.returncode, done.stdout) == (0, "result\n")
    assert (tmp_path / "file").read_text() == "written"


def test_an_error_that_cannot_be_printed_is_still_one(monkeypatch):
    monkeypatch.setattr(sys, "stderr", open("/dev/full", "w"))  # noqa: SIM115
    with pytest.raises(SystemExit) as stopped:
        run_main(lambda: (_ for _ in ()).throw(UserError("x")), "x")
    assert stopped.value.code == 1
    monkeypatch.undo()


@pytest.mark.parametrize("threads", ["0", "1025", "99999999999"])
def test_absurd_numbers_of_threads(threads, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"hello\n")))
    with pytest.raises(SystemExit):
        cli.main(["translate", "lander-tiny", "--direction", "en-de", "--threads", threads])
    assert f"argument --threads: {threads} given, wanted at " in capsys.readouterr().err


def test_a_pipe_is_no_config(tmp_path: Path):
    """It is read more than once; the second reader would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=r"pipe: a pipe, .*; write it to a file"):
        yamlfile.read_yaml(tmp_path / "pipe")
