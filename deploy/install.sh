#!/bin/sh
# Installs Pilcrow by Helm, or brings an installation up to date: it is safe to run again.
#
#   deploy/install.sh --loki http://loki.monitoring:3100 --cluster home-k8s
#   deploy/install.sh --from promtail
#
# It checks first (kubectl, helm, rights, Loki, other collectors), then installs, waits until every node's pod is ready, and
# prints how to look at it. With --from it converts the configuration of a Promtail or an Alloy, installs beside it, and goes on
# where that one is. `--help` lists all options.
set -eu

usage() {
  cat <<'USAGE'
Usage: install.sh --loki URL [options]
       install.sh --from promtail | alloy [options]
       install.sh --show-others

A second run keeps the values of the first one, but for those that it is given.

  --loki URL          Loki's address, as the nodes see it, such as http://loki.monitoring:3100 [or LOKI_URL; else that of the
                      installation, or of the configuration that --from converts]
  --cluster NAME      the label `cluster` of every line [the chart's default: home-k8s]
  --namespace NAME    where to [pilcrow]
  --release NAME      Helm's name for it [pilcrow]
  --image NAME[:TAG]  the image [the chart's default: localhost/pilcrow, which every node must have]
  --values FILE       more values for the chart; may be repeated
  --set KEY=VALUE     one more value; may be repeated
  --context NAME      the kubeconfig's context [the current one]
  --timeout DURATION  how long to wait for the pods [3m]
  --no-wait           do not wait for the pods
  --skip-loki-check   do not check whether Loki answers
  --dry-run           check, and print what would be done
  --show-others       only show which other collectors run, such as Alloy and Promtail, and what to do with them

To move in from Promtail or Alloy (docs/migration.md):
  --from promtail | alloy  convert its configuration, show what changes, install beside it, import its positions
  --from-release NAME      its Helm release [the only one that is found]
  --from-namespace NAME    that release's namespace
  --from-path FOLDER       the nodes' folder with its positions [that of its DaemonSet, else its chart's default]
  --collector-label        give every line the label collector="pilcrow", to compare both
USAGE
}

say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

folder=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
chart=$folder/helm/pilcrow
loki=${LOKI_URL:-}
namespace=pilcrow release=pilcrow cluster='' image='' context='' timeout=3m
wait=yes check_loki=yes dry_run='' show_others=''
from='' from_release='' from_namespace='' from_path='' collector_label=''
# Helm's further arguments, one a line: a POSIX shell has one list only, and that holds our own.
more=''
add() { more="$more$1
"; }

needs_value() { [ -n "${2:-}" ] || die "$1 needs a value; see --help"; }
while [ $# -gt 0 ]; do
  case $1 in
    --loki) needs_value "$@"; loki=$2; shift ;;
    --cluster) needs_value "$@"; cluster=$2; shift ;;
    --namespace) needs_value "$@"; namespace=$2; shift ;;
    --release) needs_value "$@"; release=$2; shift ;;
    --image) needs_value "$@"; image=$2; shift ;;
    --values) needs_value "$@"; [ -r "$2" ] || die "cannot read the values file $2"; add "--values=$2"; shift ;;
    --set) needs_value "$@"; add "--set=$2"; shift ;;
    --context) needs_value "$@"; context=$2; shift ;;
    --timeout) needs_value "$@"; timeout=$2; shift ;;
    --no-wait) wait='' ;;
    --skip-loki-check) check_loki='' ;;
    --dry-run) dry_run=yes ;;
    --show-others) show_others=yes ;;
    --from) needs_value "$@"; from=$2; shift ;;
    --from-release) needs_value "$@"; from_release=$2; shift ;;
    --from-namespace) needs_value "$@"; from_namespace=$2; shift ;;
    --from-path) needs_value "$@"; from_path=$2; shift ;;
    --collector-label) collector_label=yes ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; die "unknown option $1" ;;
  esac
  shift
done

kube() { kubectl ${context:+--context "$context"} "$@"; }
with_helm() { helm ${context:+--kube-context "$context"} "$@"; }

