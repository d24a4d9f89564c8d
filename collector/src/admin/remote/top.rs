//! `pilcrow top`: a live table of the units of the running program.
//!
//! In: `/api/v1/status` and `/api/v1/units`, each second. Out: a table that keys sort; one table and no more where standard
//! output is no terminal.

use std::{
    cmp::Ordering,
    io::{self, IsTerminal},
    thread,
    time::{Duration, Instant},
};

use super::{
    Remote, ago,
    screen::{Key, Screen},
    short,
    status::outage,
};
use crate::{
    admin::terminal::{Kind, OneLine, Paint, bytes, count},
    status::view::{Summary, UnitList, UnitRow, UnitState},
};

const REFRESH: Duration = Duration::from_secs(1);
/// Rates need two looks, so far apart.
const BETWEEN_LOOKS: Duration = Duration::from_millis(1100);
/// Of a reason, where names are long.
const REASON_COLUMNS: usize = 24;
/// A signal is looked for so often.
const KEY_WAIT: Duration = Duration::from_millis(250);

/// By what the rows are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Lines,
    Bytes,
    Lag,
    Errors,
    Name,
    State,
}

/// How the table is shown.
#[derive(Clone, Copy, Debug)]
struct Look {
    sort: Sort,
    reversed: bool,
    paint: Paint,
}

/// Shows the table until q or Ctrl-C.
///
/// # Errors
/// There is no answer, at the start or later.
pub fn run(remote: &Remote, colours: bool, out: &mut impl io::Write) -> anyhow::Result<()> {
    let mut look = Look { sort: Sort::Lines, reversed: false, paint: Paint { colours } };
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        let _: UnitList = remote.get("/api/v1/units")?;
        thread::sleep(BETWEEN_LOOKS);
        let (summary, units) = (remote.get("/api/v1/status")?, remote.get("/api/v1/units")?);
        for row in table(&summary, &units, look, usize::MAX, usize::MAX) {
            writeln!(out, "{row}")?;
        }
        return Ok(());
    }
    let (mut summary, mut units) = (remote.get("/api/v1/status")?, remote.get("/api/v1/units")?);
    let screen = Screen::open()?;
    let mut asked = Instant::now();
    loop {
        let (rows, columns) = screen.size();
        screen.draw(&table(&summary, &units, look, rows, columns))?;
        loop {
            match screen.key(KEY_WAIT)? {
                Key::Stop | Key::Char('q' | 'Q') => return Ok(()),
                Key::Char(key) if look.press(key) => break,
                Key::Char(_) | Key::None => {}
            }
            if asked.elapsed() >= REFRESH {
                asked = Instant::now();
                (summary, units) = (remote.get("/api/v1/status")?, remote.get("/api/v1/units")?);
                break;
            }
        }
    }
}

impl Look {
    /// Whether the key changes anything.
    fn press(&mut self, key: char) -> bool {
        let sort = match key {
            'l' => Sort::Lines,
            'b' => Sort::Bytes,
            'g' => Sort::Lag,
            'e' => Sort::Errors,
            'n' => Sort::Name,
            's' => Sort::State,
            'r' => {
                self.reversed = !self.reversed;
                return true;
            }
            _ => return false,
        };
        (self.sort, self.reversed) = (sort, false);
        true
    }

    fn order(self, a: &UnitRow, b: &UnitRow) -> Ordering {
        let rate = |rate: Option<f64>| rate.unwrap_or(0.0);
        let by = match self.sort {
            Sort::Lines => rate(b.lines_per_s).total_cmp(&rate(a.lines_per_s)).then(b.lines.cmp(&a.lines)),
            Sort::Bytes => rate(b.bytes_per_s).total_cmp(&rate(a.bytes_per_s)).then(b.bytes.cmp(&a.bytes)),
            Sort::Lag => b.lag_bytes.cmp(&a.lag_bytes),
            Sort::Errors => b.errors().cmp(&a.errors()),
            Sort::Name => Ordering::Equal,
            Sort::State => a.state.cmp(&b.state),
        };
        let names = |unit: &UnitRow| (unit.namespace.clone(), unit.pod.clone(), unit.container.clone());
        let by = by.then_with(|| names(a).cmp(&names(b)));
        if self.reversed { by.reverse() } else { by }
    }
}

