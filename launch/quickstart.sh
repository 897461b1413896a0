#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Makes .venv, installs the project, and runs the whole way once on a small built-in catalogue:
# values -> tokens -> training -> posteriors -> a table of scores and plots in runs/quickstart.
#
#   bash launch/quickstart.sh [flags of `aion quickstart`]
#
# Safe to run twice. PYTHON=... chooses the interpreter, AION_VENV=... the environment's place.

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

prepare_environment eval
cd "$AION_ROOT"
# A third of the steps of the real job: the built-in catalogue is easier, and eight minutes are long.
flags=(--workdir runs/quickstart --config=configs/sdss_photoz.py:steps=800 "$@")
say "running: aion quickstart ${flags[*]}"
exec "$AION_VENV/bin/aion" quickstart "${flags[@]}"
