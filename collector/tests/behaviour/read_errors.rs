//! A disk whose reads fail or hang for a while, and archives that are damaged: an error is never an end of file.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::program::{Node, append, compress, record, settles, texts, wait_for};

/// A node whose program's reads can be made to fail.
struct Disk {
    node: Node,
    control: PathBuf,
}

impl Disk {
    /// `None` where no program can be watched so; says why.
    fn new() -> Option<Self> {
        let mut node = Node::new();
        let [source, shim, control] = ["read_faults.c", "read_faults", "control"].map(|name| node.folder().join(name));
        fs::write(&source, include_str!("read_faults.c")).unwrap();
        if !Command::new("cc").arg("-O1").arg("-o").arg(&shim).arg(&source).status().is_ok_and(|cc| cc.success()) {
            println!("SKIPPED: no C compiler for this machine");
            return None;
        }
        if !Command::new(&shim).arg(&control).arg("true").status().is_ok_and(|status| status.success()) {
            println!("SKIPPED: the kernel does not report system calls (seccomp)");
            return None;
        }
        node.before = format!("exec {} {} \"$0\" \"$@\"", shim.display(), control.display());
        // io_uring reads without system calls.
        node.extra_config = "reader: {backend: pread}".into();
        Some(Self { node, control })
    }

    /// From now on reads of files whose path has this part in it fail, or hang, from an offset on.
    fn fault(&self, mode: &str, part: &str, offset: u64) {
        let unfinished = self.control.with_extension("tmp");
        fs::write(&unfinished, format!("{mode} {part} {offset}\n")).unwrap();
        fs::rename(unfinished, &self.control).unwrap();
    }

    fn recover(&self) {
        fs::remove_file(&self.control).unwrap();
    }
}

fn lines(numbers: std::ops::Range<u64>) -> String {
    numbers.map(|n| record(n, &format!("line {n}"))).collect()
}

fn assert_all(node: &Node, container: &str, count: u64, log: impl Fn() -> String) {
    let came = || texts(node, container);
    settles(Duration::from_secs(10), || came().len() as u64 >= count);
    let expected: Vec<_> = (0..count).map(|n| format!("line {n}")).collect();
    assert!(came() == expected, "{container}: {} lines of {count}, or others\n{}", came().len(), log());
}

/// Rotates as the kubelet does.
fn rotate(live: &Path, number: u64) -> PathBuf {
    let rotated = live.with_file_name(format!("0.log.20260102-00000{number}"));
    fs::rename(live, &rotated).unwrap();
    rotated
}

#[test]
fn rotated_files_that_cannot_be_read_for_some_seconds_lose_no_line() {
    let Some(disk) = Disk::new() else { return };
    let node = &disk.node;
    let live = node.container("web", "flaky").join("0.log");
    append(&live, lines(0..1000));
    let program = node.start();
    node.wait_until(&program, "the first lines", |counts| counts.entries == 1000);
    disk.fault("eio", "flaky", 0);
    append(&live, lines(1000..4000));
    let rotated = [rotate(&live, 1)];
    append(&live, lines(4000..5000));
    append(&node.container("web", "good").join("0.log"), lines(0..10));
    assert_all(node, "good", 10, || program.log());
    let is_open = |path: &PathBuf| program.open_files().iter().any(|open| Path::new(open) == path.as_path());
    let held = settles(Duration::from_secs(2), || rotated.iter().all(is_open));
    disk.recover();
    for path in &rotated {
        fs::remove_file(path).unwrap();
    }
    assert_all(node, "flaky", 5000, || format!("all were open: {held}\n{}", program.log()));
    node.assert_no_violations();
}

#[test]
fn files_that_are_found_and_deleted_while_the_disk_fails_lose_no_line() {
    let Some(disk) = Disk::new() else { return };
    let node = &disk.node;
    let program = node.start();
    disk.fault("eio", "late", 0);
    let live = node.container("web", "late").join("0.log");
    append(&live, lines(0..1000));
    let rotated = rotate(&live, 1);
    append(&live, lines(1000..2000));
    let is_open = |path: &PathBuf| program.open_files().iter().any(|open| Path::new(open) == path.as_path());
    let files = [rotated, live];
    let held = settles(Duration::from_secs(15), || files.iter().all(is_open));
    std::fs::remove_dir_all(files[0].parent().unwrap().parent().unwrap()).unwrap();
    settles(Duration::from_secs(1), || false);
    disk.recover();
    assert_all(node, "late", 2000, || format!("both were open: {held}\n{}", program.log()));
    node.assert_no_violations();
}

