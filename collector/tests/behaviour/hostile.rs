//! Bad input is data: whatever a log folder holds is counted and said once, harms nothing else, and the rest of the node
//! flows.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

use crate::program::{Node, Program, append, record, texts, wait_for};

/// A container like any other, beside the hostile ones.
fn good_container(node: &Node) {
    append(&node.container("good", "good").join("0.log"), (0..50).map(|n| record(n, "well")).collect::<String>());
}

fn wait_for_texts(node: &Node, container: &str, count: usize) -> Vec<String> {
    wait_for_some(container, || Some(texts(node, container)).filter(|texts| texts.len() >= count))
}

/// As `wait_for`, less often: the receiver may hold much.
fn wait_for_some<T>(container: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    wait_for(&format!("the lines of {container}"), || {
        let answer = ask();
        if answer.is_none() {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        answer
    })
}

/// Waits until the texts of a container are so many bytes together.
fn wait_for_bytes(node: &Node, container: &str, bytes: usize) -> String {
    wait_for_some(container, || Some(texts(node, container).concat()).filter(|text| text.len() >= bytes))
}

fn assert_good_flows(node: &Node, program: &Program) {
    assert_eq!(wait_for_texts(node, "good", 50), vec!["well"; 50], "{}", program.log());
}

fn count(program: &Program, metric: &str, reason: &str, at_least: f64) -> f64 {
    let value = || program.metric(metric, &[&format!("reason=\"{reason}\"")]);
    wait_for(reason, || (value() >= at_least).then(value))
}

fn fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
}

