//! Prometheus' own cases (model/relabel/relabel_test.go), by their meaning.

use super::*;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What rules, as YAML, make of labels; `None` where they drop them.
fn relabel(rules: &str, pairs: &[(&str, &str)]) -> Option<Labels> {
    let rules = RelabelConfig::list(rules);
    assert!(!rules.is_empty());
    let mut labels = labels(pairs);
    rules.iter().all(|rule| Rule::new(rule).unwrap().apply(&mut labels)).then_some(labels)
}

/// Asserts what rules change and leave as it is.
#[track_caller]
fn assert_made(rules: &str, before: &[(&str, &str)], after: &[(&str, &str)]) {
    assert_eq!(relabel(rules, before), Some(labels(after)), "{rules}");
}

const ABC: [(&str, &str); 3] = [("a", "foo"), ("b", "bar"), ("c", "baz")];

#[test]
fn replace_writes_the_replacement_where_the_joined_values_match_and_leaves_the_label_alone_where_not() {
    let with_d = |d| [ABC[0], ABC[1], ABC[2], ("d", d)];
    assert_made(
        "- {source_labels: [a], regex: 'f(.*)', target_label: d, replacement: 'ch${1}-ch${1}'}",
        &ABC,
        &with_d("choo-choo"),
    );
    let joined = "- {source_labels: [a, b], regex: 'f(.*);(.*)r', target_label: d, replacement: '$2-$1'}";
    assert_made(joined, &ABC, &with_d("ba-oo"));
    assert_made("- {source_labels: [a, none, c], target_label: d}", &ABC, &with_d("foo;;baz"));
    assert_made("- {source_labels: [a, b], separator: '', target_label: d}", &ABC, &with_d("foobar"));
    // The regular expression is anchored at both ends.
    assert_made("- {source_labels: [a], regex: o, target_label: d, replacement: x}", &ABC, &ABC);
    assert_made(
        "- {source_labels: [b], regex: '.*', target_label: a, replacement: new}",
        &ABC,
        &[("a", "new"), ABC[1], ABC[2]],
    );
}

#[test]
fn replace_without_a_source_writes_a_fixed_text_and_with_an_empty_result_removes_the_label() {
    assert_made("- {target_label: d, replacement: fixed}", &[("a", "x")], &[("a", "x"), ("d", "fixed")]);
    assert_made("- {source_labels: [none], target_label: a}", &ABC, &ABC[1..]);
    assert_made("- {target_label: a, replacement: ''}", &ABC, &ABC[1..]);
    assert_made("- {source_labels: [a], regex: 'f|(z)oo|foo', target_label: a, replacement: '$1'}", &ABC, &ABC[1..]);
}

#[test]
fn the_target_of_a_replacement_may_come_from_the_match_and_is_passed_over_where_it_is_no_name() {
    let rule = "- {source_labels: [a], regex: '([^-]+)-(.*)', target_label: '${1}', replacement: '$2'}";
    assert_made(rule, &[("a", "some-x")], &[("a", "some-x"), ("some", "x")]);
    assert_made(rule, &[("a", "3a-x")], &[("a", "3a-x")]);
    let rule = "- {source_labels: [a], regex: '(.+)', target_label: 'x_$1', replacement: y}";
    assert_made(rule, &[("a", "b.c")], &[("a", "b.c")]);
    assert_made(rule, &[("a", "b")], &[("a", "b"), ("x_b", "y")]);
}

#[test]
fn keep_and_drop_decide_by_the_joined_values() {
    for (rule, kept) in [
        ("- {action: keep, source_labels: [a], regex: foo}", true),
        ("- {action: keep, source_labels: [a], regex: fo}", false),
        ("- {action: keep, source_labels: [a, b], regex: 'foo;.*'}", true),
        ("- {action: keep, source_labels: [none], regex: '.+'}", false),
        ("- {action: drop, source_labels: [a], regex: '.*o'}", false),
        ("- {action: drop, source_labels: [a], regex: o}", true),
        ("- {action: drop, source_labels: [none], regex: ''}", false),
        ("- {action: KEEP, source_labels: [b], regex: bar}", true),
    ] {
        assert_eq!(relabel(rule, &ABC).is_some(), kept, "{rule}");
    }
    // Nothing after it is done.
    let rules = "- {action: drop, source_labels: [a], regex: foo}\n- {target_label: d, replacement: x}";
    assert_eq!(relabel(rules, &ABC), None);
}

#[test]
fn keepequal_and_dropequal_compare_with_the_target() {
    let same = [("a", "x"), ("b", "x"), ("c", "y")];
    for (rule, kept) in [
        ("- {action: keepequal, source_labels: [a], target_label: b}", true),
        ("- {action: keepequal, source_labels: [a], target_label: c}", false),
        ("- {action: dropequal, source_labels: [a], target_label: b}", false),
        ("- {action: dropequal, source_labels: [a], target_label: c}", true),
        ("- {action: dropequal, source_labels: [none], target_label: none_too}", false),
    ] {
        assert_eq!(relabel(rule, &same).is_some(), kept, "{rule}");
    }
}

