//! `dedupe`: equal lines in a row become one entry that says how many there were.
//!
//! In: entries of a channel. Out: of lines of one stream that follow each other with the same text and metadata, times aside, the first
//! one, with their number and the times of the first and the last in structured metadata. Guarantees: an entry waits for no longer
//! than the window, by the clock of the log while there is more to read and by the node's at its live end; it holds the
//! channel's position at its first line. What is held back is one entry for each of a bounded number of streams.

use std::time::Duration;

use super::{
    entry::{Entry, Position, keep_if_small},
    same_text::is_same,
    stage::{Channel, Context, Origin, Stage, Step, Which},
};

/// Streams of one channel whose lines are compared at the same time; lines of others pass singly.
const RUNS_MAX: usize = 64;

pub(super) struct Dedupe {
    window_ns: i64,
    /// The number of what it keeps for a channel.
    channel: usize,
}

impl Dedupe {
    pub fn new(window: Duration, channel: usize) -> Self {
        Self { window_ns: i64::try_from(window.as_nanos()).unwrap_or(i64::MAX), channel }
    }
}

/// What is held back of a channel.
struct Runs {
    runs: Vec<Run>,
    window_ns: i64,
}

/// Equal lines in a row.
#[derive(Default)]
struct Run {
    /// The hash of the stream's labels.
    labels: u64,
    first: Entry,
    /// How many; 0: none is held back.
    lines: u64,
    /// The time of the last one.
    last_ns: i64,
    /// When the first one came, by the node's clock.
    came_ns: i64,
    is_due: bool,
}

impl Run {
    fn is_held(&self) -> bool {
        self.lines > 0
    }
}

impl Channel for Runs {
    fn held_from(&self) -> Option<Position> {
        self.runs.iter().filter(|run| run.is_held()).map(|run| run.first.at).min()
    }

    fn held_bytes(&self) -> usize {
        self.runs.iter().filter(|run| run.is_held()).map(|run| run.first.line.capacity()).sum()
    }

    fn due_ns(&self) -> Option<i64> {
        let held = self.runs.iter().filter(|run| run.is_held());
        held.map(|run| run.came_ns.saturating_add(self.window_ns)).min()
    }
}

impl Stage for Dedupe {
    fn channel(&self, _: Origin<'_>) -> Option<Box<dyn Channel>> {
        Some(Box::new(Runs { runs: Vec::new(), window_ns: self.window_ns }))
    }

    fn run(&mut self, entry: &mut Entry, context: &mut Context<'_>) -> Step {
        let now_ns = context.now_ns;
        let Some(runs) = context.channel::<Runs>(self.channel) else { return Step::Next };
        let Some(run) = runs.of(entry.labels.hash()) else { return Step::Next };
        if !run.is_held() {
            run.first.copy_from(entry);
            (run.lines, run.last_ns, run.came_ns, run.is_due) = (1, entry.timestamp_ns, now_ns, false);
            return Step::Held;
        }
        let is_late = entry.logged_ns.saturating_sub(run.first.logged_ns) > self.window_ns;
        if is_late || run.first.metadata != entry.metadata || !is_same(&run.first.line, &entry.line) {
            run.is_due = true;
            return Step::Release;
        }
        run.lines += 1;
        run.last_ns = entry.timestamp_ns;
        context.repeated += 1;
        Step::Held
    }

    fn release(&mut self, entry: &mut Entry, context: &mut Context<'_>, which: Which) -> bool {
        let (now_ns, window_ns) = (context.now_ns, self.window_ns);
        let Some(runs) = context.channel::<Runs>(self.channel) else { return false };
        let is_due = |run: &Run| match which {
            Which::Marked => run.is_due,
            Which::Late => run.is_due || run.came_ns.saturating_add(window_ns) <= now_ns,
            Which::All => true,
            Which::Reports => false,
        };
        // In the order in which they were written.
        let due = runs.runs.iter_mut().filter(|run| run.is_held() && is_due(run)).min_by_key(|run| run.first.at);
        let Some(run) = due else { return false };
        std::mem::swap(entry, &mut run.first);
        keep_if_small(&mut run.first.line);
        if run.lines > 1 {
            entry.metadata.set("repeated", &run.lines.to_string());
            entry.metadata.set("first", &rfc3339(entry.timestamp_ns));
            entry.metadata.set("last", &rfc3339(run.last_ns));
        }
        (run.lines, run.is_due) = (0, false);
        true
    }
}

