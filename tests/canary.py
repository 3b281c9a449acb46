#!/usr/bin/env python3
"""The verdict on a version that is rolled out, asked live as Argo Rollouts and Flagger ask: canary.py

Two services, each with an old version and a new one that gets a tenth of the requests; the new one of `pay` fails more often.
Expected: nobody knows at first; then `pay` 2 has failed, and `cart` 2 may go on, by its phase and by the status of a POST; a
version without traffic is inconclusive; the same after evenkeel was killed and started again. Exit 0: all held. Eight minutes.
"""
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
EVENKEEL = os.environ.get("EVENKEEL_BIN", str(HERE.parent / "target/release/evenkeel"))
PORT, RATE, KNOWN_WITHIN_S = 29596, 20, 480
ASKED = [("pay", "1"), ("pay", "2"), ("cart", "2"), ("cart", "3"), ("none", "1")]


def ask(service, version, body=None):
    """Status and phase."""
    url = f"http://127.0.0.1:{PORT}/api/v1/canary" + (f"?service={service}&version={version}" if body is None else "")
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body and json.dumps(body).encode()), timeout=5) as answer:
            return answer.status, json.load(answer)["phase"]
    except urllib.error.HTTPError as error:
        return error.code, json.load(error).get("phase")
    except OSError:
        return None


def hook(service, version):
    """As Flagger asks."""
    return ask(service, version, {"name": service, "namespace": "shop", "phase": "Progressing",
                                  "metadata": {"service": service, "version": version}})


def main(scratch):
    start = lambda: subprocess.Popen([EVENKEEL, "run", "--data", scratch / "data", "--http", f"127.0.0.1:{PORT}", "--log", "warn"])  # noqa: E731
    run = start()
    ship = subprocess.Popen([EVENKEEL, "ship", "-", "--topic", "req.events.v1", "--data", scratch / "data", "--log", "warn"],
                            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    began, due, phases, killed = time.monotonic(), time.monotonic(), None, False
    known = {("pay", "1"): "Successful", ("pay", "2"): "Failed", ("cart", "2"): "Successful", ("cart", "3"): "Inconclusive",
             ("none", "1"): "Inconclusive"}
    try:
        while time.monotonic() < began + KNOWN_WITHIN_S:
            for service in ("pay", "cart"):
                version = "2" if random.random() < 0.1 else "1"
                fails = random.random() < (0.3 if (service, version) == ("pay", "2") else 0.01)
                event = {"event_time_us": time.time_ns() // 1000, "service": service, "version": version, "latency_us": 9000,
                         "status": 500 if fails else 200}
                ship.stdin.write(json.dumps(event).encode() + b"\n")
            ship.stdin.flush()
            due += 1 / RATE
            time.sleep(max(0, due - time.monotonic()))
            now = {asked: answer[1] for asked in ASKED if (answer := ask(*asked))}
            if now != phases:
                phases = now
                print(f"{time.monotonic() - began:5.0f} s  {phases}", flush=True)
                if len(now) == len(ASKED) and time.monotonic() < began + 60:
                    assert set(now.values()) == {"Inconclusive"}, "nobody can know yet"
            if phases == known and not killed:
                run.kill()
                run.wait()
                run, killed = start(), True
            elif phases == known and killed and run.poll() is None:
                break
        assert phases == known and killed, f"{phases}"
        statuses = [hook(*asked)[0] for asked in ASKED]
        assert statuses == [200, 409, 200, 503, 503], f"{statuses}"
        assert ask("pay", "")[0] == 400
    finally:
        ship.kill()
        run.kill()
    print(f"well: {len(ASKED)} versions, each told apart within {time.monotonic() - began:.0f} s, over a kill")


if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp(prefix="evenkeel-canary-"))
    try:
        main(folder)
    except AssertionError as error:
        sys.exit(f"failed: {error}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
