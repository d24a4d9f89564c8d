//! `truncate` (Alloy): texts are cut to a number of bytes, between characters.

use serde::Deserialize;

use crate::pipeline::{
    compile::Compiler,
    entry::{Entry, Pairs},
    extracted::{Slot, Value},
    go::size,
    stage::{Context, Failed, Stage, Step},
    unchanged::Unchanged,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    #[serde(alias = "rule")]
    rules: Vec<RuleSettings>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RuleSettings {
    limit: String,
    suffix: String,
    source_type: Option<String>,
    sources: Vec<String>,
}

struct Truncate {
    rules: Vec<Rule>,
    truncated: Slot,
}

struct Rule {
    limit: usize,
    suffix: String,
    what: What,
}

enum What {
    Line,
    Labels(Vec<String>),
    Metadata(Vec<String>),
    /// Their slots; none: all.
    Extracted(Vec<Slot>),
}

/// Alloy's names of what was cut, in the order in which they are joined.
const KINDS: [&str; 4] = ["extracted", "label", "line", "structured_metadata"];

/// See [`crate::pipeline::stage::Compile`].
pub fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed> {
    let settings: Settings = compiler.settings()?;
    if settings.rules.is_empty() {
        return Err(compiler.error("", "needs at least one of rules"));
    }
    let mut rules = Vec::new();
    for (i, rule) in settings.rules.into_iter().enumerate() {
        let key = |name: &str| format!("rules.[{i}].{name}");
        let limit = size::parse(&rule.limit).and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
        let Some(limit) = limit else {
            return Err(compiler.error(&key("limit"), "expected a size above 0, such as 1KiB"));
        };
        if rule.suffix.len() >= limit {
            return Err(compiler.error(&key("suffix"), "must be shorter than limit, within which it counts"));
        }
        let what = match rule.source_type.as_deref() {
            None | Some("line") if rule.sources.is_empty() => What::Line,
            None | Some("line") => return Err(compiler.error(&key("sources"), "a line has no sources")),
            Some("label") => What::Labels(rule.sources),
            Some("structured_metadata") => What::Metadata(rule.sources),
            Some("extracted") => What::Extracted(rule.sources.iter().map(|name| compiler.slot(name)).collect()),
            Some(other) => {
                let message = format!("expected line, label, structured_metadata or extracted, found {other:?}");
                return Err(compiler.error(&key("source_type"), message));
            }
        };
        rules.push(Rule { limit, suffix: rule.suffix, what });
    }
    let truncated = compiler.slot("truncated");
    Ok(vec![Box::new(Truncate { rules, truncated })])
}

impl Stage for Truncate {
    fn run(&mut self, entry: &mut Entry, context: &mut Context<'_>) -> Step {
        let mut cut = [false; KINDS.len()];
        for rule in &self.rules {
            match &rule.what {
                What::Line => cut[2] |= rule.cut(&mut entry.line),
                What::Labels(names) => cut[1] |= rule.cut_pairs(&mut entry.labels, names),
                What::Metadata(names) => cut[3] |= rule.cut_pairs(&mut entry.metadata, names),
                What::Extracted(slots) if slots.is_empty() => {
                    for (_, slot) in context.sorted {
                        cut[0] |= rule.cut_slot(entry, *slot);
                    }
                }
                What::Extracted(slots) => {
                    for slot in slots {
                        cut[0] |= rule.cut_slot(entry, *slot);
                    }
                }
            }
        }
        if cut.contains(&true) {
            let text = entry.extracted.text_memory(self.truncated);
            text.clear();
            for (kind, _) in KINDS.iter().zip(cut).filter(|(_, cut)| *cut) {
                if !text.is_empty() {
                    text.push(b',');
                }
                text.extend_from_slice(kind.as_bytes());
            }
        }
        Step::Next
    }

    fn why(&self, _: &Unchanged<'_>) -> String {
        "nothing is longer than its limit".into()
    }
}

impl Rule {
    fn cut(&self, text: &mut Vec<u8>) -> bool {
        if text.len() <= self.limit {
            return false;
        }
        let mut end = self.limit - self.suffix.len();
        while end > 0 && text[end] & 0xC0 == 0x80 {
            end -= 1;
        }
        text.truncate(end);
        text.extend_from_slice(self.suffix.as_bytes());
        true
    }

    fn cut_slot(&self, entry: &mut Entry, slot: Slot) -> bool {
        let is_long = matches!(entry.extracted.get(slot), Some(Value::Text(text)) if text.len() > self.limit);
        is_long && self.cut(entry.extracted.text_memory(slot))
    }

    fn cut_pairs(&self, pairs: &mut Pairs, names: &[String]) -> bool {
        let mut cut = false;
        for (name, value) in pairs.values_mut() {
            let wanted = names.is_empty() || names.iter().any(|wanted| wanted == name);
            if wanted && value.len() > self.limit {
                let mut end = self.limit - self.suffix.len();
                while !value.is_char_boundary(end) {
                    end -= 1;
                }
                value.truncate(end);
                value.push_str(&self.suffix);
                cut = true;
            }
        }
        cut
    }
}
