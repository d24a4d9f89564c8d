use std::fs;

use proptest::prelude::*;

use super::*;

/// Reads without looking at the result, as each of the three readers.
fn read_all(text: &str) {
    let text = Text { place: Place::start_of("c.alloy"), text };
    let (lines, mut findings) = (text.text.lines().count() + 1, Vec::new());
    let faults = [
        read(std::slice::from_ref(&text)).err(),
        read_stages(&text, &mut findings).err(),
        read_rules(&text, &mut findings).err(),
    ];
    for fault in faults.into_iter().flatten().flatten() {
        assert!((1..=lines + 1).contains(&fault.place.line) && fault.place.column > 0, "{fault}");
    }
}

#[test]
fn what_is_nested_without_end_is_refused_with_a_place() {
    for (open, close) in
        [("[", "]"), ("(", ")"), ("{a = ", "}"), ("f(", ")"), ("-", ""), ("!", ""), ("a[", "]"), ("2 ^ ", "")]
    {
        let text = format!("x = {}1{}", open.repeat(5000), close.repeat(5000));
        assert!(fault(&text).contains("nested more than 100 deep"), "{open}");
    }
    assert!(fault(&"a { ".repeat(5000)).contains("nested more than 100 deep"));
    for piece in [" + 1", ".a", "[1]", "(1)"] {
        assert!(fault(&format!("x = a{}", piece.repeat(5000))).contains("more than 100 steps"), "{piece}");
    }
}

#[test]
fn a_custom_component_that_contains_itself_ends() {
    let origin = origin("declare \"a\" {\n a \"b\" {}\n a \"c\" {}\n}\na \"x\" {}\n");
    assert!(findings(&origin, Kind::NotPossible).contains("one contains itself"));
}

#[test]
fn arguments_that_double_end() {
    let mut text = String::new();
    for level in 0..40 {
        text += &format!(
            "declare \"d{level}\" {{\n argument \"v\" {{}}\n d{} \"x\" {{\n v = concat(argument.v.value, argument.v.value)\n }}\n}}\n",
            level + 1
        );
    }
    text += "declare \"d40\" {\n argument \"v\" {}\n loki.source.file \"f\" {\n targets = argument.v.value\n forward_to = []\n }\n}\n";
    text += "d25 \"x\" {\n v = [\"a\", \"b\"]\n}\n";
    assert!(!origin(&text).findings.is_empty());
}

#[test]
fn receivers_and_targets_that_go_in_circles_end() {
    let text = "loki.process \"a\" {\n forward_to = [loki.process.b.receiver, loki.process.b.receiver]\n}\n\
                loki.process \"b\" {\n forward_to = [loki.process.a.receiver]\n}\n\
                discovery.relabel \"r\" {\n targets = concat(discovery.relabel.r.output, discovery.relabel.r.output)\n}\n\
                loki.source.file \"f\" {\n targets = concat(discovery.relabel.r.output, [{__path__ = \"/var/log/pods/*/*/*.log\"}])\n \
                forward_to = [loki.process.a.receiver]\n}\n";
    let told = findings(&origin(text), Kind::NotPossible);
    assert!(told.contains("lines go round in a circle"), "{told}");
    assert!(told.contains("too many components, or in a circle"), "{told}");
}

#[test]
fn long_files_take_time_by_their_length() {
    let many = "a0 = 1\n".replace("a0", "a");
    let attributes: String = (0..100_000).map(|n| many.replace('a', &format!("a{n}"))).collect();
    read_all(&attributes);
    let blocks: String = (0..20_000).map(|n| format!("loki.echo \"e{n}\" {{}}\n")).collect();
    read_all(&blocks);
    read_all(&format!("x = [{}]", "1,".repeat(200_000)));
    read_all(&"/* */".repeat(100_000));
}

#[test]
fn what_is_deep_in_many_components_ends() {
    let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(90), "]".repeat(90));
    let mut text = String::new();
    for n in 0..80 {
        let forward = deep(&format!("loki.process.p{}.receiver", n + 1));
        text += &format!("loki.process \"p{n}\" {{\n forward_to = {forward}\n}}\n");
        let targets = deep(&format!("discovery.relabel.r{}.output", n + 1));
        text += &format!("discovery.relabel \"r{n}\" {{\n targets = {targets}\n}}\n");
        let value = deep(&format!("d.i{}.v", n + 1));
        text += &format!(
            "declare \"d{n}\" {{\n argument \"v\" {{}}\n export \"v\" {{\n value = {}\n}}\n}}\n",
            deep("argument.v.value")
        );
        text +=
            &format!("d{n} \"i\" {{\n v = {}\n}}\n", value.replace(&format!("d.i{}", n + 1), &format!("d{}.i", n + 1)));
    }
    text += "loki.source.file \"f\" {\n targets = discovery.relabel.r0.output\n forward_to = concat(d0.i.v, loki.process.p0.receiver)\n}\n";
    text += "loki.source.file \"g\" {\n targets = [{__path__ = \"/var/log/pods/*/*/*.log\"}]\n forward_to = [loki.process.p0.receiver, d0.i.v]\n}\n";
    read_all(&text);
}

/// The files that conversions are tested with.
fn corpus() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/migrate");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let alloy = files.filter(|file| file.extension().is_some_and(|extension| extension == "alloy"));
    alloy.map(|file| fs::read_to_string(file).unwrap()).collect()
}

#[test]
fn every_beginning_of_every_file_of_the_corpus_is_read_or_refused() {
    let texts = corpus();
    assert!(texts.len() >= 20, "{}", texts.len());
    for text in texts {
        for end in (0..text.len()).step_by(23).filter(|end| text.is_char_boundary(*end)) {
            read_all(&text[..end]);
        }
    }
}

proptest! {
    #[test]
    fn files_with_pieces_out_of_place_are_read_or_refused(
        index in any::<prop::sample::Index>(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..6),
        signs in prop::collection::vec("[\\[\\](){}.,=\"`!/*+^ \na0$]{0,3}", 6),
    ) {
        let texts = corpus();
        let mut chars: Vec<char> = index.get(&texts).chars().collect();
        for ((from, to, at), sign) in cuts.into_iter().zip(signs) {
            let (from, to) = (from.index(chars.len() + 1), to.index(chars.len() + 1));
            let piece: Vec<char> = chars.drain(from.min(to)..from.max(to)).take(200).collect();
            let at = at.index(chars.len() + 1);
            chars.splice(at..at, piece.into_iter().chain(sign.chars()));
        }
        read_all(&chars.into_iter().collect::<String>());
    }

    #[test]
    fn texts_of_signs_are_read_or_refused(text in "([a-c]|[\\[\\](){}.,=\"`!/*+^ \n0-9-]|\\\\|loki\\.source\\.file|stage\\.drop|rule){0,60}") {
        read_all(&text);
    }
}
