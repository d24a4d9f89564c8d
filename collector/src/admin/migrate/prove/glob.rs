//! Globs of paths, as Promtail and Alloy match them (github.com/bmatcuk/doublestar).
//!
//! In: a pattern and a path. Out: whether it matches. Knows nothing of pods, and has no part in the conversion: what that makes of a
//! glob is held against this.

/// Whether a path matches a pattern: `*`, `?` and `[…]` within a folder, `**` over folders, `{a,b}` one of several.
pub fn matches(pattern: &str, path: &str) -> bool {
    let path: Vec<&str> = path.split('/').collect();
    alternatives(pattern).iter().any(|pattern| folders(&pattern.split('/').collect::<Vec<_>>(), &path))
}

/// A pattern without braces for each way to choose from them.
fn alternatives(pattern: &str) -> Vec<String> {
    let Some((before, rest)) = pattern.split_once('{') else { return vec![pattern.to_owned()] };
    let Some((choices, behind)) = rest.split_once('}') else { return vec![pattern.to_owned()] };
    let behind = alternatives(behind);
    choices.split(',').flat_map(|choice| behind.iter().map(move |behind| format!("{before}{choice}{behind}"))).collect()
}

fn folders(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => (0..=path.len()).any(|skipped| folders(rest, &path[skipped..])),
        (Some((first, rest)), Some((name, behind))) => {
            let (first, name): (Vec<char>, Vec<char>) = (first.chars().collect(), name.chars().collect());
            is_name(&first, &name) && folders(rest, behind)
        }
        _ => false,
    }
}

fn is_name(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (['*', rest @ ..], _) => (0..=name.len()).any(|skipped| is_name(rest, &name[skipped..])),
        (['?', rest @ ..], [_, behind @ ..]) => is_name(rest, behind),
        (['\\', c, rest @ ..], [first, behind @ ..]) => c == first && is_name(rest, behind),
        (['[', rest @ ..], [first, behind @ ..]) => {
            let Some(end) = rest.iter().skip(1).position(|c| *c == ']').map(|at| at + 1) else { return false };
            let (class, rest) = (&rest[..end], &rest[end + 1..]);
            let (is_not, class) = match class {
                ['!' | '^', class @ ..] => (true, class),
                class => (false, class),
            };
            is_in(class, *first) != is_not && is_name(rest, behind)
        }
        ([c, rest @ ..], [first, behind @ ..]) => c == first && is_name(rest, behind),
        _ => false,
    }
}

fn is_in(class: &[char], c: char) -> bool {
    match class {
        [from, '-', to, rest @ ..] => (*from..=*to).contains(&c) || is_in(rest, c),
        [one, rest @ ..] => *one == c || is_in(rest, c),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_those_of_doublestar() {
        let path = "/var/log/pods/argo_wf-1_0a1b/main/0.log";
        for (pattern, expected) in [
            ("/var/log/pods/*/*/*.log", true),
            ("/var/log/pods/argo_*/*/*.log", true),
            ("/var/log/pods/shop_*/*/*.log", false),
            ("/var/log/pods/**/*.log", true),
            ("/var/log/pods/**/*/*/*/*.log", false),
            ("/var/log/pods/*/*.log", false),
            ("/var/log/pods/{shop,argo}_*/**", true),
            ("/var/log/pods/argo_wf-?_*/[a-m]*/[0-9].log", true),
            ("/var/log/pods/argo_wf-[!1]_*/*/*.log", false),
            ("/var/log/pods/argo\\_*/*/*.log", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern}");
        }
    }
}
