//! The commands that the scripts print for the user find the same cluster and release.

use super::cluster::*;

/// The printed lines that have a command in them.
fn commands(said: &str) -> Vec<&str> {
    said.lines().filter(|line| ["kubectl ", "helm ", "install.sh "].iter().any(|tool| line.contains(tool))).collect()
}

#[test]
fn every_printed_command_has_the_kubeconfig_the_context_and_the_release_that_were_given() {
    let releases = (
        "*'list --all-namespaces'*",
        "printf 'H\\npromtail logs 3 x deployed promtail-6.17.1 3.5.1\\nalloy logs 1 x deployed alloy-1.2.0 v1.9\\n'",
    );
    let migrate = ("'pilcrow migrate --values -'", "printf 'loki:\\n  url: http://loki.monitoring:3100\\n'");
    let values = ("*'get values own '*", "printf 'labels:\\n  collector: pilcrow\\n'");
    // Of Helm's own notes nothing is printed, as these know of no context.
    let notes =
        ("helm*' upgrade --install '*", "printf 'STATUS: deployed\\nNOTES:\\n  kubectl -n own-logs get pods\\n'");
    let cluster = Cluster::new(&[releases, migrate, values, notes, NO_NAMESPACE, LOKI, DAEMONSET]).with_pilcrow();
    let here = ["--kubeconfig", "my pi.yaml", "--context", "pi", "--namespace", "own-logs", "--release", "own"];
    let from = ["--from", "promtail", "--collector-label"];
    for arguments in [&from[..], &TO_LOKI, &["--show-others"], &[&TO_LOKI[..], &["--dry-run"]].concat()] {
        let outcome = cluster.run("install.sh", &[arguments, &here].concat());
        assert!(outcome.good, "{}", outcome.said);
        let commands = commands(&outcome.said);
        assert!(commands.len() > 2, "{}", outcome.said);
        for command in commands {
            for part in command.split(" | ") {
                assert!(part.contains("--kubeconfig 'my pi.yaml'") && part.contains("context pi"), "{part}");
            }
            if command.contains("install.sh") {
                assert!(command.contains("--namespace own-logs --release own"), "{command}");
            }
        }
    }
    let calls = cluster.file("calls");
    for call in calls.lines().filter(|call| call.starts_with("kubectl ") || call.starts_with("helm ")) {
        assert!(call.contains("--kubeconfig my pi.yaml") && call.contains("context pi"), "{call}");
    }
}

#[test]
fn the_uninstaller_s_commands_too() {
    let cluster = Cluster::new(&[]).with_release();
    let outcome = cluster.run("uninstall.sh", &["--kubeconfig", "pi.yaml", "--context", "pi", "--delete-namespace"]);
    assert!(outcome.good, "{}", outcome.said);
    let commands = commands(&outcome.said);
    assert_eq!(
        commands,
        [
            "$ helm --kubeconfig pi.yaml --kube-context pi uninstall pilcrow --namespace pilcrow",
            "$ kubectl --kubeconfig pi.yaml --context pi delete namespace pilcrow"
        ]
    );
}
