"""Runs a test script inside a virtual environment with packages from PyPI."""
import os
import subprocess
import sys
import time
from pathlib import Path


def environment(name, packages):
    """The Python of a virtual environment that has the packages, made when missing; None if PyPI does not give them."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evenkeel" / name
    python, note, wanted = home / "bin/python", home / "packages", "\n".join(packages)
    if note.exists() and note.read_text() == wanted:
        return python
    if subprocess.run([sys.executable, "-m", "venv", "--clear", home]).returncode != 0:
        return None
    for pause_s in (5, 15, 0):
        if subprocess.run([python, "-m", "pip", "install", "-q", "--only-binary=:all:", *packages]).returncode == 0:
            note.write_text(wanted)
            return python
        time.sleep(pause_s)
    return None


def inside():
    """Whether this is the Python of such an environment, at work for a script."""
    return os.environ.get("READERS_INSIDE") == "1"


def runner(name, packages):
    """What runs a script inside, given its file and arguments; None, and a line that says so, if that cannot be had."""
    python = None if os.environ.get("READERS_SKIP") == "1" else environment(name, packages)
    if python is None:
        print("skipped: READERS_SKIP is set, or no virtual environment could be made with " + ", ".join(packages))
        return None
    return lambda *command: subprocess.run([python, *command], env={**os.environ, "READERS_INSIDE": "1"}).returncode
