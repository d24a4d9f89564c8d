//! install.sh --from: what it reads of the old collector's release, and what becomes of it.

use std::fs;

use super::cluster::*;

const RELEASES: Answer = (
    "*'list --all-namespaces'*",
    "printf 'NAME NAMESPACE REVISION UPDATED STATUS CHART APP VERSION\\npromtail logs 3 2026-01-01 10:00:00 +0000 UTC deployed \
     promtail-6.17.1 3.5.1\\nalloy logs 1 2026-01-01 10:00:00 +0000 UTC deployed alloy-1.2.0 v1.9\\n'",
);
/// What runs the release.
const WORKLOAD: Answer = ("*'{.kind}/'*", "echo DaemonSet/promtail config-reloader promtail");
const OLD_VALUES: Answer = ("'helm -n logs get values promtail -o yaml'", "echo old-values");
/// Succeeds with values of Promtail's, and tells what it read.
const MIGRATE: Answer = (
    "'pilcrow migrate --values -'",
    "read -r first; [ \"$first\" = old-values ] || [ \"$first\" = --- ] || exit 1; echo \"changed: of $first\" >&2; \
     printf 'labels:\\n  url: no\\nloki:\\n  url: \"http://loki.monitoring:3100\"  # old\\n'",
);
const MOVED: &str = "helm upgrade --install pilcrow CHART --namespace pilcrow --values=pilcrow-from-promtail.yaml --set-string \
                     migrate.from=promtail --set-string importPositions.file=";

#[test]
fn from_promtail_its_values_are_converted_the_report_is_shown_and_its_positions_are_imported() {
    let cluster = Cluster::new(&[RELEASES, OLD_VALUES, MIGRATE, LOKI, DAEMONSET]).with_pilcrow();
    let outcome = cluster.run("install.sh", &["--from", "promtail"]);
    assert!(outcome.good, "{}", outcome.said);
    assert_eq!(cluster.changes(), [MOVED]);
    assert!(cluster.file("pilcrow-from-promtail.yaml").contains("http://loki.monitoring:3100"));
    for words in [
        "  changed: of old-values\n",
        "Loki is the Service loki in monitoring",
        "helm -n logs get values promtail -o yaml | kubectl -n pilcrow exec -i daemonset.apps/pilcrow -c pilcrow -- \\\n    \
         /pilcrow migrate --prove - --config /etc/pilcrow/pilcrow.yaml --loki http://loki.monitoring:3100\n",
        "  helm -n logs uninstall promtail\n",
    ] {
        assert!(outcome.said.contains(words), "{words}\n{}", outcome.said);
    }
}

#[test]
fn the_report_s_next_steps_are_left_out_as_the_script_does_them_and_both_are_left_running() {
    let migrate = (
        MIGRATE.0,
        "printf 'loki:\\n  url: http://loki.monitoring:3100\\n'; printf 'Changed (1):\\n  a: b\\n\\nNext:\\n  1. Check it\\n  2. Stop the \
         old collector, then install\\n1 taken over\\n' >&2",
    );
    let cluster = Cluster::new(&[RELEASES, OLD_VALUES, migrate, LOKI, DAEMONSET]).with_pilcrow();
    let outcome = cluster.run("install.sh", &["--from", "promtail"]);
    assert!(outcome.good, "{}", outcome.said);
    assert!(outcome.said.contains("    a: b\n  \n  1 taken over\n"), "{}", outcome.said);
    assert!(!outcome.said.contains("Next:") && !outcome.said.contains("Stop the old"), "{}", outcome.said);
    assert!(
        outcome.said.contains("Both collect now, and may do so for a day: leave promtail running."),
        "{}",
        outcome.said
    );
}

