#!/usr/bin/env bash
# Where no image registry can be reached: make a stand-in for the Dockerfile's base image from
# Debian's own packages. It has Python 3.11 as `python`, the CA certificates of this machine and its
# pip configuration, so that `pip install` inside a build finds what it finds outside.
#
#   standin.sh IMAGE      needs root, debootstrap and docker; two minutes, 200 MB
set -euo pipefail
image=$1
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT

debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv,python3-pip \
  bookworm "$here/root" >"$here/log" 2>&1 || { tail -20 "$here/log" >&2; exit 1; }
rm -rf "$here"/root/var/cache/apt/archives/*.deb "$here"/root/var/lib/apt/lists/*
ln -s /usr/bin/python3 "$here/root/usr/local/bin/python"
rm -f "$here"/root/usr/lib/python3*/EXTERNALLY-MANAGED
cp /etc/ssl/certs/ca-certificates.crt "$here/root/etc/ssl/certs/ca-certificates.crt"
[ -z "${STANDIN_PIP_CONF:-}" ] || cp "$STANDIN_PIP_CONF" "$here/root/etc/pip.conf"
tar -C "$here/root" -c . | docker import \
  --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' - "$image"
