//! install.sh and uninstall.sh without another collector.

use std::{fs, os::unix::fs::PermissionsExt};

use super::cluster::*;

#[test]
fn an_empty_cluster_gets_a_namespace_that_allows_hostpaths_and_the_chart_with_only_loki_s_address() {
    let cluster = Cluster::new(&[NO_NAMESPACE, LOKI, DAEMONSET]);
    let outcome = cluster.run("install.sh", &TO_LOKI);
    assert!(outcome.good, "{}", outcome.said);
    assert_eq!(
        cluster.changes(),
        [
            "kubectl create namespace pilcrow",
            "kubectl label namespace pilcrow pod-security.kubernetes.io/enforce=privileged",
            INSTALL
        ]
    );
    assert!(outcome.said.contains("kubectl -n pilcrow exec daemonset.apps/pilcrow -- /pilcrow doctor"));
}

#[test]
fn a_second_run_leaves_the_namespace_alone() {
    let cluster = Cluster::new(&[LOKI, DAEMONSET]);
    assert!(cluster.run("install.sh", &TO_LOKI).good);
    assert_eq!(cluster.changes(), [INSTALL]);
}

#[test]
fn what_the_caller_adds_goes_to_the_chart_in_one_piece_and_last() {
    let cluster = Cluster::new(&[LOKI, DAEMONSET]);
    let values = tempfile::Builder::new().prefix("with space ").tempfile().unwrap();
    let values = values.path().to_str().unwrap();
    let more =
        ["--cluster", "attic", "--image", "registry.example:5000/pilcrow:1.2", "--values", values, "--context", "pi"];
    let outcome = cluster.run("install.sh", &[&TO_LOKI[..], &more, &["--set", "port=9090"]].concat());
    assert!(outcome.good, "{}", outcome.said);
    let expected = format!(
        "helm --kube-context pi {} --set-string labels.cluster=attic --set-string \
         image.repository=registry.example:5000/pilcrow --set-string image.tag=1.2 --values={values} --set=port=9090",
        INSTALL.strip_prefix("helm ").unwrap()
    );
    let calls = fs::read_to_string(cluster.folder.path().join("calls")).unwrap().replace(&chart(), "CHART");
    assert!(calls.lines().any(|call| call == expected), "{calls}");
}

#[test]
fn a_dry_run_says_what_it_would_do_and_changes_nothing() {
    let cluster = Cluster::new(&[NO_NAMESPACE, LOKI]);
    let outcome = cluster.run("install.sh", &[&TO_LOKI[..], &["--dry-run"]].concat());
    assert!(outcome.good, "{}", outcome.said);
    assert!(outcome.said.contains("$ kubectl create namespace pilcrow"), "{}", outcome.said);
    assert!(outcome.said.contains("$ helm upgrade --install pilcrow"), "{}", outcome.said);
    assert_eq!(cluster.changes(), [""; 0]);
}

#[test]
fn without_loki_without_rights_or_in_a_restricted_namespace_nothing_is_changed_and_the_fix_is_named() {
    let restricted = ("*pod-security*", "echo restricted");
    let cases: [(&[Answer], &[&str], &str); 7] = [
        (&[], &[], "say where Loki is: --loki"),
        (&[], &["--loki", "loki:3100"], "must begin with http"),
        (&[("*'get service loki'*", "exit 1")], &TO_LOKI, "there is no Service loki in the namespace monitoring"),
        (&[], &TO_LOKI, "has no ready pod"),
        (&[LOKI, ("*can-i*clusterroles*", "exit 1")], &TO_LOKI, "you may not create clusterroles"),
        (&[LOKI, restricted], &TO_LOKI, "enforces pod security restricted"),
        (&[("*/version", "exit 1")], &TO_LOKI, "the cluster does not answer"),
    ];
    for (answers, arguments, fix) in cases {
        let cluster = Cluster::new(answers);
        let outcome = cluster.run("install.sh", arguments);
        assert!(!outcome.good && outcome.said.contains(fix), "{fix}\n{}", outcome.said);
        assert_eq!(cluster.changes(), [""; 0], "{fix}");
    }
}

#[test]
fn a_loki_outside_of_the_cluster_must_answer() {
    let dead = Cluster::new(&[DAEMONSET]);
    let url = ["--loki", "http://127.0.0.1:1"];
    let outcome = dead.run("install.sh", &url);
    if outcome.said.contains("curl is not installed") {
        println!("SKIPPED: no curl");
        return;
    }
    assert!(!outcome.good && outcome.said.contains("nothing answers at http://127.0.0.1:1"), "{}", outcome.said);
    let outcome = dead.run("install.sh", &[&url[..], &["--skip-loki-check"]].concat());
    assert!(outcome.good, "{}", outcome.said);
}

