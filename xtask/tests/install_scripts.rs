//! deploy/install.sh and uninstall.sh: what they ask and do, with a kubectl and a helm that only write down what they are
//! called with. `cargo xtask e2e --kube` runs them with the real ones against a real API server.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

/// A cluster as far as the scripts can see it: what kubectl and helm answer, by the beginning of their arguments. What is
/// not listed succeeds and says nothing.
struct Cluster {
    folder: tempfile::TempDir,
}

/// A pattern of the shell's `case` over "TOOL ARGUMENTS", and what is done then.
type Answer<'a> = (&'a str, &'a str);

/// A run of a script.
struct Outcome {
    said: String,
    good: bool,
}

impl Cluster {
    fn new(answers: &[Answer]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cases: String = answers.iter().map(|(pattern, act)| format!("  {pattern}) {act} ;;\n")).collect();
        let script = format!(
            "#!/bin/sh\nset -- \"${{0##*/}}\" \"$@\"\necho \"$*\" >> {}\ncase \"$*\" in\n{cases}esac\n",
            folder.path().join("calls").display()
        );
        let cluster = Self { folder };
        ["kubectl", "helm"].iter().for_each(|tool| cluster.add(tool, &script));
        cluster
    }

    fn add(&self, tool: &str, script: &str) {
        let path = self.folder.path().join(tool);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// With a program `pilcrow` that answers like the others.
    fn with_pilcrow(self) -> Self {
        let script = fs::read_to_string(self.folder.path().join("helm")).unwrap();
        self.add("pilcrow", &script);
        self
    }

    /// A file in the folder in which the scripts run.
    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    fn run(&self, script: &str, arguments: &[&str]) -> Outcome {
        let path = format!("{}:/usr/bin:/bin", self.folder.path().display());
        run(script, arguments, &path, self.folder.path())
    }

    /// Every call of kubectl and helm that changes something.
    fn changes(&self) -> Vec<String> {
        let calls = self.file("calls");
        let changing = ["helm upgrade", "helm uninstall", "kubectl create", "kubectl label", "kubectl delete"];
        let is_change = |call: &&str| {
            changing.iter().any(|change| call.contains(change) && !call.contains("can-i") && !call.contains("--help"))
        };
        calls.lines().filter(is_change).map(|call| call.replace(&chart(), "CHART")).collect()
    }
}

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy")
}

fn chart() -> String {
    deploy().join("helm/pilcrow").display().to_string()
}

fn run(script: &str, arguments: &[&str], path: &str, folder: &Path) -> Outcome {
    let mut command = Command::new("/bin/sh");
    command.current_dir(folder);
    command.arg(deploy().join(script)).args(arguments).env("PATH", path).env_remove("LOKI_URL");
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Outcome { said: String::from_utf8(said).unwrap(), good: output.status.success() }
}

const NO_NAMESPACE: Answer = ("\"kubectl get namespace pilcrow\"", "exit 1");
const LOKI: Answer = ("*'get endpoints loki '*", "echo 10.0.0.7");
const DAEMONSET: Answer = ("*'get daemonsets -o name'*", "echo daemonset.apps/pilcrow");
const TO_LOKI: [&str; 2] = ["--loki", "http://loki.monitoring:3100"];
const INSTALL: &str =
    "helm upgrade --install pilcrow CHART --namespace pilcrow --set-string loki.url=http://loki.monitoring:3100";

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
    fs::write(&dirname, "#!/bin/sh\necho .\n").unwrap();
    fs::set_permissions(&dirname, fs::Permissions::from_mode(0o755)).unwrap();
    for script in ["install.sh", "uninstall.sh"] {
        let arguments = &TO_LOKI[..usize::from(script == "install.sh") * 2];
        let outcome = run(script, arguments, empty.path().to_str().unwrap(), empty.path());
        assert!(!outcome.good && outcome.said.contains("kubectl is not installed"), "{}", outcome.said);
    }
}

#[test]
fn uninstalling_removes_the_release_and_says_what_stays_and_a_second_time_does_nothing() {
    let cluster = Cluster::new(&[]);
    let outcome = cluster.run("uninstall.sh", &[]);
    assert!(outcome.good && outcome.said.contains("/var/lib/pilcrow"), "{}", outcome.said);
    assert_eq!(cluster.changes(), ["helm uninstall pilcrow --namespace pilcrow"]);

    let gone = Cluster::new(&[("'helm status'*", "exit 1"), ("*'get namespace'*", "exit 1")]);
    let outcome = gone.run("uninstall.sh", &["--delete-namespace"]);
    assert!(outcome.good && outcome.said.contains("There is no release pilcrow"), "{}", outcome.said);
    assert_eq!(gone.changes(), [""; 0]);
}

