use std::fs;

use super::super::{
    stage_tables::STAGES,
    tables::{COMPONENTS, TABLES},
};

fn page() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/migration-alloy.md")).unwrap()
}

/// A name of a table as the page writes it.
fn shown(name: &str) -> String {
    if name.ends_with('.') { format!("`{name}…`") } else { format!("`{name}`") }
}

#[test]
fn the_page_has_every_component_and_argument_with_what_becomes_of_it() {
    let page = page();
    let mut rows: Vec<String> =
        COMPONENTS.iter().map(|(name, way)| format!("| {} | {} | ", shown(name), way.word())).collect();
    for (component, table) in TABLES {
        rows.extend(table.iter().map(|(name, way)| format!("| `{component}` | {} | {} | ", shown(name), way.word())));
    }
    let missing: Vec<_> = rows.iter().filter(|row| !page.lines().any(|line| line.starts_with(*row))).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    let written = page.lines().filter(|line| line.starts_with("| `") && !line.starts_with("| `stage.")).count();
    assert_eq!(written, rows.len(), "the page has rows that no table has");
}

#[test]
fn the_page_has_every_stage_with_its_arguments() {
    let page = page();
    for (name, _, _, table) in STAGES {
        let begin = format!("| `stage.{name}` | ");
        let row = page.lines().find(|line| line.starts_with(&begin)).unwrap_or_else(|| panic!("no row {begin}"));
        for (argument, _) in *table {
            assert!(row.contains(&shown(argument)), "{argument} is missing in {row}");
        }
    }
    assert_eq!(page.lines().filter(|line| line.starts_with("| `stage.")).count(), STAGES.len());
}
