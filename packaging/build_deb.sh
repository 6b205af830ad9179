#!/usr/bin/env bash
# Builds the Debian packages into dist/: build_deb.sh [agent|server]… (both). Needs dpkg-deb and pip, no root.
#
# Each package is one virtual environment in /opt that serves every Python in PYTHONS: the interpreter is the host's own,
# and it finds its libraries under its own version number. docs/decisions/0002 says why.
# VERSION=…, PYTHONS="3.11 …" and DIST=FOLDER override what stands below.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

read -ra pythons <<<"${PYTHONS:-3.11 3.13}"  # Debian 12 and 13.
python=${PYTHON:-python}
cache=$PWD/.cache/deb
version=${VERSION:-$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)}
dist=${DIST:-dist}
architecture=$(dpkg --print-architecture)

say() { printf '  package: %s\n' "$*" >&2; }

# Byte code for one Python, if it is on this machine; for another the package's postinst makes it on the host.
# Nothing compares it with its source: the package's files change together.
compile() {
  local release=$1 folder=$2
  "python$release" -c "" 2>/dev/null || return 0
  "python$release" -m compileall -q -s "$folder" --invalidation-mode unchecked-hash "$folder" >&2
}

# What pyproject.toml says that one of the two needs, a line each. What sends traces comes with both, since nobody can add
# it to /opt: 0.7 MB for each Python, and it is loaded only where `traces_url` is set.
requirements() {
  "$python" -c '
import sys, tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
extras = project["optional-dependencies"]
print(*project["dependencies"], *extras[sys.argv[1]], *extras["otel"], sep="\n")' "$1"
}

# into FOLDER PYTHON WORD…: pip for another Python than its own.
into() {
  local folder=$1 release=$2
  shift 2
  "$python" -m pip install -q --only-binary=:all: --python-version "$release" --target "$folder" "$@" \
    2> >(grep -v 'dependency resolver' >&2)
}

# What a package imports, for one Python; collected again when pyproject.toml asks for something else.
libraries() {
  local extra=$1 release=$2 wanted kept
  wanted=$(requirements "$extra")
  kept=$cache/$extra-$release-$(sha256sum <<<"$wanted" | cut -c1-12)
  if [ ! -d "$kept" ]; then
    say "collecting the libraries of $extra for Python $release"
    rm -rf "$cache/$extra-$release-"*
    into "$kept.new" "$release" -r <(grep -v '^uplot-python' <<<"$wanted")
    # Only its files are served; what its own module would import (IPython, jedi) has no place on a server.
    if [ "$extra" = server ]; then into "$kept.new" "$release" --no-deps -r <(grep '^uplot-python' <<<"$wanted"); fi
    rm -rf "$kept.new"/{bin,lib}
    find "$kept.new" -depth -type d \( -name tests -o -name __pycache__ \) -exec rm -rf {} +
    compile "$release" "$kept.new"
    mv "$kept.new" "$kept"
  fi
  printf '%s' "$kept"
}

environment() {
  local extra=$1 home=$2 command=$3 package=$4 release site ours
  mkdir -p "$home/bin"
  ln -s /usr/bin/python3 "$home/bin/python3"
  printf 'home = /usr/bin\ninclude-system-site-packages = false\n' >"$home/pyvenv.cfg"
  printf '#!/opt/%s/bin/python3\nfrom %s.__main__ import main\n\nmain()\n' "$command" "$package" >"$home/bin/$command"
  chmod 755 "$home/bin/$command"
  for release in "${pythons[@]}"; do
    site=$home/lib/python$release/site-packages
    mkdir -p "${site%/*}"
    cp -al "$(libraries "$extra" "$release")" "$site"
    "$python" -m zipfile -e "$wheel" "$site"
    rm -rf "$site"/*.data
    if [ "$extra" = agent ]; then rm -rf "$site/server_stub"; else rm -rf "$site/runner_agent"; fi
    for ours in runner_protocol "$package"; do compile "$release" "$site/$ours"; done
  done
}

# build EXTRA COMMAND PACKAGE UNIT…: one .deb.
build() {
  local extra=$1 command=$2 package=$3 root=$stage/$2
  shift 3
  mkdir -p "$root"/{DEBIAN,usr/bin,usr/lib/systemd/system,"usr/share/doc/$command"}
  environment "$extra" "$root/opt/$command" "$command" "$package"
  ln -s "/opt/$command/bin/$command" "$root/usr/bin/$command"
  install -m 644 "$@" "$root/usr/lib/systemd/system/"
  install -m 644 docs/operations.md CHANGELOG.md "$root/usr/share/doc/$command/"
  if [ "$extra" = server ]; then
    # For several processes on one machine: the instance's name is its port.
    sed 's|--config /etc/server-stub/config.toml|& --port %i|' systemd/server-stub.service |
      install -m 644 /dev/stdin "$root/usr/lib/systemd/system/server-stub@.service"
    install -D -m 644 systemd/server-stub.sysusers.conf "$root/usr/lib/sysusers.d/server-stub.conf"
    install -D -m 644 packaging/server-stub.toml "$root/etc/server-stub/config.toml"
    echo /etc/server-stub/config.toml >"$root/DEBIAN/conffiles"
  fi
  sed "s/@VERSION@/$version/; s/@ARCHITECTURE@/$architecture/; s/@SIZE@/$(du -sk "$root" | cut -f1)/" \
    "packaging/$command/control" >"$root/DEBIAN/control"
  install -m 755 packaging/"$command"/{postinst,prerm,postrm} "$root/DEBIAN/"
  (cd "$root" && find opt usr -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
  mkdir -p "$dist"
  dpkg-deb --root-owner-group -Zzstd -z9 --build "$root" "$dist/${command}_${version}_$architecture.deb" >&2
}

stage=$(mktemp -d -p "${cache%/*}" deb.XXXXXX)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$cache"
# setuptools would build in the checkout, where two builds at once take each other's files.
printf '[build]\nbuild_base = %s\n' "$stage/build" >"$stage/setuptools.cfg"
DIST_EXTRA_CONFIG=$stage/setuptools.cfg "$python" -m pip wheel -q --no-deps --wheel-dir "$stage/wheel" .
wheel=$(echo "$stage"/wheel/*.whl)
for which in "${@:-all}"; do
  case $which in
    agent | all) build agent runner-agent runner_agent systemd/runner-agent.service systemd/bench.slice ;;&
    server | all) build server server-stub server_stub systemd/server-stub.service ;;&
    agent | server | all) ;;
    *) echo "there is no package '$which'" >&2; exit 2 ;;
  esac
done
