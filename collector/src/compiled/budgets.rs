//! `budgets` and `dedupe`: what is wrong with them, and what stages are made of them.

use std::time::Duration;

use super::Problems;
use crate::{
    config::{self, BudgetAction, ByteSize, Config, HumanDuration, Origin, Problem, Rate},
    pipeline::{self, Level, Pipeline, Selector},
};

const WINDOW_MIN: HumanDuration = HumanDuration::from_millis(100);
const WINDOW_MAX: HumanDuration = HumanDuration::from_secs(3600);
const BYTES_MIN: ByteSize = ByteSize(1);
const BYTES_MAX: ByteSize = ByteSize::mib(1024);

/// Whether lines need stages for it.
pub fn are_set(config: &Config) -> bool {
    !config.budgets.is_empty() || !config.dedupe.window.0.is_zero()
}

pub fn check(config: &Config, problems: &mut Problems) {
    let window = config.dedupe.window;
    if window.0 != Duration::ZERO && !(WINDOW_MIN..=WINDOW_MAX).contains(&window) {
        let message = format!("must be 0, or lie between {WINDOW_MIN} and {WINDOW_MAX}, found {window}");
        problems.add("dedupe.window", message);
    }
    compile(&config.budgets, problems);
}

/// Adds what is configured behind the stages of a pipeline, and the least level that a pod asks for. Budgets that are wrong are left out.
pub fn add(config: &Config, pipeline: Pipeline, least: Option<Level>) -> Pipeline {
    let budgets = compile(&config.budgets, &mut Problems::default());
    let needs_levels = least.is_some() || budgets.iter().any(|budget| !budget.keep_levels.is_empty());
    let pipeline = match config.levels || needs_levels {
        true => pipeline.with_levels(config.levels),
        false => pipeline,
    };
    let pipeline = match least {
        Some(least) => pipeline.with_least_level(least),
        None => pipeline,
    };
    let pipeline = match config.dedupe.window.0 {
        Duration::ZERO => pipeline,
        window => pipeline.with_dedupe(window),
    };
    if budgets.is_empty() { pipeline } else { pipeline.with_budgets(budgets) }
}

/// Budgets that are for no container, as one before them is for all of those, without places in a file.
pub fn warnings(config: &Config) -> Vec<Problem> {
    let budgets = compile(&config.budgets, &mut Problems::default());
    // All presets make these; other rules could take them away.
    let has_own_labels = config.relabel_defaults && config.relabel_configs.is_empty();
    let is_always_there = |name: &str| has_own_labels && ["namespace", "container"].contains(&name);
    let mut warnings = Vec::new();
    for (index, budget) in budgets.iter().enumerate() {
        let takes_all = |before: &pipeline::Budget| {
            before.selector.chooses_all(&is_always_there) || pipeline::imply(&[&budget.selector], &before.selector)
        };
        if let Some(before) = budgets[..index].iter().position(takes_all) {
            let message = format!(
                "never applies: budgets[{before}] takes all containers that this one selects, and the first that fits counts"
            );
            let key = format!("budgets.[{index}].selector");
            warnings.push(Problem { origin: Origin::Default, key, message });
        }
    }
    warnings
}

fn compile(budgets: &[config::Budget], problems: &mut Problems) -> Vec<pipeline::Budget> {
    let numbered = budgets.iter().enumerate();
    numbered.filter_map(|(index, budget)| one(budget, &format!("budgets.[{index}]"), problems)).collect()
}

/// `None`: something is wrong with it.
fn one(budget: &config::Budget, key: &str, problems: &mut Problems) -> Option<pipeline::Budget> {
    let before = problems.0.len();
    let mut wrong = |field: &str, message: String| problems.add(&format!("{key}.{field}"), message);
    let selector = match &*budget.selector {
        "" => Err("must be set, such as {namespace=\"dev\"}".into()),
        text => Selector::of_labels(text),
    };
    let selector = selector.map_err(|message| wrong("selector", message)).ok();
    let rate = match budget.rate {
        Some(Rate::PerSecond(rate)) if (BYTES_MIN..=BYTES_MAX).contains(&rate) => rate.0,
        Some(Rate::PerSecond(rate)) => {
            wrong("rate", format!("must lie between {BYTES_MIN} and {BYTES_MAX} a second, found {rate}"));
            0
        }
        None | Some(Rate::Unlimited) => {
            wrong("rate", "must be set to a size per second, such as 100KiB/s".into());
            0
        }
    };
    if !(BYTES_MIN..=BYTES_MAX).contains(&budget.burst) {
        wrong("burst", format!("must lie between {BYTES_MIN} and {BYTES_MAX}, found {}", budget.burst));
    }
    let mut keep_levels = Vec::new();
    for (index, name) in budget.keep_levels.iter().enumerate() {
        match Level::named(name).filter(|level| *level != Level::Other) {
            Some(level) => keep_levels.push(level),
            None => {
                let names: Vec<_> =
                    Level::ALL.into_iter().filter(|level| *level != Level::Other).map(Level::name).collect();
                wrong(
                    &format!("keep_levels.[{index}]"),
                    format!("expected one of {}, found {name:?}", names.join(", ")),
                );
            }
        }
    }
    let action = match budget.action {
        BudgetAction::Wait => pipeline::Action::Wait,
        BudgetAction::Sample => pipeline::Action::Sample,
        BudgetAction::Drop => pipeline::Action::Drop,
    };
    if action == pipeline::Action::Wait && !budget.keep_levels.is_empty() {
        wrong("keep_levels", "has no meaning with action: wait, which drops nothing; leave it out".into());
    }
    let selector = selector?;
    (problems.0.len() == before).then_some(pipeline::Budget {
        selector,
        rate,
        burst: budget.burst.0,
        action,
        keep_levels,
    })
}