#[test]
fn files_that_are_found_beside_one_that_cannot_be_read_wait_for_it() {
    let Some(disk) = Disk::new() else { return };
    let node = &disk.node;
    let live = node.container("web", "flaky").join("0.log");
    append(&live, lines(0..1000));
    rotate(&live, 1);
    append(&live, lines(1000..2000));
    append(&node.container("web", "other").join("0.log"), lines(0..10));
    disk.fault("eio", "0.log.20260102", 0);
    let program = node.start();
    wait_for("the warning", || program.log().contains("cannot open a log file").then_some(()));
    append(&live, lines(2000..2500));
    wait_for("the other container's lines", || (texts(node, "other").len() == 10).then_some(()));
    disk.recover();
    assert_all(node, "flaky", 2500, || program.log());
}

#[test]
fn an_archive_that_cannot_be_read_for_some_seconds_loses_no_line_and_is_not_called_damaged() {
    let Some(disk) = Disk::new() else { return };
    let node = &disk.node;
    let live = node.container("web", "archived").join("0.log");
    append(&live, lines(0..20_000));
    compress(&rotate(&live, 1));
    append(&live, lines(20_000..20_100));
    // The beginning is read, the rest is not.
    disk.fault("eio", ".gz", 8192);
    append(&node.container("web", "good").join("0.log"), lines(0..10));
    let program = node.start();
    assert_all(node, "good", 10, || program.log());
    settles(Duration::from_secs(2), || false);
    disk.recover();
    assert_all(node, "archived", 20_100, || program.log());
    assert_eq!(program.metric("pilcrow_malformed_lines_total", &["gzip_damaged"]), 0.0);
    node.assert_no_violations();
}

#[test]
fn a_stop_and_a_start_during_read_errors_lose_no_line() {
    let Some(disk) = Disk::new() else { return };
    let node = &disk.node;
    let live = node.container("web", "stopped").join("0.log");
    append(&live, lines(0..100));
    let program = node.start();
    node.wait_until(&program, "the first lines", |counts| counts.entries == 100);
    disk.fault("eio", "stopped", 0);
    append(&live, lines(100..2000));
    rotate(&live, 1);
    append(&live, lines(2000..2100));
    settles(Duration::from_secs(2), || false);
    assert!(program.terminate().success());
    let program = node.start();
    settles(Duration::from_secs(2), || false);
    disk.recover();
    assert_all(node, "stopped", 2100, || program.log());
    node.assert_no_violations();
}

#[test]
fn a_read_error_is_reported_with_the_file_and_not_again_and_again() {
    let Some(disk) = Disk::new() else { return };
    let node = &disk.node;
    disk.fault("eio", "broken", 0);
    append(&node.container("web", "broken").join("0.log"), lines(0..10));
    let program = node.start();
    let said = || program.log().lines().filter(|line| line.contains("Input/output error")).count();
    wait_for("a word of it", || (said() > 0).then_some(()));
    settles(Duration::from_secs(4), || said() > 2);
    assert!(said() <= 2, "{}", program.log());
    assert!(program.log().lines().any(|line| line.contains("Input/output") && line.contains("broken")));
    disk.recover();
    assert_all(node, "broken", 10, || program.log());
}

