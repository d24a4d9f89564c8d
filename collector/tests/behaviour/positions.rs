//! The checkpoint file on disks that are full, read-only, torn or used by another version.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::program::{Node, Program, append, record, texts, wait_for};

fn lines(numbers: std::ops::Range<u64>) -> String {
    numbers.map(|n| record(n, &format!("line {n}"))).collect()
}

fn expected(count: u64) -> Vec<String> {
    (0..count).map(|n| format!("line {n}")).collect()
}

/// Waits until all of a file's bytes are saved as acknowledged.
fn wait_for_saved(node: &Node, live: &Path) {
    let offset = format!("\"offset\":{}", fs::metadata(live).unwrap().len());
    wait_for("a saved position", || {
        fs::read_to_string(node.state().join("checkpoint")).ok().filter(|saved| saved.contains(&offset))
    });
}

/// A tmpfs on the state folder, as big as a few pages; unmounted when it is dropped.
struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// `None`: only root may mount, and not everywhere; says why.
    fn mount(folder: PathBuf) -> Option<Self> {
        fs::create_dir_all(&folder).unwrap();
        let disk = Self { folder };
        let output = disk.run("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs"]);
        match output {
            Ok(()) => Some(disk),
            Err(reason) => {
                println!("SKIPPED: cannot mount a tmpfs: {reason}");
                None
            }
        }
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<(), String> {
        let output = Command::new(program).args(arguments).arg(&self.folder).output().map_err(|e| e.to_string())?;
        let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if output.status.success() { Ok(()) } else { Err(reason) }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.run("umount", &["--lazy"]);
    }
}

#[test]
fn a_full_state_disk_stops_nothing_is_said_once_and_saved_when_there_is_room() {
    let node = Node::new();
    let Some(_disk) = Disk::mount(node.state()) else { return };
    let filler = node.state().join("filler");
    // More than fits.
    assert!(fs::write(&filler, vec![0; 1 << 20]).is_err());
    let live = node.container("web", "full").join("0.log");
    append(&live, lines(0..100));
    let program = node.start();
    node.wait_until(&program, "the first lines", |counts| counts.entries == 100);
    wait_for("a failed save", || (program.metric("pilcrow_checkpoint_errors_total", &[]) >= 1.0).then_some(()));
    append(&live, lines(100..200));
    node.wait_until(&program, "the lines meanwhile", |counts| counts.entries == 200);
    wait_for("another one", || (program.metric("pilcrow_checkpoint_errors_total", &[]) >= 2.0).then_some(()));
    assert_eq!(program.log().matches("cannot save the positions").count(), 1, "{}", program.log());
    // Nothing more is written to the log: what failed is tried again.
    fs::remove_file(&filler).unwrap();
    wait_for_saved(&node, &live);
    wait_for("a word of it", || program.log().contains("the positions can be saved again").then_some(()));
    program.kill();
    append(&live, lines(200..201));
    let program = node.start();
    node.wait_until(&program, "the last line", |counts| counts.entries > 200);
    assert!(program.terminate().success());
    assert_eq!(node.receiver.counts().entries, 201, "nothing twice");
    assert_eq!(texts(&node, "full"), expected(201));
}

#[test]
fn a_read_only_state_folder_stops_nothing_and_is_said_once() {
    let node = Node::new();
    let Some(disk) = Disk::mount(node.state()) else { return };
    disk.run("mount", &["-o", "remount,ro"]).unwrap();
    let live = node.container("web", "read-only").join("0.log");
    append(&live, lines(0..100));
    let program = node.start();
    node.wait_until(&program, "the lines", |counts| counts.entries == 100);
    wait_for("a failed save", || (program.metric("pilcrow_checkpoint_errors_total", &[]) >= 1.0).then_some(()));
    append(&live, lines(100..200));
    node.wait_until(&program, "the lines after it", |counts| counts.entries == 200);
    wait_for("another one", || (program.metric("pilcrow_checkpoint_errors_total", &[]) >= 2.0).then_some(()));
    let log = program.log();
    assert_eq!(log.matches("cannot save the positions").count(), 1, "{log}");
    assert!(log.contains("Read-only file system") && log.contains("paths.state"), "{log}");
    assert!(program.terminate().success());
}