/// The screen's rows, each at most this long.
fn table(summary: &Summary, units: &UnitList, look: Look, rows: usize, columns: usize) -> Vec<String> {
    let mut sorted: Vec<&UnitRow> = units.units.iter().collect();
    sorted.sort_by(|a, b| look.order(a, b));
    let paint = look.paint;
    let mut screen = head(summary, &sorted)
        .map(|row| cut(&OneLine(&row).to_string(), columns))
        .map(|row| paint.text(Kind::Aside, &row))
        .to_vec();
    if let Some(problem) = outage(summary).as_ref().or(summary.problems.first()) {
        screen.push(paint.text(Kind::Bad, &cut(&OneLine(problem).to_string(), columns)));
    }
    let name = |unit: &UnitRow| OneLine(&format!("{}/{}/{}", unit.namespace, unit.pod, unit.container)).to_string();
    let names: Vec<String> = sorted.iter().map(|unit| name(unit)).collect();
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    // The other columns, and as much of the reasons as tells them apart.
    let reasons = if sorted.iter().any(|unit| !unit.reason.is_empty()) { REASON_COLUMNS } else { 0 };
    let others = reasons + if summary.levels { 57 } else { 48 };
    let width = longest.clamp(9, columns.saturating_sub(others).max(20));
    // Where levels are not counted there is no such column.
    let errors = |text: &str| if summary.levels { format!(" {text:>8}") } else { String::new() };
    let title = format!(
        "{:width$} {:10} {:>8} {:>10} {:>10}{}  REASON",
        "CONTAINER",
        "STATE",
        "LINES/S",
        "BYTES/S",
        "LAG",
        errors("ERRORS")
    );
    screen.push(paint.text(Kind::Title, &cut(&title, columns)));
    // The last row has the keys.
    let room = rows.saturating_sub(screen.len() + 1);
    for (unit, name) in sorted.iter().zip(&names).take(room) {
        let rate = |rate: Option<f64>| rate.map_or("-".into(), short);
        let state = format!("{:?}", unit.state).to_lowercase();
        let bytes_rate = unit.bytes_per_s.map_or("-".into(), |rate| bytes(rate as u64));
        let row = format!(
            "{:width$} {state:10} {:>8} {bytes_rate:>10} {:>10}{}  {}",
            cut(name, width),
            rate(unit.lines_per_s),
            bytes(unit.lag_bytes),
            errors(&unit.errors().map_or("-".into(), |errors| errors.to_string())),
            OneLine(&unit.reason)
        );
        let row = cut(row.trim_end(), columns);
        screen.push(match unit.state {
            UnitState::Collecting => row,
            UnitState::Parked => paint.text(Kind::Bad, &row),
            _ => paint.text(Kind::Aside, &row),
        });
    }
    if rows != usize::MAX {
        let more = sorted.len().saturating_sub(room);
        let more = if more > 0 { format!("{more} more; ") } else { String::new() };
        let by_errors = if summary.levels { "  e errors" } else { "" };
        let keys = format!("{more}sort: l lines  b bytes  g lag{by_errors}  n name  s state; r reverse; q quit");
        screen.push(paint.text(Kind::Aside, &cut(&keys, columns)));
    }
    screen
}

