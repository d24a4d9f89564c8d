//! What `pilcrow doctor` finds on machines of several kinds, written down as /proc and /sys, and on this one.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::Path,
    process::Command,
    thread,
};

use collector::{
    admin::doctor::{Finding, Report, Status, System, Trials, examine},
    config::{Config, SignalChoice},
    tail::notify::{KindReport, Proof, Refusal, Way},
};
use tempfile::TempDir;

/// Every capability there is, and none.
const ROOT: &str = "000001ffffffffff";
const NOBODY: &str = "0000000000000000";

/// A machine with this kernel, capability mask and further files.
fn machine(release: &str, capabilities: &str, files: &[&str]) -> (TempDir, System) {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("/proc/sys/kernel/osrelease", &format!("{release}\n"));
    write("/proc/self/status", &format!("Name:\tpilcrow\nCapEff:\t{capabilities}\n"));
    write("/proc/sys/fs/inotify/max_user_watches", "65536\n");
    for file in files {
        let (path, text) = file.split_once('=').unwrap_or((file, ""));
        write(path, text);
    }
    let system = System::under(root.path());
    (root, system)
}

fn finding<'r>(report: &'r Report, section: &str, check: &str) -> &'r Finding {
    let mut all = report.findings.iter().filter(|finding| (finding.section, finding.check) == (section, check));
    all.next().unwrap_or_else(|| panic!("no {section}/{check}"))
}

/// A configuration whose folders are there and whose Loki listens.
fn configuration() -> (TempDir, TcpListener, Config) {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = Config::default();
    config.paths.pods = folder.path().join("pods");
    config.paths.state = folder.path().join("state");
    fs::create_dir(&config.paths.pods).unwrap();
    config.loki.url = format!("http://{}", listener.local_addr().unwrap());
    (folder, listener, config)
}

fn sees_write() -> Proof {
    Proof { seen: vec![Way::Write], missed: Vec::new() }
}

fn tried(name: &str, outcome: Result<Proof, &str>) -> KindReport {
    let refusal = |reason: &str| Refusal { reason: reason.into(), fix: format!("fix {reason}") };
    KindReport { name: name.into(), outcome: outcome.map_err(refusal) }
}

#[test]
fn a_pi_5_with_raspberry_pi_os_is_told_that_inotify_does_the_work_and_what_would_offer_ebpf() {
    let (_folder, _loki, config) = configuration();
    let (_root, system) = machine("6.6.31+rpt-rpi-2712", ROOT, &[]);
    let signal =
        vec![tried("ebpf", Err("no BTF")), tried("inotify", Ok(Proof::default())), tried("poll", Ok(Proof::default()))];
    let report = examine(&config, &system, &Trials { signal: Some(signal), push: None, ..Trials::default() });
    assert!(report.can_work());
    assert_eq!(finding(&report, "kernel", "release").found, "6.6.31+rpt-rpi-2712 (Raspberry Pi OS)");
    let btf = finding(&report, "ebpf", "btf");
    assert_eq!(btf.status, Status::Warn);
    assert_eq!(
        btf.fix.as_deref().unwrap(),
        "Raspberry Pi OS builds its kernels without BTF; and that for the Pi 5 without kprobes, too: no probe can attach, \
         and inotify is used (what that costs: docs/performance.md); for eBPF use a kernel with BTF: Ubuntu Server \
         for Pi, Debian, Fedora, Talos and Armbian have it"
    );
    assert_eq!(finding(&report, "choice", "signal").found, "auto selects inotify");
}

#[test]
fn a_pi_4_with_raspberry_pi_os_is_told_that_kprobes_do_without_btf() {
    let (_folder, _loki, config) = configuration();
    let (_root, system) = machine("6.1.21+rpt-rpi-v8", ROOT, &["/sys/bus/event_source/devices/kprobe/type=6"]);
    let report = examine(&config, &system, &Trials::default());
    assert_eq!(finding(&report, "kernel", "release").found, "6.1.21+rpt-rpi-v8 (Raspberry Pi OS)");
    let fix = finding(&report, "ebpf", "btf").fix.as_deref().unwrap();
    assert!(fix.contains("kprobes work without BTF") && fix.contains("use a kernel with BTF"), "{fix}");
}

#[test]
fn a_kernel_with_everything_comes_to_the_first_kind_that_attaches() {
    let (_folder, _loki, config) = configuration();
    let files = ["/sys/kernel/btf/vmlinux", "/sys/bus/event_source/devices/kprobe/type=6"];
    let (_root, system) = machine("6.12.38+deb13-arm64", ROOT, &files);
    let signal = vec![
        tried("fexit vfs_write", Err("attach failed (524)")),
        tried("tp_btf ext4_da_write_end", Ok(sees_write())),
        tried("kprobe vfs_write", Ok(sees_write())),
    ];
    let report =
        examine(&config, &system, &Trials { signal: Some(signal), push: Some(Ok("204".into())), ..Trials::default() });
    assert!(report.can_work());
    assert_eq!(finding(&report, "ebpf", "btf").status, Status::Ok);
    assert_eq!(finding(&report, "ebpf", "kprobes").status, Status::Ok);
    let first = finding(&report, "signal", "ebpf");
    assert_eq!(first.found, "fexit vfs_write: attach failed (524)");
    assert_eq!(first.fix.as_deref(), Some("fix attach failed (524)"));
    assert_eq!(finding(&report, "choice", "signal").found, "auto selects ebpf (tp_btf ext4_da_write_end)");
}

