//! `pipeline_stages` through the whole program: what stages make of lines, and that positions follow.

use std::fs;

use rig::receiver::{Arrival, FaultScript, Verdict};

use crate::program::{Node, append, record, settles, texts, wait_for};

fn node(stages: &str) -> Node {
    let mut node = Node::new();
    node.extra_config = format!("pipeline_stages:\n{stages}");
    node
}

#[test]
fn dropped_lines_are_done_and_counted_by_reason() {
    let node = node("- drop: {expression: '^debug', drop_counter_reason: too_much}\n");
    let live = node.container("web", "web").join("0.log");
    append(&live, [record(1, "one"), record(2, "debug a"), record(3, "two"), record(4, "debug b")].concat());
    let program = node.start();
    node.wait_until(&program, "the other lines", |counts| counts.entries == 2);
    assert_eq!(texts(&node, "web"), ["one", "two"]);
    let len = fs::metadata(&live).unwrap().len();
    wait_for("the position behind the last dropped line", || {
        let saved = fs::read_to_string(node.state().join("checkpoint")).ok()?;
        saved.contains(&format!("\"offset\":{len}")).then_some(())
    });
    assert_eq!(program.metric("pilcrow_dropped_lines_total", &["reason=\"too_much\""]), 2.0);
    node.assert_no_violations();
}

