//! `pipeline_stages` and what comes behind them (`levels`, `dedupe`, `budgets`): compiled into a pipeline, or everything that is wrong
//! with it.

use std::sync::Arc;

use super::{Problems, budgets};
use crate::{
    config::{Config, Origin, Problem},
    pipeline::{Annotated, CompileError, Custom, Limits, Pipeline, Possible, Wanted, analysis, relabel::Relabel},
};

/// Series of all `metrics` stages together.
const SERIES_MAX: usize = 10_000;

/// `None` where lines go through no stage, or something is wrong with them.
pub fn compile(config: &Config, problems: &mut Problems) -> Option<Pipeline> {
    if config.pipeline_stages.is_empty() && !config.levels && !budgets::are_set(config) {
        return None;
    }
    match fresh(config) {
        Ok(pipeline) => Some(pipeline),
        Err(errors) => {
            errors.iter().for_each(|error| problems.add(&key(error), &error.message));
            None
        }
    }
}

/// A pipeline of its own, without a stage where there are none.
///
/// # Errors
/// Everything that is wrong with the stages.
pub fn fresh(config: &Config) -> Result<Pipeline, Vec<CompileError>> {
    let max_bytes = usize::try_from(config.lines.max_bytes.0).unwrap_or(usize::MAX);
    let limits = Limits { max_bytes, max_series: SERIES_MAX, metrics: None };
    let pipeline = Pipeline::compile_with(&config.pipeline_stages, &limits)?;
    Ok(budgets::add(config, pipeline, None))
}

/// What makes a pipeline of what a pod asks for and what is configured, with the counters of the pipeline of all others.
pub fn annotated(config: Arc<Config>, base: Option<&Pipeline>) -> Annotated {
    let metrics = base.map_or_else(|| Custom::new(SERIES_MAX), |base| base.metrics().clone());
    let counts = base.and_then(Pipeline::line_counts).cloned().unwrap_or_default();
    let max_bytes = usize::try_from(config.lines.max_bytes.0).unwrap_or(usize::MAX);
    let limits = Limits { max_bytes, max_series: SERIES_MAX, metrics: Some(metrics) };
    Box::new(move |asked| {
        let Wanted { mut stages, least } = asked.wanted()?;
        stages.extend_from_slice(&config.pipeline_stages);
        let pipeline = Pipeline::compile_with(&stages, &limits)
            .map_err(|errors| errors.first().map(|error| error.message.clone()).unwrap_or_default())?;
        Ok(budgets::add(&config, pipeline.sharing(counts.clone()), least))
    })
}

/// What is accepted and may not do what its writer expects, without places in a file.
pub fn warnings(config: &Config, relabel: &Relabel, pipeline: &Pipeline) -> Vec<Problem> {
    let labels = relabel.possible().map(|labels| {
        let possible =
            |value: Option<&str>| value.map_or(Possible::Anything, |value| Possible::Always(value.to_owned()));
        labels.into_iter().map(|(name, value)| (name.to_owned(), possible(value))).collect()
    });
    let found = analysis::warnings(&config.pipeline_stages, labels);
    let problem = |warning: &CompileError| Problem {
        origin: Origin::Default,
        key: key(warning),
        message: warning.message.clone(),
    };
    pipeline.warnings().iter().chain(&found).map(problem).collect()
}

fn key(error: &CompileError) -> String {
    format!("pipeline_stages.{}", error.key)
}
