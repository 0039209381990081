#!/bin/bash
# Installs the agent from this checkout into its own virtual environment. Safe to run again.
#
#   sudo ./install.sh             install on this host
#   sudo ./install.sh --try       install, then run examples/quickstart.yaml in a throw-away host and open its Jupyter server
#   sudo ./install.sh --try --once    the same for scripts: apply, check, end
#
# Further options: --no-units (no systemd units, completion or manual), --spec FILE (with --try, another spec), --help
set -euo pipefail

here=$(dirname "$(realpath "$0")")
prefix=/opt/agent
units=yes attempt=no spec="$here/examples/quickstart.yaml" try_options=()

say() { printf '%s\n' "$*" >&2; }
fail() { say "install.sh: $1"; [ -z "${2:-}" ] || say "  hint: $2"; exit 1; }
usage() { sed -n '2,8s/^# \{0,1\}//p' "$0"; }

while [ $# -gt 0 ]; do
  case $1 in
    --try) attempt=yes ;;
    --once) try_options+=(--once) ;;
    --no-units) units=no ;;
    --spec) [ $# -ge 2 ] || fail "--spec wants a file"; spec=$(realpath "$2"); shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 64 ;;
  esac
  shift
done

[ "$(id -u)" = 0 ] || fail "this installs software and needs root" "sudo ./install.sh"

# Packages of the distribution that are not there yet. systemd-python and mysqlclient come from it too: PyPI has only their source.
need_packages() {
  local missing=()
  if command -v apt-get >/dev/null; then
    for name in "$@"; do dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed || missing+=("$name"); done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "Installing packages: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
    apt-get -o DPkg::Lock::Timeout=300 -qq update
    apt-get -o DPkg::Lock::Timeout=300 -qq install -y --no-install-recommends --no-remove "${missing[@]}" >/dev/null
  elif command -v dnf >/dev/null; then
    for name in "$@"; do rpm -q --quiet "$name" || missing+=("$name"); done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "Installing packages: ${missing[*]}"
    dnf -q -y install "${missing[@]}"
  else
    fail "neither apt-get nor dnf is here" "this host is not one of the supported kinds: Debian, Ubuntu, Fedora and their relatives"
  fi
}

install_packages() {
  if command -v apt-get >/dev/null; then
    need_packages python3 python3-venv python3-systemd ca-certificates
    mysql_library
    [ "$attempt" = no ] || need_packages debootstrap systemd-container slirp4netns iproute2 util-linux debian-archive-keyring
  else
    need_packages python3 python3-systemd python3-mysqlclient ca-certificates
    [ "$attempt" = no ] || need_packages debootstrap systemd-container slirp4netns iproute util-linux
  fi
  /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "Python 3.11 or newer is needed; this host has $(/usr/bin/python3 -V)" "use a newer release: Debian 12, Ubuntu 24.04, Fedora 38 or later"
}

# mysqlclient, where a mysql-server of the distribution can stand beside it; elsewhere (Debian after 13) PyMySQL does its work.
mysql_library() {
  if /usr/bin/python3 -c 'import MySQLdb' 2>/dev/null; then return; fi
  apt-get -o DPkg::Lock::Timeout=300 -qq update
  if apt-get --simulate --no-install-recommends install mysql-server >/dev/null 2>&1 &&
    ! apt-get --simulate --no-install-recommends --no-remove install mysql-server python3-mysqldb >/dev/null 2>&1; then return; fi
  need_packages python3-mysqldb
}

# Everything that an installed agent is made of, as one digest: the same again means that there is nothing to do.
source_digest() {
  (cd "$here" && { /usr/bin/python3 -V; find agent templates units setup.cfg pyproject.toml install.sh -type f ! -name '*.pyc' -print0 |
    sort -z | xargs -0 sha256sum; } | sha256sum | cut -d' ' -f1)
}

install_agent() {
  local digest site work
  digest=$(source_digest)
  if [ "$(cat "$prefix/.installed" 2>/dev/null)" = "$digest" ]; then
    say "The agent in $prefix is this one already."
    return
  fi
  say "Installing the agent into $prefix"
  rm -f "$prefix/.installed"
  # made anew when it is not there, or when the Python it was made with has gone (an upgrade of the distribution)
  "$prefix/bin/python3" -c '' 2>/dev/null || /usr/bin/python3 -m venv --clear --system-site-packages "$prefix"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' RETURN
  # built from a copy, so that nothing is written into the checkout; the copy stays, for throw-away hosts
  mkdir "$work/source"
  cp -a "$here"/{agent,templates,units,examples,docs,setup.cfg,pyproject.toml,install.sh,README.md,LICENSE} "$work/source/"
  find "$work/source" -name __pycache__ -prune -exec rm -rf {} +
  rm -rf "$prefix/source"
  cp -a "$work/source" "$prefix/source"
  "$prefix/bin/python3" -m pip install --quiet --disable-pip-version-check --no-warn-script-location --upgrade "$work/source"
  site=$("$prefix/bin/python3" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  "$prefix/bin/python3" -m compileall -q "$site/agent"
  # started without site (-S), which costs more than a whole pass that finds nothing to do; agent.__main__ makes up for it when more is needed
  cat >"$work/agent" <<LAUNCHER
#!$prefix/bin/python3 -IS
import sys

sys.path.insert(0, "$site")
from agent.__main__ import main

sys.exit(main())
LAUNCHER
  install -m 0755 "$work/agent" "$prefix/bin/agent"
  rm -f /var/lib/agent/evidence # what the last version saw
  printf '%s\n' "$digest" >"$prefix/.installed"
}

install_links() {
  ln -sfn "$prefix/bin/agent" /usr/local/bin/agent
  install -d -m 0755 /etc/agent
  [ "$units" = yes ] || return 0
  install -d -m 0755 /etc/systemd/system /usr/local/share/bash-completion/completions /usr/local/share/man/man8
  install -m 0644 "$here"/units/agent*.{service,timer,path} /etc/systemd/system/
  "$prefix/bin/agent" completion bash >/usr/local/share/bash-completion/completions/agent
  [ ! -f "$here/docs/agent.8" ] || install -m 0644 "$here/docs/agent.8" /usr/local/share/man/man8/
  [ ! -d /run/systemd/system ] || { systemctl daemon-reload; systemctl try-restart agent.service; }
}

# The channel that the example names, or a small one built here where it cannot be reached.
channel_options() {
  if "$prefix/bin/python3" - <<'PYTHON'
import sys, urllib.request
try:
    urllib.request.urlopen("https://conda.anaconda.org/conda-forge/noarch/repodata.json.zst", timeout=15).read(1)
except OSError:
    sys.exit(1)
PYTHON
  then return; fi
  say "conda-forge cannot be reached from here: building a small local channel from Debian and PyPI packages."
  local channel=${AGENT_CACHE:-/var/cache/agent}/try-channel
  (cd "$here" && PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m tests.channel.build "$channel" --with py311,jupyter >&2) ||
    fail "the local channel could not be built" "give one that can be reached: sudo agent try SPEC --mirror conda-forge=URL"
  try_options+=(--mirror "conda-forge=$channel")
}

install_packages
install_agent
install_links
if [ "$attempt" = yes ]; then
  channel_options
  exec "$prefix/bin/agent" try "$spec" "${try_options[@]}"
fi
say "Installed: $("$prefix/bin/agent" --version). Next: write /etc/agent/spec.yaml (examples/ has some), then: sudo agent apply"
[ "$units" = no ] || say "To keep the host that way: sudo systemctl enable --now agent"
