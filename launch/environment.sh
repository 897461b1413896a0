# SPDX-License-Identifier: MIT
# Shell code shared by the launch scripts; source it, then call `prepare_environment EXTRA`.
#
# PYTHON       interpreter to build on      (python3)
# AION_VENV    where the environment lives  (.venv in the repository root)
# Written for bash on any Linux; needs python3 >= 3.11 and coreutils, takes flock when it is there.

set -euo pipefail

AION_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
AION_VENV="${AION_VENV:-$AION_ROOT/.venv}"
case "$AION_VENV" in /*) ;; *) AION_VENV="$PWD/$AION_VENV" ;; esac
AION_NEEDED_MB="${AION_NEEDED_MB:-3000}"
PYTHON="${PYTHON:-python3}"

# The environment is ours alone: nothing of a conda base or a user site may leak in.
unset PYTHONHOME PYTHONPATH
export PYTHONNOUSERSITE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

say() { printf '[%s] %s\n' "$(basename "$0" .sh)" "$*"; }

fail() {
    printf '[%s] error: %s\n' "$(basename "$0" .sh)" "$*" >&2
    exit 2
}

# The interpreter must exist, start, and be new enough.
check_python() {
    command -v "$PYTHON" >/dev/null 2>&1 ||
        fail "no '$PYTHON' here; install Python >= 3.11 (Debian: apt-get install python3 python3-venv) or set PYTHON=/path/to/python3"
    PYTHON_VERSION="$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" ||
        fail "'$PYTHON' does not start; set PYTHON=/path/to/a/working/python3"
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$PYTHON is Python $PYTHON_VERSION, too old; set PYTHON=/path/to/python3.11 or newer"
    AION_CONSTRAINTS="$AION_ROOT/launch/constraints-$PYTHON_VERSION.txt"
}

# Debian splits venv off the interpreter: install it if we may, else say what to type.
check_venv_module() {
    "$PYTHON" -c 'import ensurepip, venv' >/dev/null 2>&1 && return
    local package="python$PYTHON_VERSION-venv" sudo="" log
    command -v apt-get >/dev/null 2>&1 ||
        fail "$PYTHON lacks the venv module; install it with your package manager (Debian calls it $package)"
    if [ "$(id -u)" != 0 ]; then
        sudo="sudo"
        sudo -n true 2>/dev/null ||
            fail "$PYTHON lacks the venv module; run: sudo apt-get install -y $package"
    fi
    log="$(mktemp)"
    say "$PYTHON lacks the venv module; installing Debian's $package"
    { $sudo apt-get update && $sudo apt-get install -y --no-install-recommends "$package"; } \
        >"$log" 2>&1 </dev/null ||
        fail "could not install $package (log: $log); run: ${sudo:+sudo }apt-get install -y $package"
    rm -f "$log"
    "$PYTHON" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
        fail "$package is installed but $PYTHON still lacks venv; set PYTHON=/usr/bin/python3"
}

# One installer at a time. The lock is inside the environment's parent and dies with the process.
take_lock() {
    mkdir -p "$(dirname "$AION_VENV")" 2>/dev/null || fail "cannot write beside $AION_VENV; set AION_VENV=/another/place"
    command -v flock >/dev/null 2>&1 || return 0
    { exec 9>"$AION_VENV.lock"; } 2>/dev/null || fail "cannot write beside $AION_VENV; set AION_VENV=/another/place"
    flock -n 9 && return
    say "another run is preparing $AION_VENV; waiting for it"
    flock 9
}

release_lock() { exec 9>&-; }

# What the installed set depends on. Sources are not part of it: the install is editable.
environment_digest() {
    {
        "$PYTHON" -c 'import sys; print(sys.version, sys.executable)'
        echo "$AION_ROOT"
        cat "$AION_ROOT/pyproject.toml"
        if [ -f "$AION_CONSTRAINTS" ]; then cat "$AION_CONSTRAINTS"; fi
    } | sha256sum | cut -d' ' -f1
}

# The stamp is written last: line 1 the digest, then one line per extra whose install came to its end.
stamp_has() {
    local stamp="$AION_VENV/aion-installed"
    [ -f "$stamp" ] && [ "$(head -n 1 "$stamp")" = "$AION_DIGEST" ] || return 1
    [ -z "${1:-}" ] || grep -qx "$1" "$stamp"
}

# An environment we made says so in a file, and only such a one is ever thrown away.
make_venv() {
    local ours="$AION_VENV/aion-made" version
    version="$("$AION_VENV/bin/python" -c 'import pip, sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true)"
    if [ -n "$(ls -A "$AION_VENV" 2>/dev/null)" ] && [ ! -f "$ours" ]; then
        [ -f "$AION_VENV/pyvenv.cfg" ] ||
            fail "$AION_VENV exists and is not a virtual environment; move it away or set AION_VENV=/another/place"
        [ "$version" = "$PYTHON_VERSION" ] ||
            fail "$AION_VENV was not made here and is no working Python $PYTHON_VERSION; set AION_VENV=/another/place"
        return
    fi
    # Without a stamp an install was cut off: pip takes half a package for a whole one, so start again.
    if [ "$version" = "$PYTHON_VERSION" ] && [ -f "$AION_VENV/aion-installed" ]; then return; fi
    say "making $AION_VENV with Python $PYTHON_VERSION"
    rm -rf "$AION_VENV"
    { mkdir -p "$AION_VENV" && touch "$ours" && "$PYTHON" -m venv "$AION_VENV"; } >"$AION_LOG" 2>&1 ||
        fail "$(why_failed "could not make $AION_VENV")"
}

free_megabytes() { df -Pm "$(dirname "$AION_VENV")" | awk 'NR == 2 { print $4 }'; }

check_space() {
    local free needed="$AION_NEEDED_MB"
    # A second extra on top of an installed one is small.
    if stamp_has; then needed=$((needed / 6)); fi
    free="$(free_megabytes)"
    [ "$free" -ge "$needed" ] ||
        fail "only $free MB free for $AION_VENV, $needed MB needed; free some space or set AION_VENV=/a/larger/disk"
}

# One line out of an installer's log: the cause we know, else its own last error.
why_failed() {
    local cause
    if grep -qE 'No space left|Errno 28|[Qq]uota exceeded' "$AION_LOG" || [ "$(free_megabytes)" -lt 50 ]; then
        cause="the disk is full; free some space or set AION_VENV=/a/larger/disk (and TMPDIR)"
    elif grep -qE 'SSLError|CERTIFICATE_VERIFY_FAILED|TLS CA certificate' "$AION_LOG"; then
        cause="the package index's certificate is not trusted; install ca-certificates or set PIP_CERT"
    elif grep -qE 'NewConnectionError|name resolution|Connection (refused|reset|broken)|Network is unreachable|Max retries|ProxyError|ReadTimeout|timed out' "$AION_LOG"; then
        cause="no network, or the package index does not answer; check the connection and run again"
    elif grep -qE 'ResolutionImpossible|No matching distribution' "$AION_LOG"; then
        cause="no release of a dependency fits Python $PYTHON_VERSION on $(uname -m): $(grep -m 1 -E 'No matching distribution|conflict' "$AION_LOG" | sed 's/^ERROR: //')"
    else
        cause="$(grep -E '^ *ERROR|[Ee]rror:' "$AION_LOG" | grep -v subprocess | tail -n 1 | sed 's/^ *//' || true)"
    fi
    echo "$1: ${cause:-see the log} (log: $AION_LOG)"
}

