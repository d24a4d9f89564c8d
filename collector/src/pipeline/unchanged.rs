//! Why a stage left an entry as it is, in words, for who tries rules.
//!
//! In: an entry as a stage left it. Out: parts of the sentence that the stage makes ([`super::stage::Stage::why`]). Nothing of this
//! runs while lines are collected.

use std::borrow::Cow;

use super::{
    entry::Entry,
    extracted::{Slot, Value},
    go::number,
};

/// Characters of a value that are shown.
const SHOWN_MAX: usize = 60;

/// An entry that a stage has not changed.
#[derive(Clone, Copy)]
pub struct Unchanged<'a> {
    pub entry: &'a Entry,
    /// Slots by name.
    pub(super) names: &'a [(String, Slot)],
}

impl<'a> Unchanged<'a> {
    /// The name of a slot.
    #[must_use]
    pub fn name(&self, slot: Slot) -> &'a str {
        self.names.iter().find(|(_, known)| *known == slot).map_or("", |(name, _)| name)
    }

    /// The value as text, or why there is none.
    ///
    /// # Errors
    /// `level is not extracted`, `level is null`.
    pub fn text(&self, slot: Slot) -> Result<Cow<'a, [u8]>, String> {
        let name = self.name(slot);
        Ok(match self.entry.extracted.get(slot) {
            None => return Err(format!("{name} is not extracted")),
            Some(Value::Null) => return Err(format!("{name} is null")),
            Some(Value::Text(text)) => text.into(),
            Some(Value::Number(value)) => number::Plain(value).to_string().into_bytes().into(),
            Some(Value::Bool(value)) => value.to_string().into_bytes().into(),
        })
    }

    /// What is said of the text that a stage reads, which is the line where it has no source; else why there is none.
    pub fn of_source(&self, source: Option<Slot>, say: impl FnOnce(&[u8], &str) -> String) -> String {
        match source {
            None => say(&self.entry.line, "the line"),
            Some(slot) => match self.text(slot) {
                Ok(text) => say(&text, self.name(slot)),
                Err(why) => why,
            },
        }
    }

    /// Which of these values are not there; where all are, `else_because`.
    pub fn missing(&self, slots: impl Iterator<Item = Slot>, else_because: &str) -> String {
        let mut missing: Vec<String> = slots.filter_map(|slot| self.text(slot).err()).collect();
        missing.dedup();
        if missing.is_empty() { else_because.to_owned() } else { missing.join(", ") }
    }
}

