//! Queries to a tailer on real folders, and lines for viewers.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::*;
use crate::{
    batch::{FromOutput, ToOutput},
    checkpoint::Unclaimed,
    compiled::Compiled,
    model::UnitId,
    status::view::{Allowance, TapBuffer, TapSpec},
    tail::{
        Tailer,
        read::PreadReader,
        rig::{self, Ends},
    },
};

/// What a viewer may have in these tests.
const MOST: Allowance = Allowance { lines: 1000, matching: Duration::from_secs(3600) };

struct Node {
    folder: tempfile::TempDir,
    tailer: Tailer<PreadReader>,
    ends: Ends,
}

impl Node {
    fn new(yaml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Compiled::parse(yaml, &|_| None).unwrap().config;
        config.paths.pods = folder.path().into();
        let (tailer, ends) = rig::tailer(Compiled::new(config).unwrap(), Unclaimed::default(), PreadReader::new());
        Self { folder, tailer, ends }
    }

    fn file(&self, namespace: &str, pod: &str, name: &str) -> PathBuf {
        let folder = self.folder.path().join(format!("{namespace}_{pod}_uid")).join(name);
        fs::create_dir_all(&folder).unwrap();
        folder.join("0.log")
    }

    /// Takes a turn, and answers what was asked before.
    async fn turn(&mut self) {
        self.tailer.follow_pods(std::time::Instant::now());
        self.tailer.follow_folders();
        self.tailer.state.queue_all();
        self.tailer.turn().await;
    }

    /// Has Loki acknowledge all, or refuse it.
    fn acknowledge(&mut self, refused: bool) {
        self.tailer.state.lanes.seal_all();
        for message in self.ends.sealed.try_iter() {
            let ToOutput::Batch(batch) = message else { continue };
            let slots = (0..batch.streams().len()).map(crate::batch::StreamSlot::at);
            let refused = if refused { slots.collect() } else { Vec::new() };
            self.ends.done.send(FromOutput::Done { batch, refused }).unwrap();
        }
        self.tailer.take_ended();
    }

    async fn units(&mut self) -> Vec<Seen> {
        let queries = self.ends.queries.clone();
        let (units, ()) = tokio::join!(queries.units(), self.turn());
        let mut units = units.unwrap();
        units.sort_by(|a, b| a.container.cmp(&b.container));
        units
    }

    async fn unit(&mut self, id: UnitId) -> Option<(Seen, Detail)> {
        let queries = self.ends.queries.clone();
        tokio::join!(queries.unit(id), self.turn()).0.unwrap()
    }

    /// A viewer, of whom the tailer knows when this returns.
    async fn look(&mut self, spec: impl FnOnce(&mut TapSpec)) -> Arc<TapBuffer> {
        let buffer = Arc::<TapBuffer>::default();
        let mut wanted = TapSpec { processed: true, ..TapSpec::default() };
        spec(&mut wanted);
        wanted.out = Arc::downgrade(&buffer);
        buffer.allow(MOST, MOST);
        let queries = self.ends.queries.clone();
        assert!(tokio::join!(queries.tap(wanted), self.turn()).0.unwrap());
        buffer
    }
}

fn append(path: &Path, stream: &str, texts: &[&str]) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    for text in texts {
        writeln!(file, "2026-01-02T03:04:05.000000001Z {stream} F {text}").unwrap();
    }
}

fn texts(buffer: &TapBuffer) -> Vec<String> {
    buffer.take().0.iter().map(|line| line.text.clone()).collect()
}

#[test]
fn a_stage_is_the_last_word_of_its_place() {
    let row = stage_row("pipeline_stages[0].match.stages[1].json", 3, 1);
    assert_eq!((row.stage.as_str(), row.place.as_str()), ("json", "pipeline_stages[0].match.stages[1]"));
    assert_eq!(stage_row("levels", 0, 0).stage, "levels");
}

