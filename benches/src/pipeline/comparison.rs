//! Several collectors, or several settings of one, side by side: a row for each.

use serde::Serialize;

use super::report::{Figures, mib};
use crate::docs::row;

/// What one of them took in the scenarios that were run.
#[derive(Debug, Serialize)]
pub struct Compared {
    /// Which one.
    pub name: String,
    /// One for each scenario.
    pub figures: Vec<Figures>,
}

/// A column: its head, the scenario that it is of, and what of that scenario's figures.
struct Column(&'static str, &'static str, fn(&Figures) -> Option<String>);

const COLUMNS: [Column; 15] =
    [
        Column("CPU-s per million lines, backlog", "backlog", |f| two(f.cpu_per_million_lines(f.cpu_s))),
        Column("lines/s, backlog", "backlog", |f| Some(format!("{:.0}", f.lines as f64 / f.seconds))),
        Column("peak MiB, backlog", "backlog", |f| Some(format!("{:.0}", mib(f.memory.peak_bytes)))),
        Column("% of a core, steady", "steady", |f| two(Some(f.core_percent()))),
        Column("wake-ups/s, steady", "steady", |f| Some(format!("{:.0}", f.wakeups as f64 / f.seconds))),
        Column("system calls/s, steady", "steady", |f| {
            f.system_calls.map(|calls| format!("{:.0}", calls as f64 / f.seconds))
        }),
        Column("peak MiB, steady", "steady", |f| Some(format!("{:.0}", mib(f.memory.peak_bytes)))),
        Column("p50 / p99 ms, steady", "steady", |f| {
            f.latency.map(|latency| format!("{:.0} / {:.0}", latency.p50_ms, latency.p99_ms))
        }),
        Column("% of a core, rotating", "rotate", |f| two(Some(f.core_percent()))),
        Column("% of a core, idle", "idle", |f| two(Some(f.core_percent()))),
        Column("wake-ups/s, idle", "idle", |f| Some(format!("{:.1}", f.wakeups as f64 / f.seconds))),
        Column("CPU-s per million lines, stages: json", "stages: json", |f| two(f.cpu_per_million_lines(f.cpu_s))),
        Column("CPU-s per million lines, stages: regex", "stages: regex", |f| two(f.cpu_per_million_lines(f.cpu_s))),
        Column("CPU-s per million lines, stages: multiline", "stages: multiline", |f| {
            two(f.cpu_per_million_lines(f.cpu_s))
        }),
        Column("MiB, idle", "idle", |f| Some(format!("{:.0}", mib(f.memory.resident_bytes)))),
    ];

fn two(number: Option<f64>) -> Option<String> {
    number.map(|number| format!("{number:.2}"))
}

/// The table, without columns that no row has anything in.
pub fn markdown(all: &[Compared]) -> String {
    let cell = |compared: &Compared, Column(_, scenario, cell): &Column| {
        compared.figures.iter().find(|figures| figures.scenario == *scenario).and_then(cell)
    };
    let columns: Vec<_> =
        COLUMNS.iter().filter(|column| all.iter().any(|compared| cell(compared, column).is_some())).collect();
    let mut out = String::new();
    row(&mut out, "", columns.iter().map(|column| column.0.to_owned()));
    row(&mut out, "---", columns.iter().map(|_| "---:".to_owned()));
    for compared in all {
        row(
            &mut out,
            &compared.name,
            columns.iter().map(|column| cell(compared, column).unwrap_or_else(|| "-".into())),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_collector_has_a_row_and_each_figure_of_a_scenario_that_was_run_a_column() {
        let all = ["one", "two"].map(|name| Compared {
            name: name.into(),
            figures: vec![Figures { cpu_s: 0.5, ..Figures::example("backlog") }],
        });
        let table = markdown(&all);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines[0], "|  | CPU-s per million lines, backlog | lines/s, backlog | peak MiB, backlog |");
        assert_eq!(lines[2..], ["| one | 0.50 | 500000 | 3 |", "| two | 0.50 | 500000 | 3 |"]);
    }
}
