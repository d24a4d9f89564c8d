//! More log files than may be open, and fewer watches than folders.

use std::{
    collections::HashSet,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use rig::receiver::Options;

use crate::program::{Node, Program, append, record, wait_for};

/// Longer than for other tests, as much is made, and everything by a debug build.
const PATIENCE: Duration = Duration::from_secs(600);

fn wait_for_texts(node: &Node, program: &Program, count: usize, what: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !node.receiver.wait_until(Duration::from_millis(500), |counts| counts.entries >= count as u64) {
        assert!(Instant::now() < deadline, "{what}: {:?}\n{}", node.receiver.counts(), program.log());
    }
}

fn more_files_than_descriptors(signal: &str, files: usize) {
    let mut node = Node::with_receiver(Options::default());
    node.before = "ulimit -n 1024".into();
    node.extra_config = format!("signal: {signal}");
    let folders: Vec<PathBuf> =
        (0..files).map(|n| node.container(&format!("pod-{}", n / 4), &format!("container-{n}"))).collect();
    let (mut texts, write) = (HashSet::new(), |folder: &PathBuf, name: &str, second: u64, text: String| {
        append(&folder.join(name), record(second, &text));
        text
    });
    for (n, folder) in folders.iter().enumerate() {
        texts.insert(write(folder, "0.log", 0, format!("first of {n}")));
    }
    let program = node.start();
    wait_for_texts(&node, &program, texts.len(), "the lines that were there");
    assert!(program.open_files().len() < 1024);
    for (n, folder) in folders.iter().enumerate() {
        texts.insert(write(folder, "0.log", 1, format!("second of {n}")));
        if n % 20 == 0 {
            fs::rename(folder.join("0.log"), folder.join("0.log.20260102-000001")).unwrap();
            texts.insert(write(folder, "0.log", 2, format!("third of {n}")));
        }
    }
    wait_for_texts(&node, &program, texts.len(), "the lines that were added");
    assert_eq!(node.receiver.counts().entries, texts.len() as u64, "nothing twice");
    let streams = node.receiver.streams();
    let arrived: HashSet<_> =
        streams.values().flat_map(|stream| stream.lines().into_iter().map(|(_, text)| text.to_owned())).collect();
    assert!(arrived == texts, "{:?}", texts.difference(&arrived).take(5).collect::<Vec<_>>());
    assert!(program.log().contains("more log files than may be open"), "{}", program.log());
    assert_eq!(program.metric("pilcrow_abandoned_files_total", &[]), 0.0, "{}", program.log());
    let resident = program.metric("process_resident_memory_bytes", &[]) / f64::from(1 << 20);
    println!("{signal}: {files} files, {resident:.1} MiB resident, {:.1} MiB of it anonymous", program.anonymous_mib());
    assert!(program.terminate().success());
    node.assert_no_violations();
}

#[test]
fn three_thousand_files_are_followed_with_a_thousand_descriptors_by_inotify() {
    more_files_than_descriptors("inotify", 3000);
}

#[test]
fn twice_as_many_files_as_descriptors_are_followed_by_what_auto_takes() {
    more_files_than_descriptors("auto", 2000);
}

#[test]
fn unread_rotated_files_are_found_again_when_they_were_closed_for_lack_of_descriptors() {
    let mut node = Node::new();
    // A third of them are for log files.
    node.before = "ulimit -n 160".into();
    let folders: Vec<PathBuf> = (0..100).map(|n| node.container("web", &format!("container-{n}"))).collect();
    for folder in &folders {
        append(&folder.join("0.log"), record(0, "first"));
    }
    let program = node.start();
    node.wait_until(&program, "the first lines", |counts| counts.entries == 100);
    node.receiver.set_down(true);
    for round in 1..5 {
        for folder in &folders {
            append(&folder.join("0.log"), record(round, &format!("round {round}")));
            let rotated = folder.join(format!("0.log.20260102-00000{round}"));
            fs::rename(folder.join("0.log"), &rotated).unwrap();
            if round < 3 {
                crate::program::compress(&rotated);
            }
        }
    }
    node.receiver.set_down(false);
    node.wait_until(&program, "all lines", |counts| counts.entries >= 500);
    assert_eq!(node.receiver.counts().entries, 500, "nothing twice");
    node.assert_no_violations();
}

#[test]
fn sixty_four_descriptors_are_enough_for_a_hundred_containers() {
    let mut node = Node::new();
    node.before = "ulimit -n 64".into();
    let folders: Vec<PathBuf> = (0..100).map(|n| node.container("web", &format!("container-{n}"))).collect();
    for folder in &folders {
        append(&folder.join("0.log"), record(0, "first"));
    }
    let program = node.start();
    node.wait_until(&program, "the first lines", |counts| counts.entries == 100);
    for folder in &folders {
        append(&folder.join("0.log"), record(1, "second"));
    }
    node.wait_until(&program, "all lines", |counts| counts.entries >= 200);
    assert_eq!(node.receiver.counts().entries, 200, "nothing twice");
    assert!(program.terminate().success());
    node.assert_no_violations();
}

#[test]
fn a_limit_of_open_files_that_is_too_low_to_start_is_reported_with_its_fix() {
    let mut node = Node::new();
    node.before = "ulimit -n 12".into();
    let program = node.start();
    assert_eq!(program.end().code(), Some(1), "{}", program.log());
    assert!(
        program.log().contains("Too many open files (os error 24); raise the limit of open files"),
        "{}",
        program.log()
    );
    assert!(program.log().contains("LimitNOFILE="), "{}", program.log());
}

#[test]
fn where_watches_are_too_few_the_sweep_finds_all_and_the_fix_is_reported() {
    let mut node = Node::new();
    // A user namespace has a limit of its own.
    node.before = "echo 4 > /proc/sys/user/max_inotify_watches".into();
    node.extra_config = "signal: inotify".into();
    let probe =
        std::process::Command::new("unshare").args(["--user", "--map-root-user", "sh", "-c", &node.before]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        println!("SKIPPED: no user namespace, in which a limit of watches could be set");
        return;
    }
    node.before =
        format!("exec unshare --user --map-root-user sh -c '{} && exec \"$0\" \"$@\"' \"$0\" \"$@\"", node.before);
    let folders: Vec<PathBuf> = (0..20).map(|n| node.container("web", &format!("container-{n}"))).collect();
    for folder in &folders {
        append(&folder.join("0.log"), record(0, "first"));
    }
    let program = node.start();
    node.wait_until(&program, "the first lines", |counts| counts.entries == 20);
    for folder in &folders {
        append(&folder.join("0.log"), record(1, "second"));
    }
    append(&node.container("later", "young").join("0.log"), record(2, "of a new pod"));
    node.wait_until(&program, "all lines", |counts| counts.entries == 41);
    wait_for("the fix", || program.log().contains("fs.inotify.max_user_watches").then_some(()));
    node.assert_no_violations();
}
