# shellcheck shell=sh disable=SC2034,SC2154
# For install.sh --from: which release is moved in from, its configuration as values of Pilcrow's chart, and what to do then. Changes
# nothing in the cluster but a pod of its own for the conversion, where no program pilcrow is here. Prints and reads no secrets.

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
        die "there is no release $from_release of $from in $from_namespace; $helm_text list --all-namespaces"
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

# Sets `old` to KIND/NAME of what runs the old collector, and `container` to the collector's; to nothing where neither is found. Of
# several the one that runs on every node and has logs in its name, as the chart k8s-monitoring has more than one.
find_workload() {
  found=$(kube -n "$from_namespace" get daemonsets,statefulsets,deployments -l "app.kubernetes.io/instance=$from_release" -o \
    'jsonpath={range .items[*]}{.kind}/{.metadata.name} {.spec.template.spec.containers[*].name}{"\n"}{end}' 2>/dev/null |
    awk '{
      for (i = 2; i <= NF; i++) if ($i ~ /^(promtail|alloy|grafana-agent)$/) {
        fits = ($1 ~ /^DaemonSet/) * 2 + ($1 ~ /logs/) + 1
        if (fits > best) { best = fits; found = $1 " " $i }
      }
    } END { print found }') || found=''
  old=${found%% *} container=${found##* }
}

# A field of it, by a path below its pod's spec: an object or a list as JSON, which is YAML, too.
of_old() {
  [ -z "$old" ] || kube -n "$from_namespace" get "$old" -o "jsonpath={.spec.template.spec.$1}" 2>/dev/null || true
}
of_container() { of_old "containers[?(@.name==\"$container\")].$1"; }

# Sets `value` to what it has in a variable, or `why` to where that is instead. What is in a Secret is not read.
look_up() {
  value='' why="nothing of $from_release sets it"
  [ -n "$old" ] || return 0
  set -- "$1" "$(of_container "env[?(@.name==\"$1\")].valueFrom.secretKeyRef.name")" \
    "$(of_container "env[?(@.name==\"$1\")].valueFrom.configMapKeyRef.name")"
  value=$(of_container "env[?(@.name==\"$1\")].value")
  if [ -n "$2" ]; then
    why="$old in $from_namespace has it from the Secret $2"
  elif [ -n "$3" ]; then
    key=$(of_container "env[?(@.name==\"$1\")].valueFrom.configMapKeyRef.key")
    look_up_in_configmap "$3" "$key"
  elif [ -n "$value" ]; then
    why="$old in $from_namespace has a text in it"
  else
    look_up_in_groups "$1"
  fi
}

look_up_in_configmap() {
  value=$(kube -n "$from_namespace" get configmap "$1" -o "jsonpath={.data.$(printf '%s' "$2" | sed 's/[.]/\\./g')}" 2>/dev/null) ||
    value=''
  why="$old in $from_namespace has it from the ConfigMap $1"
}

# In `envFrom`: whole ConfigMaps and Secrets as variables.
look_up_in_groups() {
  groups=$(of_container "envFrom[*]['configMapRef','secretRef'].name")
  for group in $groups; do
    look_up_in_configmap "$group" "$1"
    [ -z "$value" ] || return 0
  done
  [ -z "$groups" ] || why="perhaps it is in one of these ConfigMaps and Secrets of $from_namespace: $groups"
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
    # Its own name for each run: one that was interrupted may have left its pod.
    kube -n "$namespace" run "pilcrow-migrate-$$" --image "$whole" --image-pull-policy IfNotPresent --restart Never --rm --stdin \
      --quiet --pod-running-timeout 2m -- migrate --values -
    ;;
  esac
}

# What the release's workloads have mounted: "configmap/NAME" and "secret/NAME", one a line.
mounted() {
  for kind in configmap.configMap.name secret.secret.secretName; do
    kube -n "$from_namespace" get daemonsets,statefulsets,deployments -l "app.kubernetes.io/instance=$from_release" -o \
      "jsonpath={range .items[*].spec.template.spec.volumes[*]}{.${kind#*.}}{\"\\n\"}{end}" 2>/dev/null |
      awk -v kind="${kind%%.*}" 'NF && !seen[$0]++ { print kind "/" $0 }'
  done
}

# What the release's conversion was made from, and where: the first lines of the file. A file without them is the user's own.
origin_of_conversion() { sed -n "s/^# $1: //p" "$converted" | head -n 1; }

# Writes the values of Pilcrow's chart: from the release's values, or where these have no configuration, from its ConfigMap or Secret.
convert() {
  converted=pilcrow-from-$from_release.yaml
  read_old="helm -n $from_namespace get values $from_release -o yaml"
  server=$(kube config view --minify -o 'jsonpath={.clusters[0].cluster.server}' 2>/dev/null) || server=''
  made_of="$from_release in $from_namespace of $server"
  if [ -s "$converted" ]; then
    other=$(origin_of_conversion "Made by install.sh of")
    [ -z "$other" ] || [ "$other" = "$made_of" ] ||
      die "$converted was made of $other, not of $made_of: run this in another folder, or move that file away"
    other=$(origin_of_conversion "Read by")
    read_old=${other:-$read_old}
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
  source_of="its values"
  with_helm -n "$from_namespace" get values "$from_release" -o yaml >"$reports/values" ||
    warn "cannot read the values of $from_release; $helm_text -n $from_namespace get values $from_release"
  if ! migrate <"$reports/values" >"$reports/new" 2>"$reports/report"; then
    source_of="its ConfigMap or Secret"
    mounted >"$reports/mounted"
    while read -r object; do
      say "---"
      kube -n "$from_namespace" get "$object" -o yaml || true
    done <"$reports/mounted" >"$reports/manifests"
    if ! migrate <"$reports/manifests" >"$reports/new" 2>"$reports/report.manifests"; then
      cat "$reports/report" "$reports/report.manifests" >&2
      die "neither the values of $from_release nor what its pods mount could be converted; convert its configuration with \
pilcrow migrate (docs/migration.md), and give the result by --values"
    fi
    mv "$reports/report.manifests" "$reports/report"
    read_old="kubectl -n $from_namespace get $(tr '\n' ' ' <"$reports/mounted")-o yaml"
  fi
  grep -q '^loki:' "$reports/new" || die "the conversion names no Loki: $(cat "$reports/report")"
  say "Converted from $source_of to $converted; what changes:"
  # The report's next steps are what this script does.
  awk '/^Next:$/ { next_steps = 1; next } next_steps && /^  / { next } { next_steps = 0; print "  " $0 }' "$reports/report"
  [ "$source_of" = "its values" ] || take_over_workload
  # It may have texts of the old environment in it.
  (
    umask 077
    {
      printf '# Made by install.sh of: %s\n# Read by: %s\n' "$made_of" "$read_old"
      sed -n 's/^.* changed, \([1-9][0-9]*\) not possible$/# Parts that are not possible: \1/p' "$reports/report"
      cat "$reports/new"
    } >"$converted"
  )
}

# Values that say how a pod runs are not in a ConfigMap: adds what its DaemonSet has to the new ones, and names the rest.
take_over_workload() {
  where="$kubectl_text -n $from_namespace get $old -o yaml"
  case $old in
    DaemonSet*) ;;
    '')
      say "  Not taken over: tolerations, nodeSelector, resources and extraEnv, as no DaemonSet of $from_release was found"
      return
      ;;
    *)
      say "  Not taken over: how $old runs, as Pilcrow runs on every node ($where)"
      take_over_environment
      return
      ;;
  esac
  taken=''
  for key in tolerations nodeSelector affinity priorityClassName; do
    take_over "$key" "$(of_old "$key")"
  done
  take_over resources "$(of_container resources)"
  say "  Taken over from $old in $from_namespace: ${taken:-nothing, as it has no tolerations, nodeSelector or resources}"
  take_over_environment
  for volume in $(of_old "volumes[*].name"); do
    case $volume in
      config | run | containers | pods | varlog | dockercontainers | kube-api-access-*) ;;
      *) say "  Not taken over: its volume $volume ($where)" ;;
    esac
  done
}

