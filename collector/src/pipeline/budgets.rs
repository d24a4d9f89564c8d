//! `budgets`: how much each container may send, and what becomes of more.
//!
//! In: entries behind all stages. Out: those that their container's budget has room for; of the others a reading that waits, a sample,
//! or nothing, and an entry for each period that says how many did not go on. Guarantees: `sample` and `drop` go by the clock of the
//! log, so that a backlog is judged as if it had been read when it was written; a sample is chosen by a hash of labels, time and
//! text. A container that begins, or whose lines are read again, has its whole burst. Bytes are those of texts.

use std::collections::HashMap;

use super::{
    bucket::Bucket,
    dedupe::rfc3339,
    entry::{Entry, Pairs, Position},
    extracted::LabelSlots,
    level::Level,
    levels::DETECTED_LEVEL,
    selector::Selector,
    stage::{Channel, Context, Origin, Stage, Step, Which},
    stages::sampling,
};

/// What did not go on is reported once in this time.
const PERIOD_NS: i64 = 60_000_000_000;

/// A bucket that was not used for this long, by the node's clock, is full or of a container that is gone.
const FORGET_AFTER_NS: i64 = 3600 * 1_000_000_000;
/// This many are kept before any is forgotten.
const BUCKETS: usize = 256;

/// A budget for each container that the selector chooses.
#[derive(Debug)]
pub struct Budget {
    /// Of containers, by their labels before the stages.
    pub selector: Selector,
    /// Bytes a second, more than 0.
    pub rate: u64,
    /// Bytes at once, more than 0.
    pub burst: u64,
    pub action: Action,
    /// Lines of these levels go on whatever the budget says.
    pub keep_levels: Vec<Level>,
}

/// What becomes of lines past the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The container is not read until there is room.
    Wait,
    /// Some of them go on.
    Sample,
    /// None of them goes on.
    Drop,
}

pub(super) struct Budgets {
    budgets: Vec<Budget>,
    /// By container.
    buckets: HashMap<u64, Kept>,
    /// The number of what it keeps for a channel.
    channel: usize,
    /// The number of the first of [`Self::REASONS`].
    first_reason: usize,
}

/// By the clock that the action goes by.
#[derive(Debug, Default)]
struct Kept {
    bucket: Bucket,
    used_ns: i64,
}

/// What is kept for a channel that has a budget.
struct Account {
    /// Its index; `None`: no budget is for it.
    budget: Option<usize>,
    container: u64,
    /// It had a line.
    has_begun: bool,
    missing: Missing,
}

/// Lines of one period that did not go on.
#[derive(Debug, Default)]
struct Missing {
    /// Which, by the clock of the log.
    period: i64,
    lines: u64,
    bytes: u64,
    first_ns: i64,
    last_ns: i64,
    /// When the first one came, by the node's clock.
    came_ns: i64,
    /// Of the last one: the position does not pass it before it is reported.
    at: Position,
    logged_ns: i64,
    /// Of the first one: the report goes there.
    labels: Pairs,
    is_due: bool,
}

impl Channel for Account {
    fn held_from(&self) -> Option<Position> {
        (self.missing.lines > 0).then_some(self.missing.at)
    }

    fn due_ns(&self) -> Option<i64> {
        (self.missing.lines > 0).then(|| self.missing.came_ns.saturating_add(PERIOD_NS))
    }

    fn take_origin(&mut self, fresh: &mut dyn Channel) {
        let fresh: &mut dyn std::any::Any = fresh;
        if let Some(fresh) = fresh.downcast_mut::<Self>() {
            self.budget = fresh.budget;
        }
    }
}

impl Budgets {
    /// Why lines did not go on, as metrics have it: by `drop`, by `sample`.
    pub const REASONS: [&'static str; 2] = ["budget_drop", "budget_sample"];

    pub fn new(budgets: Vec<Budget>, channel: usize, first_reason: usize) -> Self {
        Self { budgets, buckets: HashMap::new(), channel, first_reason }
    }

    /// Forgets the buckets of containers that are gone.
    fn forget_unused(&mut self, now_ns: i64) {
        if self.buckets.len() >= BUCKETS {
            self.buckets.retain(|_, bucket| now_ns.saturating_sub(bucket.used_ns) < FORGET_AFTER_NS);
        }
    }
}

impl Stage for Budgets {
    fn channel(&self, origin: Origin<'_>) -> Option<Box<dyn Channel>> {
        let budget = self.budgets.iter().position(|budget| budget.selector.chooses(origin.labels));
        let (container, missing) = (origin.container, Missing::default());
        Some(Box::new(Account { budget, container, has_begun: false, missing }))
    }

