//! `pilcrow_lines_total`: lines by namespace, app and level; and the same for each channel.
//!
//! In: for each channel its namespace and app, once; for each line its level. Out: a family of counters, at each scrape. Guarantees: a
//! line costs two additions; no more than [`ROWS_MAX`] pairs of namespace and app are shown, the others as one row. A pair that no
//! channel has any more makes room for a new one. One thread counts.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
};

use super::{level::Level, stage::Channel};

/// Pairs of namespace and app that are shown by name.
const ROWS_MAX: usize = 200;
/// Stands for the others.
const OTHERS: &str = "(others)";

const NAME: &str = "pilcrow_lines";
const HELP: &str =
    "Lines behind the stages by namespace, app and level, where levels is true; (others): of further apps.";

/// All rows; clones are the same ones.
#[derive(Clone, Debug, Default)]
pub struct LineCounts(Arc<Mutex<Table>>);

/// The counters of a namespace and app, one for each level.
#[derive(Clone, Debug, Default)]
pub struct Row(Arc<[AtomicU64; Level::ALL.len()]>);

/// The counters of a channel, and those of its namespace and app.
#[derive(Debug)]
pub struct ChannelCounts {
    row: Row,
    levels: LevelCounts,
}

/// Lines by level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelCounts([u64; Level::ALL.len()]);

#[derive(Debug, Default)]
struct Table {
    /// By namespace and app.
    rows: HashMap<(Box<str>, Box<str>), Row>,
    others: Row,
}

impl LineCounts {
    /// The row of a namespace and app; an empty one where there is none.
    #[must_use]
    pub fn row(&self, namespace: &str, app: &str) -> Row {
        let mut table = self.lock();
        let key = (namespace.into(), app.into());
        if let Some(row) = table.rows.get(&key) {
            return row.clone();
        }
        if table.rows.len() >= ROWS_MAX {
            table.rows.retain(|_, row| Arc::strong_count(&row.0) > 1);
        }
        if table.rows.len() >= ROWS_MAX {
            return table.others.clone();
        }
        table.rows.entry(key).or_default().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Row {
    /// Counts a line.
    pub fn count(&self, level: Level) {
        let counter = &self.0[level as usize];
        // As one thread counts, there is no need for an addition that others cannot come between.
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// The levels that lines had, with how many.
    fn counts(&self) -> impl Iterator<Item = (Level, u64)> {
        let counts = Level::ALL.into_iter().map(|level| (level, self.0[level as usize].load(Ordering::Relaxed)));
        counts.filter(|(_, lines)| *lines > 0)
    }
}

impl ChannelCounts {
    /// A channel of which no line was counted yet.
    #[must_use]
    pub fn new(row: Row) -> Self {
        Self { row, levels: LevelCounts::default() }
    }

    /// Counts a line.
    pub fn count(&mut self, level: Level) {
        self.row.count(level);
        self.levels.0[level as usize] += 1;
    }

    /// What was counted of the channel.
    #[must_use]
    pub fn levels(&self) -> &LevelCounts {
        &self.levels
    }
}

impl LevelCounts {
    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, lines)| *sum += lines);
    }

    /// The levels that lines had, with how many.
    pub fn iter(&self) -> impl Iterator<Item = (Level, u64)> {
        Level::ALL.into_iter().zip(self.0).filter(|(_, lines)| *lines > 0)
    }
}

impl Channel for ChannelCounts {
    /// The channel's own counts go on.
    fn take_origin(&mut self, fresh: &mut dyn Channel) {
        let fresh: &mut dyn std::any::Any = fresh;
        if let Some(fresh) = fresh.downcast_mut::<Self>() {
            std::mem::swap(&mut self.row, &mut fresh.row);
        }
    }
}

impl Collector for LineCounts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let table = self.lock();
        let named = table.rows.iter().map(|((namespace, app), row)| ((&**namespace, &**app), row));
        let mut counts = named
            .chain([((OTHERS, OTHERS), &table.others)])
            .flat_map(|(names, row)| row.counts().map(move |(level, lines)| (names, level, lines)));
        let Some(first) = counts.next() else { return Ok(()) };
        let mut family = encoder.encode_descriptor(NAME, HELP, None, MetricType::Counter)?;
        for ((namespace, app), level, lines) in [first].into_iter().chain(counts) {
            let labels = [("namespace", namespace), ("app", app), ("level", level.name())];
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&lines, None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{
        Metrics,
        exposition::{Format, encode},
    };

    fn scrape(counts: &LineCounts) -> Vec<String> {
        let mut all = Metrics::new();
        all.collect(Box::new(counts.clone()));
        let text = encode(all.registry(), Format::Prometheus).unwrap();
        let mut lines: Vec<_> =
            text.lines().filter(|line| line.starts_with("pilcrow_lines_total")).map(str::to_owned).collect();
        lines.sort();
        lines
    }

    #[test]
    fn lines_are_shown_by_namespace_app_and_level_once_there_are_some() {
        let counts = LineCounts::default();
        assert_eq!(scrape(&counts), [""; 0]);
        let (web, again, unnamed) = (counts.row("shop", "web"), counts.row("shop", "web"), counts.row("shop", ""));
        web.count(Level::Error);
        again.count(Level::Error);
        web.count(Level::Info);
        unnamed.count(Level::Unknown);
        assert_eq!(
            scrape(&counts),
            [
                "pilcrow_lines_total{namespace=\"shop\",app=\"\",level=\"unknown\"} 1",
                "pilcrow_lines_total{namespace=\"shop\",app=\"web\",level=\"error\"} 2",
                "pilcrow_lines_total{namespace=\"shop\",app=\"web\",level=\"info\"} 1",
            ]
        );
    }

    #[test]
    fn past_the_bound_apps_are_one_row_until_others_are_gone() {
        let counts = LineCounts::default();
        let rows: Vec<Row> = (0..ROWS_MAX + 5).map(|app| counts.row("shop", &app.to_string())).collect();
        rows.iter().for_each(|row| row.count(Level::Info));
        assert_eq!(scrape(&counts).len(), ROWS_MAX + 1);
        let others = "pilcrow_lines_total{namespace=\"(others)\",app=\"(others)\",level=\"info\"} 5";
        assert!(scrape(&counts).iter().any(|line| line == others), "{:?}", scrape(&counts));
        drop(rows);
        counts.row("shop", "new").count(Level::Info);
        assert!(scrape(&counts).iter().any(|line| line.contains("app=\"new\"")));
        assert_eq!(scrape(&counts).len(), 2);
    }
}
