#!/bin/sh
# dpkg: remove, upgrade, purge, …; rpm: 0 for a removal. Saved positions stay until a purge.
set -e

if [ "${1:-}" = purge ]; then
  rm -rf "${DPKG_ROOT:-}/var/lib/pilcrow"
fi
[ -z "${DPKG_ROOT:-}" ] && [ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
