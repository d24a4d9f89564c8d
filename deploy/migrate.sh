# shellcheck shell=sh disable=SC2154
# For install.sh --from: which release is moved in from, its configuration as values of Pilcrow's chart, and what to do then. Changes
# nothing in the cluster but a pod of its own for the conversion, where no program pilcrow is here.

# "KIND NAMESPACE NAME WHAT" of the releases of the collector --from.
releases_of() {
  case $from in
    promtail) charts='^(promtail|loki-stack)-[0-9]' ;;
    *) charts='^(alloy|k8s-monitoring|grafana-agent)-[0-9]' ;;
  esac
  others | awk -v charts="$charts" -v name="$from_release" -v ns="$from_namespace" \
    '$1 == "release" && $4 ~ charts && (name == "" || $3 == name) && (ns == "" || $2 == ns)'
}

find_release() {
  found=$(releases_of)
  case $(printf '%s' "$found" | grep -c .) in
    0)
      [ -z "$from_release" ] || [ -z "$from_namespace" ] ||
        die "there is no release $from_release of $from in $from_namespace; helm list --all-namespaces"
      die "no Helm release of $from was found; name it by --from-release and --from-namespace, or convert its configuration \
with pilcrow migrate (docs/migration.md)"
      ;;
    1) ;;
    *)
      say "$found" >&2
      die "several releases of $from were found: choose one by --from-release and --from-namespace"
      ;;
  esac
  from_namespace=$(printf '%s' "$found" | awk '{ print $2 }')
  from_release=$(printf '%s' "$found" | awk '{ print $3 }')
  say "The release $from_release in $from_namespace is converted."
}

# Sets `here` to the program on this machine: pilcrow, or the container runtime that has its image; to nothing where neither is here.
find_program() {
  for here in pilcrow docker podman nerdctl; do
    command -v "$here" >/dev/null || continue
    [ "$here" = pilcrow ] || "$here" image inspect "$(image_with_tag)" >/dev/null 2>&1 || continue
    return
  done
  here=
}

# `pilcrow migrate` with this configuration as its input: by what `find_program` found, else by a pod of the image.
migrate() {
  whole=$(image_with_tag)
  case $here in
  pilcrow) pilcrow migrate --values - ;;
  ?*) "$here" run --rm --interactive "$whole" migrate --values - ;;
  *)
    kube -n "$namespace" run pilcrow-migrate --image "$whole" --image-pull-policy IfNotPresent --restart Never --rm --stdin \
      --quiet --pod-running-timeout 2m -- migrate --values -
    ;;
  esac
}

# What the release's DaemonSets have mounted of one kind: names, one a line.
mounted() {
  kube -n "$from_namespace" get daemonsets -l "app.kubernetes.io/instance=$from_release" -o \
    "jsonpath={range .items[*].spec.template.spec.volumes[*]}{.$1}{\"\\n\"}{end}" 2>/dev/null | awk 'NF && !seen[$0]++'
}

# Writes the values of Pilcrow's chart: from the release's values, or where these have no configuration, from its ConfigMap or Secret.
convert() {
  converted=pilcrow-from-$from_release.yaml
  read_old="helm -n $from_namespace get values $from_release -o yaml"
  if [ -s "$converted" ]; then
    say "$converted is here already, and is used as it is; remove it to convert anew."
    return
  fi
  find_program
  if [ -z "$here" ]; then
    [ -z "$dry_run" ] || die "not possible with --dry-run: install the program pilcrow here, or get the image by docker or podman"
    say "(by a pod of the image $(image_with_tag), as there is no program pilcrow here)"
    make_namespace
  fi
  reports=$(mktemp -d)
  trap 'rm -rf "$reports"' EXIT
  with_helm -n "$from_namespace" get values "$from_release" -o yaml >"$reports/values" ||
    die "cannot read the values of $from_release; helm -n $from_namespace get values $from_release"
  if migrate <"$reports/values" >"$reports/new" 2>"$reports/report"; then
    source_of="its values"
  else
    for kind in configMap.name secret.secretName; do
      resource=$(printf '%s' "${kind%%.*}" | tr '[:upper:]' '[:lower:]')
      mounted "$kind" | while read -r name; do
        say "---"
        kube -n "$from_namespace" get "$resource" "$name" -o yaml || true
      done
    done >"$reports/manifests"
    if ! migrate <"$reports/manifests" >"$reports/new" 2>"$reports/report.manifests"; then
      cat "$reports/report" "$reports/report.manifests" >&2
      die "neither the values of $from_release nor what its pods mount could be converted; convert its configuration with \
pilcrow migrate (docs/migration.md), and give the result by --values"
    fi
    mv "$reports/report.manifests" "$reports/report"
    source_of="its ConfigMap or Secret"
    read_old="kubectl -n $from_namespace get configmaps,secrets -l app.kubernetes.io/instance=$from_release -o yaml"
  fi
  grep -q '^loki:' "$reports/new" || die "the conversion names no Loki: $(cat "$reports/report")"
  mv "$reports/new" "$converted"
  say "Converted from $source_of to $converted; what changes:"
  sed 's/^/  /' "$reports/report"
}

# The folder of the nodes with the other collector's positions, as its DaemonSet has it.
positions_folder() {
  volume=run
  [ "$from" = promtail ] || volume=alloy-log-positions
  kube -n "$from_namespace" get daemonsets -l "app.kubernetes.io/instance=$from_release" \
    -o "jsonpath={.items[*].spec.template.spec.volumes[?(@.name==\"$volume\")].hostPath.path}" 2>/dev/null |
    awk '{ print $1 }' || true
}

tell_how_to_go_on() {
  cat <<TEXT

Both collect now. Lines with the same labels, time and text are in Loki once.
What each pod took over of $from's positions:
  kubectl -n $namespace logs -l app.kubernetes.io/instance=$release -c import-positions --prefix --tail -1
Whether the same comes out, and which streams Loki has:
  $read_old | kubectl -n $namespace exec -i $(daemonset_of_release) -c pilcrow -- \\
    /pilcrow migrate --prove - --config /etc/pilcrow/pilcrow.yaml --loki $loki
TEXT
  if [ -n "$collector_label" ]; then
    cat <<'TEXT'
After a day, lines by namespace of one and the other, in Grafana:
  sum by (namespace) (count_over_time({collector="pilcrow"}[1d]))
  sum by (namespace) (count_over_time({collector="", namespace=~".+"}[1d]))
TEXT
    say "Then take the label away: install.sh --from $from --set labels.collector=null"
  fi
  say "To remove $from, when all is well:"
  say "  helm -n $from_namespace uninstall $from_release"
}