take_over() {
  case $2 in
    '' | '{}' | '[]') return ;;
  esac
  if ! grep -q "^$1:" "$reports/new"; then
    printf '%s: %s\n' "$1" "$2" >>"$reports/new"
    taken="$taken${taken:+, }$1"
  fi
}

# In: variables. Out: the same but for those that are in Loki's address and nowhere else, as these are resolved here.
without_those_of_the_address() {
  address=$(value_of loki url <"$reports/new")
  while IFS= read -r variable; do
    name=${variable#'{"name":"'}
    name=${name%%'"'*}
    case $address in
      *"\${$name}"* | *"\${$name:-"*) [ "$(grep -c "[$]{${name}[}:]" "$reports/new")" -gt 1 ] || continue ;;
    esac
    printf '%s\n' "$variable"
  done
}

# Variables but those that the collectors' charts set themselves. One a line, as JSON; their names have no quotes in them.
take_over_environment() {
  all=$(kube -n "$from_namespace" get "$old" -o \
    "jsonpath={range .spec.template.spec.containers[?(@.name==\"$container\")].env[*]}{@}{\"\\n\"}{end}" 2>/dev/null) || all=''
  own=$(say "$all" | grep -v -E '"name":"(HOSTNAME|NODE_NAME|ALLOY_DEPLOY_MODE|AGENT_DEPLOY_MODE)"[,}]' | grep . |
    without_those_of_the_address) || own=''
  if [ -n "$own" ] && ! grep -q '^extraEnv:' "$reports/new"; then
    { say "extraEnv:"; say "$own" | sed 's/^/  - /'; } >>"$reports/new"
    names=$(say "$own" | sed 's/^{"name":"\([^"]*\)".*/\1/' | tr '\n' ' ')
    say "  Taken over as extraEnv: ${names% }"
  fi
  groups=$(of_container "envFrom[*]['configMapRef','secretRef'].name")
  [ -z "$groups" ] || say "  Not taken over: the variables of its envFrom, of $groups"
}