#[test]
fn labels_metadata_time_and_matches_arrive_as_stages_made_them() {
    let node = node(
        "- json: {expressions: {level: , trace: , ts: , msg: }}\n\
         - labels: {level: }\n- structured_metadata: {trace: }\n\
         - timestamp: {source: ts, format: RFC3339, action_on_failure: skip}\n- output: {source: msg}\n\
         - match: {selector: '{level=\"error\"} |= \"disk\"', stages: [{static_labels: {alert: 'yes'}}]}\n\
         - metrics: {errors_total: {type: Counter, source: level, config: {action: inc, value: error}}}\n",
    );
    let live = node.container("web", "web").join("0.log");
    let json = |level: &str, msg: &str| {
        format!(r#"{{"level":"{level}","trace":"t1","ts":"2026-01-02T00:00:09Z","msg":"{msg}"}}"#)
    };
    append(
        &live,
        [record(1, &json("info", "fine")), record(2, &json("error", "disk full")), record(3, "plain")].concat(),
    );
    let program = node.start();
    node.wait_until(&program, "the lines", |counts| counts.entries == 3);
    let mut seen: Vec<String> = Vec::new();
    for stream in node.receiver.streams().values() {
        for entry in &stream.entries {
            let of = |name| stream.label(name).unwrap_or("-");
            let second = entry.timestamp_ns / 1_000_000_000 % 60;
            seen.push(format!("{} {} {} {second} {:?}", of("level"), of("alert"), entry.line, entry.metadata));
        }
    }
    seen.sort();
    let trace = r#"[("trace", "t1")]"#;
    assert_eq!(
        seen,
        ["- - plain 3 []".to_owned(), format!("error yes disk full 9 {trace}"), format!("info - fine 9 {trace}")]
    );
    assert_eq!(program.metric("promtail_custom_errors_total", &["level=\"error\""]), 1.0);
    node.assert_no_violations();
}

#[test]
fn a_multi_line_block_is_whole_after_a_rotation_and_a_kill() {
    let node = node("- multiline: {firstline: '^\\d', max_wait_time: 1h}\n");
    let folder = node.container("web", "web");
    let live = folder.join("0.log");
    append(&live, [record(1, "1 first"), record(2, " a"), record(3, "2 second"), record(4, " b")].concat());
    let program = node.start();
    node.wait_until(&program, "the first block", |counts| counts.entries == 1);
    fs::rename(&live, folder.join("0.log.20260102-000005")).unwrap();
    append(&live, record(6, " c"));
    wait_for("the line behind the rotation to be read", || {
        (program.metric("pilcrow_parsed_lines_total", &[]) == 5.0).then_some(())
    });
    program.kill();
    append(&live, [record(7, " d"), record(8, "3 third")].concat());
    let program = node.start();
    wait_for("the second block", || (texts(&node, "web").len() >= 2).then_some(()));
    assert_eq!(texts(&node, "web"), ["1 first\n a", "2 second\n b\n c\n d"], "{}", program.log());
    node.assert_no_violations();
}

#[test]
fn the_last_block_of_a_container_that_fell_silent_is_given_out() {
    let node = node("- multiline: {firstline: '^\\d', max_wait_time: 2s}\n");
    let live = node.container("web", "web").join("0.log");
    append(&live, [record(1, "1 first"), record(2, " a")].concat());
    let program = node.start();
    node.wait_until(&program, "the block", |counts| counts.entries >= 1);
    assert_eq!(texts(&node, "web"), ["1 first\n a"]);
}

#[test]
fn a_container_at_its_limit_waits_alone_and_its_lines_stay_on_the_disk() {
    let node = node("- match: {selector: '{container=\"loud\"}', stages: [{limit: {rate: 0.001, burst: 5}}]}\n");
    let (loud, quiet) = (node.container("web", "loud").join("0.log"), node.container("web", "quiet").join("0.log"));
    let lines = |name: &str| (0..50).map(|n| record(n, &format!("{name} {n}"))).collect::<String>();
    append(&loud, lines("loud"));
    let program = node.start();
    // The last of them took its token in advance.
    node.wait_until(&program, "the burst", |counts| counts.entries == 6);
    append(&quiet, lines("quiet"));
    node.wait_until(&program, "the other container", |counts| counts.entries == 56);
    assert_eq!(texts(&node, "loud").len(), 6);
    assert!(!settles(std::time::Duration::from_millis(600), || texts(&node, "loud").len() > 6));
    assert!(program.terminate().success());
    let program = node.start();
    wait_for("the rest's first part", || (texts(&node, "loud").len() == 12).then_some(()));
    assert_eq!(texts(&node, "loud")[11], "loud 11", "{}", program.log());
    node.assert_no_violations();
}

/// The refused one has more than `memory.queue` holds, and quiet containers beside it.
#[test]
fn of_three_tenants_the_refused_one_does_not_delay_the_others() {
    for status in [401, 429, 503] {
        let node = node("- tenant: {label: container}\n");
        let names = ["refused-loud", "refused-quiet", "second", "third"];
        let logs = names.map(|name| node.container(name, name).join("0.log"));
        let lines =
            |name: &str, count| (0..count).map(|n| record(n, &format!("{name} {n} {:>500}", "x"))).collect::<String>();
        let refuses = |arrival: &Arrival| arrival.tenant.starts_with("refused");
        node.receiver.set_faults(FaultScript::each(move |arrival| match refuses(arrival) {
            true => Verdict::status(status),
            false => Verdict::Accept,
        }));
        append(&logs[0], lines(names[0], 20_000));
        let program = node.start();
        for round in 0..10 {
            names.iter().zip(&logs).skip(1).for_each(|(name, log)| append(log, lines(&format!("{name} {round}"), 20)));
            node.wait_until(&program, "the other tenants", |counts| counts.entries == (round + 1) * 40);
        }
        node.receiver.set_faults(FaultScript::default());
        node.wait_until(&program, "all lines", |counts| counts.entries >= 20_000 + 30 * 20);
        // The line that was tried alone comes again with those behind it.
        let mut texts = texts(&node, names[0]);
        texts.dedup();
        let number = |text: &String| text.split_whitespace().nth_back(1).unwrap().parse::<u32>().unwrap();
        assert!(texts.len() == 20_000 && texts.is_sorted_by_key(number), "{} lines", texts.len());
        node.assert_no_violations();
    }
}

#[test]
fn labels_with_too_many_values_become_structured_metadata() {
    let node = node("- regex: {expression: 'id=(?P<id>\\d+)'}\n- labels: {id: }\n");
    let live = node.container("web", "web").join("0.log");
    append(&live, (0..300).map(|n| record(n, &format!("id={n}"))).collect::<String>());
    let program = node.start();
    node.wait_until(&program, "the lines", |counts| counts.entries == 300);
    let streams = node.receiver.streams();
    assert_eq!(streams.len(), 200);
    let moved = streams.values().flat_map(|stream| &stream.entries).filter(|entry| !entry.metadata.is_empty());
    assert_eq!(moved.count(), 101);
    assert_eq!(program.metric("pilcrow_moved_label_lines_total", &[]), 101.0);
    node.assert_no_violations();
}

#[test]
fn what_is_wrong_with_a_stage_is_reported_with_its_place() {
    let node = node("- match:\n    selector: '{a=\"b\"}'\n    stages:\n    - tenant: {value: 'a b'}\n- geoip: {}\n");
    let (code, text) = node.run("check", &[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("pipeline_stages[0].match.stages[0].tenant.value: a tenant's name is"), "{text}");
    assert!(text.contains("pipeline_stages[1].geoip"), "{text}");
}

#[test]
fn levels_and_service_names_arrive_where_they_are_on() {
    let mut node = Node::new();
    node.extra_config = "levels: true\nservice_name: true\n".into();
    let (web, db) = (node.container("web", "web").join("0.log"), node.container("db", "db").join("0.log"));
    let on_stderr = |second, text| record(second, text).replace(" stdout ", " stderr ");
    append(
        &web,
        [
            record(1, r#"{"level":"warn","msg":"slow"}"#),
            record(2, "E0102 15:04:05.678901       1 leader.go:330] no lease"),
            record(3, "plain"),
            on_stderr(4, "plain on stderr"),
            record(5, r#"{"level":20}"#),
        ]
        .concat(),
    );
    append(&db, record(1, "no error found"));
    let program = node.start();
    node.wait_until(&program, "the lines", |counts| counts.entries == 6);
    let mut seen: Vec<String> = Vec::new();
    for stream in node.receiver.streams().values() {
        let service = stream.label("service_name").unwrap_or("-");
        let entries = stream.entries.iter();
        seen.extend(entries.map(|entry| format!("{service} {:?} {:.8}", entry.metadata, entry.line)));
    }
    seen.sort();
    let of = |service: &str, level: &str, text: &str| format!("{service} [(\"detected_level\", \"{level}\")] {text}");
    assert_eq!(
        seen,
        [
            of("db", "error", "no error"),
            of("web", "debug", "{\"level\""),
            of("web", "error", "E0102 15"),
            of("web", "error", "plain on"),
            of("web", "unknown", "plain"),
            of("web", "warn", "{\"level\""),
        ]
    );
    node.assert_no_violations();
}

#[test]
fn the_level_is_found_behind_the_stages() {
    let mut node = node("- regex: {expression: 'lvl:(?P<level>\\w+)'}\n- labels: {level: }\n");
    node.extra_config += "levels: true\n";
    append(&node.container("web", "web").join("0.log"), [record(1, "lvl:WRN error"), record(2, "error")].concat());
    let program = node.start();
    node.wait_until(&program, "the lines", |counts| counts.entries == 2);
    let streams = node.receiver.streams();
    let levels = |label| {
        let stream = streams.values().find(|stream| stream.label("level") == label).unwrap();
        stream.entries[0].metadata.clone()
    };
    let expected = |level: &str| vec![("detected_level".to_owned(), level.to_owned())];
    assert_eq!((levels(Some("WRN")), levels(None)), (expected("warn"), expected("error")));
    node.assert_no_violations();
}