#[test]
fn before_the_old_one_is_removed_what_is_not_possible_is_told_in_every_run() {
    let migrate = (
        MIGRATE.0,
        "printf 'loki:\\n  url: http://loki.monitoring:3100\\n'; printf 'Not possible (2):\\n  a: b\\n\\nNext:\\n  1. Check it\\n3 taken over, \
         1 changed, 2 not possible\\n' >&2",
    );
    let cluster = Cluster::new(&[RELEASES, OLD_VALUES, migrate, LOKI, DAEMONSET]).with_pilcrow();
    for run in ["the first", "the second, with the conversion that is there"] {
        let outcome = cluster.run("install.sh", &["--from", "promtail"]);
        assert!(outcome.good, "{run}: {}", outcome.said);
        let told = "Its report lists what is not possible (2): that ends with promtail. Decide on it first; the report again:\n  helm -n \
                    logs get values promtail -o yaml | kubectl -n pilcrow exec -i daemonset.apps/pilcrow -c pilcrow -- \\\n    /pilcrow \
                    migrate --values - >/dev/null\nTo remove promtail";
        assert!(outcome.said.contains(told), "{run}: {}", outcome.said);
    }
}

#[test]
fn what_the_caller_says_of_the_move_goes_to_the_chart_and_the_folder_of_the_positions_is_that_of_the_daemonset() {
    let mounts = ("*'.volumeMounts[*]}'*", "printf '/etc/promtail config\\n/run/promtail run\\n'");
    let folder = ("*'volumes[?(@.name==\"run\")].hostPath'*", "printf /run/loki-promtail");
    let installed =
        ("'helm get values pilcrow --namespace pilcrow -o yaml'", "printf 'labels:\\n  collector: pilcrow\\n'");
    let cluster = Cluster::new(&[RELEASES, OLD_VALUES, WORKLOAD, MIGRATE, mounts, folder, installed, LOKI, DAEMONSET])
        .with_pilcrow();
    let more = ["--from-release", "promtail", "--from-namespace", "logs", "--collector-label", "--loki", TO_LOKI[1]];
    let outcome = cluster.run("install.sh", &[&["--from", "promtail"][..], &more].concat());
    assert!(outcome.good, "{}", outcome.said);
    let expected = format!(
        "{MOVED} --set-string migrate.path=/run/loki-promtail --set-string labels.collector=pilcrow --set-string loki.url={}",
        TO_LOKI[1]
    );
    assert_eq!(cluster.changes(), [expected]);
    assert!(outcome.said.contains("count_over_time({collector=\"pilcrow\"}[1d])"), "{}", outcome.said);
}

/// A release whose configuration is in a ConfigMap.
const IN_CONFIGMAP: [Answer; 5] = [
    RELEASES,
    ("'helm -n logs get values promtail -o yaml'", "echo null"),
    MIGRATE,
    ("*'.configMap.name}'*", "printf '\\n\\nscripts\\npromtail\\n'"),
    ("*'.secret.secretName}'*", "echo clients"),
];

#[test]
fn where_the_values_have_no_configuration_it_is_taken_from_what_the_pods_mount() {
    let cluster = Cluster::new(&[&IN_CONFIGMAP[..], &[LOKI, DAEMONSET]].concat()).with_pilcrow();
    for run in ["the first", "the second, with the conversion that is there"] {
        let outcome = cluster.run("install.sh", &["--from", "promtail"]);
        assert!(outcome.good, "{run}: {}", outcome.said);
        let prove =
            "kubectl -n logs get configmap/scripts configmap/promtail secret/clients -o yaml | kubectl -n pilcrow exec";
        assert!(outcome.said.contains(prove), "{run}: {}", outcome.said);
    }
    let calls = cluster.file("calls");
    for name in ["configmap/scripts", "configmap/promtail", "secret/clients"] {
        assert!(calls.contains(&format!("kubectl -n logs get {name} -o yaml\n")), "{calls}");
    }
    assert_eq!(cluster.changes()[0], MOVED);
}