# What the release has from an earlier run stays, also where the conversion says something else, unless its file was edited since.
choose_between_old_and_new() {
  conversion_is_new=yes
  kept=$converted.installed
  of_file=$(value_of loki url <"$converted")
  if [ -n "$is_installed" ] && [ -s "$kept" ]; then
    before_url=$(say "$before" | value_of loki url)
    if cmp -s "$converted" "$kept"; then
      conversion_is_new=''
      loki=${loki:-$before_url}
    else
      say "$converted was changed since it was installed: what it says now replaces what earlier runs were given for the same keys,"
      say "but for --loki and --cluster."
      if [ -z "$loki" ] && [ "$of_file" = "$(value_of loki url <"$kept")" ]; then
        loki=$before_url loki_given=$before_url
      fi
      if [ -z "$cluster" ] && [ "$(value_of labels cluster <"$converted")" = "$(value_of labels cluster <"$kept")" ]; then
        cluster=$(say "$before" | value_of labels cluster)
      fi
    fi
  fi
  if [ -z "$loki" ]; then
    loki=$of_file
    case $loki in
      '' | "''"*) die "the old configuration has Loki's address where it cannot be read: give it by --loki, or write it to loki.url in \
$converted" ;;
    esac
    resolve_loki
    name_loki_s_namespace
  fi
  [ -n "$from_path" ] || [ -n "$(say "$before" | value_of migrate path)" ] || find_positions
}

# Sets the variables in Loki's address, as the old collector has them: here it has to be known, too.
resolve_loki() {
  while :; do
    case $loki in
      *"\${"*"}"*) ;;
      *) return 0 ;;
    esac
    rest=${loki#*"\${"}
    name=${rest%%"}"*}
    default=''
    case $name in
      *:-*) default=${name#*:-} name=${name%%:-*} ;;
    esac
    look_up "$name"
    case ${value:-$default} in
      '') die "the configuration has Loki's address in the variable $name, and $why: give the address by --loki" ;;
      *"\${"*) die "the variable $name of Loki's address has another one in it: give the address by --loki" ;;
      *@*) die "the variable $name of Loki's address has a user in it: give the address without by --loki, and make a Secret for \
loki.basicAuth (docs/install.md, Secrets)" ;;
    esac
    loki=${loki%%"\${"*}${value:-$default}${rest#*"}"}
    loki_given=$loki
    say "Loki's address: the variable $name is taken from ${old:-its default}."
  done
}

