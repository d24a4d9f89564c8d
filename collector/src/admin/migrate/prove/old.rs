//! The old side: the rules and stages of an old setup as they are, run in the order in which Promtail runs them.

use anyhow::Context;

use super::compare::Outcome;
use crate::{
    admin::{
        migrate::{
            convert::{self, Options},
            origin::{Origin, Setting},
        },
        rules::Trace,
    },
    compiled::Compiled,
};

/// Promtail's label for the file; Pilcrow has none, so that it is not compared.
const FILE_NAME: &str = "filename";

/// An old setup, ready to run.
pub struct Old {
    pub compiled: Compiled,
    /// What is assumed or left out of the comparison.
    pub notes: Vec<String>,
    /// Labels of the client.
    external: Vec<(String, String)>,
    /// Whether a stage makes the label `stream`.
    makes_stream: bool,
}

impl Old {
    /// Compiles the rules and stages of the old setup as they are.
    ///
    /// # Errors
    /// Nothing in it collects pod logs.
    pub fn new(origin: &Origin, options: &Options) -> anyhow::Result<Self> {
        let verbatim = convert::verbatim(origin, options).map_err(|why| anyhow::anyhow!("{why}"))?;
        let environment = convert::environment(&verbatim.draft);
        let compiled = convert::compiled(&verbatim.draft)
            .map_err(|problems| anyhow::anyhow!("{}", problems.first().map(ToString::to_string).unwrap_or_default()))?;
        let expanded = |label: &Setting| -> anyhow::Result<(String, String)> {
            let name = label.key.trim_start_matches("labels.").to_owned();
            let value = label.value.as_text().unwrap_or("");
            Ok((name, crate::config::tree::expanded(value, &environment).map_err(|why| anyhow::anyhow!("{why}"))?))
        };
        let external =
            verbatim.labels.iter().map(expanded).collect::<anyhow::Result<_>>().context("external labels")?;
        let mut notes = vec!["the label filename is not compared: Pilcrow makes none".to_owned()];
        notes.extend(verbatim.notes);
        Ok(Self { compiled, notes, external, makes_stream: verbatim.makes_stream })
    }

    /// What Promtail adds to a line's labels before its stages: the file, and what the stage that reads the runtime's format finds.
    #[must_use]
    pub fn given<'g>(&self, file: &'g str, stream: &'g str) -> Vec<(&'g str, &'g str)> {
        let mut given = vec![(FILE_NAME, file)];
        if self.makes_stream {
            given.push(("stream", stream));
        }
        given
    }

    /// What Promtail sends of an entry: with the labels of the client where there are none of these names.
    #[must_use]
    pub fn sent(&self, trace: &Trace) -> (u64, Outcome) {
        let sent = trace.sent().cloned().map(|mut sent| {
            sent.labels.retain(|(name, _)| name != FILE_NAME);
            sent.metadata.retain(|(name, _)| name != FILE_NAME);
            for (name, value) in &self.external {
                if !sent.labels.iter().any(|(known, _)| known == name) && !value.is_empty() {
                    sent.labels.push((name.clone(), value.clone()));
                }
            }
            sent.labels.sort();
            sent
        });
        (trace.number, sent)
    }
}
