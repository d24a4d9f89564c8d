//! A node at work with everything at once: rotations, compression, restarts, pods that come and go, both formats, lines
//! split by rotations, while Pilcrow is killed and Loki is away. By every signal and every reader.

use std::{thread, time::Duration};

use rig::{
    kubelet::{self, Live, LiveOptions},
    receiver::{FaultScript, Keep, Options, Verdict},
};

use crate::program::{Node, Program, wait_for};

/// Starts the program and waits until it follows the files: on a loaded machine a pod may otherwise come and go unseen.
fn start(node: &Node) -> Program {
    let program = node.start();
    wait_for("readiness", || program.get("/ready").filter(|(status, _)| *status == 200));
    program
}

fn storm(signal: &str, reader: &str, seed: u64) {
    let faults = (0..).map(|n: u32| match n % 40 {
        7 => Verdict::status(503),
        19 => Verdict::CloseMidBody,
        31 => Verdict::AcceptWithoutAnswer,
        _ => Verdict::Accept,
    });
    let mut node = Node::with_receiver(Options {
        keep: Keep::Counts,
        faults: FaultScript::list(faults.take(10_000).collect::<Vec<_>>()),
        answer_after: Duration::from_millis(3),
        ..Options::default()
    });
    node.extra_config = format!("signal: {signal}\nreader: {reader}");
    let kubelet = kubelet::Node::new(node.folder(), seed).unwrap();
    assert_eq!(kubelet.pods(), node.pods());
    let live = Live::start(
        kubelet,
        LiveOptions {
            containers: 8,
            lines_per_second: 4000,
            rotate_every: Duration::from_millis(700),
            restart_every: Duration::from_secs(3),
            replace_pod_every: Duration::from_secs(2),
            docker_one_in: 4,
            long_one_in: 300,
            // The writer goes on while Pilcrow is away: nothing may be removed by rotation that it has not seen.
            keep: 100,
            seed,
            ..LiveOptions::default()
        },
    )
    .unwrap();
    let ledger = std::sync::Arc::clone(live.ledger());
    let mut program = start(&node);
    thread::sleep(Duration::from_secs(2));
    program.kill();
    program = start(&node);
    thread::sleep(Duration::from_secs(1));
    node.receiver.set_down(true);
    thread::sleep(Duration::from_secs(1));
    node.receiver.set_down(false);
    thread::sleep(Duration::from_secs(1));
    live.stop().unwrap();

    // A pod that went while Pilcrow was killed took its last lines with it: these alone may be missing.
    // Loading the probe takes seconds on a loaded machine, in which several pods go.
    node.wait_until(&program, "most lines", |counts| counts.marked_lines * 2 >= ledger.lines());
    let mut last = 0;
    wait_for("no more lines", || {
        thread::sleep(Duration::from_millis(700));
        let lines = node.receiver.counts().marked_lines;
        (std::mem::replace(&mut last, lines) == lines).then_some(())
    });
    let report = node.receiver.report(&ledger);
    let faults = &report.faults;
    assert_eq!(
        (report.unknown, faults.damaged, faults.unmarked, faults.wrong_timestamps, faults.moved, faults.out_of_order),
        (0, 0, 0, 0, 0, 0),
        "{report}\n{}",
        program.log()
    );
    assert_eq!(report.missing, 0, "{report}\n{}", program.log());
    node.assert_no_violations();
    assert!(program.terminate().success());
}

#[test]
fn a_storm_by_ebpf_and_io_uring_loses_nothing() {
    storm("auto", "auto", 1);
}

#[test]
fn a_storm_by_inotify_and_pread_loses_nothing() {
    storm("inotify", "pread", 2);
}

#[test]
fn a_storm_by_poll_and_pread_loses_nothing() {
    storm("poll", "pread", 3);
}