#[test]
fn what_only_the_daemonset_says_is_taken_over_with_a_configmap_and_the_rest_is_named() {
    let container = "*'containers[?(@.name==\"promtail\")]";
    let [resources, env, groups] =
        [".resources}'", ".env[*]}{@}'*", ".envFrom[*]'*"].map(|field| format!("{container}{field}"));
    let of_daemonset = [
        WORKLOAD,
        ("*'spec.tolerations}'", r#"echo '[{"operator":"Exists"}]'"#),
        ("*'spec.nodeSelector}'", r#"echo '{"logging":"true"}'"#),
        ("*'spec.affinity}'", "echo '{}'"),
        (&resources, r#"echo '{"limits":{"memory":"200Mi"}}'"#),
        (
            &env,
            r#"printf '%s\n' '{"name":"HOSTNAME","valueFrom":{}}' '{"name":"TOKEN","value":"hush"}' '{"name":"SITE","value":"attic"}'"#,
        ),
        (&groups, "printf 'shared login'"),
        ("*'spec.volumes[*].name}'", "printf 'config run pods certificates'"),
    ];
    let cluster = Cluster::new(&[&IN_CONFIGMAP[..], &of_daemonset, &[LOKI, DAEMONSET]].concat()).with_pilcrow();
    let outcome = cluster.run("install.sh", &["--from", "promtail"]);
    assert!(outcome.good, "{}", outcome.said);
    let converted = cluster.file("pilcrow-from-promtail.yaml");
    assert!(
        converted.ends_with(
            "\ntolerations: [{\"operator\":\"Exists\"}]\nnodeSelector: {\"logging\":\"true\"}\nresources: \
             {\"limits\":{\"memory\":\"200Mi\"}}\nextraEnv:\n  - {\"name\":\"TOKEN\",\"value\":\"hush\"}\n  - \
             {\"name\":\"SITE\",\"value\":\"attic\"}\n"
        ),
        "{converted}"
    );
    for words in [
        "  Taken over from DaemonSet/promtail in logs: tolerations, nodeSelector, resources\n",
        "  Taken over as extraEnv: TOKEN SITE\n",
        "  Not taken over: the variables of its envFrom, of shared login\n",
        "  Not taken over: its volume certificates (kubectl -n logs get DaemonSet/promtail -o yaml)\n",
    ] {
        assert!(outcome.said.contains(words), "{words}\n{}", outcome.said);
    }
    assert!(!outcome.said.contains("hush"), "{}", outcome.said);
    let mode = fs::metadata(cluster.folder.path().join("pilcrow-from-promtail.yaml")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o077, 0);
}

#[test]
fn of_a_deployment_its_variables_are_taken_over_but_not_where_it_runs() {
    let deployment = (WORKLOAD.0, "echo Deployment/promtail promtail");
    let tolerations = ("*'spec.tolerations}'", r#"echo '[{"operator":"Exists"}]'"#);
    let env = ("*'.env[*]}{@}'*", r#"echo '{"name":"SITE","value":"attic"}'"#);
    let answers = [&IN_CONFIGMAP[..], &[deployment, tolerations, env, LOKI, DAEMONSET]].concat();
    let cluster = Cluster::new(&answers).with_pilcrow();
    let outcome = cluster.run("install.sh", &["--from", "promtail"]);
    assert!(outcome.good && outcome.said.contains("Not taken over: how Deployment/promtail runs"), "{}", outcome.said);
    let converted = cluster.file("pilcrow-from-promtail.yaml");
    assert!(converted.contains("\"SITE\"") && !converted.contains("tolerations"), "{converted}");
}

/// A conversion that has this address.
fn migrate_with(url: &str) -> String {
    format!("printf '%s\\n' 'loki:' \"  url: '{}'\"", url.replace('$', "\\$"))
}

#[test]
fn a_variable_in_lokis_address_is_taken_from_the_old_environment() {
    let text = ("*'.env[?(@.name==\"HOST\")].value}'", "printf loki.monitoring");
    let from_map = ("*'.env[?(@.name==\"HOST\")].valueFrom.configMapKeyRef.name}'", "printf hosts");
    let key = ("*'.env[?(@.name==\"HOST\")].valueFrom.configMapKeyRef.key}'", "printf loki.host");
    let in_map = ("*'get configmap hosts -o jsonpath={.data.loki\\.host}'", "printf loki.monitoring");
    let group = ("*'.envFrom[*]'*", "printf 'login all'");
    let in_group = ("*'get configmap all -o jsonpath={.data.HOST}'", "printf loki.monitoring");
    let cases: [(&str, &[Answer]); 4] = [
        ("http://${HOST}:3100", &[text]),
        ("http://${HOST:-other}:3100", &[from_map, key, in_map]),
        ("http://${HOST}:3100", &[group, in_group]),
        ("http://${HOST:-loki.monitoring}:3100", &[]),
    ];
    for (url, environment) in cases {
        let migrate = migrate_with(url);
        let answers = [&[RELEASES, WORKLOAD, OLD_VALUES, (MIGRATE.0, &migrate)][..], environment, &[LOKI, DAEMONSET]];
        let cluster = Cluster::new(&answers.concat()).with_pilcrow();
        let outcome = cluster.run("install.sh", &["--from", "promtail"]);
        assert!(outcome.good, "{url} {environment:?}: {}", outcome.said);
        assert_eq!(
            cluster.changes(),
            [format!("{MOVED} --set-string loki.url=http://loki.monitoring:3100")],
            "{url} {environment:?}"
        );
    }
}

#[test]
fn an_address_that_could_not_be_converted_is_asked_for() {
    let migrate = migrate_with("");
    let cluster = Cluster::new(&[RELEASES, WORKLOAD, OLD_VALUES, (MIGRATE.0, &migrate)]).with_pilcrow();
    let outcome = cluster.run("install.sh", &["--from", "promtail"]);
    assert!(!outcome.good && outcome.said.contains("where it cannot be read: give it by --loki"), "{}", outcome.said);
    assert_eq!(cluster.changes(), [""; 0]);
}

#[test]
fn a_variable_that_is_in_a_secret_or_nowhere_or_has_a_user_in_it_is_asked_for_and_never_printed() {
    let in_secret = ("*'.env[?(@.name==\"LOKI_URL\")].valueFrom.secretKeyRef.name}'", "printf login");
    let in_group = ("*'.envFrom[*]'*", "printf login");
    let with_user = ("*'.env[?(@.name==\"LOKI_URL\")].value}'", "printf http://me:hush@loki");
    let migrate = migrate_with("${LOKI_URL}");
    let cases: [(&[Answer], &str); 4] = [
        (&[in_secret], "DaemonSet/promtail in logs has it from the Secret login: give the address by --loki"),
        (
            &[in_group],
            "perhaps it is in one of these ConfigMaps and Secrets of logs: login: give the address by --loki",
        ),
        (&[with_user], "LOKI_URL of Loki's address has a user in it"),
        (&[], "nothing of promtail sets it: give the address by --loki"),
    ];
    for (environment, named) in cases {
        let group_is_no_map = ("*'get configmap login'*", "exit 1");
        let answers = [
            &[RELEASES, WORKLOAD, OLD_VALUES, (MIGRATE.0, &migrate), group_is_no_map][..],
            environment,
            &[LOKI, DAEMONSET],
        ];
        let cluster = Cluster::new(&answers.concat()).with_pilcrow();
        let outcome = cluster.run("install.sh", &["--from", "promtail"]);
        assert!(!outcome.good && outcome.said.contains(named), "{named}\n{}", outcome.said);
        assert!(!outcome.said.contains("hush"), "{}", outcome.said);
        assert_eq!(cluster.changes(), [""; 0], "{named}");
        assert!(cluster.run("install.sh", &["--from", "promtail", "--loki", TO_LOKI[1]]).good, "{named}");
    }
}

#[test]
fn a_service_that_the_old_configuration_names_alone_gets_its_namespace() {
    let migrate = migrate_with("http://loki-gateway/loki/api/v1/push");
    let endpoints = ("*'-n logs get endpoints loki-gateway '*", "echo 10.0.0.7");
    let cluster = Cluster::new(&[RELEASES, OLD_VALUES, (MIGRATE.0, &migrate), endpoints, DAEMONSET]).with_pilcrow();
    let outcome = cluster.run("install.sh", &["--from", "promtail"]);
    assert!(outcome.good, "{}", outcome.said);
    assert_eq!(cluster.changes(), [format!("{MOVED} --set-string loki.url=http://loki-gateway.logs/loki/api/v1/push")]);
}

#[test]
fn a_second_run_keeps_earlier_values_also_where_the_conversion_says_something_else() {
    let known = (
        "'helm get values pilcrow --namespace pilcrow -o yaml'",
        "printf 'loki:\\n  url: http://loki.monitoring:3100/given\\nlabels:\\n  cluster: attic\\nmigrate:\\n  path: /given\\n'",
    );
    let mounts = ("*'.volumeMounts[*]}'*", "echo '/run/promtail run'");
    let folder = ("*'volumes[?(@.name==\"run\")].hostPath'*", "printf /run/found");
    let cluster =
        Cluster::new(&[RELEASES, WORKLOAD, mounts, folder, OLD_VALUES, MIGRATE, known, LOKI, DAEMONSET]).with_pilcrow();
    let given = ["--loki", "http://loki.monitoring:3100/given", "--cluster", "attic", "--from-path", "/given"];
    let run = |more: &[&str]| {
        let outcome = cluster.run("install.sh", &[&["--from", "promtail"], more].concat());
        assert!(outcome.good, "{}", outcome.said);
        outcome
    };
    run(&given);
    let outcome = run(&[]);
    assert!(outcome.said.contains("is used as it is"), "{}", outcome.said);
    let converted = cluster.folder.path().join("pilcrow-from-promtail.yaml");
    let edited = cluster.file("pilcrow-from-promtail.yaml") + "port: 9090\n";
    fs::write(&converted, &edited).unwrap();
    let outcome = run(&[]);
    assert!(outcome.said.contains("was changed since it was installed"), "{}", outcome.said);
    assert_eq!(cluster.file("pilcrow-from-promtail.yaml"), edited);
    let outcome = cluster.run("install.sh", &[]);
    assert!(outcome.good, "{}", outcome.said);
    let kept = MOVED.replace("--namespace pilcrow", "--namespace pilcrow --reset-then-reuse-values");
    let options = "--set-string loki.url=http://loki.monitoring:3100/given --set-string labels.cluster=attic";
    assert_eq!(
        cluster.changes(),
        [
            format!("{MOVED} --set-string migrate.path=/given {options}"),
            kept.replace("--values=pilcrow-from-promtail.yaml ", ""),
            format!("{kept} {options}"),
            "helm upgrade --install pilcrow CHART --namespace pilcrow --reset-then-reuse-values".into(),
        ]
    );
}

#[test]
fn positions_are_where_alloy_s_storage_path_is_mounted_from_and_where_that_is_no_folder_of_the_node_it_is_said() {
    let releases = (RELEASES.0, "printf 'H\\nalloy logs 1 x deployed alloy-1.2.0 v1.9\\n'");
    let migrate = migrate_with(TO_LOKI[1]);
    let arguments = ("*'.args[*]}'", "printf 'run /etc/alloy --storage.path=/var/lib/alloy/data --x=y'");
    let workload = (WORKLOAD.0, "echo DaemonSet/alloy alloy");
    let mounts = ("*'.volumeMounts[*]}'*", "printf '/etc/alloy config\\n/var/lib/ other\\n/var/lib/alloy state\\n'");
    let folder = ("*'volumes[?(@.name==\"state\")].hostPath'*", "printf /srv/alloy");
    let of_alloy = [releases, workload, (MIGRATE.0, &migrate), arguments, mounts];
    let cluster = Cluster::new(&[&of_alloy[..], &[folder, LOKI, DAEMONSET]].concat()).with_pilcrow();
    let outcome = cluster.run("install.sh", &["--from", "alloy"]);
    assert!(outcome.good, "{}", outcome.said);
    assert!(cluster.changes()[0].ends_with("--set-string migrate.path=/srv/alloy/data"), "{:?}", cluster.changes());
    assert!(outcome.said.contains("only if it does nothing else"), "{}", outcome.said);
    let without = Cluster::new(&[&of_alloy[..], &[LOKI, DAEMONSET]].concat()).with_pilcrow();
    let outcome = without.run("install.sh", &["--from", "alloy"]);
    assert!(outcome.good, "{}", outcome.said);
    assert!(outcome.said.contains("are in no folder of the nodes (/var/lib/alloy/data)"), "{}", outcome.said);
    assert!(!without.changes()[0].contains("migrate.path"), "{:?}", without.changes());
}

#[test]
fn a_conversion_that_was_made_of_another_cluster_is_not_used() {
    let server = |at: &'static str| ("*'config view'*", at);
    let cluster = Cluster::new(&[RELEASES, OLD_VALUES, MIGRATE, server("printf https://attic:6443"), LOKI, DAEMONSET])
        .with_pilcrow();
    assert!(cluster.run("install.sh", &["--from", "promtail"]).good);
    let other = Cluster::new(&[RELEASES, OLD_VALUES, MIGRATE, server("printf https://cellar:6443"), LOKI, DAEMONSET])
        .with_pilcrow();
    let file = "pilcrow-from-promtail.yaml";
    fs::write(other.folder.path().join(file), cluster.file(file)).unwrap();
    let outcome = other.run("install.sh", &["--from", "promtail"]);
    assert!(!outcome.good, "{}", outcome.said);
    assert!(outcome.said.contains("was made of promtail in logs of https://attic:6443, not of"), "{}", outcome.said);
    assert_eq!(other.changes(), [""; 0]);
}

#[test]
fn without_the_program_the_conversion_is_made_by_a_pod_of_the_image_and_not_at_all_by_a_dry_run() {
    let run = (MIGRATE.0.replace("'pilcrow migrate", "*'run pilcrow-migrate-'*'migrate"), MIGRATE.1);
    let cluster = Cluster::new(&[RELEASES, OLD_VALUES, (&run.0, run.1), LOKI, DAEMONSET]);
    let arguments = ["--from", "promtail", "--image", "registry.example/pilcrow:1.2"];
    let outcome = cluster.run("install.sh", &[&arguments[..], &["--dry-run"]].concat());
    assert!(!outcome.good && outcome.said.contains("not possible with --dry-run"), "{}", outcome.said);
    assert!(!cluster.file("calls").contains("run pilcrow-migrate"));
    let outcome = cluster.run("install.sh", &arguments);
    assert!(outcome.good, "{}", outcome.said);
    let calls = cluster.file("calls");
    let pod = calls.lines().find(|call| call.contains("kubectl -n pilcrow run pilcrow-migrate-"));
    assert!(pod.is_some_and(|call| call.contains(" --image registry.example/pilcrow:1.2 ")), "{calls}");
}

#[test]
fn what_cannot_be_moved_from_is_an_error_that_names_the_choice_and_changes_nothing() {
    let two = (RELEASES.0, "printf 'H\\na x deployed promtail-6.1.0 1\\nb y deployed loki-stack-2.9.0 1\\n'");
    let nothing = ("'pilcrow migrate --values -'", "echo nothing in it collects pod logs >&2; exit 1");
    let cases: [(&[Answer], &[&str], &str); 5] = [
        (&[], &["--from", "vector"], "--from must be promtail or alloy"),
        (&[], &["--from", "promtail"], "no Helm release of promtail was found"),
        (&[two], &["--from", "promtail"], "several releases of promtail were found"),
        (
            &[RELEASES],
            &["--from", "alloy", "--from-release", "x", "--from-namespace", "logs"],
            "there is no release x of alloy",
        ),
        (&[RELEASES, OLD_VALUES, nothing], &["--from", "promtail"], "nothing in it collects pod logs"),
    ];
    for (answers, arguments, named) in cases {
        let cluster = Cluster::new(&[answers, &[LOKI, DAEMONSET]].concat()).with_pilcrow();
        let outcome = cluster.run("install.sh", arguments);
        assert!(!outcome.good && outcome.said.contains(named), "{named}\n{}", outcome.said);
        assert_eq!(cluster.changes(), [""; 0], "{named}");
    }
}
