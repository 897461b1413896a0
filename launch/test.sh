#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Makes .venv, installs the project with its test extra, and runs the tests on the CPU.
#
#   bash launch/test.sh [flags of pytest]        e.g. bash launch/test.sh tests/model -k attention
#
# Safe to run twice. PYTHON=... chooses the interpreter, AION_VENV=... the environment's place,
# AION_TEST_WORKERS=... the number of test processes (default: one per core, at most 4; 0: in this process).

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

prepare_environment test
cd "$AION_ROOT"
export JAX_PLATFORMS=cpu
workers="${AION_TEST_WORKERS:-$(nproc)}"
if [ -z "${AION_TEST_WORKERS:-}" ] && [ "$workers" -gt 4 ]; then workers=4; fi
say "running: pytest -n $workers --dist worksteal $*"
# Whole files stay with one process, which sets up what their tests share once, until the other has none left.
exec "$AION_VENV/bin/python" -m pytest -n "$workers" --dist worksteal "$@"
