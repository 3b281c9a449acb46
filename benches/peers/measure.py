"""Runs a command and says what it took: wall time, CPU time and peak memory of all its processes."""

import os
import resource
import signal
import subprocess
import threading
import time

PAGE = resource.getpagesize()
SAMPLE_S = 0.05


def resident_bytes(session):
    """Resident memory of every process of a session."""
    total = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                # After the name in parentheses: state, parent, group, session; the resident pages are the 22nd.
                fields = stat.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            total += int(fields[21]) * PAGE
    return total


def run(command, env, log, within_s):
    """Returns {wall_s, cpu_s, peak_mb}; None if the command failed or was not done in time, then `log` says why."""
    peak, done = 0, threading.Event()
    started = time.monotonic()
    with open(log, "w") as out:
        process = subprocess.Popen(command, env=env, stdout=out, stderr=out, start_new_session=True)

    def watch():
        nonlocal peak
        while not done.wait(SAMPLE_S):
            peak = max(peak, resident_bytes(process.pid))
            if time.monotonic() - started > within_s:
                os.killpg(process.pid, signal.SIGKILL)
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)  # with those of its children that it waited for
    except BaseException:
        done.set()
        os.killpg(process.pid, signal.SIGKILL)
        raise
    wall_s = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    done.set()
    watcher.join()
    try:
        os.killpg(process.pid, signal.SIGKILL)  # who is left over would go on taking time
    except ProcessLookupError:
        pass
    if process.returncode != 0:
        return None
    return {"wall_s": wall_s, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_mb": peak / 1e6}
