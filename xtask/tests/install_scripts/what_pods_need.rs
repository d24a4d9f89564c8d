//! install.sh looks before it installs whether the pods will find the Secrets, ConfigMaps and variables that they ask for.

use super::cluster::*;

/// What the chart makes, as far as it matters: a password in a Secret, one variable of a Secret, one that is set nowhere.
const RENDERED: Answer = (
    "*' --dry-run'",
    "cat <<'MANIFESTS'
---
# Source: pilcrow/templates/configmap.yaml
kind: ConfigMap
data:
  pilcrow.yaml: |
    loki:
      basic_auth: {password_file: /run/secrets/pilcrow/basic-auth/password, username: \"${LOKI_USERNAME}\"}
    labels: {site: \"${SITE}\", node: \"${NODE_NAME}\", a: \"$${NOT}\", b: \"${OTHER:-x}\", c: \"${1}\"}
---
# Source: pilcrow/templates/dashboard.yaml
data: \"${datasource}\"
---
# Source: pilcrow/templates/daemonset.yaml
kind: DaemonSet
          env:
            - name: NODE_NAME
              valueFrom:
                fieldRef:
                  fieldPath: spec.nodeName
            - name: LOKI_USERNAME
              valueFrom:
                secretKeyRef:
                  name: \"login\"
                  key: username
            - name: FREE
              valueFrom:
                configMapKeyRef:
                  key: a
                  name: free
                  optional: true
      volumes:
        - name: config
          configMap:
            name: pilcrow
        - configMap:
            name: scripts
          name: scripts
        - name: basic-auth
          secret:
            secretName: login
MANIFESTS
",
);
const NOT_FOUND: &str = "echo 'Error from server (NotFound): not found' >&2; exit 1";
const SCRIPTS: Answer = ("*'get configmap scripts -o go-template'*", "echo 'run.sh '");

#[test]
fn what_is_missing_is_named_with_the_command_that_makes_it_and_nothing_is_installed() {
    let secret = ("*'get secret login -o go-template'*", NOT_FOUND);
    let map = ("*'get configmap scripts -o go-template'*", NOT_FOUND);
    let cluster = Cluster::new(&[RENDERED, secret, map, LOKI, DAEMONSET]);
    let outcome = cluster.run("install.sh", &[&TO_LOKI[..], &["--context", "pi"]].concat());
    assert!(!outcome.good, "{}", outcome.said);
    for words in [
        "Nothing was installed",
        "\n  kubectl --context pi -n pilcrow create secret generic login --from-file=username=FILE --from-file=password=FILE\n",
        "\n  kubectl --context pi -n pilcrow create configmap scripts\n",
        "\n  the variable SITE, for which the configuration asks: extraEnv: [{name: SITE, value: …}]",
    ] {
        assert!(outcome.said.contains(words), "{words}\n{}", outcome.said);
    }
    for name in ["NODE_NAME", "LOKI_USERNAME", "NOT", "OTHER", "datasource"] {
        assert!(!outcome.said.contains(&format!("the variable {name}")), "{}", outcome.said);
    }
    assert!(!outcome.said.contains("free"), "what is optional may be missing: {}", outcome.said);
    assert_eq!(cluster.changes(), [""; 0]);
}

#[test]
fn a_secret_without_the_key_is_named_with_the_keys_that_it_has() {
    let secret = ("*'get secret login -o go-template'*", "echo 'user password '");
    let outcome = Cluster::new(&[RENDERED, secret, SCRIPTS, LOKI, DAEMONSET]).run("install.sh", &TO_LOKI);
    assert!(!outcome.good, "{}", outcome.said);
    assert!(
        outcome.said.contains("the key username of the Secret login in pilcrow; its keys are: user password"),
        "{}",
        outcome.said
    );
}

#[test]
fn secrets_that_cannot_be_looked_at_are_a_warning() {
    let rendered = (RENDERED.0, RENDERED.1.replace("${SITE}", "attic"));
    let secret = ("*'get secret login -o go-template'*", "echo 'Error from server (Forbidden): no' >&2; exit 1");
    let cluster = Cluster::new(&[(rendered.0, &rendered.1), secret, SCRIPTS, LOKI, DAEMONSET]);
    let outcome = cluster.run("install.sh", &TO_LOKI);
    assert!(outcome.good, "{}", outcome.said);
    assert!(outcome.said.contains("whether the Secret login is in pilcrow was not checked"), "{}", outcome.said);
    assert_eq!(cluster.changes(), [INSTALL]);
}

#[test]
fn values_that_the_chart_refuses_are_refused_before_anything_is_installed() {
    let refuses = ("*' --dry-run'", "echo \"at '/port': not a number\" >&2; exit 1");
    let cluster = Cluster::new(&[refuses, LOKI, DAEMONSET]);
    let outcome = cluster.run("install.sh", &[&TO_LOKI[..], &["--set", "port=x"]].concat());
    assert!(!outcome.good && outcome.said.contains("at '/port': not a number"), "{}", outcome.said);
    assert!(outcome.said.contains("the chart does not take these values; nothing was installed"), "{}", outcome.said);
    assert_eq!(cluster.changes(), [""; 0]);
}

#[test]
fn a_secret_that_the_old_collector_has_is_copied_without_being_printed() {
    let releases = ("*'list --all-namespaces'*", "printf 'H\\npromtail logs 3 x deployed promtail-6.17.1 3.5.1\\n'");
    let migrate = ("'pilcrow migrate --values -'", "printf 'loki:\\n  url: http://loki.monitoring:3100\\n'");
    let there = ("*'-n logs get secret login -o name'", "echo secret/login");
    let secret = ("*'get secret login -o go-template'*", NOT_FOUND);
    let cluster = Cluster::new(&[releases, migrate, RENDERED, there, secret, SCRIPTS, LOKI, DAEMONSET]).with_pilcrow();
    let outcome = cluster.run("install.sh", &["--from", "promtail"]);
    assert!(!outcome.good, "{}", outcome.said);
    let copy = r#"
  kubectl -n logs get secret login -o \
    jsonpath='{"apiVersion: v1\nkind: Secret\nmetadata:\n  name: login\ndata: "}{.data}' |
    kubectl -n pilcrow create -f -
"#;
    assert!(outcome.said.contains(copy), "{}", outcome.said);
    assert_eq!(cluster.changes(), [""; 0]);
}