#[test]
fn a_read_that_does_not_return_stops_neither_the_others_nor_the_end() {
    let Some(mut disk) = Disk::new() else { return };
    disk.node.extra_config += "\nshutdown: {deadline: 1s}";
    let node = &disk.node;
    disk.fault("hang", "hung", 0);
    append(&node.container("web", "hung").join("0.log"), lines(0..10));
    append(&node.container("web", "good").join("0.log"), lines(0..10));
    let program = node.start();
    assert_all(node, "good", 10, || program.log());
    append(&node.container("web", "good").join("0.log"), lines(10..20));
    assert_all(node, "good", 20, || program.log());
    assert_eq!(program.metric("pilcrow_stalled_folders", &[]), 1.0, "{}", program.log());
    let said = program.log().lines().filter(|line| line.contains("does not return") && line.contains("web")).count();
    assert_eq!(said, 1, "{}", program.log());
    program.signal(rustix::process::Signal::TERM);
    assert!(program.end().success());
    disk.recover();
    let program = node.start();
    assert_all(node, "hung", 10, || program.log());
    node.assert_no_violations();
}

#[test]
fn a_file_whose_reads_return_after_all_is_read_on_where_it_stood() {
    let Some(disk) = Disk::new() else { return };
    let node = &disk.node;
    let live = node.container("web", "hung").join("0.log");
    append(&live, lines(0..10));
    let archive = node.container("web", "packed").join("0.log");
    append(&archive, lines(0..5000));
    compress(&rotate(&archive, 1));
    append(&archive, lines(5000..5010));
    let program = node.start();
    assert_all(node, "hung", 10, || program.log());
    assert_all(node, "packed", 5010, || program.log());
    disk.fault("hang", "default_web", 0);
    append(&live, lines(10..20));
    append(&archive, lines(5010..5020));
    compress(&rotate(&archive, 2));
    append(&archive, lines(5020..5030));
    append(&node.container("other", "good").join("0.log"), lines(0..10));
    assert_all(node, "good", 10, || program.log());
    let stalled = || program.metric("pilcrow_stalled_folders", &[]);
    wait_for("both to be set aside", || (stalled() == 2.0).then_some(()));
    disk.recover();
    assert_all(node, "hung", 20, || program.log());
    assert_all(node, "packed", 5030, || program.log());
    wait_for("none to be set aside", || (stalled() == 0.0).then_some(()));
    node.assert_no_violations();
}

/// A container with a rotated archive that `damage` has altered, and 20 lines in the live file.
fn with_damaged_archive(damage: impl Fn(&mut Vec<u8>)) -> Node {
    let node = Node::new();
    let live = node.container("web", "damaged").join("0.log");
    append(&live, lines(0..2000));
    let rotated = rotate(&live, 1);
    compress(&rotated);
    let archive = format!("{}.gz", rotated.display());
    let mut bytes = fs::read(&archive).unwrap();
    damage(&mut bytes);
    let mut file = fs::File::create(&archive).unwrap();
    file.write_all(&bytes).unwrap();
    // Docker compresses in place: what was written to just now may become whole.
    file.set_modified(std::time::SystemTime::now() - Duration::from_secs(60)).unwrap();
    append(&live, lines(2000..2020));
    node
}

fn assert_damage_is_told(node: &Node, at_least: usize) {
    let program = node.start();
    wait_for("the live file", || texts(node, "damaged").contains(&"line 2019".into()).then_some(()));
    let damaged = || program.metric("pilcrow_malformed_lines_total", &["reason=\"gzip_damaged\""]);
    assert!(settles(Duration::from_secs(5), || damaged() >= 1.0), "not counted\n{}", program.log());
    let warning = |line: &str| line.contains("WARN") && line.contains("20260102-000001.gz");
    assert!(program.log().lines().any(warning), "{}", program.log());
    let count = texts(node, "damaged").len();
    assert!(count >= at_least, "{count} lines");
}

#[test]
fn an_archive_with_a_wrong_checksum_is_sent_counted_and_reported() {
    let node = with_damaged_archive(|bytes| {
        let crc = bytes.len() - 8;
        bytes[crc] ^= 0xff;
    });
    assert_damage_is_told(&node, 2020);
}

#[test]
fn an_archive_with_a_wrong_length_is_sent_counted_and_reported() {
    let node = with_damaged_archive(|bytes| *bytes.last_mut().unwrap() ^= 0xff);
    assert_damage_is_told(&node, 2020);
}

#[test]
fn an_archive_that_ends_too_early_is_sent_as_far_as_it_goes_counted_and_reported() {
    let node = with_damaged_archive(|bytes| bytes.truncate(bytes.len() - 8));
    assert_damage_is_told(&node, 2000);
}

