#!/usr/bin/env bash
# Build the image from a clean clone of HEAD and run it the way a cluster does: uid 1000, read-only
# root, no capabilities, nothing writable but /tmp, /home/vidgen and /dev/shm.
#
#   tests/image/build.sh [--keep]      needs docker with BuildKit; --keep leaves the image
#
# DOCKER names another client. TORCH_INDEX_URL is handed on. Where the base image cannot be pulled, a stand-in is made of Debian's
# packages (root and debootstrap needed), with this machine's pip configuration for the build.
set -euo pipefail
cd "$(dirname "$0")/../.."
image=vidgen:test
base=$(sed -n 's/^ARG BASE_IMAGE=//p' Dockerfile)
work=$(mktemp -d)
server=
docker() { command "${DOCKER:-docker}" "$@"; }
cleanup() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  rm -rf "$work"
  [ "${1:-}" = --keep ] || docker image rm --force "$image" >/dev/null 2>&1 || true
}
trap 'cleanup "${1:-}"' EXIT

docker info >/dev/null || { echo "no docker daemon: image not built" >&2; exit 1; }
git clone --quiet --no-hardlinks . "$work/clone"
arguments=(--build-arg "REVISION=$(git rev-parse HEAD)" --build-arg "CREATED=$(git log -1 --format=%cI)")
[ -z "${TORCH_INDEX_URL:-}" ] || arguments+=(--build-arg "TORCH_INDEX_URL=$TORCH_INDEX_URL")

if ! docker image inspect "$base" >/dev/null 2>&1 && ! docker pull --quiet "$base" 2>/dev/null; then
  echo "== $base cannot be pulled: using a stand-in"
  base=vidgen-base:standin
fi
if [ "$base" = vidgen-base:standin ]; then
  # What pip finds in folders of this machine, it finds inside the build over loopback.
  python3 tests/image/pip_folders.py "$work" & server=$!
  until [ -s "$work/pip.conf" ]; do kill -0 "$server"; sleep 0.2; done
  docker image inspect "$base" >/dev/null 2>&1 || tests/image/standin.sh "$base"
  printf 'FROM %s\nCOPY pip.conf /etc/pip.conf\n' "$base" >"$work/Dockerfile.base"
  docker build --quiet --file "$work/Dockerfile.base" --tag "$base-pip" "$work" >/dev/null
  arguments+=(--build-arg "BASE_IMAGE=$base-pip" --network host)
fi

echo "== build"
time DOCKER_BUILDKIT=1 docker build "${arguments[@]}" --tag "$image" "$work/clone"
echo "== size"
docker image ls "$image" --format '{{.Repository}}:{{.Tag}} {{.Size}}'
docker history "$image" --format '{{.Size}}\t{{.CreatedBy}}' | cut -c1-120

restricted=(docker run --rm --user 1000:1000 --read-only --cap-drop ALL
  --security-opt no-new-privileges --network none --shm-size 1g
  --tmpfs /tmp:rw,exec,uid=1000,gid=1000,size=4g --tmpfs /home/vidgen:rw,uid=1000,gid=1000,size=1g)

echo "== identity and writable places"
"${restricted[@]}" "$image" python - <<'PROBE'
import os, tempfile
assert (os.getuid(), os.getgid()) == (1000, 1000), (os.getuid(), os.getgid())
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
assert int(status["CapEff"], 16) == 0, status["CapEff"]
for place in ("/", "/opt/vidgen", "/usr/local", "/var/tmp"):
    try:
        tempfile.TemporaryFile(dir=place)
    except OSError:
        continue
    raise SystemExit(f"{place} is writable")
for place in ("/tmp", "/home/vidgen", "/dev/shm"):
    tempfile.TemporaryFile(dir=place)
PROBE

echo "== vidgen train"
"${restricted[@]}" "$image" vidgen train shapes-flow --set train.steps=10

echo "== ray job submit, Ray started the way KubeRay does"
"${restricted[@]}" "$image" bash -c '
  ray start --head --num-cpus=2 --object-store-memory=200000000 --disable-usage-stats
  ray job submit --address http://127.0.0.1:8265 -- \
    vidgen train shapes-flow --set train.steps=10 --set run=/tmp/run
  test -s /tmp/run/metrics.jsonl
  ray stop'

echo "== what is inside"
packages=$("${restricted[@]}" "$image" pip list --format freeze)
echo "$packages"
# A bill of materials, and what is known against it, where the tools are: pip install cyclonedx-bom pip-audit
if command -v cyclonedx-py >/dev/null; then
  cyclonedx-py requirements --output-file "${SBOM:-vidgen-image.cdx.json}" - <<<"$packages"
fi
if command -v pip-audit >/dev/null; then
  pip-audit --strict --no-deps --disable-pip --requirement <(grep -v '^\(torch\|vidgen\)==' <<<"$packages")
fi
