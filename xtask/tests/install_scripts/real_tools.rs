//! install.sh with the real kubectl and helm, as far as these need no cluster: what paths find in a DaemonSet, and what the chart makes of
//! what was found.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use super::cluster::*;

const OLD: &str = r#"{"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "promtail"}, "spec": {
  "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {
    "nodeSelector": {"logging": "true"}, "tolerations": [{"key": "0x10", "operator": "Exists", "tolerationSeconds": 30}],
    "volumes": [{"name": "config"}, {"name": "run", "hostPath": {"path": "/run/old"}}, {"name": "extra"}],
    "containers": [{"name": "config-reloader", "image": "x"}, {"name": "promtail", "image": "x",
      "volumeMounts": [{"name": "config", "mountPath": "/etc/promtail"}, {"name": "run", "mountPath": "/run"}],
      "resources": {"limits": {"memory": "200Mi"}},
      "env": [{"name": "HOSTNAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
              {"name": "LOKI_HOST", "value": "loki.monitoring"}, {"name": "SITE", "value": "at\"tic\n"},
              {"name": "USER", "valueFrom": {"secretKeyRef": {"name": "login", "key": "user.name"}}}],
      "envFrom": [{"configMapRef": {"name": "shared"}}, {"secretRef": {"name": "more"}}]}]}}}}"#;

const CONVERTED: &str = "loki:
  url: 'http://${LOKI_HOST}:3100'
  basicAuth: {existingSecret: pilcrow-loki, username: me}
labels: {cluster: '${SITE}', site: '${TOWN}'}
";

fn in_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// As `cargo xtask test` gives it, else from PATH.
fn helm() -> Option<PathBuf> {
    env::var_os("HELM").map(PathBuf::from).or_else(|| in_path("helm"))
}

/// A cluster with the old DaemonSet, whose `helm upgrade --dry-run` renders the chart.
fn cluster(kubectl: &Path, helm: &Path) -> Cluster {
    let of_old = format!(
        "for last in \"$@\"; do :; done; {} label --local --filename $here/old.json x=y --output \"$last\"",
        kubectl.display()
    );
    let render = format!(
        "shift 3; for argument in \"$@\"; do shift; [ \"$argument\" = --dry-run ] || set -- \"$@\" \"$argument\"; done; \
         {} template --kube-version 1.30.0 \"$@\"",
        helm.display()
    );
    let cluster = Cluster::new(&[
        ("*'list --all-namespaces'*", "printf 'H\\npromtail logs 3 x deployed promtail-6.17.1 3.5.1\\n'"),
        ("'helm -n logs get values '*", "exit 1"),
        ("'pilcrow migrate --values -'", "read -r first && cat $here/converted"),
        ("*'.configMap.name}'*", "echo promtail"),
        ("*'get configmap/promtail '*", "echo 'scrape_configs: []'"),
        ("*'{.kind}/'*", "echo DaemonSet/promtail config-reloader promtail"),
        ("*'get DaemonSet/promtail -o jsonpath='*", &of_old),
        ("*' --dry-run'", &render),
        (
            "*'get secret '*go-template*",
            "[ -e $here/secrets ] || { echo '(NotFound)' >&2; exit 1; }; echo 'password user.name'",
        ),
        LOKI,
        DAEMONSET,
    ])
    .with_pilcrow();
    fs::write(cluster.folder.path().join("old.json"), OLD).unwrap();
    fs::write(cluster.folder.path().join("converted"), CONVERTED).unwrap();
    cluster
}

#[test]
fn what_is_read_of_a_daemonset_is_taken_by_the_chart_and_what_its_pods_then_need_is_found() {
    let (Some(kubectl), Some(helm)) = (in_path("kubectl"), helm()) else {
        println!("SKIPPED: no kubectl or no helm in PATH (cargo xtask test gets both)");
        return;
    };
    let cluster = cluster(&kubectl, &helm);
    let arguments = ["--from", "promtail"];
    let outcome = cluster.run("install.sh", &arguments);
    assert!(!outcome.good, "{}", outcome.said);
    for words in [
        "Taken over from DaemonSet/promtail in logs: tolerations, nodeSelector, resources\n",
        "Taken over as extraEnv: SITE USER\n",
        "Not taken over: the variables of its envFrom, of shared more\n",
        "Not taken over: its volume extra (",
        "Loki's address: the variable LOKI_HOST is taken from DaemonSet/promtail.\n",
        "\n  kubectl -n pilcrow create secret generic pilcrow-loki --from-file=password=FILE\n",
        "\n  kubectl -n pilcrow create secret generic login --from-file=user.name=FILE\n",
        "\n  the variable TOWN, for which the configuration asks (perhaps it is in one of these ConfigMaps and Secrets of logs: shared more)",
    ] {
        assert!(outcome.said.contains(words), "{words}\n{}", outcome.said);
    }
    assert_eq!(cluster.changes(), [""; 0]);

    fs::write(cluster.folder.path().join("secrets"), "").unwrap();
    let town = cluster.folder.path().join("town.yaml");
    let env = "extraEnv: [{name: SITE, value: attic}, {name: TOWN, value: x}]";
    fs::write(&town, env).unwrap();
    let outcome = cluster.run("install.sh", &[&arguments[..], &["--values", town.to_str().unwrap()]].concat());
    assert!(outcome.good, "{}", outcome.said);
    let changes = cluster.changes();
    assert!(changes[0].contains("--set-string migrate.path=/run/old/promtail "), "{changes:?}");
    assert!(changes[0].contains("--set-string loki.url=http://loki.monitoring:3100 "), "{changes:?}");
}
