//! Containers with budgets, and what they write.

use super::{
    super::{Outcome, Pipeline, State, Verdict},
    *,
};

const SECOND: i64 = 1_000_000_000;
const RATE: u64 = 100;
const BURST: u64 = 1000;

fn budget(selector: &str, action: Action) -> Budget {
    let selector = Selector::of_labels(selector).unwrap();
    Budget { selector, rate: RATE, burst: BURST, action, keep_levels: vec![Level::Error] }
}

struct Rig {
    pipeline: Pipeline,
    /// Standard output and standard error of two containers.
    states: Vec<State>,
    out: Vec<Entry>,
    lines: u64,
}

impl Rig {
    fn new(action: Action) -> Self {
        let budgets = vec![budget(r#"{namespace="none"}"#, Action::Drop), budget(r#"{namespace="dev"}"#, action)];
        let pipeline = Pipeline::compile(&[]).unwrap().with_levels(false).with_budgets(budgets);
        let mut rig = Self { pipeline, states: Vec::new(), out: Vec::new(), lines: 0 };
        rig.begin_again();
        rig
    }

    fn begin_again(&mut self) {
        let labels = Pairs::from_iter([("namespace", "dev")]);
        let origin = |channel: u64| Origin { labels: &labels, container: channel / 2, is_stderr: channel % 2 == 1 };
        self.states = (0..4).map(|channel| self.pipeline.new_state(origin(channel))).collect();
    }

    /// A line of 100 bytes, written and read at this time.
    fn line_of(&mut self, channel: usize, time_ns: i64, now_ns: i64, text: &str) -> Outcome {
        self.lines += 1;
        let mut entry = Entry {
            at: (1, self.lines),
            logged_ns: time_ns,
            timestamp_ns: time_ns,
            labels: Pairs::from_iter([("stream", "x")]),
            line: format!("{text:<100}").into(),
            ..Entry::default()
        };
        let out = &mut self.out;
        self.pipeline.process(&mut self.states[channel], &mut entry, now_ns, &mut |entry| out.push(entry.clone()))
    }

    fn line(&mut self, millis: i64) -> Verdict {
        self.line_of(0, millis * 1_000_000, 0, &format!("line {millis}")).verdict
    }

    /// Texts of what went on, and their times in seconds.
    fn texts(&self) -> Vec<(String, i64)> {
        let text = |entry: &Entry| String::from_utf8_lossy(&entry.line).trim_end().to_owned();
        self.out.iter().map(|entry| (text(entry), entry.timestamp_ns / SECOND)).collect()
    }
}

#[test]
fn past_the_burst_lines_go_on_at_the_rate_of_the_logs_clock_and_the_rest_is_reported_once_a_period() {
    let mut rig = Rig::new(Action::Drop);
    let dropped = (0..300).filter(|tenth| rig.line(tenth * 100) == Verdict::Dropped("budget_drop")).count();
    // 10 lines of the burst, and one a second for 30 seconds.
    assert_eq!((rig.out.len(), dropped), (39, 261));
    assert_eq!(rig.states[0].held_from(), Some((1, 300)));
    assert_eq!(rig.line(61_000), Verdict::Passed);
    let (text, second) = &rig.texts()[39];
    assert_eq!(
        (text.as_str(), *second),
        (
            "pilcrow: 261 lines (26100 bytes) of this container are not here: it wrote more than the 100 bytes a second \
             that budgets[1] allows",
            29
        )
    );
    let metadata: Vec<_> = rig.out[39].metadata.iter().collect();
    assert_eq!(
        metadata,
        [
            ("detected_level", "warn"),
            ("dropped_bytes", "26100"),
            ("dropped_lines", "261"),
            ("first", "1970-01-01T00:00:01.1Z"),
            ("last", "1970-01-01T00:00:29.9Z"),
            ("pilcrow_budget", "drop"),
        ]
    );
    assert_eq!((rig.out[39].at, rig.out[39].labels.get("stream")), ((1, 300), Some("x")));
    assert_eq!((rig.out.len(), rig.states[0].held_from()), (41, None));
    assert_eq!(rig.pipeline.drops().collect::<Vec<_>>(), [("budget_drop", 261), ("budget_sample", 0)]);
}

#[test]
fn a_container_that_fell_silent_has_its_report_after_a_period_of_the_nodes_clock() {
    let mut rig = Rig::new(Action::Drop);
    (0..20).for_each(|_| _ = rig.line(0));
    assert_eq!((rig.out.len(), rig.states[0].due_ns()), (10, Some(60 * SECOND)));
    rig.pipeline.tick(&mut rig.states[0], 60 * SECOND, &mut |entry| rig.out.push(entry.clone()));
    assert_eq!((rig.out.len(), rig.states[0].due_ns()), (11, None));
}

#[test]
fn a_sample_is_spread_over_the_time_at_the_rate_of_the_budget() {
    let mut rig = Rig::new(Action::Sample);
    // 10 times the rate, for 10 minutes.
    (0..6000).for_each(|tenth| _ = rig.line(tenth * 100));
    let lines = |from: i64, to: i64| {
        let times =
            rig.out.iter().filter(|entry| entry.line.starts_with(b"line")).map(|entry| entry.timestamp_ns / SECOND);
        times.filter(|second| (from..to).contains(second)).count()
    };
    for minute in 1..10 {
        let kept = lines(minute * 60, minute * 60 + 60);
        assert!((45..75).contains(&kept), "{kept} in minute {minute}");
    }
    assert!(rig.texts().iter().any(|(text, _)| text.starts_with("pilcrow: ")));
}

#[test]
fn what_was_kept_is_kept_again_when_it_is_read_again() {
    let mut rig = Rig::new(Action::Sample);
    let run = |rig: &mut Rig, from: i64| {
        rig.out.clear();
        (from..3000).for_each(|tenth| _ = rig.line(tenth * 100));
        rig.texts().into_iter().filter(|(text, _)| text.starts_with("line")).collect::<Vec<_>>()
    };
    let first = run(&mut rig, 0);
    // As after a restart, or when Loki takes a refused stream again.
    rig.begin_again();
    let again = run(&mut rig, 1500);
    let kept = first.iter().filter(|(_, second)| *second >= 150);
    let lost = kept.clone().filter(|line| !again.contains(line)).count();
    assert!(kept.count() > 100 && lost <= 1, "{lost}");
}

#[test]
fn lines_of_the_levels_to_keep_always_go_on() {
    let mut rig = Rig::new(Action::Drop);
    let verdicts: Vec<_> =
        (0..30).map(|n| rig.line_of(0, 0, 0, if n % 3 == 0 { "error" } else { "info" }).verdict).collect();
    assert!(verdicts.iter().step_by(3).all(|verdict| *verdict == Verdict::Passed));
    assert_eq!(rig.out.len(), 10 + 6);
}

#[test]
fn stdout_and_stderr_share_a_budget_and_containers_do_not() {
    let mut rig = Rig::new(Action::Drop);
    let pass = |rig: &mut Rig, channel, lines: i64| {
        (0..lines).filter(|_| rig.line_of(channel, 0, 0, "info").verdict == Verdict::Passed).count()
    };
    // A channel that begins has the whole burst.
    assert_eq!(
        (pass(&mut rig, 0, 1), pass(&mut rig, 1, 1), pass(&mut rig, 0, 20), pass(&mut rig, 1, 20)),
        (1, 1, 9, 0)
    );
    assert_eq!((pass(&mut rig, 2, 20)), 10);
}

#[test]
fn a_budget_that_waits_drops_nothing_and_says_how_long() {
    let mut rig = Rig::new(Action::Wait);
    let waits: Vec<_> = (0..12).map(|_| rig.line_of(0, 0, 0, "x").wait_until_ns).collect();
    assert_eq!((rig.out.len(), waits[9]), (12, None));
    assert!((SECOND..SECOND + 2).contains(&waits[10].unwrap()), "{waits:?}");
    assert!((2 * SECOND..2 * SECOND + 2).contains(&waits[11].unwrap()), "{waits:?}");
}

#[test]
fn only_chosen_containers_have_a_budget_also_after_their_labels_changed() {
    let mut rig = Rig::new(Action::Drop);
    let other = Pairs::from_iter([("namespace", "prod")]);
    let origin = Origin { labels: &other, container: 0, is_stderr: false };
    rig.pipeline.take_origin(&mut rig.states[0], origin);
    (0..50).for_each(|_| _ = rig.line(0));
    assert_eq!(rig.out.len(), 50);
    assert!(Selector::of_labels(r#"{a="b"} |= "c""#).is_err());
}

#[test]
fn buckets_of_containers_that_are_gone_are_forgotten() {
    let mut budgets = Budgets::new(Vec::new(), 0, 0);
    let bucket = |used_ns| Kept { used_ns, ..Kept::default() };
    budgets.buckets.extend((0..BUCKETS as u64).map(|container| (container, bucket(container as i64))));
    budgets.forget_unused(FORGET_AFTER_NS + 9);
    assert_eq!(budgets.buckets.len(), BUCKETS - 10);
    budgets.forget_unused(i64::MAX);
    assert_eq!(budgets.buckets.len(), BUCKETS - 10);
}
