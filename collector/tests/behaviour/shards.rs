//! Several shards of the reader side: what holds with one holds with more, and their number may change between runs.

use std::{fs, path::PathBuf};

use collector::tail::shard_of;

use crate::{
    kubernetes,
    pods_api::PodsApi,
    program::{Node, Program, append, compress, record, texts, wait_for},
};

const PODS: u64 = 8;

fn with_shards(shards: usize) -> String {
    format!("reader: {{shards: {shards}}}")
}

/// Log files of [`PODS`] pods; their containers have the pods' names. With 2 shards both have some of them.
fn logs(node: &Node) -> Vec<PathBuf> {
    let names: Vec<_> = (0..PODS).map(|pod| format!("pod-{pod}")).collect();
    let second: usize = names.iter().map(|name| shard_of(&format!("default_{name}_uid-of-{name}"), 2)).sum();
    assert!((2..=6).contains(&second), "{second}");
    names.iter().map(|name| node.container(name, name).join("0.log")).collect()
}

/// The name of a pod that is this shard's of 2.
fn pod_of(shard: usize) -> String {
    let mut names = (0..).map(|number| format!("web-{number}"));
    names.find(|name| shard_of(&format!("default_{name}_uid-of-{name}"), 2) == shard).unwrap()
}

fn lines(numbers: std::ops::Range<u64>) -> String {
    numbers.map(|n| record(n, &format!("line {n}"))).collect()
}

fn expected(count: u64) -> Vec<String> {
    (0..count).map(|n| format!("line {n}")).collect()
}

/// Waits until all bytes of these files are saved as acknowledged.
fn wait_for_saved(node: &Node, logs: &[PathBuf]) {
    wait_for("saved positions", || {
        let saved = fs::read_to_string(node.state().join("checkpoint")).ok()?;
        let count = |log: &PathBuf| {
            let container = log.parent().unwrap().file_name().unwrap().to_str().unwrap();
            let of_container = saved.split("{\"name\":").find(|part| part.contains(&format!("/{container}\"")))?;
            let offset = format!("\"offset\":{},", fs::metadata(log).unwrap().len());
            of_container.contains(&offset).then_some(())
        };
        logs.iter().all(|log| count(log).is_some()).then_some(())
    });
}

fn wait_for_ready(program: &Program) {
    wait_for("readiness", || program.get("/ready").filter(|(status, _)| *status == 200));
}

#[test]
fn kills_and_rotations_with_two_shards_and_other_numbers_of_them_lose_no_line_and_keep_each_stream_in_order() {
    const LINES: u64 = 400;
    let mut node = Node::new();
    let logs = logs(&node);
    let rounds = [2, 2, 1, 2, 3, 2];
    for (round, shards) in (0..).zip(rounds) {
        node.extra_config = with_shards(shards);
        let program = node.start();
        for (index, log) in (0..).zip(&logs) {
            append(log, lines(round * LINES..round * LINES + LINES / 2));
            if (index + round) % 2 == 0 {
                let rotated = log.with_file_name(format!("0.log.20260102-00000{round}"));
                fs::rename(log, &rotated).unwrap();
                append(log, lines(round * LINES + LINES / 2..(round + 1) * LINES));
                if index % 3 == 0 {
                    compress(&rotated);
                }
            } else {
                append(log, lines(round * LINES + LINES / 2..(round + 1) * LINES));
            }
        }
        // At another place of the way in each round.
        let reached = PODS * LINES * round * 19 / 20 + round * 100;
        node.wait_until(&program, "some lines", |counts| counts.entries >= reached);
        program.kill();
    }
    node.extra_config = with_shards(2);
    let program = node.start();
    let all = LINES * rounds.len() as u64;
    node.wait_until(&program, "all lines", |counts| counts.entries >= PODS * all);
    for pod in 0..PODS {
        let container = format!("pod-{pod}");
        wait_for("every line", || (texts(&node, &container).len() as u64 >= all).then_some(()));
        assert!(texts(&node, &container) == expected(all), "{container}: every line, in order\n{}", program.log());
    }
    node.assert_no_violations();
}