impl Runs {
    /// The run of a stream: its own, a new one, or that of a stream that holds nothing back and is the oldest.
    fn of(&mut self, labels: u64) -> Option<&mut Run> {
        let place = match self.runs.iter().position(|run| run.labels == labels) {
            Some(place) => return self.runs.get_mut(place),
            None if self.runs.len() < RUNS_MAX => {
                self.runs.push(Run::default());
                self.runs.len() - 1
            }
            None => {
                let free = self.runs.iter().enumerate().filter(|(_, run)| !run.is_held());
                free.min_by_key(|(_, run)| run.came_ns)?.0
            }
        };
        let run = &mut self.runs[place];
        run.labels = labels;
        Some(run)
    }
}

/// A time in nanoseconds since 1970.
pub(super) fn rfc3339(time_ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(time_ns.into()).map(|time| time.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Pairs, Pipeline, State, Verdict, stage::Origin};
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    struct Rig {
        pipeline: Pipeline,
        state: State,
        out: Vec<String>,
        lines: u64,
    }

    impl Rig {
        fn new() -> Self {
            let pipeline = Pipeline::compile(&[]).unwrap().with_dedupe(Duration::from_secs(10));
            let state = pipeline.new_state(Origin::default());
            Self { pipeline, state, out: Vec::new(), lines: 0 }
        }

        fn line(&mut self, second: i64, app: &str, line: &str) -> Verdict {
            self.lines += 1;
            let now = second * SECOND;
            let mut entry = Entry {
                at: (1, self.lines),
                logged_ns: now,
                timestamp_ns: now,
                labels: Pairs::from_iter([("app", app)]),
                line: line.into(),
                ..Entry::default()
            };
            let out = &mut self.out;
            self.pipeline.process(&mut self.state, &mut entry, now, &mut |entry| out.push(shown(entry))).verdict
        }

        fn tick(&mut self, second: i64) {
            let out = &mut self.out;
            self.pipeline.tick(&mut self.state, second * SECOND, &mut |entry| out.push(shown(entry)));
        }
    }

    fn shown(entry: &Entry) -> String {
        let metadata: Vec<String> = entry.metadata.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{}@{} {}", String::from_utf8_lossy(&entry.line), entry.timestamp_ns / SECOND, metadata.join(","))
    }

    #[test]
    fn equal_lines_in_a_row_are_one_entry_with_their_number_and_times() {
        let mut rig = Rig::new();
        for (second, line) in [(1, "a"), (2, "b 10:00:02"), (3, "b 10:00:03"), (4, "b 10:00:04"), (5, "a")] {
            assert_eq!(rig.line(second, "web", line), Verdict::Held);
        }
        let times = "first=1970-01-01T00:00:02Z,last=1970-01-01T00:00:04Z,repeated=3";
        assert_eq!(rig.out, ["a@1 ".to_owned(), format!("b 10:00:02@2 {times}")]);
        assert_eq!(rig.pipeline.take_repeated(), 2);
        assert_eq!(
            (rig.state.held_from(), rig.state.held_bytes() > 0, rig.state.due_ns()),
            (Some((1, 5)), true, Some(15 * SECOND))
        );
    }

    #[test]
    fn a_run_ends_with_its_window_by_the_logs_clock_and_by_the_nodes() {
        let mut rig = Rig::new();
        for second in [0, 5, 10, 11] {
            rig.line(second, "web", "a");
        }
        assert_eq!(rig.out.len(), 1);
        assert!(rig.out[0].ends_with("repeated=3"), "{}", rig.out[0]);
        rig.tick(20);
        assert_eq!(rig.out.len(), 1);
        rig.tick(21);
        assert_eq!((rig.out.len(), rig.out[1].as_str(), rig.state.held_from()), (2, "a@11 ", None));
    }

    #[test]
    fn lines_of_several_streams_by_turns_are_each_in_a_row() {
        let mut rig = Rig::new();
        for second in 0..6 {
            rig.line(second, if second % 2 == 0 { "web" } else { "db" }, "a");
        }
        assert_eq!((rig.out.len(), rig.state.held_from()), (0, Some((1, 1))));
        rig.pipeline.finish(&mut rig.state, 0, &mut |entry| rig.out.push(shown(entry)));
        assert_eq!(rig.out.len(), 2);
        assert!(rig.out.iter().all(|entry| entry.ends_with("repeated=3")), "{:?}", rig.out);
    }
}