#[test]
fn a_backend_that_is_named_and_does_not_work_is_a_failure() {
    let (_folder, _loki, mut config) = configuration();
    let (_root, system) = machine("6.12.0", ROOT, &["/sys/kernel/btf/vmlinux"]);
    let signal = vec![tried("ebpf", Err("built without the probe")), tried("inotify", Ok(Proof::default()))];
    let trials = Trials { signal: Some(signal), push: None, ..Trials::default() };
    assert!(examine(&config, &system, &trials).can_work(), "inotify does the work");
    config.signal = SignalChoice::Ebpf;
    let report = examine(&config, &system, &trials);
    assert!(!report.can_work(), "nothing may take over");
    assert_eq!(finding(&report, "signal", "configured").found, "signal is ebpf, and that cannot be used here");
}

#[test]
fn a_process_without_capabilities_is_told_which_it_lacks() {
    let (_folder, _loki, config) = configuration();
    // CAP_PERFMON alone: bit 38.
    for (mask, missing) in [(NOBODY, "CAP_BPF and CAP_PERFMON"), ("0000004000000000", "CAP_BPF")] {
        let (_root, system) = machine("6.12.0", mask, &["/sys/kernel/btf/vmlinux"]);
        let report = examine(&config, &system, &Trials::default());
        let capabilities = finding(&report, "ebpf", "capabilities");
        assert_eq!(capabilities.found, format!("{missing} missing"));
        assert_eq!(capabilities.fix.as_deref(), Some(&*format!("run as root, or give {missing}")));
        assert!(report.can_work(), "inotify does the work");
    }
}

#[test]
fn lockdown_old_kernels_and_few_watches_are_seen() {
    let (_folder, _loki, config) = configuration();
    let files = [
        "/sys/kernel/security/lockdown=none integrity [confidentiality]\n",
        "/proc/sys/fs/inotify/max_user_watches=100\n",
    ];
    let (_root, system) = machine("5.4.0-42-generic", ROOT, &files);
    let report = examine(&config, &system, &Trials::default());
    for (section, check) in [("ebpf", "lockdown"), ("kernel", "release"), ("limits", "inotify_watches")] {
        assert_eq!(finding(&report, section, check).status, Status::Warn, "{check}");
    }
    let (_root, system) = machine("6.1.0", ROOT, &["/sys/kernel/security/lockdown=none [integrity] confidentiality\n"]);
    let report = examine(&config, &system, &Trials::default());
    assert_eq!(finding(&report, "ebpf", "lockdown").found, "integrity");
    assert_eq!(finding(&report, "ebpf", "lockdown").status, Status::Ok);
}

#[test]
fn a_refused_push_or_a_missing_folder_is_a_failure() {
    let (_folder, _loki, mut config) = configuration();
    let (_root, system) = machine("6.12.0", ROOT, &[]);
    let report = examine(&config, &system, &Trials { push: Some(Err("401 Unauthorized".into())), ..Trials::default() });
    assert!(!report.can_work());
    config.paths.pods = "/nonexistent".into();
    assert!(!examine(&config, &system, &Trials::default()).can_work());
}

/// The URL of a server that answers every push as Loki 3 answers one without lines (pkg/validation/validate.go).
fn loki_without_lines() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = BufReader::new(stream.try_clone().unwrap());
            let (mut line, mut body_bytes) = (String::new(), 0);
            while request.read_line(&mut line).unwrap() > "\r\n".len() {
                if let Some(length) = line.to_lowercase().strip_prefix("content-length:") {
                    body_bytes = length.trim().parse().unwrap();
                }
                line.clear();
            }
            request.read_exact(&mut vec![0; body_bytes]).unwrap();
            let body = "error at least one valid stream is required for ingestion";
            let length = body.len();
            write!(stream, "HTTP/1.1 422 Unprocessable Entity\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        }
    });
    url
}

/// Runs the binary; its standard output and exit code.
fn doctor(config: &Path, arguments: &[&str]) -> (String, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_pilcrow"))
        .arg("doctor")
        .arg("--config")
        .arg(config)
        .args(arguments)
        .output()
        .unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

#[test]
fn the_json_of_this_machine_keeps_to_the_documented_schema_and_the_exit_code_to_its_verdict() {
    let (folder, _listener, config) = configuration();
    let loki_url = loki_without_lines();
    let file = folder.path().join("p.yaml");
    let text = |pods: &Path| {
        let (state, url) = (config.paths.state.display(), &loki_url);
        format!("paths: {{pods: '{}', state: '{state}'}}\nloki: {{url: '{url}'}}\n", pods.display())
    };
    fs::write(&file, text(&config.paths.pods)).unwrap();
    let (out, code) = doctor(&file, &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["schema"], 2);
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&json["can_work"], code), (&true.into(), Some(0)), "{out}");
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/doctor.md")).unwrap();
    for finding in json["findings"].as_array().unwrap() {
        let (section, check) = (finding["section"].as_str().unwrap(), finding["check"].as_str().unwrap());
        assert!(page.contains(&format!("| `{section}` | `{check}` | ")), "{section}/{check} is not documented");
        let status = finding["status"].as_str().unwrap();
        assert!(["ok", "warn", "fail"].contains(&status), "{finding}");
        assert!(!finding["found"].as_str().unwrap().is_empty());
        assert_eq!(finding["fix"].is_null(), status == "ok", "{finding}");
    }

    fs::write(&file, text(Path::new("/nonexistent/pods"))).unwrap();
    let (out, code) = doctor(&file, &["--json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["can_work"], false);
    assert_eq!(code, Some(1));
    let (table, code) = doctor(&file, &[]);
    assert!(table.contains("/nonexistent/pods does not exist\n"), "{table}");
    assert!(table.contains("cannot work here: "), "{table}");
    assert!(!table.contains('\x1b'), "no colours where it is not a terminal");
    assert_eq!(code, Some(1));
}
