//! Blocks `stage.…` to Promtail's stages, and Alloy's own ones in the form that Pilcrow knows.

use crate::admin::migrate::origin::{Pair, Tree, Value as Written};

use super::{
    arguments::{InScope, Part, Table},
    converter::Converter,
    stage_tables::{METRIC, STAGES, Shape, TRUNCATE_RULE},
    tree::Block,
};

/// Arguments of a metric that Promtail has in an inner group.
const OF_CONFIG: [&str; 5] = ["action", "value", "match_all", "count_entry_bytes", "buckets"];

/// What stands before the names of metrics where nothing is said; Promtail has `promtail_custom_`.
const METRIC_PREFIX: &str = "loki_process_custom_";

impl<'a> Converter<'_, 'a> {
    /// The stages of a component, or of `stage.match`.
    pub fn stages(&mut self, blocks: &'a [Block], scope: usize, what: &str) -> Vec<Tree> {
        let mut stages = Vec::new();
        for block in blocks.iter().filter(|block| block.name.starts_with("stage.")) {
            let what = format!("{what}{}", block.name);
            stages.extend(self.stage(InScope { block, scope }, &what));
        }
        self.without_runtimes(stages, what)
    }

    /// Charts tell runtimes apart by a `match` around `cri` and one around `docker`, by labels that only Alloy knows. Pilcrow detects the
    /// runtime itself, so that what is in the first of them goes for all lines, and the others go.
    fn without_runtimes(&mut self, stages: Vec<Tree>, what: &str) -> Vec<Tree> {
        let (mut left, mut found) = (Vec::new(), false);
        for stage in stages {
            let Some(inner) = runtime_stages(&stage) else {
                left.push(stage);
                continue;
            };
            let text = if found {
                "left out: Pilcrow detects by itself which runtime wrote a log, and what stands in the match before goes for all of them"
            } else {
                "its stages go for all lines: Pilcrow detects by itself which runtime wrote a log"
            };
            self.changed(&stage.place, &format!("{what}stage.match"), text);
            self.runtime_labels.extend(selected_label(&stage));
            if !found {
                left.extend(inner.to_vec());
            }
            found = true;
        }
        left
    }

    fn stage(&mut self, stage: InScope<'a>, what: &str) -> Vec<Tree> {
        let place = self.place(stage.block.place);
        let name = stage.block.name.trim_start_matches("stage.");
        let Some((_, promtail, shape, table)) = STAGES.iter().find(|(known, ..)| *known == name) else {
            self.not_possible(&place, what, "is no stage that is known here; left out");
            return Vec::new();
        };
        let settings = match shape {
            Shape::Fields | Shape::Values => self.stage_fields(stage, what, table),
            Shape::Match => self.matching(stage, what, table),
            Shape::Truncate => self.truncate(stage, what, table),
            Shape::Metrics => return self.metrics(stage, what),
        };
        let Some(mut fields) = settings else {
            self.not_possible(&place, what, "is left out as a whole, since a part of it is not known");
            return Vec::new();
        };
        match name {
            "drop" => split_sources(&mut fields),
            "timestamp" if fields.iter().all(|field| field.key != "action_on_duplicate_timestamp") => {
                let text =
                    "lines of one stream with the same time keep it, where Alloy adds a nanosecond: Loki stores both";
                self.changed(&place, what, text);
            }
            _ => {}
        }
        let settings = match (shape, &fields[..]) {
            (Shape::Values, [one]) if one.key == "values" => fields.remove(0).value.value,
            (_, []) => Written::Nothing,
            _ => Written::Group(fields),
        };
        vec![Tree::group(&place, [(*promtail, Tree { place: place.clone(), value: settings })])]
    }

    /// The fields of a stage; nothing where one of them cannot be written.
    fn stage_fields(&mut self, stage: InScope<'a>, what: &str, table: Table) -> Option<Vec<Pair>> {
        let (mut fields, mut complete) = (Vec::new(), true);
        for read in self.walk(stage, &format!("{what}."), table, &mut Vec::new()) {
            let Part::Value(value) = &read.part else { continue };
            match self.tree(value, &read.what) {
                Some(tree) => fields.push(Pair { key: read.key.into(), place: read.place, value: without_empty(tree) }),
                None => complete = false,
            }
        }
        complete.then_some(fields)
    }

    fn matching(&mut self, stage: InScope<'a>, what: &str, table: Table) -> Option<Vec<Pair>> {
        let mut fields = self.stage_fields(stage, what, table)?;
        let stages = self.stages(&stage.block.body.blocks, stage.scope, &format!("{what} "));
        if !stages.is_empty() {
            let place = self.place(stage.block.place);
            let value = Tree { place: place.clone(), value: Written::List(stages) };
            fields.push(Pair { key: "stages".into(), place, value });
        }
        Some(fields)
    }

    fn truncate(&mut self, stage: InScope<'a>, what: &str, table: Table) -> Option<Vec<Pair>> {
        let place = self.place(stage.block.place);
        let mut rules = Vec::new();
        for read in self.walk(stage, &format!("{what}."), table, &mut Vec::new()) {
            let Part::Block(rule) = read.part else { continue };
            let fields = self.stage_fields(rule, &read.what, TRUNCATE_RULE)?;
            rules.push(Tree { place: read.place, value: Written::Group(fields) });
        }
        let value = Tree { place: place.clone(), value: Written::List(rules) };
        Some(vec![Pair { key: "rules".into(), place, value }])
    }

    /// Metrics: one stage, or several where a name comes twice.
    fn metrics(&mut self, stage: InScope<'a>, what: &str) -> Vec<Tree> {
        let place = self.place(stage.block.place);
        let mut groups: Vec<Vec<Pair>> = Vec::new();
        for block in &stage.block.body.blocks {
            let (what, at) = (format!("{what} {}", block.name), self.place(block.place));
            let kind = match block.name.as_str() {
                "metric.counter" => "Counter",
                "metric.gauge" => "Gauge",
                "metric.histogram" => "Histogram",
                _ => {
                    self.not_possible(&at, &what, "is no metric that is known here; left out");
                    continue;
                }
            };
            let Some(metric) = self.metric(InScope { block, scope: stage.scope }, kind, &what) else { continue };
            match groups.iter_mut().find(|group| group.iter().all(|known| known.key != metric.key)) {
                Some(group) => group.push(metric),
                None => groups.push(vec![metric]),
            }
        }
        for attribute in &stage.block.body.attributes {
            let at = self.place(attribute.place);
            self.not_possible(&at, &format!("{what}.{}", attribute.name), "is no argument of this stage");
        }
        let stage =
            |pairs| Tree::group(&place, [("metrics", Tree { place: place.clone(), value: Written::Group(pairs) })]);
        groups.into_iter().map(stage).collect()
    }

    fn metric(&mut self, metric: InScope<'a>, kind: &str, what: &str) -> Option<Pair> {
        let place = self.place(metric.block.place);
        let fields = self.stage_fields(metric, what, METRIC)?;
        let (config, mut fields): (Vec<_>, Vec<_>) =
            fields.into_iter().partition(|field| OF_CONFIG.contains(&field.key.as_str()));
        let name = fields.iter().position(|field| field.key == "name").map(|at| fields.remove(at));
        let Some(name) = name.and_then(|name| name.value.as_text().map(str::to_owned)) else {
            self.not_possible(&place, what, "has no name");
            return None;
        };
        let pair = |key: &str, value: Tree| Pair { key: key.into(), place: place.clone(), value };
        fields.insert(0, pair("type", Tree::text(&place, kind)));
        if fields.iter().all(|field| field.key != "prefix") {
            fields.push(pair("prefix", Tree::text(&place, METRIC_PREFIX)));
        }
        if !config.is_empty() {
            fields.push(pair("config", Tree { place: place.clone(), value: Written::Group(config) }));
        }
        Some(pair(&name, Tree { place: place.clone(), value: Written::Group(fields) }))
    }
}