# A Service that is named alone is in the namespace of who asks: Pilcrow's is another one.
name_loki_s_namespace() {
  rest=${loki#*://}
  host=${rest%%[:/]*}
  case $host in
    '' | localhost | *.* | *[!a-z0-9-]*) return 0 ;;
  esac
  [ "$from_namespace" != "$namespace" ] || return 0
  kube -n "$from_namespace" get service "$host" >/dev/null 2>&1 || return 0
  loki=${loki%%://*}://$host.$from_namespace${rest#"$host"}
  loki_given=$loki
  say "Loki's address: $loki, as the Service $host is in the namespace $from_namespace."
}

# The conversion as the release has it now.
remember_conversion() {
  (
    umask 077
    cp "$converted" "$converted.installed"
  )
}

# Sets `from_path` to the folder of the nodes with the other collector's positions: what its container has mounted where they are.
find_positions() {
  [ -n "$old" ] || return 0
  case $from in
    promtail)
      inside=$(value_of importPositions file <"$converted")
      inside=${inside:-/run/promtail/positions.yaml}
      inside=${inside%/*}
      ;;
    *)
      inside=$(of_container "args[*]" | tr ' ' '\n' | sed -n 's/^--storage\.path=//p' | head -n 1)
      ;;
  esac
  mount=$(kube -n "$from_namespace" get "$old" -o "jsonpath={range .spec.template.spec.containers[?(@.name==\"$container\")]\
.volumeMounts[*]}{.mountPath} {.name}{\"\\n\"}{end}" 2>/dev/null | awk -v inside="$inside/" '
    { sub(/\/$/, "", $1) }
    index(inside, $1 "/") == 1 && length($1) > length(best) { best = $1; volume = $2 }
    END { if (volume != "") print best, volume }')
  volume=${mount##* } mount=${mount%% *}
  [ -z "$volume" ] || from_path=$(of_old "volumes[?(@.name==\"$volume\")].hostPath.path")
  if [ -n "$from_path" ]; then
    from_path=$from_path${inside#"$mount"}
    return 0
  fi
  say "The positions of $from are in no folder of the nodes (${inside:-its storage path is not known}): Pilcrow begins with all that is on the"
  say "disk; what Loki has already with the same labels is stored once. To begin with what is written from now on: --set config.start_at=end"
}

tell_how_to_go_on() {
  case $read_old in
    helm\ *) read_text=$helm_text${read_old#helm} ;;
    *) read_text=$kubectl_text${read_old#kubectl} ;;
  esac
  cat <<TEXT

Both collect now, and may do so for a day: leave $from running. Lines with the same labels, time and text are in Loki once.
What each pod took over of $from's positions:
  $kubectl_text -n $namespace logs -l app.kubernetes.io/instance=$release -c import-positions --prefix --tail -1
Whether the same comes out, and which streams Loki has:
  $read_text | $kubectl_text -n $namespace exec -i $(daemonset_of_release) -c pilcrow -- \\
    /pilcrow migrate --prove - --config /etc/pilcrow/pilcrow.yaml --loki $(word "$loki")
TEXT
  if [ -n "$(with_helm get values "$release" --namespace "$namespace" -o yaml 2>/dev/null | value_of labels collector)" ]; then
    cat <<'TEXT'
After a day, lines by namespace of one and the other, in Grafana:
  sum by (namespace) (count_over_time({collector="pilcrow"}[1d]))
  sum by (namespace) (count_over_time({collector="", namespace=~".+"}[1d]))
TEXT
    say "Then take the label away:"
    say "  $again --set labels.collector=null"
  fi
  lost=$(origin_of_conversion "Parts that are not possible")
  [ -z "$lost" ] || say "Its report lists what is not possible ($lost): that ends with $from. Decide on it first; the report again:
  $read_text | $kubectl_text -n $namespace exec -i $(daemonset_of_release) -c pilcrow -- \\
    /pilcrow migrate --values - >/dev/null"
  say "To remove $from, when all is well:"
  [ "$from" = promtail ] || say "(only if it does nothing else: metrics, traces and profiles go with it)"
  say "  $helm_text -n $from_namespace uninstall $from_release"
}