#[tokio::test]
async fn units_tell_their_state_what_was_read_and_what_loki_has_not() {
    let mut node = Node::new("kubernetes: {namespaces: {exclude: [hidden]}}");
    append(&node.file("shop", "web-1", "a"), "stdout", &["one", "two"]);
    append(&node.file("hidden", "x", "b"), "stdout", &["no"]);
    node.turn().await;
    let units = node.units().await;
    assert_eq!((units.len(), units[0].state, units[0].lines), (2, UnitState::Collecting, 2));
    assert_eq!(
        (units[0].namespace.as_str(), units[0].pod.as_str(), units[0].container.as_str()),
        ("shop", "web-1", "a")
    );
    assert_eq!(units[0].bytes, units[0].lag_bytes);
    let queries = node.ends.queries.clone();
    let states = tokio::join!(queries.states(), node.turn()).0.unwrap();
    assert_eq!(
        (states.lag_bytes, states.units[&UnitState::Excluded]),
        (units[0].bytes, 1),
        "as of now, without a sweep"
    );
    assert_eq!(units[1].state, UnitState::Excluded);
    assert_eq!(units[1].reason, "kubernetes.namespaces.exclude names hidden");
    node.acknowledge(false);
    assert_eq!(node.units().await[0].lag_bytes, 0);
    append(&node.file("shop", "web-1", "a"), "stderr", &["three"]);
    node.turn().await;
    node.acknowledge(true);
    let unit = &node.units().await[0];
    assert_eq!((unit.state, unit.lines), (UnitState::Parked, 3));
    assert!(unit.lag_bytes > 0);
}

#[tokio::test]
async fn an_excluded_unit_names_the_rule_that_excludes_it() {
    let mut node = Node::new(
        "kubernetes: {namespaces: {include: [shop]}}\nrelabel_configs:\n\
         - {source_labels: [container], regex: b, action: drop}\n\
         - {source_labels: [container, stream], regex: c;stdout, action: drop}\n\
         - {source_labels: [container], regex: a, action: keep}\n",
    );
    for (namespace, container) in [("shop", "a"), ("shop", "b"), ("shop", "c"), ("other", "d")] {
        append(&node.file(namespace, "web-1", container), "stdout", &["x"]);
    }
    node.turn().await;
    let reasons: Vec<_> = node.units().await.into_iter().map(|unit| unit.reason).collect();
    let expected = [
        "",
        "dropped by relabel_configs[0]: drop container matching b",
        "dropped by relabel_configs[1]: drop container, stream matching c;stdout; its stderr by relabel_configs[2]: keep \
         container matching a",
        "kubernetes.namespaces.include does not name other",
    ];
    assert_eq!(reasons, expected);
}

#[tokio::test]
async fn a_units_page_has_its_labels_with_their_rules_its_files_and_what_came_to_each_stage() {
    let mut node = Node::new(
        "labels: {cluster: home}\nrelabel_configs:\n\
         - {source_labels: [pod], target_label: __structured_metadata_pod_name}\n\
         - {source_labels: [stream], regex: stderr, action: drop}\n\
         pipeline_stages:\n- json: {expressions: {level: level}}\n- drop: {source: level, value: debug}\n",
    );
    append(&node.file("shop", "web-1", "a"), "stdout", &["{\"level\":\"debug\"}", "{\"level\":\"info\"}", "x"]);
    node.turn().await;
    let (seen, detail) = node.unit(UnitId(0)).await.unwrap();
    assert_eq!(seen.container, "a");
    let [out, err] = &detail.streams[..] else { panic!("{detail:?}") };
    assert_eq!(
        (out.stream.as_str(), out.labels["cluster"].as_str(), out.labels["pod"].as_str()),
        ("stdout", "home", "web-1")
    );
    assert_eq!(out.metadata["pod_name"], "web-1");
    assert!(out.labels.keys().all(|name| !name.starts_with("__")));
    assert_eq!(out.rules.last().unwrap().text, "changes nothing");
    assert_eq!((err.labels.len(), err.rules.last().unwrap().labels.clone()), (0, None));
    let stages: Vec<_> =
        detail.stages.unwrap().into_iter().map(|row| (row.stage, row.place, row.came, row.dropped)).collect();
    let stage = |name: &str, place: &str, came, dropped| (name.to_owned(), place.to_owned(), came, dropped);
    assert_eq!(stages, [stage("json", "pipeline_stages[0]", 3, 0), stage("drop", "pipeline_stages[1]", 3, 1)]);
    let file = &detail.files[0];
    assert_eq!((file.name.as_str(), file.state.as_str()), ("0.log", "reading"));
    assert!(Some(file.position) < file.bytes, "{file:?}");
    node.acknowledge(false);
    let (_, detail) = node.unit(UnitId(0)).await.unwrap();
    assert_eq!(Some(detail.files[0].position), detail.files[0].bytes);
    assert_eq!(node.unit(UnitId(77)).await, None);
}