# Shows which package pip is at, on one line, when somebody is looking.
show_progress() {
    if [ -t 1 ]; then
        awk '/^(Collecting|Installing|Building)/ { printf "\r\033[K  %s", substr($0, 1, 70); fflush() } END { printf "\r\033[K" }'
    else
        cat >/dev/null
    fi
}

install_package() {
    local extra="$1" constraints=()
    if [ -f "$AION_CONSTRAINTS" ]; then
        constraints=(--constraint "$AION_CONSTRAINTS")
    else
        say "notice: no tested set for Python $PYTHON_VERSION; taking the newest releases that pyproject.toml allows"
    fi
    say "installing aion-jax[$extra] and what it needs, 1 to 4 minutes (log: $AION_LOG)"
    "$AION_VENV/bin/python" -m pip install --progress-bar off --retries "${PIP_RETRIES:-3}" \
        "${constraints[@]}" --editable "$AION_ROOT[$extra]" 2>&1 </dev/null |
        tee "$AION_LOG" | show_progress
}

# prepare_environment EXTRA: afterwards $AION_VENV/bin/python has aion-jax[EXTRA], installed editable.
prepare_environment() {
    local extra="$1" extras="$1" started="$SECONDS"
    check_python
    AION_DIGEST="$(environment_digest)"
    take_lock
    if stamp_has "$extra" && "$AION_VENV/bin/python" -c '' 2>/dev/null; then
        say "using $AION_VENV (Python $PYTHON_VERSION), nothing to install"
        release_lock
        return
    fi
    AION_LOG="$AION_VENV.log"
    check_venv_module
    check_space
    make_venv
    if stamp_has; then extras="$(tail -n +2 "$AION_VENV/aion-installed") $extra"; fi
    rm -f "$AION_VENV/aion-installed"
    install_package "$extra" || fail "$(why_failed "could not install aion-jax[$extra]")"
    printf '%s\n' "$AION_DIGEST" $extras >"$AION_VENV/aion-installed"
    say "environment ready after $((SECONDS - started)) s"
    release_lock
}