#[test]
fn another_number_of_shards_after_a_restart_repeats_nothing_and_a_stop_sends_what_all_of_them_read() {
    let mut node = Node::new();
    let logs = logs(&node);
    // A file that is made just before a stop is left to the next start.
    for log in &logs {
        append(log, "");
    }
    let mut written = 0;
    for shards in [1, 2, 4, 3, 1] {
        node.extra_config = with_shards(shards);
        let program = node.start();
        wait_for_ready(&program);
        for log in &logs {
            append(log, lines(written..written + 50));
        }
        written += 50;
        // Some of it is on its way, some not yet read.
        assert!(program.terminate().success());
        assert_eq!(node.receiver.counts().entries, PODS * written, "with {shards} shards");
    }
    for pod in 0..PODS {
        assert_eq!(texts(&node, &format!("pod-{pod}")), expected(written));
    }
    node.assert_no_violations();
}

#[test]
fn a_shard_that_had_nothing_to_save_loses_no_position_to_the_one_that_saved() {
    let mut node = Node::new();
    // Without its position the quiet pod's log would be begun at its end.
    node.extra_config = format!("{}\nstart_at: end", with_shards(2));
    let [busy, quiet] = [0, 1].map(pod_of).map(|pod| node.container(&pod, &pod).join("0.log"));
    for log in [&busy, &quiet] {
        append(log, "");
    }
    let program = node.start();
    wait_for_ready(&program);
    for log in [&busy, &quiet] {
        append(log, lines(0..10));
    }
    node.wait_until(&program, "the first lines", |counts| counts.entries == 20);
    wait_for_saved(&node, &[busy.clone(), quiet.clone()]);
    program.kill();
    let program = node.start();
    append(&busy, lines(10..20));
    node.wait_until(&program, "lines of one pod", |counts| counts.entries == 30);
    wait_for_saved(&node, std::slice::from_ref(&busy));
    program.kill();
    append(&quiet, lines(10..20));
    let program = node.start();
    node.wait_until(&program, "lines of the other pod", |counts| counts.entries >= 40);
    assert!(program.terminate().success());
    assert_eq!(node.receiver.counts().entries, 40, "nothing twice");
    assert_eq!([0, 1].map(|shard| texts(&node, &pod_of(shard))), [expected(20), expected(20)]);
}

#[test]
fn metrics_are_sums_over_the_shards_and_nothing_is_said_twice() {
    let mut node = Node::new();
    node.extra_config = format!("{}\ndebug: {{drop_signals: 0.1}}", with_shards(2));
    let logs = logs(&node);
    for log in &logs {
        append(log, lines(0..10));
    }
    let program = node.start();
    wait_for_ready(&program);
    let pods = PODS as f64;
    for metric in ["pilcrow_containers", "pilcrow_open_files"] {
        wait_for(metric, || (program.metric(metric, &[]) == pods).then_some(()));
    }
    wait_for("the lags", || {
        let (_, text) = program.get("/metrics")?;
        (text.matches("\npilcrow_lag_bytes{").count() == PODS as usize).then_some(())
    });
    for log in &logs[..3] {
        fs::remove_dir_all(log.parent().unwrap()).unwrap();
    }
    wait_for("fewer open files", || (program.metric("pilcrow_open_files", &[]) == pods - 3.0).then_some(()));
    let log = program.log();
    for said in ["growth of log files", "growth is noticed", "reading by", "signs of growth are thrown away"] {
        assert!(log.matches(said).count() <= 1, "{said}: {log}");
    }
    assert!(program.terminate().success());
}

