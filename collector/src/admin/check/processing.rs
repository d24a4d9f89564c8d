//! What is done with lines behind the stages, in sentences.

use crate::config::{Budget, BudgetAction, Config, Rate};

/// One for each thing that is on.
pub(super) fn sentences(config: &Config) -> Vec<String> {
    let mut sentences = Vec::new();
    if config.levels {
        sentences.push(
            "The level of each line is sent as the structured metadata detected_level, which Loki keeps where its schema is v13; \
             pilcrow_lines_total counts lines by level."
                .to_owned(),
        );
    }
    if !config.dedupe.window.0.is_zero() {
        let window = config.dedupe.window;
        sentences.push(format!(
            "Equal lines of a stream that follow each other within {window} become one entry; the last line of a stream is sent up to \
             {window} late."
        ));
    }
    sentences.extend(config.budgets.iter().map(budget));
    if !config.kubernetes.annotations.allow.is_empty() {
        let allowed = config.kubernetes.annotations.allow.iter().map(|key| format!("pilcrow.dev/{}", key.name()));
        let allowed = allowed.collect::<Vec<_>>().join(", ");
        sentences.push(format!("Pods may change what becomes of their lines by the annotations {allowed}."));
    }
    sentences
}

fn budget(budget: &Budget) -> String {
    let Budget { selector, rate, burst, action, keep_levels } = budget;
    let rate = rate.unwrap_or(Rate::Unlimited);
    let more = match action {
        BudgetAction::Wait => "waits on the disk",
        BudgetAction::Sample => "is sampled",
        BudgetAction::Drop => "is dropped",
    };
    let kept = match &keep_levels[..] {
        [] => String::new(),
        levels => format!(", but for lines of the levels {}", levels.join(", ")),
    };
    format!("Each container of {selector} may send {rate} a second, {burst} at once; more {more}{kept}.")
}