/// The stages of a `match` that begin with a runtime's.
fn runtime_stages(stage: &Tree) -> Option<&[Tree]> {
    let ("match", settings) = parts(stage)? else { return None };
    let inner = settings.get("stages")?.value.items();
    let (name, _) = parts(inner.first()?)?;
    matches!(name, "cri" | "docker").then_some(inner)
}

/// The label that a `match` selects by.
fn selected_label(stage: &Tree) -> Option<String> {
    let selector = parts(stage)?.1.get("selector")?.value.as_text()?;
    Some(selector.trim_start().strip_prefix('{')?.split(['=', '!']).next()?.trim().to_owned())
}

/// In a map an empty text means the key's own name, as nothing does.
fn without_empty(mut tree: Tree) -> Tree {
    if let Written::Group(pairs) = &mut tree.value {
        for pair in pairs {
            if pair.value.as_text() == Some("") {
                pair.value.value = Written::Nothing;
            }
        }
    }
    tree
}

/// Alloy splits `source` at commas, Promtail takes a list.
fn split_sources(fields: &mut [Pair]) {
    for field in fields.iter_mut().filter(|field| field.key == "source") {
        let Some(text) = field.value.as_text().filter(|text| text.contains(',')) else { continue };
        let names = text.split(',').map(|name| Tree::text(&field.value.place, name)).collect();
        field.value.value = Written::List(names);
    }
}

/// A stage's name and settings.
#[must_use]
pub fn parts(stage: &Tree) -> Option<(&str, &Tree)> {
    match stage.pairs() {
        [pair] => Some((&pair.key, &pair.value)),
        _ => None,
    }
}
