//! Texts with `$1` and `${name}` in them, as Go's regexp package expands them (`Regexp.Expand`).

use super::pattern::Groups;

/// A text in which groups of a match are put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

/// A piece of it: fixed text, or what a group matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Fixed(String),
    Numbered(usize),
    Named(String),
}

/// The greatest number that Go takes for a number and not for a name.
const NUMBER_MAX: usize = 100_000_000;

impl Template {
    /// `$$` is a dollar; a name is as long as it can be, `$1x` being the group called 1x; a dollar that begins no name stays.
    pub fn parse(text: &str) -> Self {
        let (mut parts, mut fixed, mut rest) = (Vec::new(), String::new(), text);
        while let Some((before, after)) = rest.split_once('$') {
            fixed.push_str(before);
            rest = after;
            if let Some(tail) = rest.strip_prefix('$') {
                fixed.push('$');
                rest = tail;
            } else if let Some((name, tail)) = name_of(rest) {
                if !fixed.is_empty() {
                    parts.push(Part::Fixed(std::mem::take(&mut fixed)));
                }
                parts.push(group_of(name));
                rest = tail;
            } else {
                fixed.push('$');
            }
        }
        fixed.push_str(rest);
        if !fixed.is_empty() {
            parts.push(Part::Fixed(fixed));
        }
        Self(parts)
    }

    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// The text where it holds no group.
    pub fn fixed(&self) -> Option<&str> {
        match &self.0[..] {
            [] => Some(""),
            [Part::Fixed(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether it gives the name of a label, as far as its fixed parts can say.
    pub fn may_be_label_name(&self) -> bool {
        let begins_well = match self.0.first() {
            Some(Part::Fixed(text)) => !text.starts_with(|c: char| c.is_ascii_digit()),
            Some(_) => true,
            None => false,
        };
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        begins_well && self.0.iter().all(|part| !matches!(part, Part::Fixed(text) if !text.chars().all(is_word)))
    }

    /// The text with the match's groups; a group that there is not, or that matched nothing, is empty.
    pub(super) fn expand(&self, groups: &Groups<'_>) -> String {
        self.0
            .iter()
            .map(|part| match part {
                Part::Fixed(text) => text.as_str(),
                Part::Numbered(number) => groups.numbered(*number),
                Part::Named(name) => groups.named(name),
            })
            .collect()
    }
}

/// The name that stands behind a dollar, in braces or not, and what follows.
fn name_of(text: &str) -> Option<(&str, &str)> {
    let end_of = |text: &str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = match text.strip_prefix('{') {
        Some(inner) => {
            let (name, rest) = inner.split_at(end_of(inner));
            (name, rest.strip_prefix('}')?)
        }
        None => text.split_at(end_of(text)),
    };
    (!name.is_empty()).then_some((name, rest))
}

fn group_of(name: &str) -> Part {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit()) && (name.len() == 1 || !name.starts_with('0'));
    match name.parse() {
        Ok(number) if is_number && number < NUMBER_MAX => Part::Numbered(number),
        _ => Part::Named(name.into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::pattern::Pattern, *};

    proptest! {
        #[test]
        fn any_text_is_a_template_and_one_without_dollars_stands_for_itself(text in "[a$1{}_ä-]{0,16}") {
            let expanded = expand(&text);
            if !text.contains('$') {
                prop_assert_eq!(expanded, text);
            }
        }
    }

    fn expand(template: &str) -> String {
        let pattern = Pattern::new("(?P<first>a+)-(b+)(c)?").unwrap();
        Template::parse(template).expand(&pattern.match_whole("aa-b").unwrap())
    }

    #[test]
    fn groups_are_put_in_as_go_does() {
        for (template, expanded) in [
            ("", ""),
            ("plain", "plain"),
            ("$0", "aa-b"),
            ("$1/$2", "aa/b"),
            ("${1}x", "aax"),
            ("$1x", ""),
            ("$1_$2", "b"),
            ("${first}$first", "aaaa"),
            ("$3.$4.$9", ".."),
            ("$01", ""),
            ("$$1", "$1"),
            ("a$", "a$"),
            ("$-$1", "$-aa"),
            ("${1", "${1"),
            ("${}", "${}"),
            ("${a-b}", "${a-b}"),
        ] {
            assert_eq!(expand(template), expanded, "{template}");
        }
    }
}
