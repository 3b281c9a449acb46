#!/usr/bin/env bash
# evenkeel and its peers side by side; `--help` says how. Needs cargo, Java 17, Maven and Python 3.11 with venv.
exec python3 "$(dirname "$0")/run.py" "$@"