fn head(summary: &Summary, units: &[&UnitRow]) -> [String; 2] {
    let Summary { version, node, started, now, loki, totals, notifier, reader, .. } = summary;
    let on = node.as_ref().map_or(String::new(), |node| format!(" on {node}"));
    let sum = |of: fn(&UnitRow) -> Option<f64>| units.iter().filter_map(|unit| of(unit)).sum::<f64>();
    let acknowledged = match loki.outage_since {
        Some(since) => format!("has taken nothing for {}", ago(now - since)),
        None => match loki.last_acknowledged {
            Some(at) => format!("acknowledged {} ago", ago(now - at)),
            None => "has acknowledged nothing yet".into(),
        },
    };
    [
        format!(
            "pilcrow {version}{on}, up {}; {} and {}; Loki {acknowledged}",
            ago(now - started),
            notifier.backend,
            if reader.backend.is_empty() { "-" } else { &reader.backend },
        ),
        format!(
            "{}; {} lines/s, {}/s; {} wait on the disk; {} dropped; {} of memory",
            count(units.len() as u64, "container", "containers"),
            short(sum(|unit| unit.lines_per_s)),
            bytes(sum(|unit| unit.bytes_per_s) as u64),
            bytes(units.iter().map(|unit| unit.lag_bytes).sum()),
            count(totals.lines_dropped, "line", "lines"),
            bytes(totals.memory_bytes),
        ),
    ]
}