#[tokio::test]
async fn viewers_see_lines_as_they_were_read_or_as_they_are_sent() {
    let mut node =
        Node::new("labels: {cluster: home}\npipeline_stages:\n- replace: {expression: '(secret)', replace: '***'}\n");
    let live = node.file("shop", "web-1", "a");
    append(&live, "stdout", &["before anybody looks"]);
    node.turn().await;
    let raw = node.look(|spec| spec.processed = false).await;
    let sent = node.look(|spec| spec.pod = Some("web".into())).await;
    let grep = node.look(|spec| spec.grep = Some(regex::bytes::Regex::new(r"\*\*\*").unwrap())).await;
    let other = node.look(|spec| spec.container = Some("b".into())).await;
    node.turn().await;
    append(&live, "stderr", &["a secret", "plain"]);
    node.turn().await;
    assert_eq!(texts(&raw), ["a secret", "plain"]);
    assert_eq!((texts(&grep), texts(&other)), (vec!["a ***".to_owned()], Vec::new()));
    let (lines, dropped) = sent.take();
    let [line, second] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((line.text.as_str(), second.text.as_str(), dropped), ("a ***", "plain", 0));
    assert_eq!((line.time_ns, line.stream, line.unit.pod.as_str()), (1_767_323_045_000_000_001, "stderr", "web-1"));
    assert!(line.labels.as_ref().unwrap().contains("cluster=\"home\""));
    drop((raw, sent, grep, other));
    append(&live, "stdout", &["nobody looks any more"]);
    node.turn().await;
    assert!(node.tailer.state.taps.is_empty());
}

#[tokio::test]
async fn a_viewer_that_takes_nothing_holds_up_no_line_and_is_told_how_many_it_missed() {
    let mut node = Node::new("{}");
    let live = node.file("shop", "web-1", "a");
    append(&live, "stdout", &[]);
    let (raw, sent) = (node.look(|spec| spec.processed = false).await, node.look(|_| {}).await);
    node.turn().await;
    let lines: Vec<String> = (0..3000).map(|n| format!("line {n}")).collect();
    append(&live, "stdout", &lines.iter().map(String::as_str).collect::<Vec<_>>());
    while node.units().await[0].lines < 3000 {}
    for viewer in [raw, sent] {
        let (shown, dropped) = viewer.take();
        assert!(!shown.is_empty() && dropped > 0);
        assert_eq!(shown.len() as u64 + dropped, 3000);
        assert_eq!(shown[0].text, "line 0");
    }
}

