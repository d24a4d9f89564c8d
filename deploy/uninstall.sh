#!/bin/sh
# Removes what install.sh installed. Safe to run again. Loki keeps what it has; nodes keep a small state folder.
set -eu

usage() {
  cat <<'USAGE'
Usage: uninstall.sh [options]

  --namespace NAME    where it is [pilcrow]
  --release NAME      Helm's name for it [pilcrow]
  --kubeconfig FILE   the cluster's kubeconfig [that of kubectl]
  --context NAME      the kubeconfig's context [the current one]
  --delete-namespace  also delete the namespace, with everything in it
  --dry-run           print what would be done
USAGE
}

say() { printf '%s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

namespace=pilcrow release=pilcrow kubeconfig='' context='' dry_run='' delete_namespace=''
needs_value() { [ -n "${2:-}" ] || die "$1 needs a value; see --help"; }
while [ $# -gt 0 ]; do
  case $1 in
    --namespace) needs_value "$@"; namespace=$2; shift ;;
    --release) needs_value "$@"; release=$2; shift ;;
    --kubeconfig) needs_value "$@"; kubeconfig=$2; shift ;;
    --context) needs_value "$@"; context=$2; shift ;;
    --delete-namespace) delete_namespace=yes ;;
    --dry-run) dry_run=yes ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; die "unknown option $1" ;;
  esac
  shift
done

kube() { kubectl ${kubeconfig:+--kubeconfig "$kubeconfig"} ${context:+--context "$context"} "$@"; }
with_helm() { helm ${kubeconfig:+--kubeconfig "$kubeconfig"} ${context:+--kube-context "$context"} "$@"; }
of_cluster=${kubeconfig:+ --kubeconfig $kubeconfig}

# Commands that change something; with --dry-run they are only printed.
change_by_kubectl() {
  say "\$ kubectl$of_cluster${context:+ --context $context} $*"
  [ -n "$dry_run" ] || kube "$@"
}
change_by_helm() {
  say "\$ helm$of_cluster${context:+ --kube-context $context} $*"
  [ -n "$dry_run" ] || with_helm "$@"
}

command -v kubectl >/dev/null || die "kubectl is not installed: https://kubernetes.io/docs/tasks/tools/"
command -v helm >/dev/null || die "helm is not installed: https://helm.sh/docs/intro/install/"
kube get --raw /version >/dev/null ||
  die "the cluster does not answer; is this the right kubeconfig and context? (kubectl config get-contexts)"

if with_helm status "$release" --namespace "$namespace" >/dev/null 2>&1; then
  change_by_helm uninstall "$release" --namespace "$namespace"
else
  say "There is no release $release in the namespace $namespace."
fi
if [ -n "$delete_namespace" ] && kube get namespace "$namespace" >/dev/null 2>&1; then
  change_by_kubectl delete namespace "$namespace"
fi
if [ -n "$dry_run" ]; then
  say "Nothing was changed: --dry-run."
  exit 0
fi
cat <<'TEXT'

Each node still has /var/lib/pilcrow, a few KiB with the saved positions. A later installation continues from
there. To start over, or to leave nothing behind, on every node: sudo rm -r /var/lib/pilcrow
TEXT
