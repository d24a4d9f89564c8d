//! What a pod can do to the node's collector by what it prints and by what its log folder leads to.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rig::receiver::{Limits, Options, Refusal};

use crate::program::{Node, Program, append, record, settles, texts, wait_for};

const SECRET: &str = "the token of the service account";

fn good(node: &Node) {
    append(&node.container("good", "good").join("0.log"), record(0, "well"));
}

fn assert_good_flows(node: &Node, program: &Program, times: usize) {
    let flows = settles(Duration::from_secs(10), || texts(node, "good").len() >= times);
    assert!(flows, "the other container stands still\n{}", program.log());
}

/// A file outside of the pods' folder that looks like a log.
fn secret(node: &Node) -> PathBuf {
    let path = node.folder().join("secret");
    append(&path, record(0, SECRET));
    path
}

fn assert_secret_is_safe(node: &Node) {
    let leaked =
        node.receiver.streams().values().any(|stream| stream.entries.iter().any(|entry| entry.line.contains(SECRET)));
    assert!(!leaked, "a file outside of the allowed folders was sent");
}

fn outside(program: &Program) -> f64 {
    program.metric("pilcrow_skipped_files_total", &["reason=\"outside_roots\""])
}

/// Starts and waits until whatever is there has been found.
fn start_and_look(node: &Node) -> Program {
    good(node);
    let program = node.start();
    assert_good_flows(node, &program, 1);
    settles(Duration::from_secs(3), || outside(&program) >= 1.0);
    program
}

#[test]
fn logs_that_are_links_to_files_outside_of_the_allowed_folders_are_refused_counted_and_reported_once() {
    let node = Node::new();
    let folder = node.container("evil", "evil");
    symlink(secret(&node), folder.join("0.log")).unwrap();
    symlink("/proc/self/environ", folder.join("1.log")).unwrap();
    symlink("../../../secret", folder.join("2.log")).unwrap();
    symlink(node.folder().join("secret"), folder.join("0.log.20260102-000001")).unwrap();
    let program = start_and_look(&node);
    settles(Duration::from_secs(2), || outside(&program) >= 4.0);
    assert_secret_is_safe(&node);
    assert_eq!(texts(&node, "evil"), Vec::<String>::new());
    assert!(outside(&program) >= 3.0, "{}", program.log());
    let said = program.log().lines().filter(|line| line.contains("WARN") && line.contains("evil/0.log")).count();
    assert!((1..=2).contains(&said), "{said} times\n{}", program.log());
}

#[test]
fn a_containers_folder_that_is_a_link_to_elsewhere_gives_nothing_away() {
    let node = Node::new();
    let elsewhere = node.folder().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    append(&elsewhere.join("0.log"), record(0, SECRET));
    let pod = node.container("evil", "evil").parent().unwrap().to_owned();
    symlink(&elsewhere, pod.join("linked")).unwrap();
    let _program = start_and_look(&node);
    assert_secret_is_safe(&node);
}

#[test]
fn a_link_that_changes_between_a_log_and_a_secret_gives_nothing_away() {
    let mut node = Node::new();
    node.extra_config = "signal: poll".into();
    let secret = secret(&node);
    let folder = node.container("evil", "evil");
    append(&folder.join("harmless"), record(0, "harmless"));
    let program = start_and_look(&node);
    for round in 0..3000 {
        let target = if round % 2 == 0 { secret.clone() } else { folder.join("harmless") };
        let unfinished = folder.join("unfinished");
        symlink(target, &unfinished).unwrap();
        fs::rename(&unfinished, folder.join("0.log")).unwrap();
        if round % 10 == 0 {
            settles(Duration::from_millis(1), || false);
        }
    }
    assert_good_flows(&node, &program, 1);
    assert_secret_is_safe(&node);
}

#[test]
fn the_kernels_log_in_the_place_of_a_containers_stops_neither_the_others_nor_the_end() {
    let mut node = Node::new();
    node.extra_config = "shutdown: {deadline: 1s}".into();
    symlink("/proc/kmsg", node.container("evil", "evil").join("0.log")).unwrap();
    good(&node);
    let program = node.start();
    for round in 2..5 {
        assert_good_flows(&node, &program, round - 1);
        good_again(&node, round as u64);
    }
    assert_eq!(texts(&node, "evil"), Vec::<String>::new());
    program.signal(rustix::process::Signal::TERM);
    program.end();
}

fn good_again(node: &Node, second: u64) {
    append(&node.container("good", "good").join("0.log"), record(second, "well"));
}

#[test]
fn a_file_of_proc_that_is_mounted_into_the_pods_folder_is_not_read() {
    let node = Node::new();
    let live = node.container("evil", "evil").join("0.log");
    append(&live, "");
    let mounted = Command::new("mount").args(["--bind", "/proc/version"]).arg(&live).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return println!("SKIPPED: cannot mount");
    }
    let _unmounting = Unmounting(&live);
    let program = start_and_look(&node);
    settles(Duration::from_secs(1), || !texts(&node, "evil").is_empty());
    assert_eq!(texts(&node, "evil"), Vec::<String>::new(), "{}", program.log());
}

struct Unmounting<'a>(&'a Path);

impl Drop for Unmounting<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

