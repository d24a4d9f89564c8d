#!/bin/sh
# Installs Pilcrow by Helm, or brings an installation up to date: it is safe to run again.
#
#   deploy/install.sh --loki http://loki.monitoring:3100 --cluster home-k8s
#   deploy/install.sh --from promtail
#
# It checks first (kubectl, helm, rights, Loki, Secrets, other collectors), then installs, waits until every node's pod is ready, and
# shows what Loki has accepted. With --from it converts the configuration of a Promtail or an Alloy, installs beside it, and goes on
# where that one is. `--help` lists all options. It needs the files beside it: run it in a clone of the repository.
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
  --kubeconfig FILE   the cluster's kubeconfig [that of kubectl]
  --context NAME      the kubeconfig's context [the current one]
  --grafana URL       Grafana's address, for a link to the lines in its data source Loki
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
[ -r "$chart/Chart.yaml" ] || die "the chart is not beside this script: run it in a clone of the repository, as deploy/install.sh"
loki=${LOKI_URL:-}
namespace=pilcrow release=pilcrow cluster='' image='' kubeconfig='' context='' grafana='' timeout=3m
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
    --kubeconfig) needs_value "$@"; kubeconfig=$2; shift ;;
    --context) needs_value "$@"; context=$2; shift ;;
    --grafana) needs_value "$@"; grafana=${2%/}; shift ;;
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

# One word of a command, as a shell takes it.
word() {
  case $1 in
    '' | *[!A-Za-z0-9_./:=@%+,-]*) printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")" ;;
    *) printf '%s' "$1" ;;
  esac
}
# For commands that are printed: they must find the same cluster and release.
to_cluster=${kubeconfig:+ --kubeconfig $(word "$kubeconfig")}
kubectl_text="kubectl$to_cluster${context:+ --context $(word "$context")}"
helm_text="helm$to_cluster${context:+ --kube-context $(word "$context")}"
to_release=$to_cluster${context:+ --context $(word "$context")}
[ "$namespace" = pilcrow ] || to_release="$to_release --namespace $namespace"
[ "$release" = pilcrow ] || to_release="$to_release --release $release"
again="$0$to_release"

kube() { kubectl ${kubeconfig:+--kubeconfig "$kubeconfig"} ${context:+--context "$context"} "$@"; }
with_helm() { helm ${kubeconfig:+--kubeconfig "$kubeconfig"} ${context:+--kube-context "$context"} "$@"; }

# Commands that change something; with --dry-run they are only printed.
show() {
  printf '$ %s' "$1"
  shift
  for argument in "$@"; do printf ' %s' "$(word "$argument")"; done
  printf '\n'
}
change_by_kubectl() {
  show "$kubectl_text" "$@"
  [ -n "$dry_run" ] || kube "$@"
}
# Helm's own notes do not know of --context; what they say is printed at the end.
change_by_helm() {
  show "$helm_text" "$@"
  [ -z "$dry_run" ] || return 0
  told=$(with_helm "$@") || die "Helm could not install it: see above"
  say "$told" | sed '/^NOTES:$/,$d'
}

check_tools() {
  command -v kubectl >/dev/null || die "kubectl is not installed: https://kubernetes.io/docs/tasks/tools/"
  command -v helm >/dev/null ||
    die "helm is not installed: https://helm.sh/docs/intro/install/ (or: kubectl apply -f deploy/manifests/pilcrow.yaml)"
  kube get --raw /version >/dev/null ||
    die "the cluster does not answer; is this the right kubeconfig and context? ($kubectl_text config get-contexts)"
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
        say "    what it does:  $helm_text -n $ns get values $name"
        say "    to remove it:  $helm_text -n $ns uninstall $name"
        ;;
      daemonset)
        say "  DaemonSet $name in $ns, not by Helm"
        say "    what it does:  $kubectl_text -n $ns describe daemonset $name"
        say "    to remove it:  $kubectl_text -n $ns delete daemonset $name"
        ;;
    esac
  done
  cat <<TEXT
