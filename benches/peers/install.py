"""Brings what the peers need into target/peers, once; what is there already and has not changed is left alone."""

import hashlib
import json
import shutil
import subprocess
import sys
import time

from engines import HERE, TARGET

DEPENDENCIES = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def tried(command, attempts=4, **options):
    """Registries have bad moments."""
    for attempt in range(1, attempts + 1):
        if subprocess.run(command, **options).returncode == 0:
            return
        if attempt < attempts:
            time.sleep(5 * attempt)
    sys.exit(f"failed {attempts} times: {' '.join(map(str, command))}")


def unless_done(directory, sources, make):
    """Makes a directory anew if these files are not those it was made of."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(sources))).hexdigest()
    stamp = directory / "made-of"
    if not stamp.exists() or stamp.read_text() != digest:
        print(f"making {directory.name}", file=sys.stderr)
        shutil.rmtree(directory, ignore_errors=True)
        make(directory)
        stamp.write_text(digest)


def jvm(directory):
    maven = ["mvn", "-B", "-q", "-ntp", "-f", HERE / "jvm" / "pom.xml", f"-Dpeers.directory={directory}"]
    libraries = [DEPENDENCIES, "-DincludeScope=runtime", f"-DoutputDirectory={directory}/lib"]
    tried([*maven, "compile", *libraries])


def venv(requirements):
    def make(directory):
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
        tried([directory / "bin" / "pip", "install", "-q", "-r", requirements])

    return make


def evenkeel():
    build = ["cargo", "build", "--release", "--bench", "peers", "--message-format=json-render-diagnostics"]
    built = subprocess.run(build, cwd=HERE, stdout=subprocess.PIPE, check=True).stdout
    messages = map(json.loads, built.splitlines())
    found = [it["executable"] for it in messages if it.get("executable") and it["target"]["name"] == "peers"]
    (TARGET / "evenkeel").write_text(found[-1])


def install(engines):
    TARGET.mkdir(parents=True, exist_ok=True)
    evenkeel()
    commands = " ".join(argument for engine in engines for argument in engine.command())
    if "peers.Flink" in commands or "peers.Streams" in commands:
        unless_done(TARGET / "jvm", [*HERE.glob("jvm/pom.xml"), *HERE.glob("jvm/src/**/*.java")], jvm)
    for name in ("stream", "batch"):  # the reference and the chart need the batch one
        if name == "batch" or "venv-stream" in commands:
            requirements = HERE / "python" / f"requirements-{name}.txt"
            unless_done(TARGET / f"venv-{name}", [requirements], venv(requirements))
