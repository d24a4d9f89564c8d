//! Tests of the reader; whole configurations are in `collector/tests/migrate`.

use std::fmt::Write as _;

use crate::admin::migrate::origin::{Kind, Origin, Pipeline, Place, Text, Tree, Value as Written};

use super::{evaluate::Evaluator, parse::parse, read, read_rules, read_stages, scope::World, value::Value};

mod components;
mod documentation;
mod hostile;
mod language;

/// Reads one file, `c.alloy`.
fn origin(text: &str) -> Origin {
    read(&[Text { place: Place::start_of("c.alloy"), text }]).unwrap()
}

/// The one message of a text that cannot be read.
fn fault(text: &str) -> String {
    let faults = read(&[Text { place: Place::start_of("c.alloy"), text }]).unwrap_err();
    assert_eq!(faults.len(), 1);
    faults[0].to_string()
}

/// What an expression gives, with nothing around it.
fn value(expression: &str) -> Value {
    let body = parse(&format!("x = {expression}"), 0).unwrap();
    let world = World::new(&[&body], &Default::default());
    Evaluator::new(&world).evaluate(&body.attributes[0].value, 0).value
}

/// The one pipeline.
fn pipeline(text: &str) -> Pipeline {
    let mut origin = origin(text);
    assert_eq!(origin.pipelines.len(), 1, "{:?}", origin.findings);
    origin.pipelines.remove(0)
}

/// Trees in one line, as YAML's flow style has them.
fn flow(trees: &[Tree]) -> Vec<String> {
    let inner = |tree| flowed(tree).strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap().to_owned();
    trees.iter().map(inner).collect()
}

fn flowed(tree: &Tree) -> String {
    match &tree.value {
        Written::Nothing => "~".into(),
        Written::Text(text) => text.clone(),
        Written::List(items) => format!("[{}]", items.iter().map(flowed).collect::<Vec<_>>().join(", ")),
        Written::Group(pairs) => {
            let pairs: Vec<_> = pairs.iter().map(|pair| format!("{}: {}", pair.key, flowed(&pair.value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

/// Findings of a kind, also those of pipelines, as `line what: text`.
fn findings(origin: &Origin, kind: Kind) -> String {
    let mut told = String::new();
    let of_pipelines = origin.pipelines.iter().flat_map(|pipeline| &pipeline.findings);
    for finding in origin.findings.iter().chain(of_pipelines).filter(|finding| finding.kind == kind) {
        writeln!(told, "{} {}: {}", finding.place.line, finding.what, finding.text).unwrap();
    }
    told
}
