//! The configuration: no text panics, every problem has its place in the file, and what is printed means the same.

use collector::{
    compiled::Compiled,
    config::{Config, ConfigError, Origin},
};

/// A YAML text.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Compiled::parse(text, &environment) {
        Ok(compiled) => check_printed(compiled.config),
        Err(problems) => {
            assert!(!problems.is_empty());
            // YAML knows more ends of a line than `str::lines`.
            let lines_max = 1 + text.chars().filter(|c| "\n\r\u{85}\u{2028}\u{2029}".contains(*c)).count();
            for problem in &problems {
                match &problem.origin {
                    Origin::File(place) => {
                        assert!((1..=lines_max + 1).contains(&place.line) && place.column > 0, "{problem:?}");
                    }
                    Origin::Environment(_) | Origin::Default => assert!(!problem.key.is_empty(), "{problem:?}"),
                }
            }
            let count = problems.len();
            let said = ConfigError::Invalid { path: Some("f.yaml".into()), problems }.to_string();
            assert_eq!(said.lines().count(), count, "one line each: {said:?}");
        }
    }
}

fn check_printed(config: Config) {
    let mut config = config;
    // Their values are printed as stars.
    config.loki.headers = Default::default();
    let printed = config.to_yaml().expect("a configuration can be printed");
    match Compiled::parse(&printed, &environment) {
        Ok(again) => assert_eq!(again.config, config, "{printed}"),
        Err(problems) => panic!("{problems:?}\n{printed}"),
    }
}

fn environment(name: &str) -> Option<String> {
    (name == "SET").then(|| "value".to_owned())
}