# Commands that change something; with --dry-run they are only printed.
change_by_kubectl() {
  say "\$ kubectl $*"
  [ -n "$dry_run" ] || kube "$@"
}
change_by_helm() {
  say "\$ helm $*"
  [ -n "$dry_run" ] || with_helm "$@"
}

check_tools() {
  command -v kubectl >/dev/null || die "kubectl is not installed: https://kubernetes.io/docs/tasks/tools/"
  command -v helm >/dev/null ||
    die "helm is not installed: https://helm.sh/docs/intro/install/ (or: kubectl apply -f deploy/manifests/pilcrow.yaml)"
  kube get --raw /version >/dev/null ||
    die "the cluster does not answer; is this the right kubeconfig and context? (kubectl config get-contexts)"
}

check_rights() {
  for what in daemonsets.apps clusterroles.rbac.authorization.k8s.io; do
    kube auth can-i create "$what" --namespace "$namespace" >/dev/null 2>&1 ||
      die "you may not create $what in this cluster; ask for a kubeconfig of an administrator"
  done
}

# Collectors that read the same logs: "KIND NAMESPACE NAME WHAT", one a line.
others() {
  with_helm list --all-namespaces 2>/dev/null | awk 'NR > 1 {
    for (i = 3; i <= NF; i++)
      if ($i ~ /^(alloy|promtail|loki-stack|k8s-monitoring|grafana-agent|fluent-bit|vector)-[0-9]/) print "release", $2, $1, $i }'
  kube get daemonsets --all-namespaces --no-headers \
    -o custom-columns=NS:.metadata.namespace,NAME:.metadata.name,BY:.metadata.annotations.meta\\.helm\\.sh/release-name \
    2>/dev/null | awk '$3 == "<none>" && $2 ~ /alloy|promtail|grafana-agent|fluent-bit|vector/ { print "daemonset", $1, $2, "-" }'
}

# The image that the chart takes, NAME:TAG.
image_with_tag() {
  version=$(sed -n 's/^appVersion: *"\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' "$chart/Chart.yaml")
  name=${image:-localhost/pilcrow}
  case ${name##*/} in
    *:*) say "$name" ;;
    *) say "$name:$version" ;;
  esac
}

# A key of a group in values of a chart: value_of loki url.
value_of() {
  awk -v group="$1:" -v key="$2:" \
    '/^[^ #]/ { inside = $1 == group } inside && $1 == key { gsub(/["\047]/, "", $2); print $2; exit }'
}

tell_of_others() {
  found=$(others)
  if [ -z "$found" ]; then
    say "No other collector was found."
    return
  fi
  say "These collect the same logs:"
  say "$found" | while read -r kind ns name what; do
    case $kind in
      release)
        say "  Helm release $name in $ns ($what)"
        say "    what it does:  helm -n $ns get values $name"
        say "    to remove it:  helm -n $ns uninstall $name"
        ;;
      daemonset)
        say "  DaemonSet $name in $ns, not by Helm"
        say "    what it does:  kubectl -n $ns describe daemonset $name"
        say "    to remove it:  kubectl -n $ns delete daemonset $name"
        ;;
    esac
  done
  cat <<'TEXT'
Two collectors side by side do no harm, but every line is stored once for each set of labels. To migrate:
  1. install.sh --from promtail (or alloy) converts its configuration, installs Pilcrow beside it and goes on where it is.
     docs/migration.md has each step by hand. Pilcrow collects logs only; keep Alloy for metrics, traces and profiles.
  2. Check Pilcrow's lines in Grafana, and then remove the other one.
TEXT
}

