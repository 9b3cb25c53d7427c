#!/usr/bin/env bash
# Sets up what `make run` and `make test` need on a machine with Python 3.11, pip and make:
# a virtual environment with the pinned packages, a Java 17+ for Spark, and Spark's classes in a file
# that halves the start of every Spark job.
set -euo pipefail
PYTHON=${PYTHON:-python3.11}
VENV=${VENV:-.venv}

command -v "$PYTHON" >/dev/null || { echo "setup: $PYTHON is not on the PATH; install Python 3.11 or pass PYTHON=/path/to/python3.11" >&2; exit 2; }

java_major() { java -version 2>&1 | sed -nE '1s/.*"([0-9]+).*/\1/p'; }
if ! command -v java >/dev/null || [ "$(java_major)" -lt 17 ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -y -qq openjdk-17-jre-headless
    else
        echo "setup: Spark needs Java 17 or newer on the PATH; install one (Debian: sudo apt-get install openjdk-17-jre-headless) and run again" >&2
        exit 2
    fi
fi

[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
# torch first and pinned: plain pip then takes the CPU build where one is offered.
"$VENV/bin/pip" install --quiet --constraint constraints.txt torch
"$VENV/bin/pip" install --quiet --constraint constraints.txt --editable '.[dev]'
"$VENV/bin/python" -m pipelines.class_archive 2>/dev/null \
    || echo "setup: Java wrote no class archive; Spark jobs start some ten seconds later each" >&2