#[test]
fn pods_that_do_not_become_ready_are_an_error_that_shows_their_log() {
    let not_ready = ("*'rollout status'*", "exit 1");
    let log = ("*' logs daemonset.apps/pilcrow'*", "echo Loki answers 401");
    let cluster = Cluster::new(&[LOKI, DAEMONSET, not_ready, log]);
    let outcome = cluster.run("install.sh", &TO_LOKI);
    assert!(!outcome.good && outcome.said.contains("Loki answers 401"), "{}", outcome.said);
    assert!(cluster.run("install.sh", &[&TO_LOKI[..], &["--no-wait"]].concat()).good);
}

#[test]
fn alloy_s_and_promtail_s_releases_are_shown_with_what_to_do_and_nothing_is_changed() {
    let releases = (
        "*'list --all-namespaces'*",
        "printf 'NAME NAMESPACE REVISION UPDATED STATUS CHART APP VERSION\\nlogs monitoring 3 2026-01-01 10:00:00 +0000 UTC \
         deployed alloy-1.2.0 v1.9\\nweb default 1 2026-01-01 10:00:00 +0000 UTC deployed nginx-1.0.0 1\\n'",
    );
    let daemonsets = ("*'get daemonsets --all-namespaces'*", "printf 'loki promtail <none>\\nlogs alloy logs\\n'");
    let cluster = Cluster::new(&[releases, daemonsets]);
    let outcome = cluster.run("install.sh", &["--show-others"]);
    assert!(outcome.good, "{}", outcome.said);
    for words in ["helm -n monitoring uninstall logs", "kubectl -n loki delete daemonset promtail", "docs/migration.md"]
    {
        assert!(outcome.said.contains(words), "{words}\n{}", outcome.said);
    }
    assert!(!outcome.said.contains("web") && !outcome.said.contains("daemonset alloy"), "{}", outcome.said);
    assert_eq!(cluster.changes(), [""; 0]);
}

#[test]
fn missing_programs_are_named() {
    let empty = tempfile::tempdir().unwrap();
    let dirname = empty.path().join("dirname");
    fs::write(&dirname, format!("#!/bin/sh\necho '{}'\n", deploy().display())).unwrap();
    fs::set_permissions(&dirname, fs::Permissions::from_mode(0o755)).unwrap();
    for script in ["install.sh", "uninstall.sh"] {
        let arguments = &TO_LOKI[..usize::from(script == "install.sh") * 2];
        let outcome = run(script, arguments, empty.path().to_str().unwrap(), empty.path());
        assert!(!outcome.good && outcome.said.contains("kubectl is not installed"), "{}", outcome.said);
    }
}

#[test]
fn uninstalling_removes_the_release_and_says_what_stays_and_a_second_time_does_nothing() {
    let cluster = Cluster::new(&[]).with_release();
    let outcome = cluster.run("uninstall.sh", &[]);
    assert!(outcome.good && outcome.said.contains("/var/lib/pilcrow"), "{}", outcome.said);
    assert_eq!(cluster.changes(), ["helm uninstall pilcrow --namespace pilcrow"]);

    let gone = Cluster::new(&[("*'get namespace'*", "exit 1")]);
    let outcome = gone.run("uninstall.sh", &["--delete-namespace"]);
    assert!(outcome.good && outcome.said.contains("There is no release pilcrow"), "{}", outcome.said);
    assert_eq!(gone.changes(), [""; 0]);
}

#[test]
fn the_namespace_is_deleted_only_where_that_is_asked_for_and_never_by_a_dry_run() {
    let cluster = Cluster::new(&[]).with_release();
    let outcome = cluster.run("uninstall.sh", &["--delete-namespace", "--dry-run"]);
    assert!(outcome.good && outcome.said.contains("$ kubectl delete namespace pilcrow"), "{}", outcome.said);
    assert_eq!(cluster.changes(), [""; 0]);
    assert!(cluster.run("uninstall.sh", &["--delete-namespace"]).good);
    assert_eq!(cluster.changes()[1], "kubectl delete namespace pilcrow");
}

#[test]
fn an_option_that_is_unknown_or_has_no_value_is_refused() {
    for (script, arguments) in [
        ("install.sh", ["--lok"]),
        ("install.sh", ["--loki"]),
        ("uninstall.sh", ["--purge"]),
        ("uninstall.sh", ["--release"]),
    ] {
        let cluster = Cluster::new(&[]);
        assert!(!cluster.run(script, &arguments).good);
        assert_eq!(cluster.changes(), [""; 0]);
    }
}