    fn run(&mut self, entry: &mut Entry, context: &mut Context<'_>) -> Step {
        let now_ns = context.now_ns;
        let Some(account) = context.channel::<Account>(self.channel) else { return Step::Next };
        let Some(budget) = account.budget.and_then(|index| self.budgets.get(index)) else { return Step::Next };
        let is_over = account.missing.lines > 0 && account.missing.period != period(entry.logged_ns);
        if is_over {
            account.missing.is_due = true;
            return Step::Release;
        }
        let clock_ns = if budget.action == Action::Wait { now_ns } else { entry.logged_ns };
        let Kept { bucket, used_ns } = self.buckets.entry(account.container).or_default();
        if !account.has_begun && budget.action != Action::Wait {
            // What goes back on the clock of the log is read again.
            *bucket = Bucket::default();
        }
        bucket.fill(budget.rate as f64, budget.burst as f64, clock_ns);
        *used_ns = now_ns;
        let begins = !std::mem::replace(&mut account.has_begun, true);
        let bytes = entry.line.len() as f64;
        let step = if budget.action == Action::Wait {
            bucket.take_in_advance(bytes, budget.rate as f64, now_ns, &mut context.wait_until_ns);
            Step::Next
        } else if budget.lets_pass(bucket.tokens, entry) {
            bucket.tokens -= bytes;
            Step::Next
        } else if budget.keep_levels.contains(&entry.level) {
            bucket.tokens = bucket.tokens.min(0.0);
            Step::Next
        } else {
            account.missing.add(entry, now_ns);
            Step::Drop(self.first_reason + usize::from(budget.action == Action::Sample))
        };
        if begins {
            self.forget_unused(now_ns);
        }
        step
    }

    fn release(&mut self, entry: &mut Entry, context: &mut Context<'_>, which: Which) -> bool {
        let (now_ns, sorted) = (context.now_ns, context.sorted);
        let Some(account) = context.channel::<Account>(self.channel) else { return false };
        let missing = &mut account.missing;
        let is_due = match which {
            Which::Marked => missing.is_due,
            Which::Late => missing.is_due || missing.came_ns.saturating_add(PERIOD_NS) <= now_ns,
            Which::All | Which::Reports => true,
        };
        if missing.lines == 0 || !is_due {
            return false;
        }
        let budget = account.budget.and_then(|index| Some((index, self.budgets.get(index)?)));
        missing.report(budget, entry);
        entry.extracted.begin(sorted, &entry.labels, &mut LabelSlots::default());
        (missing.lines, missing.bytes, missing.is_due) = (0, 0, false);
        true
    }
}

impl Budget {
    /// Whether a line goes on by itself.
    fn lets_pass(&self, tokens: f64, entry: &Entry) -> bool {
        let burst = self.burst as f64;
        match self.action {
            Action::Wait => true,
            // A line that is longer than the whole burst needs all of it.
            Action::Drop => tokens >= burst.min(entry.line.len() as f64),
            // The emptier the bucket, the fewer: what goes on is spread over the whole time, and its rate is the budget's.
            Action::Sample => {
                let share = tokens / (burst / 2.0);
                share >= 1.0 || sampling::is_kept(entry, share)
            }
        }
    }
}

impl Missing {
    fn add(&mut self, entry: &Entry, now_ns: i64) {
        if self.lines == 0 {
            self.labels.copy_from(&entry.labels);
            (self.period, self.came_ns, self.first_ns) = (period(entry.logged_ns), now_ns, entry.timestamp_ns);
        }
        self.lines += 1;
        self.bytes += entry.line.len() as u64;
        (self.last_ns, self.logged_ns, self.at) = (entry.timestamp_ns, entry.logged_ns, entry.at);
    }

    /// Makes an entry that says what is missing.
    fn report(&self, budget: Option<(usize, &Budget)>, entry: &mut Entry) {
        use std::fmt::Write;
        let Self { lines, bytes, .. } = self;
        entry.at = self.at;
        (entry.logged_ns, entry.timestamp_ns) = (self.logged_ns, self.last_ns);
        entry.level = Level::Warn;
        entry.labels.copy_from(&self.labels);
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = write!(text, "pilcrow: {lines} lines ({bytes} bytes) of this container are not here");
        if let Some((index, budget)) = budget {
            let rate = budget.rate;
            let _ = write!(text, ": it wrote more than the {rate} bytes a second that budgets[{index}] allows");
        }
        entry.line.clear();
        entry.line.extend_from_slice(text.as_bytes());
        entry.metadata.clear();
        let sampled = budget.is_some_and(|(_, budget)| budget.action == Action::Sample);
        for (name, value) in [
            (DETECTED_LEVEL, "warn"),
            ("pilcrow_budget", if sampled { "sample" } else { "drop" }),
            ("dropped_lines", &lines.to_string()),
            ("dropped_bytes", &bytes.to_string()),
            ("first", &rfc3339(self.first_ns)),
            ("last", &rfc3339(self.last_ns)),
        ] {
            entry.metadata.set(name, value);
        }
    }
}

fn period(logged_ns: i64) -> i64 {
    logged_ns.div_euclid(PERIOD_NS)
}

#[cfg(test)]
mod tests;
