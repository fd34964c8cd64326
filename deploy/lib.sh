# shellcheck shell=bash
# What the scripts of this folder share. Source it; it does nothing by itself.

ok() { printf '✓ %s\n' "$*" >&2; }
note() { printf '! %s\n' "$*" >&2; }
say() { printf '  %s\n' "$*" >&2; }
fail() {
    printf '✗ %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

can_apt() { [ "$(id -u)" = 0 ] && have apt-get; }

# Installs Debian packages without a question; fetches the package lists only when they are missing or too old.
apt_install() {
    local get=(apt-get -qq -o Dpkg::Use-Pty=0)
    export DEBIAN_FRONTEND=noninteractive
    "${get[@]}" install -y --no-install-recommends "$@" >/dev/null && return
    say "fetching the package lists"
    "${get[@]}" update >/dev/null && "${get[@]}" install -y --no-install-recommends "$@" >/dev/null
}

# The engine that the docker command talks to: DOCKER_HOST, else the context in use.
docker_endpoint() {
    if [ -n "${DOCKER_HOST:-}" ]; then
        printf '%s\n' "$DOCKER_HOST"
    else
        docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null || echo unix:///var/run/docker.sock
    fi
}

# "20.10.24 (API 1.41)" when an engine answers within five seconds.
docker_version() {
    timeout 5 docker version --format '{{.Server.Version}} (API {{.Server.APIVersion}})' 2>/dev/null | sed 's/+[^ ]*//'
    return "${PIPESTATUS[0]}"
}
