//! Lists of stages with mistakes that compile, and lists without.

use super::*;
use crate::pipeline::Pipeline;

/// With the labels of a container, and `cluster` always `home`.
fn warnings_of(stages: &str) -> Vec<String> {
    let stages = StageConfig::list(stages).unwrap();
    assert!(Pipeline::compile(&stages).is_ok());
    let mut labels: BTreeMap<String, Possible> =
        ["namespace", "app"].map(|name| (name.to_owned(), Possible::Anything)).into();
    labels.insert("cluster".into(), Possible::Always("home".into()));
    warnings(&stages, Some(labels)).iter().map(ToString::to_string).collect()
}

#[track_caller]
fn assert_warns(stages: &str, expected: &[&str]) {
    assert_eq!(warnings_of(stages), expected, "{stages}");
}

#[test]
fn good_lists_have_no_warnings() {
    for stages in [
        "- json: {expressions: {level: , msg: message, trace_id: }}\n- labels: {level: }\n- structured_metadata: {trace_id: }\n\
         - output: {source: msg}\n- match: {selector: '{level=\"error\"}', stages: [{drop: {source: app, value: x}}]}\n",
        "- regex: {expression: '^(?P<ip>\\S+) (?P<status>\\d+) (?P<method>\\w+)'}\n- labels: {status: , method: }\n\
         - structured_metadata: {ip: , namespace: }\n- metrics: {n: {type: counter, source: status, config: {action: inc}}}\n",
        "- match: {selector: '{app=\"a\"}', stages: [{json: {expressions: {x: }}}, {static_labels: {kind: y}}]}\n\
         - match: {selector: '{kind=\"y\"}', stages: [{labels: {x: }}]}\n- match: {selector: '{kind=\"\"}', action: drop}\n",
        "- match: {selector: '{app=\"a\"} |= \"debug\"', action: drop}\n- json: {expressions: {msg: }}\n- output: {source: msg}\n\
         - match: {selector: '{app=\"a\"} |= \"debug\"', action: drop}\n",
        "- logfmt: {mapping: {a: }, regex: 'x.*'}\n- labels: {xyz: }\n",
        "- template: {source: new, template: '{{ .Entry }}'}\n- output: {source: new}\n",
    ] {
        assert_warns(stages, &[]);
    }
}

#[test]
fn sources_that_nothing_extracts_or_only_what_comes_later_are_reported() {
    assert_warns(
        "- labels: {level: , kind: tpye}\n- json: {expressions: {level: , type: }}\n- drop: {source: [level, lvl], value: x}\n\
         - match: {selector: '{app=\"a\"}', stages: [{output: {source: mesage}}]}\n",
        &[
            "pipeline_stages[0].labels.level: level is not extracted before, only by pipeline_stages[1].json",
            "pipeline_stages[0].labels.kind: nothing extracts tpye, and no label has this name",
            "pipeline_stages[2].drop.source[1]: nothing extracts lvl, and no label has this name",
            "pipeline_stages[3].match.stages[0].output.source: nothing extracts mesage, and no label has this name",
        ],
    );
}

#[test]
fn a_list_of_allowed_labels_that_removes_the_tenant_is_reported() {
    assert_warns(
        "- tenant: {source: namespace}\n- labelallow: [app]\n- labelallow: [app]\n",
        &[
            "pipeline_stages[1].labelallow: removes the tenant of pipeline_stages[0].tenant: add __tenant_id__ to the list",
        ],
    );
    assert_warns(
        "- labelallow: [app, namespace]\n- tenant: {source: namespace}\n- labelallow: [app, __tenant_id__]\n",
        &[],
    );
}

#[test]
fn names_in_templates_and_labels_that_are_not_there_are_reported() {
    assert_warns(
        "- template: {source: new, template: '{{ .levl }} {{ .Value }} {{ .Entry }} {{ .app }}'}\n- tenant: {label: namespce}\n\
         - static_labels: {env: prod}\n- labels: {copy: env}\n- tenant: {label: env}\n",
        &[
            "pipeline_stages[0].template.template: nothing extracts levl, and no label has this name",
            "pipeline_stages[1].tenant.label: no label has the name namespce; did you mean namespace?",
            "pipeline_stages[3].labels.copy: nothing extracts env, and the label of this name was made by a stage, which extracts \
             nothing",
        ],
    );
}

