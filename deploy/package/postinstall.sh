#!/bin/sh
# dpkg: configure [the version that was there]; rpm: 1 for an installation, 2 and more for an upgrade.
set -e

# Not in the root of an image that is being built, nor where something else than systemd runs.
[ -z "${DPKG_ROOT:-}" ] && [ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
# Only where it runs: what it would collect for is not known before it is configured.
systemctl try-restart pilcrow.service
if ! systemctl --quiet is-enabled pilcrow.service; then
  cat <<'TEXT'
Pilcrow is installed. Set loki.url in /etc/pilcrow/pilcrow.yaml, then:
  sudo pilcrow doctor --config /etc/pilcrow/pilcrow.yaml
  sudo systemctl enable --now pilcrow
TEXT
fi