#[test]
fn the_namespace_is_deleted_only_where_that_is_asked_for_and_never_by_a_dry_run() {
    let cluster = Cluster::new(&[]);
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

const RELEASES: Answer = (
    "*'list --all-namespaces'*",
    "printf 'NAME NAMESPACE REVISION UPDATED STATUS CHART APP VERSION\\npromtail logs 3 2026-01-01 10:00:00 +0000 UTC deployed \
     promtail-6.17.1 3.5.1\\nalloy logs 1 2026-01-01 10:00:00 +0000 UTC deployed alloy-1.2.0 v1.9\\n'",
);
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
fn what_the_caller_says_of_the_move_goes_to_the_chart_and_the_folder_of_the_positions_is_that_of_the_daemonset() {
    let folder = ("*'volumes[?(@.name==\"run\")]'*", "printf /run/loki-promtail");
    let cluster = Cluster::new(&[RELEASES, OLD_VALUES, MIGRATE, folder, LOKI, DAEMONSET]).with_pilcrow();
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

#[test]
fn where_the_values_have_no_configuration_it_is_taken_from_what_the_pods_mount() {
    let values = ("'helm -n logs get values promtail -o yaml'", "echo null");
    let mounted = ("*'.configMap.name}'*", "printf '\\n\\nscripts\\npromtail\\n'");
    let cluster = Cluster::new(&[RELEASES, values, MIGRATE, mounted, LOKI, DAEMONSET]).with_pilcrow();
    let outcome = cluster.run("install.sh", &["--from", "promtail"]);
    assert!(outcome.good && outcome.said.contains("from its ConfigMap or Secret"), "{}", outcome.said);
    let calls = cluster.file("calls");
    for name in ["scripts", "promtail"] {
        assert!(calls.contains(&format!("kubectl -n logs get configmap {name} -o yaml\n")), "{calls}");
    }
    assert_eq!(cluster.changes(), [MOVED]);
}

#[test]
fn a_second_run_keeps_earlier_values_the_address_of_loki_and_the_conversion_that_was_edited() {
    let keeps = ("'helm upgrade --help'", "echo --reset-then-reuse-values");
    let known = (
        "'helm get values pilcrow --namespace pilcrow -o yaml'",
        "printf 'loki:\\n  url: http://loki.monitoring:3100\\n'",
    );
    let cluster = Cluster::new(&[RELEASES, OLD_VALUES, MIGRATE, keeps, known, LOKI, DAEMONSET]).with_pilcrow();
    assert!(cluster.run("install.sh", &["--from", "promtail"]).good);
    let edited = "loki: {}\n# mine\n";
    fs::write(cluster.folder.path().join("pilcrow-from-promtail.yaml"), edited).unwrap();
    let outcome = cluster.run("install.sh", &["--from", "promtail"]);
    assert!(outcome.good && outcome.said.contains("is used as it is"), "{}", outcome.said);
    assert_eq!(cluster.file("pilcrow-from-promtail.yaml"), edited);
    let outcome = cluster.run("install.sh", &[]);
    assert!(outcome.good, "{}", outcome.said);
    let plain = "helm upgrade --install pilcrow CHART --namespace pilcrow --reset-then-reuse-values";
    let moved = MOVED.replace("--namespace pilcrow", "--namespace pilcrow --reset-then-reuse-values");
    assert_eq!(cluster.changes(), [moved.clone(), moved, plain.into()]);
}

#[test]
fn without_the_program_the_conversion_is_made_by_a_pod_of_the_image_and_not_at_all_by_a_dry_run() {
    let run = (MIGRATE.0.replace("'pilcrow migrate", "*'run pilcrow-migrate '*'migrate"), MIGRATE.1);
    let cluster = Cluster::new(&[RELEASES, OLD_VALUES, (&run.0, run.1), LOKI, DAEMONSET]);
    let arguments = ["--from", "promtail", "--image", "registry.example/pilcrow:1.2"];
    let outcome = cluster.run("install.sh", &[&arguments[..], &["--dry-run"]].concat());
    assert!(!outcome.good && outcome.said.contains("not possible with --dry-run"), "{}", outcome.said);
    assert!(!cluster.file("calls").contains("run pilcrow-migrate"));
    let outcome = cluster.run("install.sh", &arguments);
    assert!(outcome.good, "{}", outcome.said);
    assert!(
        cluster.file("calls").contains("kubectl -n pilcrow run pilcrow-migrate --image registry.example/pilcrow:1.2 ")
    );
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

#[test]
fn the_end_shows_how_many_nodes_are_ready_and_what_one_has_sent_and_a_node_without_the_image_is_named() {
    let version = fs::read_to_string(deploy().join("helm/pilcrow/Chart.yaml")).unwrap();
    let version = version.lines().find_map(|line| line.strip_prefix("appVersion:")).unwrap().trim().trim_matches('"');
    let nodes = format!("printf 'pi-1 localhost/pilcrow:{version} x/y:1\\npi-2 x/y:1\\npi-3 \\n'");
    let nodes = ("*'get nodes -o '*", nodes.as_str());
    let ready = ("*'{.status.numberReady}'*", "printf '3 of 3'");
    let status = ("*'exec daemonset.apps/pilcrow -- /pilcrow status'", "echo '1204 lines accepted'");
    let cluster = Cluster::new(&[nodes, ready, status, LOKI, DAEMONSET]);
    let outcome = cluster.run("install.sh", &TO_LOKI);
    assert!(outcome.good, "{}", outcome.said);
    for words in
        ["Nodes with a ready pod: 3 of 3\n", "  1204 lines accepted\n", "the node pi-2 does not list the image"]
    {
        assert!(outcome.said.contains(words), "{words}\n{}", outcome.said);
    }
    assert!(!outcome.said.contains("the node pi-1") && !outcome.said.contains("the node pi-3"), "{}", outcome.said);
}