fn cut(text: &str, columns: usize) -> String {
    match text.char_indices().nth(columns) {
        Some((end, _)) => text[..end].to_owned(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::view::{BackendRow, HistoryRow, LokiRow, Totals};

    fn unit(pod: &str, lines_per_s: Option<f64>, lag_bytes: u64, state: UnitState) -> UnitRow {
        UnitRow {
            id: "u1".into(),
            namespace: "shop".into(),
            pod: pod.into(),
            container: "web".into(),
            state,
            reason: if state == UnitState::Parked { "Loki does not take it".into() } else { String::new() },
            lines: 0,
            bytes: 0,
            lines_per_s,
            bytes_per_s: lines_per_s.map(|lines| lines * 1024.0),
            lag_bytes,
            levels: None,
        }
    }

    fn summary() -> Summary {
        Summary {
            version: "1".into(),
            node: Some("pi".into()),
            kernel: None,
            started: 0,
            now: 5000,
            notifier: BackendRow { backend: "inotify".into(), fallback_reason: String::new() },
            reader: BackendRow::default(),
            ready: true,
            problems: Vec::new(),
            notes: Vec::new(),
            loki: LokiRow { last_acknowledged: Some(3000), ..LokiRow::default() },
            units: None,
            totals: Totals::default(),
            history: HistoryRow::default(),
            tail: true,
            levels: false,
        }
    }

    fn rows(look: Look, rows: usize, columns: usize) -> Vec<String> {
        let units = vec![
            unit("quiet", Some(0.5), 5000, UnitState::Collecting),
            unit("busy\x1b[2J", Some(300.0), 0, UnitState::Collecting),
            unit("refused", None, 90, UnitState::Parked),
        ];
        table(&summary(), &UnitList { now: 5000, units }, look, rows, columns)
    }

    #[test]
    fn keys_sort_the_table_and_a_name_cannot_change_the_terminal() {
        let mut look = Look { sort: Sort::Lines, reversed: false, paint: Paint { colours: false } };
        let order =
            |look: Look| rows(look, usize::MAX, 200)[3..].iter().map(|row| row[5..9].to_owned()).collect::<Vec<_>>();
        assert_eq!(order(look), ["busy", "quie", "refu"]);
        for (key, sorted) in [
            ('g', ["quie", "refu", "busy"]),
            ('r', ["busy", "refu", "quie"]),
            ('n', ["busy", "quie", "refu"]),
            ('s', ["busy", "quie", "refu"]),
            ('b', ["busy", "quie", "refu"]),
        ] {
            assert!(look.press(key), "{key}");
            assert_eq!(order(look), sorted, "{key}");
        }
        assert!(!look.press('x'));
        let shown = rows(look, usize::MAX, 200).join("\n");
        assert!(
            shown.starts_with(
                "pilcrow 1 on pi, up 5 s; inotify and -; Loki acknowledged 2 s ago\n3 containers; 300 lines/s,"
            ),
            "{shown}"
        );
        assert!(
            !shown.contains('\x1b')
                && shown.contains("parked            -          -       90 B  Loki does not take it"),
            "{shown}"
        );
    }

    #[test]
    fn in_an_outage_the_reason_and_the_remedy_are_shown_and_what_waits_is_of_now() {
        let (last_answer, advice) = (Some("the connection to Loki is refused".into()), Some("is Loki running?".into()));
        let loki = LokiRow { outage_since: Some(2000), last_answer, advice, ..LokiRow::default() };
        let summary = Summary { problems: vec!["Loki has acknowledged nothing for 3 s".into()], loki, ..summary() };
        let units = vec![unit("a", None, 2000, UnitState::Collecting), unit("b", None, 3000, UnitState::Collecting)];
        let look = Look { sort: Sort::Lines, reversed: false, paint: Paint { colours: false } };
        let shown = table(&summary, &UnitList { now: 5000, units }, look, 10, 200);
        assert!(shown[0].ends_with("; Loki has taken nothing for 3 s"), "{shown:?}");
        assert!(shown[1].contains(" 4.9 KiB wait on the disk"), "{shown:?}");
        let why = "Loki has taken nothing for 3 s: the connection to Loki is refused; is Loki running?";
        assert_eq!(shown[2], why);
    }

    #[test]
    fn a_name_or_a_reason_stays_in_its_row_and_shows_its_direction() {
        let mut odd = unit("a\nb\t\u{202e}c", None, 0, UnitState::Parked);
        odd.reason = "one\ntwo\r\u{2067}".into();
        let list = UnitList { now: 5000, units: vec![odd] };
        let summary = Summary { problems: vec!["no\nlogs".into()], node: Some("pi\n1".into()), ..summary() };
        let look = Look { sort: Sort::Lines, reversed: false, paint: Paint { colours: false } };
        let shown = table(&summary, &list, look, usize::MAX, 200);
        assert_eq!(shown.len(), 5, "{shown:?}");
        assert!(shown.iter().all(|row| !row.contains(['\n', '\t', '\r', '\u{202e}', '\u{2067}'])), "{shown:?}");
        assert!(shown[4].starts_with("shop/a\\nb\\t\\u{202e}c/web "), "{shown:?}");
    }

    #[test]
    fn errors_are_shown_and_sorted_by_where_levels_are_counted() {
        let mut failing = unit("failing", None, 0, UnitState::Collecting);
        failing.levels =
            Some([("error", 5), ("fatal", 1), ("info", 70)].map(|(level, n)| (level.to_owned(), n)).into());
        let units = || vec![unit("quiet", Some(9.0), 0, UnitState::Collecting), failing.clone()];
        let mut look = Look { sort: Sort::Lines, reversed: false, paint: Paint { colours: false } };
        assert!(look.press('e'));
        let summary = Summary { levels: true, ..summary() };
        let shown = table(&summary, &UnitList { now: 5000, units: units() }, look, 10, 200);
        assert!(shown[2].contains(" ERRORS") && shown[5].contains("  e errors"), "{shown:?}");
        assert!(shown[3].starts_with("shop/failing/web") && shown[3].ends_with("        6"), "{shown:?}");
        assert!(shown[4].ends_with("        -"), "{shown:?}");
    }

    #[test]
    fn a_small_terminal_gets_what_fits_and_the_keys() {
        let look = Look { sort: Sort::Lines, reversed: false, paint: Paint { colours: true } };
        let shown = rows(look, 6, 30);
        assert_eq!(shown.len(), 6);
        assert!(shown[5].contains("1 more; sort: l lines"), "{shown:?}");
        let plain = rows(Look { paint: Paint { colours: false }, ..look }, 6, 30);
        assert!(plain.iter().all(|row| row.chars().count() <= 30), "{plain:?}");
    }
}