#[test]
fn a_second_run_keeps_earlier_values_and_a_helm_that_cannot_is_refused() {
    let cluster = Cluster::new(&[LOKI, DAEMONSET]);
    assert!(cluster.run("install.sh", &[&TO_LOKI[..], &["--cluster", "attic"]].concat()).good);
    let outcome = cluster.run("install.sh", &[&TO_LOKI[..], &["--image", "registry.example/pilcrow"]].concat());
    assert!(outcome.good, "{}", outcome.said);
    let second = INSTALL.replace("--namespace pilcrow", "--namespace pilcrow --reset-then-reuse-values");
    assert_eq!(
        cluster.changes(),
        [
            format!("{INSTALL} --set-string labels.cluster=attic"),
            format!("{second} --set-string image.repository=registry.example/pilcrow")
        ]
    );
    let old_helm = Cluster::new(&[("'helm upgrade --help'", "echo --reuse-values"), LOKI, DAEMONSET]).with_release();
    let outcome = old_helm.run("install.sh", &TO_LOKI);
    assert!(!outcome.good && outcome.said.contains("update Helm to 3.14"), "{}", outcome.said);
    assert_eq!(old_helm.changes(), [""; 0]);
}

#[test]
fn without_the_chart_beside_it_the_script_says_that_it_needs_a_clone() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(deploy().join("install.sh"), folder.path().join("install.sh")).unwrap();
    let outcome = run(folder.path().join("install.sh").to_str().unwrap(), &TO_LOKI, "/usr/bin:/bin", folder.path());
    assert!(!outcome.good && outcome.said.contains("run it in a clone of the repository"), "{}", outcome.said);
}

/// Of a release on two nodes.
const PODS: Answer = ("*'get pods -l '*", "printf 'pilcrow-a pi-1\\npilcrow-b pi-2\\n'");

#[test]
fn the_end_shows_how_many_nodes_are_ready_and_what_loki_has_accepted_of_each_and_a_node_without_the_image_is_named() {
    let version = fs::read_to_string(deploy().join("helm/pilcrow/Chart.yaml")).unwrap();
    let version = version.lines().find_map(|line| line.strip_prefix("appVersion:")).unwrap().trim().trim_matches('"');
    let nodes = format!("printf 'pi-1 localhost/pilcrow:{version} x/y:1\\npi-2 x/y:1\\npi-3 \\n'");
    let nodes = ("*'get nodes -o '*", nodes.as_str());
    let ready = ("*'{.status.numberReady}'*", "printf '3 of 3'");
    let status = (
        "*'exec pilcrow-a -c pilcrow -- /pilcrow status --json'",
        r#"echo '{"totals": {"lines_acknowledged":1204, "x":1}}'"#,
    );
    let all =
        ("'helm get values pilcrow --namespace pilcrow --all -o yaml'", "printf 'labels:\\n  cluster: ${SITE}\\n'");
    let silent = ("*'status --json'", "exit 1");
    let cluster = Cluster::new(&[nodes, ready, PODS, status, silent, all, LOKI, DAEMONSET]);
    let outcome = cluster.run("install.sh", &[&TO_LOKI[..], &["--grafana", "http://grafana:3000/"]].concat());
    assert!(outcome.good, "{}", outcome.said);
    for words in [
        "Nodes with a ready pod: 3 of 3\n",
        "Lines that Loki has accepted: 1204\n  pi-1: 1204\n  pi-2: does not answer\n",
        "the node pi-2 does not list the image",
        "\n  {namespace=\"kube-system\"}\n",
        "  http://grafana:3000/explore?schemaVersion=1&orgId=1&panes=%7B%22a%22:%7B%22datasource%22:%22Loki%22,",
        "%22expr%22:%22%7Bnamespace%3D%5C%22kube-system%5C%22%7D%22",
    ] {
        assert!(outcome.said.contains(words), "{words}\n{}", outcome.said);
    }
    assert!(!outcome.said.contains("the node pi-1") && !outcome.said.contains("the node pi-3"), "{}", outcome.said);
}

#[test]
fn where_loki_has_accepted_no_line_a_warning_shows_what_a_node_says() {
    let none = ("*'status --json'", r#"echo '{"totals":{"lines_acknowledged":0}}'"#);
    let status = ("*'exec daemonset.apps/pilcrow -c pilcrow -- /pilcrow status'", "echo 'last answer 500'");
    let cluster = Cluster::new(&[PODS, none, status, LOKI, DAEMONSET]);
    let outcome = cluster.run("install.sh", &TO_LOKI);
    assert!(outcome.good && outcome.said.contains("Loki has accepted no line yet"), "{}", outcome.said);
    assert!(outcome.said.contains("  last answer 500\n"), "{}", outcome.said);
}