#[test]
fn hashmod_gives_the_number_that_prometheus_gives() {
    // Prometheus' own example: the label c is foo;bar;baz's hash modulo 1000.
    let rule = "- {action: hashmod, source_labels: [c], target_label: d, separator: ;, modulus: 1000}";
    assert_made(rule, &ABC, &[ABC[0], ABC[1], ABC[2], ("d", "976")]);
    let rule = "- {action: hashmod, source_labels: [a], target_label: d, modulus: 1000}";
    let lines = [("a", "foo\nbar")];
    assert_made(rule, &lines, &[lines[0], ("d", "734")]);
    let rule = "- {action: hashmod, source_labels: [none], target_label: d, modulus: 1}";
    assert_made(rule, &ABC, &[ABC[0], ABC[1], ABC[2], ("d", "0")]);
}

#[test]
fn lowercase_and_uppercase_write_the_joined_values_in_their_case() {
    let rules = "- {action: lowercase, source_labels: [a, b], target_label: l}\n\
                 - {action: uppercase, source_labels: [a], target_label: u}";
    let before = [("a", "Foo"), ("b", "BÄR")];
    assert_made(rules, &before, &[before[0], before[1], ("l", "foo;bär"), ("u", "FOO")]);
}

#[test]
fn labelmap_copies_labels_by_their_names_and_labeldrop_and_labelkeep_remove_them() {
    let before = [("a", "foo"), ("b1", "bar"), ("b2", "baz")];
    assert_made(
        "- {action: labelmap, regex: 'b(.*)', replacement: bar_$1}",
        &before,
        &[before[0], before[1], before[2], ("bar_1", "bar"), ("bar_2", "baz")],
    );
    assert_made("- {action: labelmap, regex: '(b1)', replacement: a}", &before, &[("a", "bar"), before[1], before[2]]);
    let meta = [("__meta_my_bar", "aaa"), ("__meta_my_baz", "bbb")];
    let mapped = [meta[0], meta[1], ("bar", "aaa"), ("baz", "bbb")];
    assert_made("- {action: labelmap, regex: '__meta_(my_(?P<rest>.*))', replacement: $rest}", &meta, &mapped);
    assert_made("- {action: labeldrop, regex: 'b.*'}", &before, &before[..1]);
    assert_made("- {action: labelkeep, regex: 'b.*'}", &before, &before[1..]);
    assert_made("- {action: labelkeep, regex: b}", &before, &[]);
}

#[test]
fn a_rule_that_prometheus_refuses_is_refused_with_the_field_that_is_wrong() {
    for (rule, field, message) in [
        ("{action: replace}", "target_label", "must be set for the action replace"),
        ("{action: lowercase}", "target_label", "must be set for the action lowercase"),
        ("{action: hashmod, target_label: a}", "modulus", "must be set, and be 1 or more, for the action hashmod"),
        (
            "{target_label: 0a}",
            "target_label",
            "a label's name is letters, digits and _, and begins with no digit, found \"0a\"",
        ),
        (
            "{target_label: 'a-$1'}",
            "target_label",
            "a label's name is letters, digits and _, and begins with no digit, found \"a-$1\"",
        ),
        (
            "{action: uppercase, target_label: '$1'}",
            "target_label",
            "a label's name is letters, digits and _, and begins with no digit, found \"$1\"",
        ),
        ("{action: labelmap, replacement: '-$1'}", "replacement", "must give the name of a label, found \"-$1\""),
        ("{action: labelmap, replacement: ''}", "replacement", "must give the name of a label, found \"\""),
        (
            "{action: labeldrop, source_labels: [a]}",
            "source_labels",
            "has no meaning for the action labeldrop; leave it out",
        ),
        ("{action: labelkeep, modulus: 1}", "modulus", "has no meaning for the action labelkeep; leave it out"),
        (
            "{action: keepequal, target_label: a, regex: x}",
            "regex",
            "has no meaning for the action keepequal; leave it out",
        ),
        (
            "{action: lowercase, target_label: a, replacement: x}",
            "replacement",
            "has no meaning for the action lowercase; leave it out",
        ),
    ] {
        let rules = RelabelConfig::list(&format!("- {rule}"));
        let error = Rule::new(&rules[0]).unwrap_err();
        assert_eq!((error.field, error.message.as_str()), (field, message), "{rule}");
    }
    for good in ["{target_label: '${1}_x'}", "{target_label: 'a$1', regex: '(.)'}", "{action: keep}"] {
        assert!(Rule::new(&RelabelConfig::list(&format!("- {good}"))[0]).is_ok(), "{good}");
    }
}
