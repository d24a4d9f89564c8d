//! The log writer against an independent reader, and both against what a real containerd wrote.

mod reassemble;

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};

use reassemble::{Line, contents, list, records};
use rig::{
    kubelet::{
        BacklogOptions, Clock, Container, ContainerOptions, Format, Live, LiveOptions, Node, Stream, WriteCall,
        clock::write_rfc3339_nano, generate_backlog, rotation,
    },
    ledger::Ledger,
    mark::{self, Shape},
    random::Random,
    tally::{Report, Tally},
};

const START_NS: i64 = 1_795_345_700_000_000_000;

/// Compares the files with the ledger: every line once, in order, with the timestamp of its first record.
fn check(pods: &Path, ledger: &Ledger) -> Report {
    let mut tally = Tally::default();
    for (number, (_, lines)) in reassemble::pods(pods).iter().enumerate() {
        for line in lines {
            let timestamp_ns = mark::read(&line.text).map_or(0, |mark| mark.timestamp_ns);
            let mut expected = Vec::new();
            write_rfc3339_nano(&mut expected, timestamp_ns, 0);
            assert_eq!(line.timestamp.as_bytes(), expected, "{}", String::from_utf8_lossy(&line.text));
            tally.record(2 * number as u32 + u32::from(line.stderr), timestamp_ns, &line.text, timestamp_ns);
        }
    }
    tally.compare(ledger)
}

fn options(format: Format, call: WriteCall) -> ContainerOptions {
    let clock = Clock::steps(START_NS, 1_234_567);
    ContainerOptions { format, call, clock, keep: 100, ..ContainerOptions::default() }
}

/// Some hundred lines of all kinds, with rotations and restarts in between.
fn exercise(container: &mut Container, seed: u64) {
    let mut random = Random::new(seed);
    let shapes = [Shape::Text, Shape::Json, Shape::Unicode];
    for _ in 0..400 {
        let stream = Stream::ALL[random.below(2)];
        let shape = shapes[random.below(3)];
        let len = if random.one_in(20) { random.below(50_000) } else { random.below(300) };
        if random.one_in(4) {
            container.begin_line(stream, shape, len, random.below(len + 1)).unwrap();
        } else {
            container.write_line(stream, shape, len).unwrap();
        }
        if random.one_in(15) {
            container.rotate().unwrap();
        }
        if random.one_in(80) {
            container.finish_lines().unwrap();
            container.restart().unwrap();
        }
    }
    container.finish_lines().unwrap();
}

#[test]
fn every_written_line_can_be_read_back_in_order() {
    for (seed, format, call) in [
        (1, Format::Cri, WriteCall::Write),
        (2, Format::Cri, WriteCall::Writev),
        (3, Format::DockerJson, WriteCall::Write),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut node = Node::new(folder.path(), seed).unwrap();
        let pod = node.pod("shop", "orders-api-7d9c6b5f4-x2x7q");
        for name in ["api", "sidecar"] {
            exercise(&mut node.start(&pod, name, options(format, call)).unwrap(), seed);
        }
        let report = check(&node.pods(), node.ledger());
        assert_eq!((report.written, report.faults.repeated), (800, 0));
        assert!(report.is_complete(), "{report}");
    }
}

#[test]
fn the_same_seed_writes_the_same_bytes() {
    let write = || {
        let folder = tempfile::tempdir().unwrap();
        let mut node = Node::new(folder.path(), 9).unwrap();
        let pod = node.pod("default", "web");
        let mut container = node.start(&pod, "nginx", options(Format::Cri, WriteCall::Write)).unwrap();
        exercise(&mut container, 9);
        let files = list(container.folder());
        files.iter().map(|path| (path.file_name().unwrap().to_owned(), contents(path))).collect::<Vec<_>>()
    };
    let (first, second) = (write(), write());
    assert!(first.len() > 10);
    assert!(first == second);
}

