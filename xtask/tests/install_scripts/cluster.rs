//! A cluster as far as the scripts can see it: a kubectl and a helm that answer by a list, and write down what they are called with.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

/// What kubectl and helm answer, by their arguments. What is not listed succeeds and says nothing, but for Pilcrow's release: it is there
/// once it has been installed, and has a pod whose lines Loki accepts.
pub struct Cluster {
    pub folder: tempfile::TempDir,
}

/// A pattern of the shell's `case` over "TOOL ARGUMENTS", and what is done then.
pub type Answer<'a> = (&'a str, &'a str);

/// A run of a script.
pub struct Outcome {
    pub said: String,
    pub good: bool,
}

const RELEASE: [Answer; 5] = [
    ("helm*' upgrade --install '*", "case \"$*\" in *--dry-run) ;; *) touch $here/installed ;; esac"),
    ("helm*'status '*", "[ -e $here/installed ]"),
    ("helm*'upgrade --help'", "echo --reset-then-reuse-values"),
    ("kubectl*'get pods -l '*", "echo pilcrow-a pi-1"),
    ("kubectl*'status --json'", "echo '{\"lines_acknowledged\":5}'"),
];

impl Cluster {
    pub fn new(answers: &[Answer]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cases: String = answers.iter().map(|(pattern, act)| format!("  {pattern}) {act} ;;\n")).collect();
        let of_release = RELEASE.map(|(pattern, act)| format!("  {pattern}) {act} ;;\n")).concat();
        let script = format!(
            "#!/bin/sh\nset -- \"${{0##*/}}\" \"$@\"\nhere={}\necho \"$*\" >> $here/calls\n\
             case \"$*\" in\n{cases}{of_release}esac\n",
            folder.path().display()
        );
        let cluster = Self { folder };
        ["kubectl", "helm"].iter().for_each(|tool| cluster.add(tool, &script));
        cluster.add("sleep", "#!/bin/sh\n");
        cluster
    }

    pub fn add(&self, tool: &str, script: &str) {
        let path = self.folder.path().join(tool);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// With a program `pilcrow` that answers like the others.
    pub fn with_pilcrow(self) -> Self {
        let script = fs::read_to_string(self.folder.path().join("helm")).unwrap();
        self.add("pilcrow", &script);
        self
    }

    /// With Pilcrow's release.
    pub fn with_release(self) -> Self {
        fs::write(self.folder.path().join("installed"), "").unwrap();
        self
    }

    /// A file in the folder in which the scripts run.
    pub fn file(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    pub fn run(&self, script: &str, arguments: &[&str]) -> Outcome {
        let path = format!("{}:/usr/bin:/bin", self.folder.path().display());
        run(script, arguments, &path, self.folder.path())
    }

    /// Every call of kubectl and helm that changes something.
    pub fn changes(&self) -> Vec<String> {
        let calls = self.file("calls");
        let changing = ["helm upgrade", "helm uninstall", "kubectl create", "kubectl label", "kubectl delete"];
        let is_change = |call: &&str| {
            let only_asks = ["can-i", "--help", "--dry-run"].iter().any(|word| call.contains(word));
            changing.iter().any(|change| call.contains(change)) && !only_asks
        };
        calls.lines().filter(is_change).map(|call| call.replace(&chart(), "CHART")).collect()
    }
}

pub fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy")
}

pub fn chart() -> String {
    deploy().join("helm/pilcrow").display().to_string()
}

pub fn run(script: &str, arguments: &[&str], path: &str, folder: &Path) -> Outcome {
    let mut command = Command::new("/bin/sh");
    command.current_dir(folder);
    command.arg(deploy().join(script)).args(arguments).env("PATH", path).env_remove("LOKI_URL");
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Outcome { said: String::from_utf8(said).unwrap(), good: output.status.success() }
}

pub const NO_NAMESPACE: Answer = ("\"kubectl get namespace pilcrow\"", "exit 1");
pub const LOKI: Answer = ("*'get endpoints loki '*", "echo 10.0.0.7");
pub const DAEMONSET: Answer = ("*'get daemonsets -o name'*", "echo daemonset.apps/pilcrow");
pub const TO_LOKI: [&str; 2] = ["--loki", "http://loki.monitoring:3100"];
pub const INSTALL: &str =
    "helm upgrade --install pilcrow CHART --namespace pilcrow --set-string loki.url=http://loki.monitoring:3100";