/// `before` for a program that sees this folder as /var/lib/docker; `None` where there is no way.
fn with_docker_at(folder: &Path) -> Option<String> {
    let mount = format!(
        "mount -t tmpfs tmpfs /var/lib && mkdir -p /var/lib/docker && mount --bind {} /var/lib/docker",
        folder.display()
    );
    let possible = Command::new("unshare").args(["--mount", "sh", "-c", &mount]).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: cannot mount in a namespace of its own");
        return None;
    }
    Some(format!("exec unshare --mount sh -c '{mount} && exec \"$0\" \"$@\"' \"$0\" \"$@\""))
}

#[test]
fn links_into_dockers_folder_are_read_and_links_from_there_to_elsewhere_are_not() {
    let mut node = Node::new();
    let docker = node.folder().join("docker");
    let Some(before) = with_docker_at(&docker_with_logs(&docker, &secret(&node))) else { return };
    node.before = before;
    for name in ["honest", "evil"] {
        let target = format!("/var/lib/docker/containers/{name}/{name}-json.log");
        symlink(target, node.container("web", name).join("0.log")).unwrap();
    }
    let program = start_and_look(&node);
    wait_for("docker's line", || (texts(&node, "honest") == ["from docker"]).then_some(()));
    assert_secret_is_safe(&node);
    assert!(outside(&program) >= 1.0, "{}", program.log());
}

fn docker_with_logs(docker: &Path, secret: &Path) -> PathBuf {
    for name in ["honest", "evil"] {
        fs::create_dir_all(docker.join("containers").join(name)).unwrap();
    }
    let log = r#"{"log":"from docker\n","stream":"stdout","time":"2026-01-02T00:00:00Z"}"#;
    append(&docker.join("containers/honest/honest-json.log"), format!("{log}\n"));
    symlink(secret, docker.join("containers/evil/evil-json.log")).unwrap();
    docker.to_owned()
}

#[test]
fn a_pods_folder_that_is_itself_a_link_is_followed() {
    let node = Node::new();
    let real = node.folder().join("real");
    fs::rename(node.pods(), &real).unwrap();
    symlink(&real, node.pods()).unwrap();
    good(&node);
    let program = node.start();
    assert_good_flows(&node, &program, 1);
}

#[test]
fn a_record_after_a_run_of_nuls_comes_with_its_own_time_and_stream() {
    let node = Node::new();
    let nuls = "\0".repeat(4096);
    let cri = "2026-01-02T00:00:07Z stderr F after the power cut\n";
    let docker = |second: u64, text: &str| {
        format!("{{\"log\":\"{text}\\n\",\"stream\":\"stderr\",\"time\":\"2026-01-02T00:00:0{second}Z\"}}\n")
    };
    append(&node.container("web", "cri").join("0.log"), record(0, "before") + &nuls + cri);
    append(
        &node.container("web", "docker").join("0.log"),
        docker(0, "before") + &nuls + &docker(7, "after the power cut"),
    );
    let program = node.start();
    for name in ["cri", "docker"] {
        let found = || {
            node.receiver.streams().values().any(|stream| {
                let of_it = stream.label("container") == Some(name) && stream.label("stream") == Some("stderr");
                of_it && stream.lines().contains(&(1_767_312_007_000_000_000, "after the power cut"))
            })
        };
        assert!(settles(Duration::from_secs(5), found), "{name}: {:?}\n{}", texts(&node, name).len(), program.log());
    }
    node.assert_no_violations();
}

#[test]
fn a_hole_of_64_mib_is_not_sent_as_text() {
    let node = Node::new();
    let live = node.container("web", "holey").join("0.log");
    append(&live, record(0, "before"));
    let len = fs::metadata(&live).unwrap().len() + (64 << 20);
    fs::OpenOptions::new().write(true).open(&live).unwrap().set_len(len).unwrap();
    append(&live, record(7, "after the hole"));
    let program = node.start();
    let last = || texts(&node, "holey").last().is_some_and(|text| text.ends_with("after the hole"));
    wait_for("the record after it", || last().then_some(()));
    let texts = texts(&node, "holey");
    assert!(texts.len() <= 4 && texts.concat().len() < 1 << 20, "{} entries\n{}", texts.len(), program.log());
    assert_eq!(texts.last().unwrap(), "after the hole");
}

#[test]
fn a_name_with_lokis_own_words_in_it_does_not_decide_how_an_answer_is_read() {
    for name in ["ingestion blocked", "request body too large", "tenant id", "snappy: corrupt"] {
        let refuse = move |stream: &rig::receiver::push::Stream<'_>| {
            let is_it = stream.labels_text.contains(name);
            is_it.then(|| Refusal::stream_limit(stream.labels_text))
        };
        let node = Node::with_receiver(Options { limits: Limits::default().refuse(refuse), ..Options::default() });
        append(&node.container("web", name).join("0.log"), record(0, "one") + &record(1, "two"));
        let program = node.start();
        node.wait_until(&program, "some refusals", |counts| counts.limited_entries >= 4);
        node.receiver.set_limits(Limits::default());
        let came = settles(Duration::from_secs(5), || texts(&node, name) == ["one", "two"]);
        assert!(came, "{name}: {:?}\n{}", texts(&node, name), program.log());
        assert_eq!(program.metric("pilcrow_dropped_lines_total", &[]), 0.0, "{name}");
    }
}