#[test]
fn damaged_bytes_are_sent_as_they_are_or_repaired_and_counted_and_said_once() {
    let node = Node::new();
    good_container(&node);
    let live = |name: &str| node.container(name, name).join("0.log");
    // No timestamp before: two lines of equal text would be one to the receiver.
    let garbage: Vec<u8> = (0..20_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    append(&live("garbage"), [&garbage[..], b"\n"].concat());
    append(&live("nul"), "2026-01-02T00:00:00Z stdout F a\0b\0\n\0\0\n");
    append(&live("utf8"), b"2026-01-02T00:00:00Z stdout F caf\xe9 \xf0\x9f\n");
    let program = node.start();
    assert_good_flows(&node, &program);
    assert_eq!(wait_for_texts(&node, "nul", 1), ["a\0b\0"], "NULs alone are a hole, and no line");
    assert_eq!(wait_for_texts(&node, "utf8", 1), ["caf\u{fffd} \u{fffd}"]);
    let without_nuls = |record: &[u8]| record[record.iter().take_while(|byte| **byte == 0).count()..].to_vec();
    let records: Vec<_> = garbage.split(|byte| *byte == b'\n').map(without_nuls).collect();
    let is_line = |record: &&Vec<u8>, with_nuls: &[u8]| !record.is_empty() || with_nuls.is_empty();
    let lines =
        records.iter().zip(garbage.split(|byte| *byte == b'\n')).filter(|(record, raw)| is_line(record, raw)).count();
    let sent = wait_for_texts(&node, "garbage", lines).concat();
    assert_eq!(sent, String::from_utf8_lossy(&records.concat()));
    let records = lines;
    count(&program, "pilcrow_malformed_lines_total", "format", records as f64);
    count(&program, "pilcrow_malformed_lines_total", "invalid_utf8", 1.0);
    assert_eq!(program.log().matches("neither CRI nor docker's").count(), 1, "{}", program.log());
    node.assert_no_violations();
}

#[test]
fn a_line_of_ten_megabytes_is_split_and_the_others_are_not_held_up() {
    let node = Node::new();
    good_container(&node);
    let text: String = (0..10_000_000u32 / 10).map(|n| format!("{n:09} ")).collect();
    let [whole, pieces] = ["whole", "pieces"].map(|name| node.container(name, name).join("0.log"));
    append(&whole, record(0, &text));
    let piece = |bytes: &[u8]| format!("2026-01-02T00:00:00.5Z stdout P {}\n", std::str::from_utf8(bytes).unwrap());
    append(&pieces, text.as_bytes().chunks(16 << 10).map(piece).collect::<String>() + &record(0, "the end"));
    let program = node.start();
    assert_good_flows(&node, &program);
    assert!(wait_for_bytes(&node, "pieces", text.len() + 7) == text.clone() + "the end");
    assert!(wait_for_bytes(&node, "whole", text.len()) == text);
    count(&program, "pilcrow_malformed_lines_total", "oversize", 2.0);
    node.assert_no_violations();
}

#[test]
fn a_file_without_a_newline_waits_for_it_and_a_partial_line_that_never_ends_does_not_wait_for_ever() {
    let mut node = Node::new();
    node.extra_config = "lines: {max_bytes: 1KiB, partial_timeout: 200ms}".into();
    good_container(&node);
    let [unended, endless] = ["unended", "endless"].map(|name| node.container(name, name).join("0.log"));
    append(&unended, record(0, "no end").trim_end());
    append(&endless, "2026-01-02T00:00:00.5Z stdout P piece of a line \n".repeat(100));
    let program = node.start();
    assert_good_flows(&node, &program);
    assert_eq!(wait_for_bytes(&node, "endless", 1600), "piece of a line ".repeat(100));
    assert!(texts(&node, "unended").is_empty());
    append(&unended, "\n");
    assert_eq!(wait_for_texts(&node, "unended", 1), ["no end"]);
    node.assert_no_violations();
}

#[test]
fn a_million_empty_lines_are_a_million_lines() {
    const LINES: u64 = 1_000_000;
    let node = Node::new();
    append(&node.container("empty", "empty").join("0.log"), record(0, "first") + &"\n".repeat(LINES as usize));
    let program = node.start();
    node.wait_until(&program, "all of them", |counts| counts.entries > LINES);
    good_container(&node);
    assert_good_flows(&node, &program);
    assert_eq!(count(&program, "pilcrow_malformed_lines_total", "format", LINES as f64), LINES as f64);
    assert_eq!(program.log().matches("neither CRI nor docker's").count(), 1, "{}", program.log());
    node.assert_no_violations();
}

#[test]
fn timestamps_of_any_time_are_kept_and_malformed_ones_follow_that_of_the_line_before() {
    let node = Node::new();
    good_container(&node);
    let log = "1970-01-01T00:00:00Z stdout F first\n2199-12-31T23:59:59.999999999Z stdout F future\n\
               2026-13-45T99:00:00Z stdout F no date\n1969-12-31T23:59:59Z stdout F before\n";
    append(&node.container("times", "times").join("0.log"), log);
    let program = node.start();
    assert_good_flows(&node, &program);
    wait_for_texts(&node, "times", 4);
    let streams = node.receiver.streams();
    let times = streams.values().find(|stream| stream.label("container") == Some("times")).unwrap();
    let mut lines = times.lines();
    lines.sort();
    let future = 7_258_118_399_999_999_999;
    let malformed = "2026-13-45T99:00:00Z stdout F no date";
    assert_eq!(lines, [(-1_000_000_000, "before"), (0, "first"), (future, "future"), (future + 47, malformed)]);
    count(&program, "pilcrow_malformed_lines_total", "timestamp", 1.0);
}

#[test]
fn json_that_docker_would_not_write_is_read_as_go_reads_it_or_sent_as_it_is() {
    let node = Node::new();
    good_container(&node);
    let rest = r#""stream":"stdout","time":"2026-01-02T00:00:00Z"}"#;
    let log = [
        format!(r#"{{"log":"one\n","log":"the last of two\n",{rest}"#),
        format!(r#"{{"log":"lone \ud83d surrogate\n",{rest}"#),
        r#"{"level":"info"}"#.to_owned(),
        format!(r#"{{"log":"no end,{rest}"#),
    ];
    append(&node.container("json", "json").join("0.log"), log.join("\n") + "\n");
    let program = node.start();
    assert_good_flows(&node, &program);
    let expected = ["the last of two", "lone \u{fffd} surrogate", &log[2], &log[3]];
    assert_eq!(wait_for_texts(&node, "json", 4), expected);
    count(&program, "pilcrow_malformed_lines_total", "fields", 1.0);
    count(&program, "pilcrow_malformed_lines_total", "json", 1.0);
    node.assert_no_violations();
}

#[test]
fn loops_fifos_and_folders_in_the_place_of_logs_are_passed_over_and_said_once() {
    let node = Node::new();
    good_container(&node);
    let odd = node.container("odd", "odd");
    symlink(odd.join("0.log"), odd.join("0.log")).unwrap();
    fifo(&odd.join("1.log"));
    fs::create_dir(odd.join("2.log")).unwrap();
    symlink("/nowhere/log", odd.join("3.log")).unwrap();
    append(&odd.join("4.log"), record(0, "a log"));
    // In the place of a container's folder, and of a pod's.
    let pod = node.pods().join("default_odd_uid-of-odd");
    symlink(pod.join("loop"), pod.join("loop")).unwrap();
    fifo(&pod.join("fifo"));
    symlink(node.pods(), node.pods().join("default_loop_uid")).unwrap();
    fs::write(node.pods().join("default_file_uid"), "a file").unwrap();
    let program = node.start();
    assert_good_flows(&node, &program);
    assert_eq!(wait_for_texts(&node, "odd", 1), ["a log"]);
    // A change of the folder has it scanned again.
    append(&odd.join("5.log"), record(1, "another"));
    assert_eq!(wait_for_texts(&node, "odd", 2), ["a log", "another"]);
    assert_eq!(count(&program, "pilcrow_skipped_files_total", "not_a_file", 2.0), 2.0);
    assert_eq!(count(&program, "pilcrow_skipped_files_total", "broken_link", 2.0), 2.0);
    let log = program.log();
    for name in ["0.log", "1.log", "2.log", "3.log"] {
        let said = log.lines().filter(|line| line.contains("passing over") && line.contains(&format!("/odd/{name}")));
        assert_eq!(said.count(), 1, "{name}\n{log}");
    }
    assert!(program.terminate().success());
}

#[test]
fn a_log_without_permission_is_counted_said_once_and_read_when_it_is_permitted() {
    // Also root is bound to permissions then.
    const BOUND: [&str; 3] = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"];
    if !Command::new(BOUND[0]).args(&BOUND[1..]).arg("true").status().is_ok_and(|status| status.success()) {
        return println!("SKIPPED: cannot drop capabilities by setpriv");
    }
    let mut node = Node::new();
    node.before = format!("exec {} \"$0\" \"$@\"", BOUND.join(" "));
    good_container(&node);
    let folder = node.container("secret", "secret");
    let live = folder.join("0.log");
    append(&live, record(0, "secret"));
    fs::set_permissions(&live, fs::Permissions::from_mode(0o000)).unwrap();
    let program = node.start();
    assert_good_flows(&node, &program);
    assert_eq!(count(&program, "pilcrow_skipped_files_total", "unopened", 1.0), 1.0);
    append(&folder.join("1.log"), record(1, "open"));
    assert_eq!(wait_for_texts(&node, "secret", 1), ["open"]);
    let log = program.log();
    assert_eq!(log.matches("cannot open a log file").count(), 1, "{log}");
    assert!(log.contains("secret/0.log") && log.contains("Permission denied"), "{log}");
    fs::set_permissions(&live, fs::Permissions::from_mode(0o600)).unwrap();
    append(&folder.join("2.log"), record(2, "later"));
    let mut all = wait_for_texts(&node, "secret", 3);
    all.sort();
    assert_eq!(all, ["later", "open", "secret"]);
    assert_eq!(count(&program, "pilcrow_skipped_files_total", "unopened", 1.0), 1.0);
}

#[test]
fn odd_names_are_labels_like_others_or_passed_over() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let node = Node::new();
    good_container(&node);
    let name = "we\"i\\rd {n=\u{e4}m\u{1f600}} \n";
    append(&node.container("names", name).join("0.log"), record(0, "here"));
    let pod = node.pods().join("default_names_uid-of-names");
    let not_utf8 = pod.join(OsStr::from_bytes(b"\xff\xfe"));
    fs::create_dir(&not_utf8).unwrap();
    append(&not_utf8.join("0.log"), record(0, "nobody's"));
    for folder in ["lost+found", "a_b", "a_b_c_d", "__", "\u{1f600}"] {
        let folder = node.pods().join(folder).join("container");
        fs::create_dir_all(&folder).unwrap();
        append(&folder.join("0.log"), record(0, "nobody's"));
    }
    append(&node.container("names", "files").join("0.log\n"), record(0, "nobody's"));
    let program = node.start();
    assert_good_flows(&node, &program);
    assert_eq!(wait_for_texts(&node, name, 1), ["here"]);
    count(&program, "pilcrow_skipped_files_total", "unknown_name", 1.0);
    assert!(program.terminate().success());
    assert_eq!(node.receiver.counts().entries, 51);
    node.assert_no_violations();
}

#[test]
fn logs_on_a_file_system_that_is_mounted_into_the_pods_folder_are_read() {
    let node = Node::new();
    good_container(&node);
    let folder = node.container("mounted", "mounted");
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(&folder).output();
    match mount {
        Ok(output) if output.status.success() => {}
        _ => return println!("SKIPPED: cannot mount a tmpfs"),
    }
    let _unmounting = Unmounting(&folder);
    append(&folder.join("0.log"), record(0, "from another file system"));
    let program = node.start();
    assert_good_flows(&node, &program);
    append(&folder.join("0.log"), record(1, "and more"));
    assert_eq!(wait_for_texts(&node, "mounted", 2), ["from another file system", "and more"]);
}

struct Unmounting<'a>(&'a Path);

impl Drop for Unmounting<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}