#[test]
fn a_rotation_splits_an_unfinished_line_into_a_partial_and_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::new(folder.path(), 1).unwrap();
    let pod = node.pod("shop", "bulk-writer-0");
    let mut container = node.start(&pod, "splitter", options(Format::Cri, WriteCall::Write)).unwrap();
    container.begin_line(Stream::Stdout, Shape::Text, 20_000, 18_000).unwrap();
    container.begin_line(Stream::Stderr, Shape::Text, 150, 150).unwrap();
    container.rotate().unwrap();
    container.finish_lines().unwrap();
    let files = list(container.folder());
    let shape = |path| -> Vec<_> { records(path).iter().map(|r| (r.stderr, r.partial, r.content.len())).collect() };
    assert_eq!(shape(&files[1]), [(false, true, 16_384), (false, true, 1616), (true, true, 150)]);
    assert_eq!(shape(&files[0]), [(false, false, 2000), (true, false, 0)]);
    assert!(check(&node.pods(), node.ledger()).is_complete());
}

#[test]
fn rotation_keeps_five_files_and_compresses_all_but_the_newest_of_the_rotated() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::new(folder.path(), 1).unwrap();
    let pod = node.pod("default", "web");
    let clock = Clock::steps(START_NS, 1000);
    let options = ContainerOptions { clock, ..ContainerOptions::default() };
    let mut container = node.start(&pod, "nginx", options).unwrap();
    for _ in 0..8 {
        container.write_line(Stream::Stdout, Shape::Text, 200).unwrap();
        container.rotate().unwrap();
    }
    let names: Vec<_> = list(container.folder()).iter().map(|p| p.file_name().unwrap().to_owned()).collect();
    assert_eq!(
        names,
        [
            "0.log",
            "0.log.20261122-110824.gz",
            "0.log.20261122-110825.gz",
            "0.log.20261122-110826.gz",
            "0.log.20261122-110827",
        ],
        "eight rotations within one second get eight names"
    );
    assert_eq!(fs::metadata(container.log()).unwrap().len(), 0);
}

#[test]
fn docker_keeps_numbered_files_behind_a_symbolic_link() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::new(folder.path(), 1).unwrap();
    let pod = node.pod("default", "web");
    let options = ContainerOptions { keep: 4, ..options(Format::DockerJson, WriteCall::Write) };
    let mut container = node.start(&pod, "nginx", options).unwrap();
    for _ in 0..6 {
        container.write_line(Stream::Stdout, Shape::Text, 200).unwrap();
        container.rotate().unwrap();
    }
    assert_eq!(fs::read_link(container.folder().join("0.log")).unwrap(), container.log());
    let id = container.log().parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()));
    let names: Vec<_> = list(container.log().parent().unwrap())
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().replace(&id, "ID"))
        .collect();
    assert_eq!(names, ["ID-json.log", "ID-json.log.1.gz", "ID-json.log.2.gz", "ID-json.log.3.gz"]);
    node.remove(&pod).unwrap();
    assert!(!container.log().parent().unwrap().exists() && list(&node.pods()).is_empty());
}

#[test]
fn an_exit_without_newline_leaves_a_partial_record_and_old_attempts_can_be_removed() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::new(folder.path(), 1).unwrap();
    let pod = node.pod("batch", "crashloop");
    let mut container = node.start(&pod, "flaky", options(Format::Cri, WriteCall::Write)).unwrap();
    container.write_raw(Stream::Stdout, b"whole\nno newline at exit").unwrap();
    container.restart().unwrap();
    container.restart().unwrap();
    let lines: Vec<_> = reassemble::pods(&node.pods()).remove(&format!("{}/flaky", pod.folder())).unwrap();
    let texts: Vec<_> = lines.iter().map(|line| (line.attempt, line.text.as_slice())).collect();
    assert_eq!(texts, [(0, b"whole".as_slice()), (0, b"no newline at exit")]);
    assert_eq!(container.files_of_attempt(1).unwrap(), [container.folder().join("1.log")]);
    for attempt in [0, 1] {
        container.remove_attempt(attempt).unwrap();
    }
    assert_eq!(list(container.folder()), [container.folder().join("2.log")]);
}

#[test]
fn names_can_run_backwards_as_when_daylight_saving_ends() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("0.log");
    for local_s in [7200, 3601] {
        fs::write(&log, "x").unwrap();
        rotation::rename_at(&log, local_s).unwrap();
    }
    let names: Vec<_> = list(folder.path()).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["0.log.19700101-010001", "0.log.19700101-020000"]);
    fs::write(&log, "x").unwrap();
    assert!(rotation::rename_at(&log, 3601).is_err(), "a taken name is not overwritten");
}