#[test]
fn an_archive_of_which_next_to_nothing_is_left_is_reported() {
    for left in [0, 9] {
        let node = with_damaged_archive(|bytes| bytes.truncate(left));
        let program = node.start();
        wait_for("the live file", || texts(&node, "damaged").contains(&"line 2019".into()).then_some(()));
        let unopened = || program.metric("pilcrow_skipped_files_total", &["reason=\"unopened\""]);
        assert!(settles(Duration::from_secs(5), || unopened() >= 1.0), "not counted\n{}", program.log());
        let warning = |line: &str| line.contains("WARN") && line.contains("20260102-000001.gz");
        assert!(program.log().lines().any(warning), "{}", program.log());
    }
}

#[test]
fn small_archives_that_are_damaged_are_sent_as_far_as_they_go_counted_and_reported() {
    let node = Node::new();
    type Damage = fn(&mut Vec<u8>);
    let cases: [(&str, Damage); 4] = [
        ("crc", |bytes| {
            let crc = bytes.len() - 8;
            bytes[crc..crc + 4].fill(0);
        }),
        ("cut", |bytes| bytes.truncate(bytes.len() - 8)),
        ("nuls", |bytes| bytes.extend([0; 256])),
        ("garbage", |bytes| bytes.extend(b"trailing garbage")),
    ];
    for (name, damage) in cases {
        let live = node.container(name, name).join("0.log");
        append(&live, lines(0..10));
        let rotated = rotate(&live, 1);
        compress(&rotated);
        let archive = format!("{}.gz", rotated.display());
        let mut bytes = fs::read(&archive).unwrap();
        damage(&mut bytes);
        fs::write(&archive, bytes).unwrap();
        let file = fs::File::options().write(true).open(&archive).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(60)).unwrap();
        append(&live, lines(10..12));
    }
    let program = node.start();
    for (name, _) in cases {
        assert_all(&node, name, 12, || program.log());
    }
    let damaged = || program.metric("pilcrow_malformed_lines_total", &["reason=\"gzip_damaged\""]);
    assert!(settles(Duration::from_secs(5), || damaged() == 4.0), "{}\n{}", damaged(), program.log());
    assert!(!program.log().contains("Some("), "{}", program.log());
}

#[test]
fn an_archive_that_is_damaged_in_the_middle_is_sent_up_to_there_and_what_is_behind_is_counted() {
    // Other damage gives other text, and is only found at the end.
    let is_found_at_once = |bytes: &[u8]| {
        let unpacked = flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut Vec::new());
        unpacked.is_err_and(|error| error.to_string() == "corrupt deflate stream")
    };
    let node = with_damaged_archive(|bytes| {
        let whole = bytes.clone();
        let places = (0..whole.len() / 4).flat_map(|at| [(at, 0_u8), (at, 0x55), (at, 0xff)]);
        for (at, with) in places {
            bytes.clone_from(&whole);
            let middle = whole.len() / 2 + at;
            bytes[middle..middle + 16].fill(with);
            if is_found_at_once(bytes) {
                return;
            }
        }
        panic!("no damage is found at once");
    });
    let program = node.start();
    wait_for("the live file", || texts(&node, "damaged").contains(&"line 2019".into()).then_some(()));
    let lost = || program.metric("pilcrow_abandoned_bytes_total", &[]);
    assert!(settles(Duration::from_secs(5), || lost() > 0.0), "not counted\n{}", program.log());
    let told =
        |line: &str| line.contains("20260102-000001.gz") && line.contains("damaged") && line.contains("lost_bytes");
    assert!(program.log().lines().any(told), "{}", program.log());
    // Bytes and not lines, as what comes out just before the damage may be altered.
    let sent: usize = texts(&node, "damaged").iter().map(|text| record(0, text).len()).sum();
    let written: usize = (0..2020).map(|n| record(0, &format!("line {n}")).len()).sum();
    let missing = written.abs_diff(sent + lost() as usize);
    assert!(missing < 4096, "of {written} bytes {sent} were sent and {} counted as lost", lost());
}
