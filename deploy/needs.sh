# shellcheck shell=sh disable=SC2034,SC2154
# For install.sh, before Helm: what the pods would wait for in vain. In: what the chart makes of all values, earlier ones included.
# Out: nothing, or the commands that make what is missing, and an end. Reads the names of a Secret's keys, never their values.

# In: rendered manifests. Out: "secret NAME KEY…" and "configmap NAME KEY…" to which the DaemonSet refers, and "variable NAME" for
# which the configuration asks and which the DaemonSet does not set.
needs() {
  awk -v secrets=/run/secrets/pilcrow/ '
    BEGIN {
      kinds["secretKeyRef:"] = kinds["secret:"] = "secret"
      kinds["configMapKeyRef:"] = kinds["configMap:"] = "configmap"
    }
    function bare(text) { gsub(/["\047]/, "", text); return text }
    function indent() { match($0, /[^ ]/); return RSTART }
    function need(what, key) {
      if (!(what in keys)) { order[++count] = what; keys[what] = "" }
      if (key != "" && index(keys[what] " ", " " key " ") == 0) keys[what] = keys[what] " " key
    }
    function end_reference() {
      if (kind != "" && !optional && name != "") {
        need(kind " " name, key)
        if (volume != "") held[volume] = kind " " name
      }
      kind = ""
    }
    /^---/ || /^# Source: / { end_reference() }
    /^# Source: / { part = $3; sub(/.*\//, "", part); next }
    NF == 0 { next }
    part == "daemonset.yaml" {
      if (kind != "" && indent() > depth) {
        if ($1 == "name:" || $1 == "secretName:") name = bare($2)
        if ($1 == "key:") key = bare($2)
        if ($1 == "optional:") optional = $2 == "true"
        next
      }
      end_reference()
      if ($1 == "-") item = ""
      if ($1 == "-" && $2 == "name:") { item = bare($3); set[item] = 1 }
      # The volume `config` is the chart'\''s own ConfigMap.
      word = $1 == "-" ? $2 : $1
      if (word in kinds && !(word == "configMap:" && item == "config")) {
        kind = kinds[word]; depth = index($0, word); name = key = ""; optional = 0
        volume = word == "secret:" ? item : ""
      }
    }
    part == "configmap.yaml" {
      rest = $0
      while ((at = index(rest, secrets)) > 0) {
        rest = substr(rest, at + length(secrets))
        if (match(rest, /^[a-z-]+\/[-._A-Za-z0-9]+/)) files[substr(rest, 1, RLENGTH)] = 1
      }
      rest = $0
      while (match(rest, /[$][$]|[$][{][A-Za-z_][A-Za-z0-9_]*[}]/)) {
        if (RLENGTH > 2) asked[substr(rest, RSTART + 2, RLENGTH - 3)] = 1
        rest = substr(rest, RSTART + RLENGTH)
      }
    }
    END {
      end_reference()
      for (file in files) { split(file, parts, "/"); if (parts[1] in held) need(held[parts[1]], parts[2]) }
      for (i = 1; i <= count; i++) print order[i] keys[order[i]]
      for (variable in asked) if (!(variable in set)) print "variable " variable
    }'
}

render() { with_helm "$@" --dry-run; }

# Adds to `missing`.
miss() {
  missing="$missing$*
"
}

# A Secret or ConfigMap, by what makes it: a copy of the old collector's, where that has one of this name, else the user's own.
miss_object() {
  kind=$1 name=$2 keys=$3
  if [ -n "$from" ] && [ "$from_namespace" != "$namespace" ] &&
    kube -n "$from_namespace" get "$kind" "$name" -o name 2>/dev/null | grep -q .; then
    miss "  $kubectl_text -n $from_namespace get $kind $name -o \\
    jsonpath='{\"apiVersion: v1\\nkind: $4\\nmetadata:\\n  name: $name\\ndata: \"}{.data}' |
    $kubectl_text -n $namespace create -f -"
    return
  fi
  generic=''
  [ "$kind" = configmap ] || generic=' generic'
  for key in $keys; do generic="$generic --from-file=$key=FILE"; done
  miss "  $kubectl_text -n $namespace create $kind${generic%% --*} $name${generic#"${generic%% --*}"}"
}

check_object() {
  kind=$1 name=$2 keys=$3 is_called=$4
  if ! known=$(kube -n "$namespace" get "$kind" "$name" -o "go-template={{range \$key, \$_ := .data}}{{\$key}} {{end}}" 2>&1); then
    case $known in
      *NotFound* | *'not found'*) miss_object "$kind" "$name" "$keys" "$is_called" ;;
      *) warn "whether the $is_called $name is in $namespace was not checked: $known" ;;
    esac
    return
  fi
  for key in $keys; do
    case " $known " in
      *" $key "*) ;;
      *) miss "  the key $key of the $is_called $name in $namespace; its keys are: ${known:-none} (docs/install.md, Secrets)" ;;
    esac
  done
}

check_needs() {
  planned=$(install_by render) || die "the chart does not take these values; nothing was installed"
  missing=''
  while read -r kind name keys; do
    case $kind in
      secret) check_object secret "$name" "$keys" Secret ;;
      configmap) check_object configmap "$name" "$keys" ConfigMap ;;
      variable)
        value='' why=''
        [ -z "$from" ] || look_up "$name"
        miss "  the variable $name, for which the configuration asks${why:+ ($why)}: extraEnv: [{name: $name, value: …}] in a file \
for --values"
        ;;
    esac
  done <<NEEDS
$(say "$planned" | needs)
NEEDS
  [ -n "$missing" ] || return 0
  case $missing in
    *=FILE*) miss "  (FILE: a file with that text alone, without a newline at its end)" ;;
  esac
  die "the pods would not start without the following. Nothing was installed: make it, and run this again.
$missing"
}