#[test]
fn a_backlog_has_the_size_and_the_records_that_were_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::new(folder.path(), 4).unwrap();
    let options = BacklogOptions { end_ns: START_NS, ..BacklogOptions::new(2_000_000, 3) };
    let bytes = generate_backlog(&mut node, &options).unwrap();
    assert!((2_000_000..2_002_000).contains(&bytes), "{bytes}");
    let report = check(&node.pods(), node.ledger());
    assert!(report.is_complete(), "{report}");
    let (mut partial, mut whole) = (0, 0);
    for container in list(&node.pods()).iter().flat_map(|pod| list(pod)) {
        let log = contents(&container.join("0.log"));
        assert!(log.split_inclusive(|b| *b == b'\n').all(|record| (195..=205).contains(&record.len())));
        for record in records(&container.join("0.log")) {
            *if record.partial { &mut partial } else { &mut whole } += 1;
        }
    }
    assert_eq!(whole as u64, node.ledger().lines());
    assert!((50..200).contains(&partial), "{partial} of {whole}");
}

#[test]
fn a_node_at_work_leaves_every_line_that_it_counted() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::new(folder.path(), 5).unwrap();
    let live = Live::start(
        node,
        LiveOptions {
            containers: 5,
            rotate_every: Duration::from_millis(150),
            restart_every: Duration::ZERO,
            replace_pod_every: Duration::ZERO,
            docker_one_in: 5,
            long_one_in: 100,
            halved_one_in: 5,
            keep: 10_000,
            ..LiveOptions::default()
        },
    )
    .unwrap();
    let ledger = std::sync::Arc::clone(live.ledger());
    let pods = live.pods().clone();
    wait_until(|| rotated(&pods) >= 5);
    wait_until(|| ledger.lines() > 500);
    live.stop().unwrap();
    let report = check(&pods, &ledger);
    assert!(report.acknowledged > 500);
    assert!(report.is_complete(), "{report}");
}

#[test]
fn a_node_at_work_restarts_containers_and_replaces_pods() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::new(folder.path(), 6).unwrap();
    let live = Live::start(
        node,
        LiveOptions {
            containers: 4,
            restart_every: Duration::from_millis(200),
            replace_pod_every: Duration::from_millis(700),
            ..LiveOptions::default()
        },
    )
    .unwrap();
    let pods = live.pods().clone();
    let first: Vec<_> = list(&pods);
    let logs =
        || list(&pods).iter().flat_map(|pod| list(pod)).flat_map(|container| list(&container)).collect::<Vec<_>>();
    wait_until(|| logs().iter().any(|path| path.ends_with("1.log")));
    wait_until(|| !first.iter().any(|pod| pod.exists()));
    assert_eq!(logs().iter().filter(|path| path.ends_with("9.log")).count(), 0);
    live.stop().unwrap();
}

fn wait_until(condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "not within a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn rotated(pods: &Path) -> usize {
    let names = fs::read_dir(pods).into_iter().flatten().flatten().flat_map(|pod| fs::read_dir(pod.path()));
    let logs = names.flatten().flatten().flat_map(|container| fs::read_dir(container.path())).flatten().flatten();
    logs.filter(|log| log.file_name().to_string_lossy().contains("log.2")).count()
}