/// A value in quotation marks, and no more of it than fits into a sentence.
#[must_use]
pub fn quoted(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        config::StageConfig,
        pipeline::{Entry, Origin, Pairs, Pipeline, Step, Watch},
    };

    /// What the stages say of why they did nothing.
    #[derive(Default)]
    struct Said(Vec<String>);

    impl Watch for Said {
        fn ran(&mut self, _: usize, _: &Entry, _: Step, why: &dyn Fn() -> String) {
            self.0.push(why());
        }
    }

    /// The reason of the last of the stages.
    fn why(stages: &str, line: &str) -> String {
        let stages = StageConfig::list(stages).unwrap_or_else(|error| panic!("{stages}: {error:?}"));
        let mut pipeline = Pipeline::compile(&stages).unwrap();
        let mut state = pipeline.new_state(Origin::default());
        let labels = Pairs::from_iter([("app", "web"), ("stream", "stdout")]);
        let mut entry = Entry { labels, line: line.into(), ..Entry::default() };
        let mut said = Said::default();
        pipeline.process_watched(&mut state, &mut entry, 0, &mut |_| {}, &mut said);
        said.0.pop().unwrap()
    }

    #[test]
    fn every_stage_says_why_it_left_a_line_as_it_is() {
        for (stages, line, said) in [
            ("[{json: {expressions: {a: }}}]", "plain", "the line is not a JSON object"),
            ("[{json: {expressions: {a: }, source: b}}]", "{}", "b is not extracted"),
            ("[{json: {expressions: {app: }}}]", r#"{"app":"web"}"#, "the values are those that were there"),
            ("[{json: {expressions: {a: }}}, {json: {expressions: {b: }, source: a}}]", "{}", "a is null"),
            ("[{logfmt: {mapping: {a: }}}]", "plain b=1", "the line has none of these keys"),
            ("[{regex: {expression: '^(?P<a>x)'}}]", "plain", "the expression does not match the line"),
            ("[{regex: {expression: '^(?P<a>x)', source: app}}]", "x", "the expression does not match app"),
            ("[{pattern: {pattern: '[<a>]'}}]", "plain", "the pattern does not match the line"),
            ("[{replace: {expression: '(x)', replace: y}}]", "plain", "the expression does not match the line"),
            ("[{replace: {expression: '(p)', replace: p}}]", "plain", "the text is the same with the replacements"),
            ("[{template: {source: app, template: web}}]", "", "app has this value"),
            (
                "[{template: {source: a, template: '{{ ToUpper .b }}'}}]",
                "",
                "the template fails: a function gets a value that is not there or not of its kind",
            ),
            ("[{template: {source: a, template: '{{ .b }}'}}, {output: {source: c}}]", "", "c is not extracted"),
            (
                "[{timestamp: {source: app, format: RFC3339}}]",
                "",
                r#"app is "web", which is not a time of format RFC3339"#,
            ),
            ("[{output: {source: app}}]", "web", "app is what the line is"),
            ("[{labels: {level: , app: }}]", "", "level is not extracted"),
            ("[{labels: {app: }}]", "", "the labels have these values"),
            ("[{static_labels: {app: web}}]", "", "the labels have these values"),
            ("[{labeldrop: [pod]}]", "", "none of these labels is there"),
            ("[{labelallow: [app, stream]}]", "", "there are no other labels"),
            ("[{structured_metadata: {trace: }}]", "", "trace is not extracted"),
            ("[{structured_metadata_drop: [trace]}]", "", "none of this structured metadata is there"),
            ("[{drop: {longer_than: 10}}]", "plain", "the line has 5 bytes, not more than 10"),
            ("[{drop: {older_than: 1h}}]", "", "the line is not older than 1h"),
            ("[{drop: {source: level}}]", "", "level is not extracted"),
            ("[{drop: {expression: x}}]", "plain", "the expression does not match the line"),
            ("[{drop: {source: app, value: api}}]", "", r#"app is "web", not "api""#),
            ("[{drop: {source: [app, stream], expression: api}}]", "", r#"the expression does not match "web;stdout""#),
            (r#"[{match: {selector: '{app="api"}', action: drop}}]"#, "", r#"app is "web""#),
            (
                r#"[{match: {selector: '{app="web"} |= "x"', action: drop}}]"#,
                "plain",
                r#"the line does not satisfy |= "x""#,
            ),
            (r#"[{match: {selector: '{pod=~"a.*"}', action: drop}}]"#, "", "there is no label pod"),
            ("[{multiline: {firstline: '^x'}}]", "plain", "no line has matched firstline yet"),
            ("[{limit: {rate: 1, burst: 1, drop: true}}]", "", "the limit has room"),
            ("[{sampling: {rate: 1}}]", "", "it is in the sample"),
            ("[{tenant: {source: team}}]", "", "team is not extracted"),
            ("[{tenant: {label: team}}]", "", "there is no label team"),
            ("[{decolorize: }]", "plain", "the line has no ANSI sequences"),
            ("[{truncate: {rules: [{limit: 10}]}}]", "plain", "nothing is longer than its limit"),
            (
                "[{metrics: {a: {type: Counter, config: {action: inc}}, b: {type: Counter, config: {match_all: true, action: inc}}}}]",
                "",
                "does not count promtail_custom_a: a is not extracted; counts promtail_custom_b",
            ),
        ] {
            assert_eq!(why(stages, line), said, "{stages} {line}");
        }
    }

    #[test]
    fn long_values_are_shown_by_their_beginning() {
        let long = super::quoted("ä".repeat(100).as_bytes());
        assert_eq!(long.chars().filter(|c| *c == 'ä').count(), super::SHOWN_MAX);
        assert!(long.ends_with("\"…"), "{long}");
    }
}
