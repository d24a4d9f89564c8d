//! What the status page, `top`, `status` and `tail` show: one view of the program.
//!
//! In: what the parts count anyway, and answers of the reader thread. Out: rows, to be sent as JSON (docs/status.md). Guarantees
//! that nothing is computed or copied while nobody asks, but for one sample of the totals at each beat of the sender side. Knows no
//! HTTP, and of the parts only what they tell.

mod queries;
mod rates;
mod rows;
mod summary;
mod tap;
mod totals;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use self::rates::Rates;
pub use self::{
    queries::{Busy, Query, QueryReceiver, QuerySender, channel},
    rows::{
        Detail, FileRow, Refusal, RuleRow, Seen, StageRow, States, StreamRow, UnitList, UnitPage, UnitRow, UnitState,
        unit_name, unit_of,
    },
    summary::{BackendRow, HistoryRow, LokiRow, Summary},
    tap::{Allowance, ShownLine, TailRow, TapBuffer, TapLine, TapSpec, TapUnit, is_pod},
    totals::{Counted, History, STEP, Totals},
};
use super::{Health, process};
use crate::{
    config::Config,
    model::{UnitId, now_ms},
};

/// See the module.
pub struct View {
    facts: Facts,
    health: Arc<Health>,
    counted: Arc<dyn Counted>,
    queries: QuerySender,
    history: Mutex<History>,
    rates: Mutex<Rates>,
}

/// What does not change while the program runs.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Milliseconds since 1970.
    pub started: i64,
    pub node: Option<String>,
    /// Loki's address, without credentials.
    pub loki: String,
    /// `levels` of the configuration.
    pub levels: bool,
    /// `http.tail`: lines may be shown to anybody who can connect.
    pub tail: bool,
    /// How the growth of files is detected.
    pub notifier: BackendRow,
}

impl Facts {
    /// Those that the configuration has.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let node = &config.kubernetes.node_name;
        Self {
            started: now_ms(),
            node: (!node.is_empty()).then(|| node.clone()),
            loki: without_user(&config.loki.url),
            levels: config.levels,
            tail: config.http.tail,
            notifier: BackendRow::default(),
        }
    }
}

impl View {
    #[must_use]
    pub fn new(facts: Facts, health: Arc<Health>, counted: Arc<dyn Counted>, queries: QuerySender) -> Self {
        Self { facts, health, counted, queries, history: Mutex::default(), rates: Mutex::default() }
    }

    /// Whether lines may be shown to peers that are not of this machine.
    #[must_use]
    pub fn tails_for_all(&self) -> bool {
        self.facts.tail
    }

    /// Takes a sample of the totals, and frees what nobody has asked for lately. To be called every [`STEP`].
    pub fn beat(&self) {
        let now = Instant::now();
        lock(&self.history).add(self.totals(), now);
        lock(&self.rates).forget_old(now);
    }

    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals {
            cpu_seconds: process::cpu_time().as_secs_f64(),
            memory_bytes: process::resident_bytes().unwrap_or(0),
            ..self.counted.totals()
        }
    }

    /// Channels that Loki refuses or that wait for their rate.
    #[must_use]
    pub fn parked_streams(&self) -> u64 {
        self.counted.parked_streams()
    }

    /// The whole node. `tail`: whether the peer may see lines.
    pub async fn summary(&self, tail: bool) -> Summary {
        let states = self.queries.states().await.ok();
        let mut totals = self.totals();
        if let Some(states) = &states {
            totals.lag_bytes = states.lag_bytes;
        }
        let Facts { started, node, loki, levels, notifier, .. } = self.facts.clone();
        let (not_ready, not_healthy) = (self.health.not_ready(), self.health.not_healthy());
        let pushes = self.health.pushes();
        let (last_answer, last_answer_at) = pushes.last_answer().unzip();
        let (backend, fallback_reason) = self.counted.reader().unwrap_or_default();
        Summary {
            version: env!("CARGO_PKG_VERSION").into(),
            node,
            kernel: Some(rustix::system::uname().release().to_string_lossy().into_owned()),
            started,
            now: now_ms(),
            notifier,
            reader: BackendRow { backend, fallback_reason },
            ready: not_ready.is_empty(),
            problems: [not_ready, not_healthy].concat(),
            notes: self.health.notes(),
            loki: LokiRow {
                url: loki,
                last_acknowledged: pushes.last_acknowledged(),
                last_answer,
                last_answer_at,
                advice: pushes.advice(),
                outage_since: pushes.outage_since(),
                waiting_bytes: self.counted.waiting_bytes(),
                parked_streams: self.counted.parked_streams(),
            },
            units: states.map(|states| states.units),
            totals,
            history: lock(&self.history).row(),
            tail,
            levels,
        }
    }

    /// All units, by name.
    ///
    /// # Errors
    /// The reader is busy.
    pub async fn units(&self) -> Result<UnitList, Busy> {
        let seen = self.queries.units().await?;
        let now = Instant::now();
        let mut rates = lock(&self.rates);
        rates.look(&seen, now);
        let mut units: Vec<UnitRow> = seen.into_iter().map(|unit| self.row(unit, &rates, now)).collect();
        drop(rates);
        units.sort_by(|a, b| (&a.namespace, &a.pod, &a.container).cmp(&(&b.namespace, &b.pod, &b.container)));
        Ok(UnitList { now: now_ms(), units })
    }

    /// One unit; `None`: there is none of this number.
    ///
    /// # Errors
    /// The reader is busy.
    pub async fn unit(&self, id: UnitId) -> Result<Option<UnitPage>, Busy> {
        let Some((seen, detail)) = self.queries.unit(id).await? else { return Ok(None) };
        let row = self.row(seen, &lock(&self.rates), Instant::now());
        Ok(Some(UnitPage { row, detail, last_refusal: self.health.pushes().last_refusal(id) }))
    }

    /// Begins to show lines to a viewer, for as long as it keeps the buffer of `spec`; `false`: the unit that it names is not there.
    ///
    /// # Errors
    /// The reader is busy.
    pub async fn tap(&self, spec: TapSpec) -> Result<bool, Busy> {
        self.queries.tap(spec).await
    }

    fn row(&self, unit: Seen, rates: &Rates, now: Instant) -> UnitRow {
        let (lines_per_s, bytes_per_s) = rates.of(&unit, now).unzip();
        let Seen { id, namespace, pod, container, state, mut reason, levels, lines, bytes, lag_bytes } = unit;
        if state == UnitState::Parked
            && let Some(why) = self.health.pushes().why_parked(id)
        {
            reason = format!("{reason}: {why}");
        }
        let by_name = || levels.into_iter().map(|(level, lines)| (level.to_owned(), lines)).collect();
        let (id, levels) = (unit_name(id), self.facts.levels.then(by_name));
        UnitRow {
            id,
            namespace,
            pod,
            container,
            state,
            reason,
            lines,
            bytes,
            lines_per_s,
            bytes_per_s,
            lag_bytes,
            levels,
        }
    }
}

/// A URL without the user name and password that may stand in it.
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.trim().split_once("://") else { return url.trim().to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_of_a_url_is_not_shown() {
        assert_eq!(without_user("https://me:secret@loki.example/x?y=1"), "https://loki.example/x?y=1");
        assert_eq!(without_user(" http://loki:3100 "), "http://loki:3100");
    }
}
