//! Log folders that a real containerd and a real dockerd wrote.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use rig::receiver::Options;
use serde::Deserialize;

use crate::program::Node;

/// A row of expected.jsonl; tests/data/README.md says more.
#[derive(Deserialize)]
struct Expected {
    path_container: String,
    stream: String,
    line_b64: String,
    #[serde(default)]
    on_disk: String,
}

#[test]
fn what_a_real_containerd_wrote_arrives_whole_and_in_order() {
    // The longest recorded line has 300,000 bytes.
    let mut node = Node::with_receiver(Options { line_bytes_max: 1 << 20, ..Options::default() });
    node.extra_config = "lines: {max_bytes: 512KiB}".into();
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/containerd-1.7.24.tar.gz");
    let unpacked = tempfile::tempdir().unwrap();
    let tar = Command::new("tar").arg("-xpzf").arg(archive).arg("-C").arg(unpacked.path()).status().unwrap();
    assert!(tar.success());
    let recorded = unpacked.path().join("containerd-1.7.24");
    let copy = Command::new("cp").arg("-a").arg(recorded.join("pods/.")).arg(node.pods()).status().unwrap();
    assert!(copy.success());

    let mut expected: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for row in fs::read_to_string(recorded.join("expected.jsonl")).unwrap().lines() {
        let row: Expected = serde_json::from_str(row).unwrap();
        if row.on_disk == "yes" {
            let line = String::from_utf8_lossy(&decode_base64(&row.line_b64)).into_owned();
            expected.entry((row.path_container, row.stream)).or_default().push(line);
        }
    }
    let lines: usize = expected.values().map(Vec::len).sum();
    assert_eq!(lines, 2650, "as the archive's README says");

    let program = node.start();
    // One line has lost its beginning to rotation; what is left of it is a line, too.
    node.wait_until(&program, "all lines", |counts| counts.entries > lines as u64);
    node.assert_no_violations();
    let streams = node.receiver.streams();
    let arrived: BTreeMap<_, Vec<String>> = streams
        .values()
        .map(|stream| {
            let label = |name| stream.label(name).unwrap().to_owned();
            assert_eq!(label("job"), format!("{}/{}", label("namespace"), label("container")));
            assert_eq!(label("cluster"), "test");
            let texts = stream.lines().into_iter().map(|(_, text)| text.to_owned()).collect();
            (format!("{}_{}/{} {}", label("namespace"), label("pod"), label("container"), label("stream")), texts)
        })
        .collect();
    for ((path_container, stream), expected) in expected {
        let (folder, container) = path_container.split_once('/').unwrap();
        let (pod, _uid) = folder.rsplit_once('_').unwrap();
        let mut arrived = arrived[&format!("{pod}/{container} {stream}")].clone();
        if container == "orphan-tail" && arrived.len() == expected.len() + 1 {
            arrived.remove(0);
        }
        assert!(arrived == expected, "{path_container} {stream}: {} of {} lines", arrived.len(), expected.len());
    }
    assert!(program.terminate().success());
}

fn decode_base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("no base64: {other}"),
    };
    let mut bytes = Vec::new();
    for group in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = group.iter().fold(0u32, |bits, &byte| bits << 6 | u32::from(digit(byte))) << (6 * (4 - group.len()));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    bytes
}
