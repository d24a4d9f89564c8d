//! Kubernetes' label selectors, as `kubectl get --selector` takes them (apimachinery pkg/labels/selector.go, `Parse`).

use std::collections::BTreeMap;

/// Longest name, value and prefix of a label (apimachinery pkg/util/validation).
const NAME_MAX: usize = 63;
const PREFIX_MAX: usize = 253;

/// Requirements that must all hold; without any, every pod is selected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    DoesNotExist,
    In(Vec<String>),
    /// Also where there is no such label.
    NotIn(Vec<String>),
    GreaterThan(i64),
    LessThan(i64),
}

impl Selector {
    /// Parses `tier=backend, env in (prod, qa), !canary`.
    ///
    /// # Errors
    /// What was expected and what was found.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text.trim();
        let mut requirements = Vec::new();
        while !rest.is_empty() {
            let (requirement, after) = parse_requirement(rest)?;
            requirements.push(requirement);
            rest = after.trim_start();
            if rest.is_empty() {
                break;
            }
            rest = rest.strip_prefix(',').ok_or_else(|| format!("expected a comma at {rest:?}"))?.trim_start();
            if rest.is_empty() {
                return Err("expected another requirement behind the last comma".into());
            }
        }
        Ok(Self(requirements))
    }

    /// Whether it selects every pod.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it asks for the label of this name.
    #[must_use]
    pub fn reads(&self, label: &str) -> bool {
        self.0.iter().any(|requirement| requirement.key == label)
    }

    /// Whether it selects a pod with these labels; those that it does not read may be missing.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|Requirement { key, test }| {
            let value = labels.get(key);
            let number = value.and_then(|value| value.parse::<i64>().ok());
            match test {
                Test::Exists => value.is_some(),
                Test::DoesNotExist => value.is_none(),
                Test::In(values) => value.is_some_and(|value| values.contains(value)),
                Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                Test::GreaterThan(bound) => number.is_some_and(|number| number > *bound),
                Test::LessThan(bound) => number.is_some_and(|number| number < *bound),
            }
        })
    }
}

/// The requirement that `text` begins with, and what follows.
fn parse_requirement(text: &str) -> Result<(Requirement, &str), String> {
    if let Some(rest) = text.strip_prefix('!') {
        let (key, rest) = parse_key(rest.trim_start())?;
        return Ok((Requirement { key, test: Test::DoesNotExist }, rest));
    }
    let (key, rest) = parse_key(text)?;
    let rest = rest.trim_start();
    let single = |rest| parse_value(rest).map(|(value, rest)| (vec![value], rest));
    let (test, rest) = if rest.is_empty() || rest.starts_with(',') {
        (Test::Exists, rest)
    } else if let Some(rest) = rest.strip_prefix("!=") {
        let (values, rest) = single(rest)?;
        (Test::NotIn(values), rest)
    } else if let Some(rest) = rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')) {
        let (values, rest) = single(rest)?;
        (Test::In(values), rest)
    } else if let Some(rest) = rest.strip_prefix('>') {
        let (bound, rest) = parse_number(rest)?;
        (Test::GreaterThan(bound), rest)
    } else if let Some(rest) = rest.strip_prefix('<') {
        let (bound, rest) = parse_number(rest)?;
        (Test::LessThan(bound), rest)
    } else {
        match word(rest) {
            ("in", rest) => parse_set(rest, &key, "in").map(|(values, rest)| (Test::In(values), rest))?,
            ("notin", rest) => parse_set(rest, &key, "notin").map(|(values, rest)| (Test::NotIn(values), rest))?,
            _ => return Err(format!("expected =, ==, !=, in, notin, > or < behind {key}, found {rest:?}")),
        }
    };
    Ok((Requirement { key, test }, rest))
}

/// Everything up to a space or a character that has a meaning here.
fn word(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| c.is_whitespace() || "=!(),<>".contains(c)).unwrap_or(text.len()))
}

fn parse_key(text: &str) -> Result<(String, &str), String> {
    let (key, rest) = word(text);
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let good_prefix = |prefix: &str| {
        let parts_are_good = prefix.split('.').all(|part| is_label_text(part) && !part.contains(['_', '.']));
        prefix.len() <= PREFIX_MAX && parts_are_good && !prefix.contains(|c: char| c.is_ascii_uppercase())
    };
    if name.is_empty() || !is_label_text(name) || name.len() > NAME_MAX || !prefix.is_none_or(good_prefix) {
        return Err(format!("expected the name of a label, such as app or app.kubernetes.io/name, found {key:?}"));
    }
    Ok((key.to_owned(), rest))
}