#[tokio::test]
async fn an_expression_takes_no_more_of_the_readers_time_than_it_is_allowed() {
    let mut node = Node::new("{}");
    let live = node.file("shop", "web-1", "a");
    append(&live, "stdout", &[]);
    let grep = regex::bytes::Regex::new("wanted").unwrap();
    let viewers = [true, false].map(|processed| (processed, grep.clone()));
    for (processed, grep) in viewers {
        let viewer = node.look(|spec| (spec.processed, spec.grep) = (processed, Some(grep))).await;
        viewer.note_matching(viewer.matching_left());
        append(&live, "stdout", &["wanted, not looked at", "other"]);
        node.turn().await;
        let (shown, dropped) = viewer.take();
        assert_eq!((shown.len(), dropped), (0, 2));
        // Less than one line takes: the second has to wait.
        viewer.allow(Allowance { matching: Duration::from_nanos(1), lines: 0 }, MOST);
        append(&live, "stdout", &["wanted", "wanted later"]);
        node.turn().await;
        let (shown, dropped) = viewer.take();
        assert_eq!((shown.len(), shown[0].text.as_str(), dropped), (1, "wanted", 1));
    }
}

#[tokio::test]
async fn a_viewer_of_a_pod_sees_no_lines_of_pods_whose_names_only_begin_so() {
    let mut node = Node::new("{}");
    let (one, ten) = (node.file("shop", "web-1", "a"), node.file("shop", "web-10", "a"));
    append(&one, "stdout", &["before"]);
    append(&ten, "stdout", &["before"]);
    node.turn().await;
    let exact = node.look(|spec| spec.pod = Some("web-1".into())).await;
    let all = node.look(|spec| spec.pod = Some("web".into())).await;
    append(&one, "stdout", &["of web-1"]);
    append(&ten, "stdout", &["of web-10"]);
    node.turn().await;
    assert_eq!(texts(&exact), ["of web-1"]);
    assert_eq!(texts(&all).len(), 2);
}

#[tokio::test]
async fn a_viewer_of_a_unit_that_is_not_there_is_turned_away() {
    let mut node = Node::new("{}");
    append(&node.file("shop", "web-1", "a"), "stdout", &["x"]);
    node.turn().await;
    let buffer = Arc::<TapBuffer>::default();
    let queries = node.ends.queries.clone();
    let spec = TapSpec { unit: Some(UnitId(999)), out: Arc::downgrade(&buffer), ..TapSpec::default() };
    assert!(!tokio::join!(queries.tap(spec), node.turn()).0.unwrap());
    assert!(node.tailer.state.taps.is_empty());
}

#[tokio::test]
async fn lines_of_a_unit_are_counted_by_level_also_when_they_are_read_again() {
    let mut node = Node::new("levels: true");
    let live = node.file("shop", "web-1", "a");
    append(&live, "stdout", &["level=error one", "level=info two"]);
    append(&live, "stderr", &["level=error three"]);
    node.turn().await;
    assert_eq!(node.units().await[0].levels, [("info", 1), ("error", 2)]);
    node.acknowledge(true);
    node.turn().await;
    append(&live, "stdout", &["level=error four"]);
    node.turn().await;
    let errors = node.units().await[0].levels.iter().find(|(level, _)| *level == "error").map(|(_, lines)| *lines);
    assert!(errors >= Some(2), "{errors:?}");
}

#[tokio::test]
async fn a_unit_whose_folder_is_gone_says_what_its_lines_wait_for() {
    let mut node = Node::new("{}");
    let live = node.file("shop", "web-1", "a");
    append(&live, "stdout", &["one"]);
    node.turn().await;
    fs::remove_dir_all(live.parent().unwrap()).unwrap();
    node.turn().await;
    let unit = &node.units().await[0];
    assert_eq!(
        (unit.state, unit.reason.as_str()),
        (UnitState::Gone, "its log folder is gone; what is left of its lines is still being sent")
    );
    node.acknowledge(true);
    let unit = &node.units().await[0];
    assert_eq!(unit.state, UnitState::Gone);
    assert!(unit.reason.ends_with("its lines stay on the disk and are tried again"), "{}", unit.reason);
}
