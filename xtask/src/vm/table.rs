//! The machines' results, for people.
//!
//! In: the outcomes. Out: one line a scenario as it ends, and at the end a table of kernels, as docs/kernels.md has it.

use guest::Collected;

use super::Outcome;

/// One scenario that came to its end.
pub fn print_scenario(collected: &Collected) {
    let Collected { scenario, signal, reader, written, missing, sweep_finds, peak_bytes, .. } = collected;
    println!(
        "vm: {scenario}: signal {signal}, reader {reader}; {written} lines written, {missing} missing; found by the \
         sweep: {sweep_finds}; at most {} KiB",
        peak_bytes / 1024
    );
    if !collected.events.is_empty() {
        println!("      {}", collected.events);
    }
    for (what, reason) in [("signal", &collected.signal_reason), ("reader", &collected.reader_reason)] {
        if !reason.is_empty() {
            println!("      {what}: {reason}");
        }
    }
    for fault in &collected.faults {
        println!("      FAULT: {fault}");
    }
}

/// All kernels.
pub fn print(outcomes: &[(&str, anyhow::Result<Outcome>)]) -> anyhow::Result<()> {
    println!();
    println!("| kernel | page | scenario | signal | sees | reader | lines | result |");
    println!("| --- | --- | --- | --- | --- | --- | ---: | --- |");
    for (name, outcome) in outcomes {
        match outcome {
            Ok(outcome) => rows(name, outcome).iter().for_each(|row| println!("{row}")),
            Err(error) => println!("| {name} | | | | | | | FAILED: {error:#} |"),
        }
    }
    println!();
    for (name, outcome) in outcomes {
        if let Ok(outcome) = outcome {
            println!("{name}: {}; tests: {}", outcome.release, outcome.tests.counts());
        }
    }
    Ok(())
}

fn rows(name: &str, outcome: &Outcome) -> Vec<String> {
    let page = format!("{} KiB", outcome.page_bytes / 1024);
    let of_scenario = |collected: &Collected| {
        let Collected { scenario, signal, ways, reader, written, missing, faults, .. } = collected;
        let result = if faults.is_empty() { "all arrived".to_owned() } else { format!("FAILED, {missing} missing") };
        format!("| {name} | {page} | {scenario} | {signal} | {ways} | {reader} | {written} | {result} |")
    };
    let impossible = outcome.impossible.iter().map(|(scenario, reason)| {
        format!("| {name} | {page} | {} | | | | | not on this kernel: {reason} |", scenario.name())
    });
    outcome.collected.iter().map(of_scenario).chain(impossible).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_with_a_fault_is_a_failed_row() {
        let good = Collected { scenario: "as-is".into(), written: 5, ..Collected::default() };
        let bad = Collected { missing: 2, faults: vec!["two are missing".into()], ..good.clone() };
        let outcome =
            Outcome { release: "6.12".into(), page_bytes: 4096, collected: vec![good, bad], ..Outcome::default() };
        let rows = rows("arm64-6.12", &outcome);
        assert!(rows[0].ends_with("| 5 | all arrived |") && rows[1].ends_with("FAILED, 2 missing |"), "{rows:?}");
    }
}