fn parse_value(text: &str) -> Result<(String, &str), String> {
    let (value, rest) = word(text.trim_start());
    if value.len() > NAME_MAX || !(value.is_empty() || is_label_text(value)) {
        return Err(format!("a label's value is at most {NAME_MAX} letters, digits, - _ and ., found {value:?}"));
    }
    Ok((value.to_owned(), rest))
}

fn parse_number(text: &str) -> Result<(i64, &str), String> {
    let (value, rest) = word(text.trim_start());
    let number = value.parse().map_err(|_| format!("expected a whole number behind > or <, found {value:?}"))?;
    Ok((number, rest))
}

/// `(a, b)`; values may be empty.
fn parse_set<'t>(text: &'t str, key: &str, operator: &str) -> Result<(Vec<String>, &'t str), String> {
    let text = text.trim_start();
    let wrong = || format!("expected a list of values, (a, b), behind {key} {operator}, found {text:?}");
    let (inner, rest) = text.strip_prefix('(').and_then(|text| text.split_once(')')).ok_or_else(wrong)?;
    let mut values = Vec::new();
    for part in inner.split(',') {
        let (value, after) = parse_value(part)?;
        if !after.trim().is_empty() {
            return Err(wrong());
        }
        values.push(value);
    }
    Ok((values, rest))
}

/// Letters, digits, `-`, `_` and `.`, a letter or digit at both ends; not empty.
fn is_label_text(text: &str) -> bool {
    let ends_well = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(ends_well)
        && text.ends_with(ends_well)
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Selector::parse(selector).unwrap().matches(&labels)
    }

    #[test]
    fn a_pod_is_selected_as_kubectl_selects_it() {
        let pod = [("app.kubernetes.io/name", "nginx"), ("tier", "web"), ("empty", ""), ("n", "5")];
        for (selector, selected) in [
            ("", true),
            (" ", true),
            ("tier", true),
            ("!tier", false),
            ("! other", true),
            ("other", false),
            ("tier=web", true),
            ("tier == web", true),
            ("tier!=web", false),
            ("other!=web", true),
            ("tier in (db, web)", true),
            ("tier in (db)", false),
            ("other in (db)", false),
            ("tier notin (db,cache)", true),
            ("other notin (db)", true),
            ("tier notin (web)", false),
            ("empty=", true),
            ("empty in (,a)", true),
            ("tier=", false),
            ("n>4,n<6", true),
            ("n > 5", false),
            ("tier<6", false),
            ("app.kubernetes.io/name=nginx , tier, !canary", true),
            ("app.kubernetes.io/name=nginx,tier=db", false),
            ("in in (a)", false),
        ] {
            assert_eq!(matches(selector, &pod), selected, "{selector}");
        }
    }

    #[test]
    fn what_is_no_selector_says_what_was_expected() {
        for (selector, error) in [
            (",", "expected the name of a label, such as app or app.kubernetes.io/name, found \"\""),
            ("a,", "expected another requirement behind the last comma"),
            ("a b", "expected =, ==, !=, in, notin, > or < behind a, found \"b\""),
            ("a in b", "expected a list of values, (a, b), behind a in, found \"b\""),
            ("a in (b", "expected a list of values, (a, b), behind a in, found \"(b\""),
            ("a in (b c)", "expected a list of values, (a, b), behind a in, found \"(b c)\""),
            ("a=b c", "expected a comma at \"c\""),
            ("a>x", "expected a whole number behind > or <, found \"x\""),
            ("-a", "expected the name of a label, such as app or app.kubernetes.io/name, found \"-a\""),
            ("a=-b", "a label's value is at most 63 letters, digits, - _ and ., found \"-b\""),
            ("UPPER.io/x", "expected the name of a label, such as app or app.kubernetes.io/name, found \"UPPER.io/x\""),
        ] {
            assert_eq!(Selector::parse(selector).unwrap_err(), error, "{selector}");
        }
    }
}