# A name of this cluster (NAME.NAMESPACE, NAME.NAMESPACE.svc…) is looked up as a Service, anything else is asked from here.
check_that_loki_answers() {
  rest=${loki#*://}
  host=${rest%%/*}
  name=${host%%:*}
  service=${name%%.*}
  in_namespace=${name#*.}
  in_namespace=${in_namespace%%.*}
  case $name in
    *[!0-9.]*) ;;
    *) service=$name ;; # an address of IPv4
  esac
  if [ "$service" != "$name" ] && kube get namespace "$in_namespace" >/dev/null 2>&1; then
    kube -n "$in_namespace" get service "$service" >/dev/null 2>&1 ||
      die "there is no Service $service in the namespace $in_namespace (--loki $loki); kubectl -n $in_namespace get services"
    addresses=$(kube -n "$in_namespace" get endpoints "$service" -o 'jsonpath={.subsets[*].addresses[*].ip}' 2>/dev/null)
    [ -n "$addresses" ] ||
      die "the Service $service in $in_namespace has no ready pod; see kubectl -n $in_namespace get pods, or --skip-loki-check"
    say "Loki is the Service $service in $in_namespace, and has ready pods."
    return
  fi
  base=${loki%/loki/api/v1/push}
  if command -v curl >/dev/null; then
    # Any answer is one: behind a gateway it may be 401 or 404.
    curl --silent --insecure --output /dev/null --max-time 10 "${base%/}/ready" ||
      die "nothing answers at $loki; if only the nodes can reach it: --skip-loki-check"
    say "Something answers at $loki."
  else
    warn "curl is not installed, so whether Loki answers at $loki was not checked"
  fi
}

make_namespace() {
  if kube get namespace "$namespace" >/dev/null 2>&1; then
    enforced=$(kube get namespace "$namespace" -o 'jsonpath={.metadata.labels.pod-security\.kubernetes\.io/enforce}')
    case $enforced in
      baseline | restricted)
        die "the namespace $namespace enforces pod security $enforced, which forbids hostPath volumes; take another with \
--namespace, or: kubectl label --overwrite namespace $namespace pod-security.kubernetes.io/enforce=privileged"
        ;;
    esac
    return
  fi
  change_by_kubectl create namespace "$namespace"
  # hostPath volumes and added capabilities are not in the baseline, which Talos enforces by default.
  change_by_kubectl label namespace "$namespace" pod-security.kubernetes.io/enforce=privileged
}

# Whether the release is there already. Helm before 3.14 cannot keep its values and take new defaults from the chart.
keeps_values() {
  with_helm status "$release" --namespace "$namespace" >/dev/null 2>&1 || return 1
  with_helm upgrade --help 2>/dev/null | grep -q -- --reset-then-reuse-values
}

install() {
  set -- upgrade --install "$release" "$chart" --namespace "$namespace"
  if keeps_values; then
    set -- "$@" --reset-then-reuse-values
  elif [ -z "$from" ]; then
    loki_given=$loki
  fi
  if [ -n "$from" ]; then
    set -- "$@" "--values=$converted" --set-string "migrate.from=$from" --set-string importPositions.file=
    [ -z "$from_path" ] || set -- "$@" --set-string "migrate.path=$from_path"
    [ -z "$collector_label" ] || set -- "$@" --set-string labels.collector=pilcrow
  fi
  [ -z "$loki_given" ] || set -- "$@" --set-string "loki.url=$loki"
  [ -z "$cluster" ] || set -- "$@" --set-string "labels.cluster=$cluster"
  if [ -n "$image" ]; then
    last=${image##*/}
    case $last in
      *:*) set -- "$@" --set-string "image.repository=${image%:*}" --set-string "image.tag=${last##*:}" ;;
      *) set -- "$@" --set-string "image.repository=$image" ;;
    esac
  fi
  # What the caller adds comes last and so goes first.
  while IFS= read -r argument; do
    [ -z "$argument" ] || set -- "$@" "$argument"
  done <<MORE
$more
MORE
  change_by_helm "$@"
}