#[test]
fn selectors_that_contradict_labels_or_themselves_never_match() {
    let never = |selector: &str, why: &str| {
        let stages = format!("- match: {{selector: '{selector}', stages: [{{decolorize: }}]}}\n");
        assert_warns(&stages, &[&format!("pipeline_stages[0].match.selector: never matches: {why}")]);
    };
    never(r#"{cluster="office"}"#, r#"cluster is always "home" here"#);
    never(r#"{cluster!~"h.*"}"#, r#"cluster is always "home" here"#);
    never(r#"{ap="web"}"#, "there is no label ap here");
    never(r#"{app="a", app=~"b.*"}"#, "what it says of app contradicts itself");
    never(r#"{app="a"} |= "disk full" != "disk""#, r#"lines cannot contain "disk full" and not contain it"#);
    assert_warns(
        "- match: {selector: '{app=\"a\"}', stages: [{match: {selector: '{app=\"b\"}', action: drop}}]}\n\
         - static_labels: {cluster: office}\n- match: {selector: '{cluster=\"home\"}', action: drop}\n",
        &[
            "pipeline_stages[0].match.stages[0].match.selector: never matches: what it says of app contradicts itself",
            "pipeline_stages[2].match.selector: never matches: cluster is always \"office\" here",
        ],
    );
}

#[test]
fn selectors_of_what_was_dropped_before_never_match() {
    let by = |place: &str| format!("never matches: pipeline_stages{place} drops all that it selects");
    assert_warns(
        "- match: {selector: '{app=~\"web|db\"} |= \"health\"', action: drop}\n\
         - match: {selector: '{app=\"web\", namespace=\"x\"} |= \"/healthz\"', stages: [{decolorize: }]}\n\
         - match: {selector: '{app=\"api\"} |= \"/healthz\"', stages: [{cri: }]}\n",
        &[&format!("pipeline_stages[1].match.selector: {}", by("[0].match"))],
    );
    assert_warns(
        "- json: {expressions: {level: }}\n- drop: {source: level, value: debug}\n- labels: {level: }\n\
         - match: {selector: '{level=\"debug\"}', stages: [{cri: }]}\n",
        &[&format!("pipeline_stages[3].match.selector: {}", by("[1].drop"))],
    );
    assert_warns(
        "- drop: {expression: '^#'}\n- match: {selector: '{app=\"a\"} |~ \"^#\"', action: drop}\n",
        &[&format!("pipeline_stages[1].match.selector: {}", by("[0].drop"))],
    );
}

#[test]
fn labels_with_many_values_are_reported_by_their_names_and_expressions() {
    let found = warnings_of(
        "- regex: {expression: 'user=(?P<user>[^ ]+) n=(?P<n>\\d{2}) status=(?P<status>\\d+)'}\n- json: {expressions: {trace_id: , path: }}\n\
         - labels: {user: , n: , status: , trace: trace_id, path: }\n",
    );
    let begins = [
        "pipeline_stages[2].labels.user: what [^ ]+ matches has many values: each value",
        "pipeline_stages[2].labels.trace: this name speaks of many values: each value",
        "pipeline_stages[2].labels.path: this name speaks of many values: each value",
    ];
    assert_eq!(found.len(), begins.len(), "{found:?}");
    assert!(found.iter().zip(begins).all(|(found, begin)| found.starts_with(begin)), "{found:#?}");
}

#[test]
fn where_labels_of_any_name_may_be_there_nothing_is_said_of_names() {
    let stages = StageConfig::list("- labels: {x: }\n- match: {selector: '{y=\"z\"}', action: drop}\n").unwrap();
    assert_eq!(warnings(&stages, None), []);
}
