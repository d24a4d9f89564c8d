//! Promtail's and Alloy's positions files: no text panics, an error has its line, and what is read is what was written.

use collector::admin::import_positions::parse;

/// A positions file.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match parse(text) {
        Ok(entries) => {
            // As Alloy would write them; JSON strings are YAML.
            let quoted = |text: &str| serde_json::to_string(text).expect("a string");
            let written: String = entries
                .iter()
                .map(|entry| format!("  ? path: {}\n  : {}\n", quoted(&entry.path), quoted(&entry.position)))
                .collect();
            assert_eq!(parse(&format!("positions:\n{written}")), Ok(entries), "{written}");
        }
        Err(error) => assert!(error.line >= 1 && error.to_string().lines().count() == 1, "{error:?}"),
    }
}
