//! `pilcrow test` and `pilcrow try`: what they print, and their exit codes.

use std::{
    fs,
    io::Write,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

const STAGES: &str = "pipeline_stages:
  - json: {expressions: {level: , trace: trace_id}}
  - drop: {source: level, value: debug, drop_counter_reason: noise}
  - labels: {level: }
  - structured_metadata: {trace: }
";

/// A folder with a configuration, and pods' logs.
struct Node {
    folder: TempDir,
}

impl Node {
    fn new(configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pods = folder.path().join("pods");
        fs::create_dir(&pods).unwrap();
        let paths = format!("paths: {{pods: {}}}\nkubernetes: {{enabled: false}}\n", pods.display());
        fs::write(folder.path().join("pilcrow.yaml"), format!("{configuration}{paths}")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// Standard output, standard error and exit code; the folder's name is `NODE`.
    fn pilcrow(&self, command: &str, arguments: &[&str], input: &str) -> (String, String, Option<i32>) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pilcrow"))
            .args([command, "--config"])
            .arg(self.path("pilcrow.yaml"))
            .args(arguments)
            .env_remove("NODE_NAME")
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that has ended does not read it.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(self.folder.path().to_str().unwrap(), "NODE");
        (text(output.stdout), text(output.stderr), output.status.code())
    }

    fn try_json(&self, arguments: &[&str], input: &str) -> Vec<Value> {
        let (out, err, code) = self.pilcrow("try", &[&["--json"], arguments].concat(), input);
        assert_eq!((err.as_str(), code), ("", Some(0)));
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn cri(second: u64, stream: &str, text: &str) -> String {
    format!("2026-01-02T03:04:{second:02}Z {stream} F {text}\n")
}

#[test]
fn tests_that_hold_are_named_and_counted() {
    let node = Node::new(&format!(
        "{STAGES}tests:
  - name: debug lines are dropped
    lines: ['{{\"level\":\"debug\"}}']
    expect: [{{dropped: noise}}]
  - name: a trace becomes metadata
    labels: {{app: web}}
    lines:
      - {{line: '{{\"level\":\"info\",\"trace_id\":\"abc\"}}', stream: stderr, time: 2026-01-02T03:04:05Z}}
    expect:
      - line: '{{\"level\":\"info\",\"trace_id\":\"abc\"}}'
        labels: {{level: info}}
        metadata: {{trace: abc}}
        time: 2026-01-02T03:04:05Z
"
    ));
    let (out, err, code) = node.pilcrow("test", &[], "");
    assert_eq!((err.as_str(), code), ("", Some(0)));
    let expected = "ok    debug lines are dropped\nok    a trace becomes metadata\n2 tests: 2 passed, 0 failed\n";
    assert_eq!(out, expected);
}

#[test]
fn a_test_that_fails_shows_expected_beside_got_with_its_place_and_ends_with_1() {
    let node = Node::new(&format!(
        "{STAGES}tests:
  - name: levels
    lines: |
      {{\"level\":\"debug\"}}
      {{\"level\":\"info\"}}
      {{\"level\":\"warn\"}}
    expect:
      - {{dropped: debug}}
      - {{labels: {{level: error}}}}
"
    ));
    let (out, err, code) = node.pilcrow("test", &[], "");
    assert_eq!((err.as_str(), code), ("pilcrow: 1 of 1 test failed\n", Some(1)));
    let expected = r#"FAIL  levels (NODE/pilcrow.yaml:7)
      1. expected in line 13 of the file, made of line 1 of the test
         dropped  expected  "debug"
                  got       "noise" by pipeline_stages[1].drop
      2. expected in line 14 of the file, made of line 2 of the test
         label level  expected  "error"
                      got       "info"
      3. made of line 3 of the test
         expected  nothing
         got       the entry "{\"level\":\"warn\"}"
1 test: 0 passed, 1 failed
"#;
    assert_eq!(out, expected);
}

#[test]
fn a_test_may_be_of_a_container_so_that_the_rules_make_its_labels() {
    let node = Node::new(
        "relabel_configs: [{source_labels: [__meta_kubernetes_pod_label_tier], regex: hidden, action: drop}]
pipeline_stages: [{match: {selector: '{app=\"web\",stream=\"stderr\"}', stages: [{static_labels: {level: error}}]}}]
tests:
  - name: the app's stderr
    from: {namespace: shop, pod: web-1, container: web, pod_labels: {app.kubernetes.io/name: web}}
    lines: [{line: a, stream: stderr}, b]
    expect: [{line: a, labels: {level: error, job: shop/web, app: web}}, {line: b, labels: {}}]
  - name: what is hidden
    from: {namespace: shop, pod: web-1, container: web, pod_labels: {tier: hidden}}
    lines: [a]
    expect: [{dropped: relabel_configs}]
",
    );
    let (out, err, code) = node.pilcrow("test", &[], "");
    assert_eq!(
        (out.as_str(), err.as_str(), code),
        ("ok    the app's stderr\nok    what is hidden\n2 tests: 2 passed, 0 failed\n", "", Some(0))
    );
}

#[test]
fn multi_line_blocks_come_where_their_first_line_stands_and_each_test_begins_anew() {
    let node = Node::new(
        "pipeline_stages: [{multiline: {firstline: '^\\S'}}, {limit: {rate: 1, burst: 1, drop: true}}]
tests:
  - name: two blocks in the same second
    lines: |
      first
        more
      second
    expect: [{line: \"first\\n  more\"}, {line: second, dropped: ratelimit_drop_stage}]
  - name: the limit has its token again
    lines: [first]
    expect: [first]
",
    );
    let (out, _, code) = node.pilcrow("test", &[], "");
    assert_eq!(code, Some(0), "{out}");
}

#[test]
fn tests_may_lie_in_files_of_their_own() {
    let node = Node::new(STAGES);
    let tests = "tests: [{name: own file, lines: ['{\"level\":\"debug\"}'], expect: [{dropped: noise}]}]\n";
    node.file("good.yaml", tests);
    let (out, _, code) = node.pilcrow("test", &["good.yaml"], "");
    assert_eq!((out.as_str(), code), ("ok    own file\n1 test: 1 passed, 0 failed\n", Some(0)));
    node.file("bad.yaml", "tests: [{name: a, lines: [x], expect: [{dropped: y, labels: {}}]}]\npipeline_stages: []\n");
    let (out, err, code) = node.pilcrow("test", &["bad.yaml"], "");
    assert_eq!((out.as_str(), code), ("", Some(2)));
    assert!(err.contains("bad.yaml:2:1: pipeline_stages: only tests may stand in a file of tests"), "{err}");
    assert!(err.contains("bad.yaml:1:40: tests[0].expect[0]: what is dropped has no labels"), "{err}");
}

#[test]
fn no_tests_are_a_failure_and_mistakes_in_them_a_bad_configuration() {
    let (_, err, code) = Node::new(STAGES).pilcrow("test", &[], "");
    assert!(err.starts_with("pilcrow: there are no tests: write them under tests:"), "{err}");
    assert_eq!(code, Some(1));
    let node = Node::new("tests:\n- name: a\n  line: [x]\n- {name: b}\n");
    for command in ["test", "try", "check"] {
        let (_, err, code) = node.pilcrow(command, &[], "");
        assert_eq!(code, Some(2), "{command}");
        assert!(err.contains("NODE/pilcrow.yaml:3:3: tests[0].line: unknown key; did you mean lines?\n"), "{err}");
    }
}

#[test]
fn a_configuration_with_tests_is_printed_so_that_it_means_the_same() {
    let node = Node::new("tests: [{name: a, lines: ['$${x} $$1'], expect: [{line: '$${x} $$1', labels: {a: }}]}]\n");
    let print = |node: &Node| node.pilcrow("check", &["--print"], "").0;
    let printed = print(&node);
    node.file("pilcrow.yaml", &printed.replace("NODE", node.folder.path().to_str().unwrap()));
    assert_eq!(print(&node), printed);
}

#[test]
fn the_last_lines_of_the_nodes_containers_are_shown_before_and_after() {
    let node = Node::new(STAGES);
    let lines: String = (1..=9).map(|i| cri(i, "stdout", &format!("old {i}"))).collect();
    node.file("pods/shop_web-1_u1/web/0.log", &lines);
    let json = r#"{"level":"info","trace_id":"abc"}"#;
    let current =
        [cri(1, "stdout", r#"{"level":"debug"}"#), cri(2, "stderr", json), cri(3, "stdout", "plain")].concat();
    node.file("pods/shop_web-1_u1/web/1.log", &current);
    node.file("pods/other_db-1_u2/db/0.log", &cri(1, "stdout", "not this"));
    let (out, err, code) = node.pilcrow("try", &["--namespace", "shop"], "");
    assert_eq!((err.as_str(), code), ("", Some(0)));
    let shown = r#"shop/web-1/web stdout {container="web", job="shop/web", namespace="shop", pod="web-1", stream="stdout"}
  - {"level":"debug"}
    dropped by pipeline_stages[1].drop: noise
  = plain
shop/web-1/web stderr {container="web", job="shop/web", namespace="shop", pod="web-1", stream="stderr"}
  = {"level":"info","trace_id":"abc"}
    label level="info"; metadata trace="abc"

3 lines in (55 B), 2 entries out (38 B) in 2 streams, 1 dropped (17 B)
"#;
    assert!(out.starts_with(shown), "{out}");
    for row in [
        "pipeline_stages[0].json                        3       55 B\n",
        "pipeline_stages[1].drop                        3       55 B         1       17 B  noise\n",
        "pipeline_stages[3].structured_metadata         2       38 B\n",
        "the stages take ",
    ] {
        assert!(out.contains(row), "{row}\n{out}");
    }
    assert!(!out.contains('\x1b'), "colours in a pipe");
}

#[test]
fn a_line_of_a_test_that_is_of_stderr_has_its_level() {
    let node = Node::new(
        "levels: true
tests:
  - name: stderr counts as an error
    lines: [{line: cannot open x, stream: stderr}, {line: opens x}]
    expect: [{line: cannot open x, metadata: {detected_level: error}}, {line: opens x, metadata: {detected_level: unknown}}]
",
    );
    let (out, err, code) = node.pilcrow("test", &[], "");
    assert_eq!((err.as_str(), code), ("", Some(0)), "{out}");
}

#[test]
fn a_tenant_that_loki_would_not_take_is_shown_as_such() {
    let node = Node::new("pipeline_stages: [{json: {expressions: {t: }}}, {tenant: {source: t}}]\n");
    let lines = "{\"t\":\"a/b\"}\n{\"t\":\"good\"}\n";
    let (out, err, code) = node.pilcrow("try", &["--stdin", "--label", "app=web"], lines);
    assert_eq!((err.as_str(), code), ("", Some(0)));
    assert!(out.contains("tenant \"a/b\" is not valid: it goes to that of loki.tenant\n"), "{out}");
    assert!(out.contains("tenant \"good\"\n"), "{out}");
    assert!(out.contains("1 entry has a tenant that Loki would not take"), "{out}");
    let objects = node.try_json(&["--stdin", "--label", "app=web"], lines);
    let tenants: Vec<_> =
        objects[1..3].iter().map(|line| [&line["after"]["tenant"], &line["after"]["invalid_tenant"]]).collect();
    assert_eq!(tenants, [[&Value::Null, &"a/b".into()], [&"good".into(), &Value::Null]]);
}

#[test]
fn explain_shows_what_each_stage_did() {
    let node = Node::new(STAGES);
    let (out, _, code) = node.pilcrow("try", &["--stdin", "--explain"], "{\"level\":\"info\"}\nplain\n");
    assert_eq!(code, Some(0));
    let shown = r#"  = {"level":"info"}
      pipeline_stages[0].json: extracted level="info", trace=null
      pipeline_stages[1].drop: no change: level is "info", not "debug"
      pipeline_stages[2].labels: label level="info"
      pipeline_stages[3].structured_metadata: no change: trace is null
    label level="info"
  = plain
      pipeline_stages[0].json: no change: the line is not a JSON object
      pipeline_stages[1].drop: no change: level is not extracted
"#;
    assert!(out.contains(shown), "{out}");
}

#[test]
fn explain_says_what_metrics_count_and_no_more() {
    let node = Node::new(
        "pipeline_stages: [{metrics: {lines: {type: Counter, config: {match_all: true, action: inc}}, n: {type: Gauge, config: {action: set}}}}]\n",
    );
    let (out, _, _) = node.pilcrow("try", &["--stdin", "--explain"], "plain\n");
    let shown = "pipeline_stages[0].metrics: counts promtail_custom_lines; does not count promtail_custom_n: n is not extracted\n";
    assert!(out.contains(shown), "{out}");
}

#[test]
fn explain_says_of_a_match_that_drops_why_a_line_is_not_its() {
    let node = Node::new("pipeline_stages: [{match: {selector: '{app=\"web\"} |= \"x\"', action: drop}}]\n");
    let (out, _, _) = node.pilcrow("try", &["--stdin", "--explain", "--label", "app=web"], "plain\nx\n");
    assert!(out.contains("pipeline_stages[0].match: does not match: the line does not satisfy |= \"x\"\n"), "{out}");
    assert!(out.contains("pipeline_stages[0].match: drops it\n"), "{out}");
    let objects = node.try_json(&["--stdin", "--explain"], "plain\n");
    assert_eq!(objects[1]["steps"][0]["why"], "there is no label app");
}

#[test]
fn json_has_one_object_a_line_for_containers_lines_blocks_and_the_sum() {
    let node = Node::new("pipeline_stages: [{multiline: {firstline: '^\\S'}}, {static_labels: {kind: x}}]\n");
    let objects = node.try_json(&["--stdin", "--explain", "--label", "app=web"], "a\n b\nc\n");
    let kinds: Vec<_> = objects.iter().map(|object| object["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["container", "line", "line", "block", "line", "block", "summary"]);
    assert_eq!(objects[0]["labels"]["app"], "web");
    assert_eq!((&objects[1]["result"], &objects[1]["stage"]), (&"held".into(), &"pipeline_stages[0].multiline".into()));
    assert_eq!(objects[3]["after"]["line"], "a\n b");
    assert_eq!(objects[3]["after"]["labels"]["kind"], "x");
    assert_eq!(objects[3]["steps"][0]["labels"]["kind"], "x");
    assert_eq!((&objects[6]["in"]["lines"], &objects[6]["out"]["lines"]), (&3.into(), &2.into()));
    assert!(objects[6]["nanoseconds_per_line"].is_u64());
}

#[test]
fn records_of_cri_and_docker_are_decoded_and_a_files_path_gives_its_labels() {
    let node = Node::new(STAGES);
    let docker = r#"{"log":"from docker\n","stream":"stderr","time":"2026-01-02T03:04:06Z"}"#;
    let records = format!("{}{docker}\nraw", cri(5, "stdout", "from cri"));
    node.file("pods/shop_web-1_u1/web/0.log.20260102-030405", &records);
    let objects = node.try_json(&["pods/shop_web-1_u1/web/0.log.20260102-030405"], "");
    let lines: Vec<_> = objects
        .iter()
        .filter(|object| object["type"] == "line")
        .map(|object| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (text(&object["container"]), text(&object["stream"]), text(&object["before"]["line"]))
        })
        .collect();
    let line = |stream: &str, text: &str| ("shop/web-1/web".to_owned(), stream.to_owned(), text.to_owned());
    assert_eq!(lines, [line("stdout", "from cri"), line("stderr", "from docker"), line("stdout", "raw")]);
    let last = node.try_json(&["--lines", "1", "--stdin"], "a\nb\nc\n");
    assert_eq!(last[1]["before"]["line"], "c");
    assert_eq!(last.len(), 3);
}

#[test]
fn what_is_left_out_is_reported() {
    let node = Node::new(
        "relabel_configs: [{source_labels: [stream], regex: stderr, action: drop}]\nlabels: {cluster: home}\n",
    );
    node.file("pods/shop_web-1_u1/web/0.log", &[cri(1, "stderr", "a"), cri(2, "stdout", "b")].concat());
    let (out, _, code) = node.pilcrow("try", &[], "");
    assert_eq!(code, Some(0));
    assert!(out.contains("shop/web-1/web stderr left out by relabel_configs\n"), "{out}");
    assert!(out.contains("note: relabel_configs leaves out 1 line of 1 stdout or stderr\n"), "{out}");
    assert!(out.contains("note: the configuration has no pipeline_stages: lines are sent as they are\n"), "{out}");
}

#[test]
fn where_nothing_matches_it_is_said_what_is_there() {
    let node = Node::new("");
    let (_, err, code) = node.pilcrow("try", &[], "");
    assert_eq!(code, Some(1));
    assert!(err.starts_with("pilcrow: there are no logs in NODE/pods (paths.pods): it is empty"), "{err}");
    node.file("pods/shop_web-1_u1/web/0.log", "");
    node.file("pods/shop_web-1_u1/init/notes", "");
    for (arguments, message) in [
        (&["--namespace", "shpo"][..], "no container with a log matches --namespace shpo; namespaces here: shop\n"),
        (&["--pod", "wbe"], "no container with a log matches --pod wbe; pods here: web-1\n"),
        (&["--container", "app"], "no container with a log matches --container app; containers here: init, web\n"),
        (&["--container", "init"], "no container with a log matches --container init; 1 without a log yet\n"),
        (&["missing.log"], "cannot open missing.log: No such file or directory (os error 2)\n"),
    ] {
        let (_, err, code) = node.pilcrow("try", arguments, "");
        assert_eq!((err, code), (format!("pilcrow: {message}"), Some(1)));
    }
    let (out, _, code) = node.pilcrow("try", &["--pod", "web"], "");
    assert!(out.contains("note: there were no lines\n") && code == Some(0), "{out}");
    fs::remove_dir_all(node.path("pods")).unwrap();
    let (_, err, _) = node.pilcrow("try", &[], "");
    assert!(err.contains("NODE/pods (paths.pods) does not exist: run this on a node, or name files"), "{err}");
}

#[test]
fn a_folder_that_may_not_be_read_is_named_with_its_permissions_and_the_fix() {
    let node = Node::new("");
    node.file("pods/shop_web-1_u1/web/0.log", &cri(1, "stdout", "a"));
    let folder = node.path("pods/shop_web-1_u1");
    for (path, mode) in [(node.folder.path(), 0o755), (&folder, 0o000)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilcrow"));
    command.args(["try", "--config"]).arg(node.path("pilcrow.yaml"));
    if rustix::process::geteuid().is_root() {
        // Root may read every folder; nobody may not.
        command.uid(65534).gid(65534);
    }
    let output = command.output();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let Ok(output) = output else {
        println!("SKIPPED: the user nobody may not run the program where it was built");
        return;
    };
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{err}");
    let shown = format!("cannot read the folder {} (mode 0000, user ", folder.display());
    assert!(err.contains(&shown), "{err}");
    assert!(err.contains("run as root, or give CAP_DAC_READ_SEARCH"), "{err}");
}

/// The examples of docs/pipeline.md, run as a reader would.
#[test]
fn the_documents_examples_print_what_they_show() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pipeline.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once("## Trying and testing rules\n").unwrap();
    let block = |kind: &str, n: usize| {
        section.split(&format!("```{kind}\n")).nth(n).unwrap().split("```").next().unwrap().to_owned()
    };
    let node = Node::new("");
    node.file("pilcrow.yaml", &block("yaml", 1));
    node.file("app.log", &block("text", 1));
    let (out, _, code) = node.pilcrow("test", &[], "");
    assert_eq!((out.replace("NODE/", ""), code), (block("text", 2), Some(1)));
    let (out, err, code) = node.pilcrow("try", &["--explain", "app.log"], "");
    assert_eq!((err.as_str(), code), ("", Some(0)));
    // Times differ from machine to machine.
    let plain = |text: &str| {
        let words = text.lines().filter(|line| !line.starts_with("the stages take "));
        words.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(plain(&out), plain(&block("text", 3)));
}

#[test]
fn too_many_streams_of_one_container_are_warned_of() {
    let node = Node::new("pipeline_stages: [{regex: {expression: '^(?P<user>\\w+)'}}, {labels: {user: }}]\n");
    let lines: String = (0..201).map(|i| format!("user{i}\n")).collect();
    let objects = node.try_json(&["-"], &lines);
    let summary = objects.last().unwrap();
    assert_eq!(summary["streams"], 201);
    let note = summary["notes"][0].as_str().unwrap();
    assert!(note.starts_with("default/try/try stdout has more than 200 streams, the most that one may have"), "{note}");
}
