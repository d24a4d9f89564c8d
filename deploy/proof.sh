# shellcheck shell=sh disable=SC2154
# For install.sh, after Helm: waits for the pods, shows what Loki has accepted of each node, and how to look at it. Changes nothing.

# daemonset.apps/NAME
daemonset_of_release() {
  kube -n "$namespace" get daemonsets -o name \
    -l "app.kubernetes.io/instance=$release,app.kubernetes.io/name=pilcrow"
}

wait_until_ready() {
  daemonset=$(daemonset_of_release)
  [ -n "$daemonset" ] || die "the release $release has no DaemonSet in $namespace; $helm_text -n $namespace status $release"
  if ! kube -n "$namespace" rollout status "$daemonset" --timeout "$timeout"; then
    kube -n "$namespace" get pods -o wide -l "app.kubernetes.io/instance=$release" >&2 || true
    kube -n "$namespace" logs "$daemonset" --tail 20 >&2 || true
    die "not every pod is ready after $timeout. ErrImagePull: the node has no such image (docs/install.md). Running but not \
ready: its log says what Loki answers (docs/operations.md)"
  fi
}

# More nodes are not asked one by one.
nodes_max=20

# "NODE LINES" of the first nodes: how many lines Loki has acknowledged to each since its pod was started; empty: it does not answer.
accepted_by_node() {
  kube -n "$namespace" get pods -l "app.kubernetes.io/instance=$release,app.kubernetes.io/name=pilcrow" \
    -o 'jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName}{"\n"}{end}' 2>/dev/null | head -n "$nodes_max" |
    while read -r pod node; do
      lines=$(kube -n "$namespace" exec "$pod" -c pilcrow -- /pilcrow status --json </dev/null 2>/dev/null |
        sed -n 's/.*"lines_acknowledged": *\([0-9][0-9]*\).*/\1/p')
      say "$node $lines"
    done
}

# How many nodes are ready, and the lines that Loki has accepted, for which it waits half a minute.
show_proof() {
  daemonset=$(daemonset_of_release)
  ready=$(kube -n "$namespace" get "$daemonset" -o 'jsonpath={.status.numberReady} of {.status.desiredNumberScheduled}' 2>/dev/null)
  say "Nodes with a ready pod: ${ready:-not known}"
  tries=0
  while :; do
    accepted=$(accepted_by_node)
    total=$(say "$accepted" | awk '{ sum += $2 } END { print sum + 0 }')
    tries=$((tries + 1))
    if [ "$total" -gt 0 ] || [ "$tries" -ge 15 ]; then break; fi
    sleep 2
  done
  if [ "$total" -eq 0 ]; then
    warn "Loki has accepted no line yet. What one of the nodes says:"
    kube -n "$namespace" exec "$daemonset" -c pilcrow -- /pilcrow status 2>&1 | sed 's/^/  /' || true
    return
  fi
  say "Lines that Loki has accepted: $total"
  say "$accepted" | awk 'NF { print "  " $1 ": " ($2 == "" ? "does not answer" : $2) }'
  [ "$(say "$accepted" | grep -c .)" -lt "$nodes_max" ] || say "  (of the first $nodes_max nodes)"
}

# Grafana's Explore with this query.
explore() {
  query=$(printf '%s' "$1" | sed 's/\\/\\\\/g; s/"/\\"/g')
  panes="{\"a\":{\"datasource\":\"Loki\",\"queries\":[{\"refId\":\"A\",\"expr\":\"$query\"}],\"range\":{\"from\":\"now-1h\",\"to\":\"now\"}}}"
  panes=$(printf '%s' "$panes" | sed 's/%/%25/g; s/ /%20/g; s/"/%22/g; s/#/%23/g; s/&/%26/g; s/+/%2B/g; s/=/%3D/g; s/\[/%5B/g
    s/\\/%5C/g; s/\]/%5D/g; s/{/%7B/g; s/}/%7D/g')
  say "$grafana/explore?schemaVersion=1&orgId=1&panes=$panes"
}

tell_how_to_look() {
  where=$(daemonset_of_release)
  values=$(with_helm get values "$release" --namespace "$namespace" --all -o yaml 2>/dev/null) || values=''
  cluster=$(say "$values" | value_of labels cluster)
  # What a variable stands for only the pods know.
  case $cluster in
    *"\${"*) cluster='' ;;
  esac
  collector=$(say "$values" | value_of labels collector)
  query="{${cluster:+cluster=\"$cluster\", }${collector:+collector=\"$collector\", }namespace=\"kube-system\"}"
  cat <<TEXT

What each node uses, what it fell back to, and why:
  $kubectl_text -n $namespace logs -l app.kubernetes.io/instance=$release --prefix --tail 20
What a node offers, and how to fix what is missing:
  $kubectl_text -n $namespace exec $where -- /pilcrow doctor --config /etc/pilcrow/pilcrow.yaml
Whether Loki takes a line and gives it back:
  $helm_text -n $namespace test $release
The lines, in Grafana:
  $query
TEXT
  [ -z "$grafana" ] || say "  $(explore "$query")"
  say "If something is wrong: docs/operations.md. To remove it all: $(dirname -- "$0")/uninstall.sh$to_release"
}
