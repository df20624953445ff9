# shellcheck shell=bash
# Installs what a test script needs and this machine lacks. To be sourced in the checkout's folder.

packages=()

# need COMMAND PACKAGE...: the Debian packages to install if this machine lacks the command.
need() { command -v "$1" >/dev/null || packages+=("${@:2}"); }

# For install_python: Debian's python3 alone can't make virtual environments.
need_python() { python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv); }

# Installs the packages that are missing.
install_packages() {
    ((${#packages[@]})) || return 0
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${packages[@]}"
}

# install_python NAME LIST...: sets `venv` to a virtual environment with the packages of these
# lists. It is made anew when a list changes; `ready` says that it is complete.
install_python() {
    venv=$PWD/target/$1-venv
    shift
    cat "$@" | cmp -s - "$venv/ready" && return
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "${@/#/-r}"
    cat "$@" >"$venv/ready"
}
