use super::{super::value::Text, *};

fn number(number: f64) -> Value {
    Value::Number(number)
}

#[test]
fn operators_bind_as_in_alloy() {
    for (expression, result) in [
        ("1 + 2 * 3", 7.0),
        ("(1 + 2) * 3", 9.0),
        ("2 ^ 3 ^ 2", 512.0),
        ("2 * 3 ^ 2", 18.0),
        ("10 - 3 - 2", 5.0),
        ("-2 ^ 2", 4.0),
        ("17 % 5 + 1", 3.0),
        ("8 / 2 / 2", 2.0),
        (".5 + 1e1", 10.5),
        ("1.5E+2", 150.0),
    ] {
        assert_eq!(value(expression), number(result), "{expression}");
    }
    for (expression, result) in [
        ("1 < 2 && 2 < 1 || true", true),
        ("true || false && false", true),
        ("!true == false", true),
        ("1 + 1 == 2", true),
        ("\"a\" != \"b\"", true),
        ("null == null", true),
        ("2 >= 3", false),
    ] {
        assert_eq!(value(expression), Value::Bool(result), "{expression}");
    }
}

#[test]
fn strings_have_gos_escapes_and_raw_ones_none() {
    assert_eq!(value(r#""a\tb\"c\\d\n\x41\u00e9\101\'""#), Value::text("a\tb\"c\\d\nA\u{e9}A'"));
    assert_eq!(value("`\\d+\n\"x\"`"), Value::text("\\d+\n\"x\""));
    assert_eq!(value(r#""\xc3\xa9""#), Value::text("\u{e9}"));
    assert_eq!(
        fault("x = \"\\d\""),
        "c.alloy:1:6: unknown escape \\d; a backslash is written \\\\, or the string in backticks"
    );
    assert_eq!(fault("x = \"\\xff\""), "c.alloy:1:5: the escapes of this string give no UTF-8");
    assert_eq!(fault("x = \"abc\ny = 1"), "c.alloy:1:5: a string begins here and is not closed on its line");
    assert_eq!(fault("\n  x = `abc"), "c.alloy:2:7: a string begins here with a backtick and is never closed");
}

#[test]
fn newlines_end_statements_and_comments_do_not_count() {
    let text = "// one\na \"x\" { b = 1 } /* two */ // three\nc /* four\n */ \"y\" {\n  d = [\n    1, // five\n    2,\n  ]\n  e = { k = 1, \"l m\" = 2, }\n  f = 1 +\n    2\n  g {}\n}\n";
    let body = parse(text, 0);
    assert_eq!(body.unwrap_err().message, "expected = or { behind c, found the end of the line");
    let body = parse(&text.replace("four\n", "four"), 0).unwrap();
    let names: Vec<_> = body.blocks.iter().map(|block| block.id()).collect();
    assert_eq!(names, ["a.x", "c.y"]);
    let inner = &body.blocks[1].body;
    assert_eq!(inner.attributes.iter().map(|attribute| attribute.name.as_str()).collect::<Vec<_>>(), ["d", "e", "f"]);
    assert_eq!((inner.blocks[0].place.line, inner.blocks[0].place.column), (11, 3));
    assert!(parse("a { b = 1 c = 2 }", 0).unwrap_err().message.contains("the end of the line behind the statement"));
    assert!(parse("a = 1\r\nb = 2\r\n", 0).is_ok());
    assert!(parse("\u{feff}a = 1", 0).is_ok());
}

#[test]
fn an_error_has_its_place_and_says_what_was_expected() {
    for (text, message) in [
        ("a {\n  b = [1\n  2]\n}", "c.alloy:3:3: expected , or ] before the end of the line"),
        (
            "a {\n  b = 1\n",
            "c.alloy:3:1: expected } at the end of a, which begins in line 1, found the end of the file",
        ),
        ("a = ", "c.alloy:1:5: expected a value, found the end of the file"),
        ("a.b = 1", "c.alloy:1:1: an attribute's name is one word, and has no label: a.b"),
        ("a = 1\na = 2", "c.alloy:2:1: a is set twice"),
        ("a = 'x'", "c.alloy:1:5: strings are written in double quotes or backticks"),
        ("# a", "c.alloy:1:1: comments begin with // in Alloy's language, not with #"),
        ("a }", "c.alloy:1:3: expected = or { behind a, found }"),
        ("}", "c.alloy:1:1: unexpected }"),
        ("a = {b: 1}", "c.alloy:1:7: unexpected character ':'"),
        ("a = f(1", "c.alloy:1:8: expected , or ) before the end of the line"),
        ("/* a", "c.alloy:1:1: a comment begins here with /* and is never closed"),
        ("a = 1e", "c.alloy:1:5: the exponent of this number has no digits"),
        ("a = x | y", "c.alloy:1:7: unexpected character '|'"),
    ] {
        assert_eq!(fault(text), message, "{text}");
    }
}

#[test]
fn functions_give_what_alloys_give() {
    for (expression, result) in [
        (r#"string.format("%s/%d-%v%%", "a", 3, true)"#, "a/3-true%"),
        (r#"format("%q", "a")"#, "\"a\""),
        (r#"string.join(["a", "b"], "|")"#, "a|b"),
        (r#"string.to_lower("AB") + to_upper("c")"#, "abC"),
        (r#"string.replace("a-b-c", "-", "_")"#, "a_b_c"),
        (r#"string.trim_prefix("abc", "a") + trim_suffix("abc", "c") + string.trim("--a-", "-")"#, "bcaba"),
        (r#"string.split("a,b", ",")[1]"#, "b"),
        (r#"encoding.from_json("{\"a\": {\"b\": [\"x\"]}}").a.b[0]"#, "x"),
        (r#"json_decode(`{"k": "v"}`)["k"]"#, "v"),
        (r#"encoding.from_base64("YWI=")"#, "ab"),
        (r#"coalesce(null, "", "x", "y")"#, "x"),
        (r#"nonsensitive("x")"#, "x"),
        (r#"array.concat(["a"], ["b", "c"])[2]"#, "c"),
        (r#"file.path_join("/etc", "alloy", "x")"#, "/etc/alloy/x"),
        (r#"constants.os"#, "linux"),
    ] {
        assert_eq!(value(expression), Value::text(result), "{expression}");
    }
    assert_eq!(value("[1, 2, 3][5]"), Value::Unknown("a list has no item 5".into()));
    assert_eq!(value("coalesce()"), Value::Null);
    for unknown in [
        "nosuch(1)",
        "a.b.c",
        "-\"x\"",
        "string.to_lower(sys.env(\"X\"))",
        "1 + \"a\"",
        "{a = 1}.b",
        "sys.env(\"A-B\")",
    ] {
        assert!(matches!(value(unknown), Value::Unknown(_)), "{unknown}");
    }
}

#[test]
fn environment_variables_stay_variables() {
    let spelled = |expression: &str| {
        let text = format!(
            "loki.write \"w\" {{\n endpoint {{\n url = {expression}\n}}\n}}\nloki.source.file \"f\" {{\n \
             targets = [{{__path__ = \"/var/log/pods/*/*/*.log\"}}]\n forward_to = [loki.write.w.receiver]\n}}\n"
        );
        origin(&text).clients[0].settings[0].value.as_text().unwrap().to_owned()
    };
    assert_eq!(spelled(r#"sys.env("URL")"#), "${URL}");
    assert_eq!(spelled(r#""http://" + env("HOST") + ":3100""#), "http://${HOST}:3100");
    assert_eq!(spelled(r#"string.format("http://%s/$x", sys.env("HOST"))"#), "http://${HOST}/$$x");
    assert_eq!(spelled(r#"coalesce(sys.env("URL"), "http://loki:3100")"#), "${URL:-http://loki:3100}");
    assert_eq!(spelled(r#"coalesce(env("HOSTNAME"), constants.hostname)"#), "${NODE_NAME}");
    assert_eq!(spelled(r#"sys.env("HOSTNAME")"#), "${NODE_NAME}");
    assert_eq!(spelled(r#""http://a/$b""#), "http://a/$b");
    assert_eq!(spelled(r#""http://a/${b}""#), "http://a/$${b}");
    assert!(matches!(value(r#"coalesce(sys.env("A"), sys.env("B"))"#), Value::Unknown(_)));
    assert!(matches!(value(r#"coalesce(sys.env("A"), "a}b")"#), Value::Unknown(_)));
    assert_eq!(value(r#"sys.env("A")"#), value(r#"coalesce(null, sys.env("A"))"#));
    assert_ne!(value(r#"sys.env("A")"#), Value::Text(Text::default()));
}
