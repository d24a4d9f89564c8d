#!/bin/sh
# dpkg: remove, or upgrade and the new version; rpm: 0 for a removal, 1 and more for an upgrade.
set -e

case ${1:-} in remove | 0) ;; *) exit 0 ;; esac
[ -z "${DPKG_ROOT:-}" ] && [ -d /run/systemd/system ] || exit 0
systemctl --quiet disable --now pilcrow.service