Two collectors side by side do no harm, but every line is stored once for each set of labels. To migrate:
  1. $again --from promtail (or alloy) converts its configuration, installs Pilcrow beside it and goes on where it is.
     docs/migration.md has each step by hand. Pilcrow collects logs only; keep Alloy for metrics, traces and profiles.
  2. Check Pilcrow's lines in Grafana, and then remove the other one.
TEXT
}

# A name of this cluster (NAME.NAMESPACE, NAME.NAMESPACE.svc…) is looked up as a Service, anything else is asked from here.
check_that_loki_answers() {
  case $loki in
    *"\${"*)
      say "Whether Loki answers was not checked: its address has a variable in it."
      return
      ;;
  esac
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
      die "there is no Service $service in the namespace $in_namespace (--loki $loki); $kubectl_text -n $in_namespace get services"
    addresses=$(kube -n "$in_namespace" get endpoints "$service" -o 'jsonpath={.subsets[*].addresses[*].ip}' 2>/dev/null)
    [ -n "$addresses" ] ||
      die "the Service $service in $in_namespace has no ready pod; see $kubectl_text -n $in_namespace get pods, or --skip-loki-check"
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
--namespace, or: $kubectl_text label --overwrite namespace $namespace pod-security.kubernetes.io/enforce=privileged"
        ;;
    esac
    return
  fi
  change_by_kubectl create namespace "$namespace"
  # hostPath volumes and added capabilities are not in the baseline, which Talos enforces by default.
  change_by_kubectl label namespace "$namespace" pod-security.kubernetes.io/enforce=privileged
}

# Sets `is_installed`, and `before` to the values that the release was given. Helm before 3.14 cannot keep these and take new defaults
# from the chart.
look_at_release() {
  is_installed='' before=''
  with_helm status "$release" --namespace "$namespace" >/dev/null 2>&1 || return 0
  is_installed=yes
  before=$(with_helm get values "$release" --namespace "$namespace" -o yaml 2>/dev/null) || before=''
  with_helm upgrade --help 2>/dev/null | grep -q -- --reset-then-reuse-values ||
    die "the release $release is there already, and this Helm cannot keep its values: update Helm to 3.14 or newer"
}

# Calls $1 with the arguments of Helm.
install_by() {
  how=$1
  set -- upgrade --install "$release" "$chart" --namespace "$namespace"
  [ -z "$is_installed" ] || set -- "$@" --reset-then-reuse-values
  if [ -n "$from" ]; then
    [ -z "$conversion_is_new" ] || set -- "$@" "--values=$converted"
    set -- "$@" --set-string "migrate.from=$from" --set-string importPositions.file=
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
  "$how" "$@"
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
# shellcheck source=deploy/needs.sh
. "$folder/needs.sh"
# shellcheck source=deploy/proof.sh
. "$folder/proof.sh"

look_at_release
if [ -n "$from" ]; then
  # shellcheck source=deploy/migrate.sh
  . "$folder/migrate.sh"
  step "Converting the configuration of $from"
  find_release
  find_workload
  convert
  choose_between_old_and_new
fi
[ -n "$loki" ] || loki=$(say "$before" | value_of loki url)
case $loki in
  http://?* | https://?* | *"\${"*) ;;
  '') usage >&2; die "say where Loki is: --loki http://loki.monitoring:3100" ;;
  *) die "--loki must begin with http:// or https://, it is $loki" ;;
esac
case ${loki#*://} in
  *@*) die "Loki's address has a user in it: give it without by --loki, and make a Secret for loki.basicAuth (docs/install.md, Secrets)" ;;
esac

step "Checking the cluster"
check_rights
[ -z "$check_loki" ] || check_that_loki_answers
[ -n "$from" ] || tell_of_others
check_that_nodes_have_the_image

step "Installing"
make_namespace
check_needs
install_by change_by_helm

if [ -n "$dry_run" ]; then
  say "Nothing was changed in the cluster: --dry-run."
  exit 0
fi
[ -z "$from" ] || remember_conversion
if [ -n "$wait" ]; then
  step "Waiting for the pods"
  wait_until_ready
fi
step "Pilcrow is installed"
[ -z "$wait" ] || show_proof
tell_how_to_look
[ -z "$from" ] || tell_how_to_go_on
