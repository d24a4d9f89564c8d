#!/bin/sh
# `helm test`: pushes a line to Loki as Pilcrow would, and asks Loki for it. Secrets are mounted below $SECRETS.
set -eu

set -- --silent --show-error --max-time 10
[ -z "${TENANT:-}" ] || set -- "$@" --header "X-Scope-OrgID: $TENANT"
[ -z "${LOKI_USERNAME:-}" ] || set -- "$@" --user "$LOKI_USERNAME:$(cat "$SECRETS/basic-auth/$PASSWORD_KEY")"
[ -z "${TOKEN_KEY:-}" ] || set -- "$@" --header "Authorization: Bearer $(cat "$SECRETS/bearer-token/$TOKEN_KEY")"
[ -z "${CA_KEY:-}" ] || set -- "$@" --cacert "$SECRETS/tls/$CA_KEY"
[ -z "${CERT_KEY:-}" ] || set -- "$@" --cert "$SECRETS/tls/$CERT_KEY" --key "$SECRETS/tls/$KEY_KEY"
[ "${INSECURE:-}" != true ] || set -- "$@" --insecure

base=${LOKI_URL%/}
base=${base%/loki/api/v1/push}
now=$(date +%s)
mark="pilcrow helm test $now $$"
body="{\"streams\":[{\"stream\":{\"job\":\"pilcrow/helm-test\"},\"values\":[[\"${now}000000000\",\"$mark\"]]}]}"

answer=$(curl "$@" --header 'Content-Type: application/json' --data "$body" --write-out ' %{http_code}' \
  "$base/loki/api/v1/push") || { echo "nothing answers at $base"; exit 1; }
case $answer in
  *' 204') echo "Loki took the line" ;;
  *' 401' | *' 403') echo "Loki refuses the credentials or the tenant:$answer"; exit 1 ;;
  *' 404') echo "no Loki at $base; is there a path in front of /loki/api/v1/push?"; exit 1 ;;
  *) echo "Loki does not take the line: $answer"; exit 1 ;;
esac

tries=0
while [ "$tries" -lt 20 ]; do
  found=$(curl "$@" --get --data-urlencode 'query={job="pilcrow/helm-test"}' --data-urlencode "start=$((now - 60))" \
    "$base/loki/api/v1/query_range") || found=
  case $found in
    *"$mark"*) echo "Loki gives the line back"; exit 0 ;;
  esac
  tries=$((tries + 1))
  sleep 1
done
echo "Loki took the line and does not give it back; its last answer: $found"
exit 1
