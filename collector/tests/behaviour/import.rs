//! A node that comes from Promtail: what it had sent is not sent again, and nothing else is left out.

use std::{
    fs::{self, File},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use crate::program::{Node, append, record, texts, wait_for};

/// 2026-01-02T01:00:00Z: the positions were saved then.
const SAVED_AT: Duration = Duration::from_secs(1_767_315_600);

fn records(seconds: std::ops::Range<u64>) -> String {
    seconds.map(|second| record(second, &format!("line {second}"))).collect()
}

fn lines(seconds: std::ops::Range<u64>) -> Vec<String> {
    seconds.map(|second| format!("line {second}")).collect()
}

/// A positions file that lies beside the pods folder.
fn positions(node: &Node, entries: &str) -> PathBuf {
    let file = node.folder().join("positions.yaml");
    fs::write(&file, format!("positions:\n{entries}")).unwrap();
    File::options().write(true).open(&file).unwrap().set_modified(SystemTime::UNIX_EPOCH + SAVED_AT).unwrap();
    file
}

#[test]
fn after_an_import_exactly_the_lines_behind_the_positions_arrive() {
    let node = Node::new();
    let [quiet, rotated] = ["quiet", "rotated"].map(|name| node.container(name, name));
    // Read up to the sixth line, with an older file that was read to its end.
    append(&quiet.join("0.log.20260102-000500"), records(0..100));
    append(&quiet.join("0.log"), records(300..320));
    // Rotated after the positions were saved: the offset belongs to what is now the rotated file.
    append(&rotated.join("0.log.20260102-011000"), records(3000..3050));
    append(&rotated.join("0.log"), records(4200..4210));
    let entries = format!(
        "  {}: \"{}\"\n  {}: \"{}\"\n  cursor-systemd: s=1\n",
        quiet.join("0.log").display(),
        records(300..306).len(),
        rotated.join("0.log").display(),
        records(3000..3040).len()
    );
    let file = positions(&node, &entries);
    let (code, said) = node.run("import-positions", &[file.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("2 positions imported") && said.contains(", 1 skipped.\n"), "{said}");

    let program = node.start();
    wait_for("readiness", || program.get("/ready").filter(|(status, _)| *status == 200));
    append(&quiet.join("0.log"), records(320..322));
    append(&rotated.join("0.log"), records(4210..4212));
    let expected = [lines(306..322), [lines(3040..3050), lines(4200..4212)].concat()];
    let count = expected.concat().len() as u64;
    node.wait_until(&program, "the lines behind the positions", |counts| counts.entries >= count);
    assert!(program.terminate().success());
    assert_eq!([texts(&node, "quiet"), texts(&node, "rotated")], expected);
    assert_eq!(node.receiver.counts().entries, count, "nothing twice");
    node.assert_no_violations();
}

#[test]
fn nothing_is_imported_while_pilcrow_runs() {
    let node = Node::new();
    let program = node.start();
    wait_for("readiness", || program.get("/ready").filter(|(status, _)| *status == 200));
    let file = positions(&node, "  cursor-a: b\n");
    let (code, said) = node.run("import-positions", &[file.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("Pilcrow runs with the state folder") && said.contains("stop it first"), "{said}");
}
