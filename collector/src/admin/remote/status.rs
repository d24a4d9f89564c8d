//! `pilcrow status`: one screen about the running program; its exit code is its health.

use std::io;

use super::{Remote, ago};
use crate::{
    admin::terminal::{Kind, OneLine, Paint, bytes, count},
    status::view::{BackendRow, LokiRow, Summary, Totals, UnitState},
};

/// Writes one screen, or the JSON of `/api/v1/status` as it is.
///
/// # Errors
/// There is no answer, or the program is not ready or not healthy.
pub fn run(remote: &Remote, json: bool, colours: bool, out: &mut impl io::Write) -> anyhow::Result<()> {
    let text = remote.text("/api/v1/status")?;
    let summary: Summary = serde_json::from_str(&text)?;
    if json {
        writeln!(out, "{}", text.trim_end())?;
    } else {
        write(&summary, Paint { colours }, out)?;
    }
    anyhow::ensure!(summary.problems.is_empty(), "this Pilcrow is not ready or not healthy: see problem");
    Ok(())
}

fn write(summary: &Summary, paint: Paint, out: &mut impl io::Write) -> io::Result<()> {
    let Summary { version, node, kernel, started, now, .. } = summary;
    let verdict = match summary.problems.is_empty() {
        true => paint.text(Kind::Good, "ready"),
        false => paint.text(Kind::Bad, "not ready"),
    };
    let on = node.as_ref().map_or(String::new(), |node| format!(" on {node}"));
    let kernel = kernel.as_deref().unwrap_or("unknown");
    let painted = |kind, text: &str| paint.text(kind, &OneLine(text).to_string());
    let title = painted(Kind::Title, &format!("pilcrow {version}{on}"));
    writeln!(out, "{title}: {verdict}, up {}, kernel {}", ago(now - started), painted(Kind::Aside, kernel))?;
    for (name, value) in rows(summary) {
        writeln!(out, "  {name:9} {}", painted(Kind::Changed, &value))?;
    }
    if let Some(outage) = outage(summary) {
        writeln!(out, "  {}    {}", paint.text(Kind::Bad, "outage"), painted(Kind::Bad, &outage))?;
    }
    for problem in &summary.problems {
        writeln!(out, "  {}   {}", paint.text(Kind::Bad, "problem"), painted(Kind::Bad, problem))?;
    }
    for note in &summary.notes {
        writeln!(out, "  note      {}", painted(Kind::Aside, note))?;
    }
    Ok(())
}

fn rows(summary: &Summary) -> Vec<(&'static str, String)> {
    let Totals {
        lines_read, bytes_read, lines_acknowledged, lines_dropped, lag_bytes, cpu_seconds, memory_bytes, ..
    } = summary.totals;
    let mut rows = vec![
        ("watching", backend(&summary.notifier)),
        ("reading", backend(&summary.reader)),
        ("loki", loki(&summary.loki, summary.now)),
    ];
    if let Some(units) = &summary.units {
        let of = |state| units.get(&state).copied().unwrap_or(0);
        let mut text = format!("{} collecting", of(UnitState::Collecting));
        for (state, word) in [
            (UnitState::Waiting, "waiting"),
            (UnitState::Parked, "parked"),
            (UnitState::Excluded, "excluded"),
            (UnitState::Gone, "gone"),
        ] {
            if of(state) > 0 {
                text += &format!(", {} {word}", of(state));
            }
        }
        rows.push(("units", text));
    }
    let dropped = if lines_dropped > 0 { format!(", {lines_dropped} dropped") } else { String::new() };
    rows.push((
        "lines",
        format!(
            "{lines_read} read ({}), {lines_acknowledged} acknowledged{dropped}; {} wait on the disk",
            bytes(bytes_read),
            bytes(lag_bytes)
        ),
    ));
    rows.push(("costs", format!("{cpu_seconds:.1} s of CPU, {} of memory", bytes(memory_bytes))));
    rows
}

fn backend(row: &BackendRow) -> String {
    match row.fallback_reason.as_str() {
        "" => row.backend.clone(),
        why => format!("{}, as a fallback: {why}", row.backend),
    }
}

/// Since when nothing arrives, why, and what to do about it.
pub(super) fn outage(Summary { loki, now, .. }: &Summary) -> Option<String> {
    let lasts = ago(now - loki.outage_since?);
    let texts = [loki.last_answer.as_ref(), loki.advice.as_ref()].into_iter().flatten();
    let why = texts.cloned().collect::<Vec<_>>().join("; ");
    Some(format!("Loki has taken nothing for {lasts}: {why}"))
}

fn loki(loki: &LokiRow, now: i64) -> String {
    let mut text = loki.url.clone();
    text += &match loki.last_acknowledged {
        Some(at) => format!(", acknowledged lines {} ago", ago(now - at)),
        None => ", has acknowledged nothing yet".into(),
    };
    if loki.outage_since.is_none()
        && let (Some(answer), Some(at)) = (&loki.last_answer, loki.last_answer_at)
    {
        text += &format!(", last answer {answer} {} ago", ago(now - at));
    }
    if loki.waiting_bytes > 0 {
        text += &format!("; {} in flight", bytes(loki.waiting_bytes));
    }
    if loki.parked_streams > 0 {
        text += &format!("; {} parked", count(loki.parked_streams, "stream", "streams"));
    }
    text
}