# An image without a registry must be on every node. A node lists its 50 largest images only, so that this is no more than a hint.
check_that_nodes_have_the_image() {
  whole=$(image_with_tag)
  case $whole in
    localhost/*) ;;
    *) return ;;
  esac
  kube get nodes -o "jsonpath={range .items[*]}{.metadata.name}{\" \"}{.status.images[*].names[*]}{\"\\n\"}{end}" 2>/dev/null |
    while read -r node images; do
      case " $images " in
        *"$whole"* | '  ') ;;
        *) warn "the node $node does not list the image $whole: if it was not imported there, its pod cannot start (docs/install.md)" ;;
      esac
    done
}

# daemonset.apps/NAME
daemonset_of_release() {
  kube -n "$namespace" get daemonsets -o name \
    -l "app.kubernetes.io/instance=$release,app.kubernetes.io/name=pilcrow"
}

wait_until_ready() {
  daemonset=$(daemonset_of_release)
  [ -n "$daemonset" ] || die "the release $release has no DaemonSet in $namespace; helm -n $namespace status $release"
  if ! kube -n "$namespace" rollout status "$daemonset" --timeout "$timeout"; then
    kube -n "$namespace" get pods -o wide -l "app.kubernetes.io/instance=$release" >&2 || true
    kube -n "$namespace" logs "$daemonset" --tail 20 >&2 || true
    die "not every pod is ready after $timeout. ErrImagePull: the node has no such image (docs/install.md). Running but not \
ready: its log says what Loki answers (docs/operations.md)"
  fi
}

# What is proved of the installation: its nodes, and what one of them has sent.
show_proof() {
  daemonset=$(daemonset_of_release)
  ready=$(kube -n "$namespace" get "$daemonset" -o 'jsonpath={.status.numberReady} of {.status.desiredNumberScheduled}' 2>/dev/null)
  say "Nodes with a ready pod: ${ready:-not known}"
  say "On one of them:"
  kube -n "$namespace" exec "$daemonset" -- /pilcrow status 2>&1 | sed 's/^/  /' || true
}

tell_how_to_look() {
  where=$(daemonset_of_release)
  cluster=$(with_helm get values "$release" --namespace "$namespace" --all -o yaml 2>/dev/null | value_of labels cluster)
  cat <<TEXT

What each node uses, what it fell back to, and why:
  kubectl -n $namespace logs -l app.kubernetes.io/instance=$release --prefix --tail 20
What a node offers, and how to fix what is missing:
  kubectl -n $namespace exec $where -- /pilcrow doctor --config /etc/pilcrow/pilcrow.yaml
The lines, in Grafana:
  {${cluster:+cluster=\"$cluster\", }namespace="kube-system"}
If something is wrong: docs/operations.md. To remove it all: deploy/uninstall.sh
TEXT
}

check_tools
if [ -n "$show_others" ]; then
  tell_of_others
  exit 0
fi
case $from in
  '' | promtail | alloy) ;;
  *) usage >&2; die "--from must be promtail or alloy, it is $from" ;;
esac
loki_given=$loki

if [ -n "$from" ]; then
  # shellcheck source=deploy/migrate.sh
  . "$folder/migrate.sh"
  step "Converting the configuration of $from"
  find_release
  convert
  [ -n "$from_path" ] || from_path=$(positions_folder)
  [ -n "$loki" ] || loki=$(value_of loki url <"$converted")
fi
if [ -z "$loki" ]; then
  loki=$(with_helm get values "$release" --namespace "$namespace" -o yaml 2>/dev/null | value_of loki url)
fi
case $loki in
  http://?* | https://?*) ;;
  '') usage >&2; die "say where Loki is: --loki http://loki.monitoring:3100" ;;
  *"\${"*) die "the configuration has Loki's address in a variable ($loki): give the address by --loki" ;;
  *) die "--loki must begin with http:// or https://, it is $loki" ;;
esac

step "Checking the cluster"
check_rights
[ -z "$check_loki" ] || check_that_loki_answers
[ -n "$from" ] || tell_of_others
check_that_nodes_have_the_image

step "Installing"
make_namespace
install

if [ -n "$dry_run" ]; then
  say "Nothing was changed in the cluster: --dry-run."
  exit 0
fi
if [ -n "$wait" ]; then
  step "Waiting for the pods"
  wait_until_ready
fi
step "Pilcrow is installed"
[ -z "$wait" ] || show_proof
tell_how_to_look
[ -z "$from" ] || tell_how_to_go_on