#[test]
fn the_reader_of_these_tests_reads_recorded_logs_right() {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let containers = reassemble::pods(&recorded.join("pods"));
    let expected = fs::read_to_string(recorded.join("expected.tsv")).unwrap();
    let mut rows: BTreeMap<String, Vec<(usize, u64)>> = BTreeMap::new();
    for row in expected.lines() {
        let fields: Vec<_> = row.split('\t').collect();
        if fields[4] == "yes" {
            let key = format!("{} {} {}", fields[0], fields[1], fields[2]);
            let hash = u64::from_str_radix(fields[6], 16).unwrap();
            rows.entry(key).or_default().push((fields[5].parse().unwrap(), hash));
        }
    }
    let mut read: HashMap<String, Vec<(usize, u64)>> = HashMap::new();
    for (container, lines) in &containers {
        for line in lines {
            let stream = if line.stderr { "stderr" } else { "stdout" };
            let key = format!("{container} {} {stream}", line.attempt);
            read.entry(key).or_default().push((line.text.len(), fnv1a(&line.text)));
        }
    }
    assert!(rows.len() > 10);
    for (key, expected) in rows {
        // The oldest kept file may begin with the end of a line that is gone.
        let lines = &read[&key];
        assert!(lines.ends_with(&expected) && lines.len() <= expected.len() + 1, "{key}");
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn written_folders_have_the_shape_of_recorded_ones() {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/pods");
    check_shape(&recorded);
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::new(folder.path(), 7).unwrap();
    let pod = node.pod("shop", "orders-api-7d9c6b5f4-x2x7q");
    let mut container = node.start(&pod, "api", options(Format::Cri, WriteCall::Writev)).unwrap();
    exercise(&mut container, 7);
    check_shape(&node.pods());
    for log in list(container.folder()) {
        assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o640, "{}", log.display());
    }
}

/// What holds for the recorded folders and must hold for written ones.
fn check_shape(pods: &Path) {
    for pod in list(pods) {
        let folder = pod.file_name().unwrap().to_str().unwrap().to_owned();
        let uid = folder.rsplit('_').next().unwrap();
        assert_eq!((folder.split('_').count(), uid.len(), uid.matches('-').count()), (3, 36, 4), "{folder}");
        for container in list(&pod) {
            let mut uncompressed: HashMap<String, usize> = HashMap::new();
            for log in list(&container) {
                let name = log.file_name().unwrap().to_str().unwrap().to_owned();
                let digits: String = name.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
                let known = ["9.log", "9.log.99999999-999999", "9.log.99999999-999999.gz"];
                assert!(known.contains(&digits.as_str()), "{name}");
                if digits == known[1] {
                    *uncompressed.entry(name.split('.').next().unwrap().to_owned()).or_default() += 1;
                }
                check_records(&log);
            }
            assert!(uncompressed.values().all(|count| *count == 1), "{}", container.display());
        }
    }
}

/// Timestamps as Go prints them and in order within a stream; odd lengths of partial records only where a stream ends.
fn check_records(log: &Path) {
    let records = records(log);
    for stderr in [false, true] {
        let stream: Vec<_> = records.iter().filter(|record| record.stderr == stderr).collect();
        for (i, record) in stream.iter().enumerate() {
            let last = i + 1 == stream.len();
            assert!(record.content.len() <= 16_384);
            assert!(!record.partial || record.content.len() == 16_384 || last, "{}", log.display());
            let fraction = record.timestamp.get(19..).unwrap().strip_suffix('Z').unwrap();
            assert!(fraction.is_empty() || (fraction.starts_with('.') && !fraction.ends_with('0')), "{fraction}");
        }
        let moments = stream.iter().map(|record| {
            let (seconds, fraction) = record.timestamp.trim_end_matches('Z').split_at(19);
            (seconds.to_owned(), format!("{:0<10}", fraction))
        });
        assert!(moments.is_sorted(), "{}", log.display());
    }
}

#[test]
fn lines_of_a_reader_that_joins_wrongly_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::new(folder.path(), 8).unwrap();
    let pod = node.pod("default", "web");
    let mut container = node.start(&pod, "nginx", options(Format::Cri, WriteCall::Write)).unwrap();
    container.write_line(Stream::Stdout, Shape::Text, 40_000).unwrap();
    container.write_line(Stream::Stdout, Shape::Text, 200).unwrap();
    let mut tally = Tally::default();
    for record in records(container.log()) {
        let line = Line { attempt: 0, stderr: false, timestamp: record.timestamp, text: record.content };
        let timestamp_ns = mark::read(&line.text).map_or(0, |mark| mark.timestamp_ns);
        tally.record(0, timestamp_ns, &line.text, timestamp_ns);
    }
    let report = tally.compare(node.ledger());
    assert_eq!((report.missing, report.faults.damaged + report.faults.unmarked), (1, 3));
}
