//! `pilcrow tail`: lines of a container as the running program reads or sends them.
//!
//! In: `[NAMESPACE/]POD[/CONTAINER]`. Out: a line for each, until the reader of standard output or the program goes.

use std::{
    io,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde::Deserialize;

use super::{Remote, encoded};
use crate::{
    admin::terminal::{Kind, OneLine, Paint, Printable, count, time},
    status::view::{TailRow, UnitList, UnitRow, UnitState, is_pod},
};

/// How often it is reported that lines were not shown.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// What is to be shown.
#[derive(Clone, Debug)]
pub struct Request {
    /// `[NAMESPACE/]POD[/CONTAINER]`; of a pod the beginning of its name is enough.
    pub target: String,
    pub raw: bool,
    pub grep: Option<String>,
    pub json: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Target<'t> {
    namespace: Option<&'t str>,
    pod: &'t str,
    /// `pod` is a whole name, not the beginning of one.
    is_whole: bool,
    container: Option<&'t str>,
}

/// Lines that were not shown, as Pilcrow tells them several times a second.
#[derive(Debug, Default)]
struct Missed {
    lines: u64,
    reported: Option<Instant>,
}

impl Missed {
    fn note(&mut self, lines: u64) {
        self.lines += lines;
    }

    /// How many there were since the last report, if it is time for one.
    fn due(&mut self, now: Instant) -> Option<u64> {
        let is_due = self.reported.is_none_or(|reported| now.saturating_duration_since(reported) >= REPORT_EVERY);
        if self.lines == 0 || !is_due {
            return None;
        }
        self.reported = Some(now);
        Some(std::mem::take(&mut self.lines))
    }
}

/// Writes lines until there is an error.
///
/// # Errors
/// There is no such container, no answer, or the answer breaks off.
pub fn run(remote: &Remote, request: &Request, colours: bool, out: &mut impl io::Write) -> anyhow::Result<()> {
    let units: UnitList = remote.get("/api/v1/units")?;
    let target = Target::of(&request.target, &units.units)?;
    let mut path =
        format!("/api/v1/tail?pod={}&mode={}", encoded(target.pod), if request.raw { "raw" } else { "processed" });
    let parameters =
        [("namespace", target.namespace), ("container", target.container), ("grep", request.grep.as_deref())];
    for (name, value) in parameters {
        if let Some(value) = value {
            path += &format!("&{name}={}", encoded(value));
        }
    }
    for unit in units.units.iter().filter(|unit| target.selects(unit)) {
        if let Some(why) = why_silent(unit) {
            eprintln!("pilcrow: {why}");
        }
    }
    let shows_container = units.units.iter().filter(|unit| target.selects(unit)).count() != 1;
    let (mut event, mut missed, paint) = (String::new(), Missed::default(), Paint { colours });
    for line in remote.lines(&path)? {
        let line = line.context("the connection broke")?;
        if let Some(name) = line.strip_prefix("event: ") {
            name.clone_into(&mut event);
        } else if let Some(data) = line.strip_prefix("data: ") {
            match (event.as_str(), request.json) {
                ("line", true) => writeln!(out, "{data}")?,
                ("line", false) => write(&serde_json::from_str(data)?, shows_container, paint, out)?,
                ("dropped", _) => {
                    #[derive(Deserialize)]
                    struct Dropped {
                        lines: u64,
                    }
                    missed.note(serde_json::from_str::<Dropped>(data)?.lines);
                }
                _ => {}
            }
            out.flush()?;
        }
        if let Some(lines) = missed.due(Instant::now()) {
            eprintln!(
                "pilcrow: {} not shown, as they came too fast; --grep selects some",
                count(lines, "line", "lines")
            );
        }
    }
    bail!("Pilcrow has ended")
}

/// Why no lines of a container may come, where Pilcrow knows.
fn why_silent(unit: &UnitRow) -> Option<String> {
    let UnitRow { namespace, pod, container, state, reason, .. } = unit;
    let what = match state {
        UnitState::Collecting => return None,
        UnitState::Excluded => "is excluded, so no lines come",
        UnitState::Waiting => "waits, so no lines come yet",
        UnitState::Parked => "is parked, so no lines come until Loki takes them",
        UnitState::Gone => "is gone",
    };
    Some(OneLine(&format!("{namespace}/{pod}/{container} {what}: {reason}")).to_string())
}

fn write(row: &TailRow, shows_container: bool, paint: Paint, out: &mut impl io::Write) -> io::Result<()> {
    let at = row.time_ns.parse().map_or_else(|_| row.time_ns.clone(), time);
    write!(out, "{} ", paint.text(Kind::Aside, &at))?;
    if shows_container {
        let name = OneLine(&format!("{}/{}/{}", row.namespace, row.pod, row.container)).to_string();
        write!(out, "{} ", paint.text(Kind::Title, &name))?;
    }
    let kind = if row.stream == "stderr" { Kind::Bad } else { Kind::Good };
    // What follows a newline within an entry cannot be taken for an entry of its own.
    let text = Printable(&row.text).to_string().replace('\n', "\n  ");
    writeln!(out, "{} {text}", paint.text(kind, &row.stream))?;
    if let Some(labels) = &row.labels {
        let metadata = row.metadata.iter().flatten().map(|(name, value)| format!(" {name}={value:?}"));
        let metadata: String = metadata.collect();
        writeln!(out, "  {}", paint.text(Kind::Aside, &OneLine(&format!("{labels}{metadata}")).to_string()))?;
    }
    Ok(())
}

impl<'t> Target<'t> {
    /// The first reading of the text that has a container: with two words, the first one is a namespace or a pod. A pod's whole name
    /// comes before the beginning of one.
    fn of(text: &'t str, units: &[UnitRow]) -> anyhow::Result<Self> {
        let of = |namespace, pod, container| Self { namespace, pod, is_whole: true, container };
        let mut readings = match text.split('/').collect::<Vec<_>>()[..] {
            [pod] => vec![of(None, pod, None)],
            [first, second] => vec![of(Some(first), second, None), of(None, first, Some(second))],
            [namespace, pod, container] => vec![of(Some(namespace), pod, Some(container))],
            _ => Vec::new(),
        };
        if readings.is_empty() || readings.iter().all(|reading| reading.pod.is_empty()) {
            bail!("expected [NAMESPACE/]POD[/CONTAINER], found {text:?}");
        }
        let beginnings: Vec<_> = readings.iter().map(|reading| Self { is_whole: false, ..*reading }).collect();
        readings.extend(beginnings);
        readings.retain(|reading| !reading.pod.is_empty());
        let found = readings.into_iter().find(|reading| units.iter().any(|unit| reading.selects(unit)));
        found.with_context(|| format!("no container of this node is {text}; `pilcrow top` lists all {}", units.len()))
    }

    fn selects(&self, unit: &UnitRow) -> bool {
        self.namespace.is_none_or(|namespace| namespace == unit.namespace)
            && is_pod(self.pod, &unit.pod, self.is_whole)
            && self.container.is_none_or(|container| container == unit.container)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(namespace: &str, pod: &str, container: &str) -> UnitRow {
        UnitRow {
            id: "u1".into(),
            namespace: namespace.into(),
            pod: pod.into(),
            container: container.into(),
            state: UnitState::Collecting,
            reason: String::new(),
            lines: 0,
            bytes: 0,
            lines_per_s: None,
            bytes_per_s: None,
            lag_bytes: 0,
            levels: None,
        }
    }

    #[test]
    fn two_words_are_a_namespace_with_a_pod_or_a_pod_with_a_container() {
        let units = [unit("shop", "web-1", "nginx"), unit("shop", "db-0", "postgres")];
        let of = |text| Target::of(text, &units).map_err(|error| error.to_string());
        let target = |namespace, pod, container| Ok(Target { namespace, pod, is_whole: false, container });
        assert_eq!(of("web"), target(None, "web", None));
        assert_eq!(of("shop/web"), target(Some("shop"), "web", None));
        assert_eq!(of("db/postgres"), target(None, "db", Some("postgres")));
        assert_eq!(of("shop/web-1/nginx").unwrap().container, Some("nginx"));
        assert_eq!(of("shop/cache"), Err("no container of this node is shop/cache; `pilcrow top` lists all 2".into()));
        for wrong in ["a/b/c/d", "", "shop/", "//nginx"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_pods_whole_name_comes_before_the_beginning_of_one() {
        let units = [unit("shop", "web-1", "nginx"), unit("shop", "web-10", "nginx"), unit("web-1", "db", "nginx")];
        let selected = |text: &str| {
            let target = Target::of(text, &units).unwrap();
            units.iter().filter(|unit| target.selects(unit)).map(|unit| &*unit.pod).collect::<Vec<_>>()
        };
        for text in ["web-1", "shop/web-1", "web-1/nginx", "shop/web-1/nginx"] {
            assert_eq!(selected(text), ["web-1"], "{text}");
        }
        assert_eq!(selected("web"), ["web-1", "web-10"]);
        assert_eq!(selected("web-1/d"), ["db"]);
    }

    #[test]
    fn a_container_of_which_no_lines_come_is_named_with_the_reason() {
        let mut silent = unit("shop", "web-1", "nginx");
        assert_eq!(why_silent(&silent), None);
        (silent.state, silent.reason) = (UnitState::Excluded, "kubernetes.namespaces.exclude names shop".into());
        let why = "shop/web-1/nginx is excluded, so no lines come: kubernetes.namespaces.exclude names shop";
        assert_eq!(why_silent(&silent).as_deref(), Some(why));
    }

    #[test]
    fn lines_that_are_not_shown_are_reported_at_once_and_then_every_few_seconds() {
        let (mut missed, start) = (Missed::default(), Instant::now());
        let at = |quarter: u64| start + Duration::from_millis(250 * quarter);
        let reports: Vec<_> = (0..60_u64)
            .filter_map(|quarter| {
                missed.note(10);
                missed.due(at(quarter))
            })
            .collect();
        assert_eq!(reports, [10, 200, 200]);
        assert_eq!((missed.due(at(80)), missed.due(at(120))), (Some(190), None));
    }

    #[test]
    fn a_line_is_shown_with_what_is_sent_and_cannot_change_the_terminal() {
        let [namespace, pod, container] = ["n", "p", "c"].map(str::to_owned);
        let row = TailRow {
            time_ns: "1767323045000000000".into(),
            unit: "u1".into(),
            namespace,
            pod,
            container,
            stream: "stderr".into(),
            labels: Some("{a=\"b\"}".into()),
            metadata: Some([("level".to_owned(), "warn".to_owned())].into()),
            text: "\x1b[2Jhi\n\u{202e}there".into(),
        };
        let mut out = Vec::new();
        write(&row, true, Paint { colours: false }, &mut out).unwrap();
        let shown = "2026-01-02T03:04:05Z n/p/c stderr \\u{1b}[2Jhi\n  \\u{202e}there\n  {a=\"b\"} level=\"warn\"\n";
        assert_eq!(String::from_utf8(out).unwrap(), shown);
    }
}