#[test]
fn each_shards_signal_notices_its_own_files() {
    for signal in ["auto", "inotify", "poll"] {
        let mut node = Node::new();
        node.extra_config = format!("{}\nsignal: {signal}", with_shards(2));
        let logs = [0, 1].map(pod_of).map(|pod| node.container(&pod, &pod).join("0.log"));
        for log in &logs {
            append(log, lines(0..1));
        }
        let program = node.start();
        node.wait_until(&program, "the first lines", |counts| counts.entries == 2);
        for (entries, log) in (3..).zip(&logs) {
            let before = program.metric("pilcrow_signals_total", &[]);
            append(log, lines(1..2));
            node.wait_until(&program, "another line", |counts| counts.entries == entries);
            wait_for("its signal", || (program.metric("pilcrow_signals_total", &[]) > before).then_some(()));
        }
        node.assert_no_violations();
    }
}

#[test]
fn hold_bytes_bounds_what_all_shards_hold_together_and_not_each_by_itself() {
    const LINES: u64 = 40_000;
    let line = |n: u64| record(n % 86_400, &format!("line {n} {}", "x".repeat(250)));
    let mut node = Node::new();
    // One of the two files fits, which is more than half of it, and both do not.
    node.extra_config = format!("{}\nhold: {{bytes: 15MiB}}", with_shards(2));
    let logs = [0, 1].map(pod_of).map(|pod| node.container(&pod, &pod).join("0.log"));
    for log in &logs {
        append(log, line(0));
    }
    let program = node.start();
    node.wait_until(&program, "the first lines", |counts| counts.entries == 2);
    node.receiver.set_down(true);
    let text: String = (1..=LINES).map(line).collect();
    for (shard, log) in logs.iter().enumerate() {
        append(log, &text);
        let read = (shard + 1) as f64 * 1e6;
        // Until its batches are full: what is not read of it then is not read while Loki is away.
        wait_for("full batches", || (program.metric("pilcrow_read_bytes_total", &[]) > read).then_some(()));
    }
    let bytes = fs::metadata(&logs[0]).unwrap().len() as f64;
    assert!(bytes > 7.5 * f64::from(1 << 20) && bytes < 15.0 * f64::from(1 << 20));
    fs::remove_file(&logs[0]).unwrap();
    wait_for("the held file", || (program.metric("pilcrow_held_bytes", &[]) == bytes).then_some(()));
    assert_eq!(program.metric("pilcrow_abandoned_files_total", &[]), 0.0, "{}", program.log());
    fs::remove_file(&logs[1]).unwrap();
    wait_for("the giving up", || (program.metric("pilcrow_abandoned_files_total", &[]) == 1.0).then_some(()));
    wait_for("one held file", || (program.metric("pilcrow_held_files", &[]) == 1.0).then_some(()));
    assert_eq!(program.metric("pilcrow_held_bytes", &[]), bytes);
    node.receiver.set_down(false);
    wait_for("nothing held", || (program.metric("pilcrow_held_bytes", &[]) == 0.0).then_some(()));
    assert_eq!(program.metric("pilcrow_abandoned_files_total", &[]), 1.0);
    node.assert_no_violations();
}

#[test]
fn news_of_pods_reach_every_shard() {
    let api = PodsApi::start();
    let pods = [0, 1].map(pod_of);
    // So long that only the API's word can end the wait.
    let mut node = kubernetes::node(&api, "10m");
    node.extra_config = with_shards(2);
    for pod in &pods {
        append(&node.container(pod, pod).join("0.log"), record(0, "first"));
    }
    let program = node.start();
    wait_for_ready(&program);
    for pod in &pods {
        api.put_app(pod, "nginx");
    }
    node.wait_until(&program, "the lines", |counts| counts.entries == 2);
    let streams = node.receiver.streams();
    assert!(streams.values().all(|stream| stream.label("app") == Some("nginx")), "{:?}", streams.keys());
    assert_eq!(program.metric("pilcrow_kubernetes_pods", &[]), 2.0);
}