#[test]
fn a_state_folder_that_cannot_be_made_stops_nothing_and_is_reported() {
    let node = Node::new();
    fs::write(node.state(), "a file").unwrap();
    let live = node.container("web", "nowhere").join("0.log");
    append(&live, lines(0..10));
    let program = node.start();
    node.wait_until(&program, "the lines", |counts| counts.entries == 10);
    let log = program.log();
    assert!(log.contains("cannot use the state folder (paths.state): positions are kept in memory only"), "{log}");
    assert!(program.terminate().success());
}

/// Two saves, and what the second added.
fn node_with_two_saves() -> (Node, PathBuf) {
    let node = Node::new();
    let live = node.container("web", "torn").join("0.log");
    let program = node.start();
    for numbers in [0..100, 100..200] {
        let end = numbers.end;
        append(&live, lines(numbers));
        node.wait_until(&program, "the lines", |counts| counts.entries == end);
        wait_for_saved(&node, &live);
    }
    program.kill();
    (node, live)
}

fn finish(node: &Node, live: &Path) -> Program {
    append(live, lines(200..201));
    let program = node.start();
    wait_for("the last line", || texts(node, "torn").contains(&"line 200".to_owned()).then_some(()));
    assert_eq!(texts(node, "torn"), expected(201), "{}", program.log());
    node.assert_no_violations();
    program
}

#[test]
fn after_a_power_cut_that_tore_the_checkpoint_the_one_before_serves() {
    let (node, live) = node_with_two_saves();
    let checkpoint = node.state().join("checkpoint");
    let bytes = fs::read(&checkpoint).unwrap();
    fs::write(&checkpoint, &bytes[..bytes.len() / 2]).unwrap();
    let log = finish(&node, &live).log();
    assert!(log.contains("its checksum does not match: it is incomplete or was changed"), "{log}");
    let entries = node.receiver.counts().entries;
    assert!((201..=301).contains(&entries), "the first hundred were not sent again: {entries}");
}

#[test]
fn after_a_power_cut_that_left_two_empty_checkpoints_everything_is_sent_again() {
    let (node, live) = node_with_two_saves();
    for name in ["checkpoint", "checkpoint.previous"] {
        fs::write(node.state().join(name), "").unwrap();
    }
    let log = finish(&node, &live).log();
    assert_eq!(log.matches("it is not a checkpoint file").count(), 2, "{log}");
    assert_eq!(node.receiver.counts().entries, 401);
}

#[test]
fn a_newer_versions_checkpoint_is_said_and_kept() {
    let (node, live) = node_with_two_saves();
    let newer = "pilcrow-checkpoint 9 00000000\nof another kind";
    fs::write(node.state().join("checkpoint"), newer).unwrap();
    let program = finish(&node, &live);
    let log = program.log();
    assert!(log.contains("it has version 9 and this Pilcrow knows up to version 1"), "{log}");
    wait_for_saved(&node, &live);
    assert_eq!(fs::read_to_string(node.state().join("checkpoint.version-9")).unwrap(), newer);
}

#[test]
fn positions_are_written_at_most_once_an_interval_and_not_at_all_without_new_lines() {
    let mut node = Node::new();
    node.checkpoint_interval = "10m";
    let live = node.container("web", "coalesced").join("0.log");
    append(&live, lines(0..1));
    let program = node.start();
    let writes = || program.metric("pilcrow_checkpoint_writes_total", &[]);
    node.wait_until(&program, "the first line", |counts| counts.entries == 1);
    // Many batches, each acknowledged by itself.
    for n in 1..20 {
        append(&live, lines(n..n + 1));
        node.wait_until(&program, "the line", |counts| counts.entries == n + 1);
    }
    assert!(writes() <= 1.0, "{} writes within one interval", writes());
    assert!(program.terminate().success());
    wait_for_saved(&node, &live);

    node.checkpoint_interval = "100ms";
    let program = node.start();
    let writes = || program.metric("pilcrow_checkpoint_writes_total", &[]);
    append(&live, lines(20..21));
    wait_for_saved(&node, &live);
    // The save of what was found at the start may still be under way.
    let idle = || {
        let before = writes();
        std::thread::sleep(std::time::Duration::from_millis(500));
        (writes() == before).then_some(before)
    };
    let before = wait_for("no more writes", idle);
    let modified = || fs::metadata(node.state().join("checkpoint")).unwrap().modified().unwrap();
    let written = modified();
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!((writes(), modified()), (before, written), "nothing is written when nothing comes");
}
