//! The functions of templates: Promtail's own, the few of sprig's that are used, and text/template's comparisons.

use std::{cell::RefCell, io::Write, slice};

use sha2::Digest;

use super::{
    Data, Failed, Memory, Operand, Value,
    printf::{Piece, pieces, printf},
};
use crate::pipeline::{
    go::text::{lossy, lower, upper},
    pattern::{Pattern, Replacement},
    relabel::template::Template,
};

/// A function with what is known when it is compiled.
#[derive(Debug)]
pub enum Function {
    /// Of texts, and whole numbers where the name says so.
    Plain(Name),
    Regex(Box<Regex>),
    Printf(Vec<Piece>),
}

/// `regexReplaceAll` or `regexReplaceAllLiteral`, with those of its arguments that stand in the template.
#[derive(Debug)]
pub struct Regex {
    pattern: Option<RefCell<Pattern>>,
    replacement: Option<Template>,
    is_literal: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    ToLower,
    ToUpper,
    Replace,
    Trim,
    TrimLeft,
    TrimRight,
    TrimPrefix,
    TrimSuffix,
    TrimSpace,
    Hash,
    Sha2Hash,
    Default,
    Trunc,
    Contains,
    HasPrefix,
    HasSuffix,
    Eq,
    Ne,
    And,
    Or,
    Not,
}

/// Names with the least and the greatest number of arguments.
const FUNCTIONS: [(&str, Name, usize, usize); 23] = [
    ("ToLower", Name::ToLower, 1, 1),
    ("lower", Name::ToLower, 1, 1),
    ("ToUpper", Name::ToUpper, 1, 1),
    ("upper", Name::ToUpper, 1, 1),
    ("Replace", Name::Replace, 4, 4),
    ("Trim", Name::Trim, 2, 2),
    ("TrimLeft", Name::TrimLeft, 2, 2),
    ("TrimRight", Name::TrimRight, 2, 2),
    ("TrimPrefix", Name::TrimPrefix, 2, 2),
    ("TrimSuffix", Name::TrimSuffix, 2, 2),
    ("TrimSpace", Name::TrimSpace, 1, 1),
    ("Hash", Name::Hash, 2, 2),
    ("Sha2Hash", Name::Sha2Hash, 2, 2),
    ("default", Name::Default, 1, 2),
    ("trunc", Name::Trunc, 2, 2),
    ("contains", Name::Contains, 2, 2),
    ("hasPrefix", Name::HasPrefix, 2, 2),
    ("hasSuffix", Name::HasSuffix, 2, 2),
    ("eq", Name::Eq, 2, usize::MAX),
    ("ne", Name::Ne, 2, 2),
    ("and", Name::And, 1, usize::MAX),
    ("or", Name::Or, 1, usize::MAX),
    ("not", Name::Not, 1, 1),
];

/// A function that is known by its name; its arguments are not looked at yet.
#[derive(Clone, Copy)]
pub struct Named<'n> {
    name: &'n str,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Plain { function: Name, least: usize, most: usize },
    Regex { literal: bool },
    Printf,
}

/// # Errors
/// There is no function of this name, and the message says so.
pub fn find(name: &str) -> Result<Named<'_>, String> {
    let kind = match name {
        "regexReplaceAll" | "regexReplaceAllLiteral" => Kind::Regex { literal: name == "regexReplaceAllLiteral" },
        "printf" => Kind::Printf,
        _ => match FUNCTIONS.iter().find(|(known, ..)| *known == name) {
            Some((_, function, least, most)) => Kind::Plain { function: *function, least: *least, most: *most },
            None => return Err(format!("the function {name} is not supported in templates")),
        },
    };
    Ok(Named { name, kind })
}

impl Named<'_> {
    /// `piped`: what stands before it is its last argument.
    ///
    /// # Errors
    /// The arguments do not fit.
    pub fn with(self, operands: &[Operand], piped: bool) -> Result<Function, String> {
        let count = operands.len() + usize::from(piped);
        let wrong_count = |least: usize| {
            let plural = if least == 1 { "" } else { "s" };
            Err(format!("{} takes {least} argument{plural}, found {count}", self.name))
        };
        match self.kind {
            Kind::Plain { least, most, .. } if count < least || count > most => wrong_count(least),
            Kind::Plain { function, .. } => Ok(Function::Plain(function)),
            Kind::Regex { .. } if count != 3 => wrong_count(3),
            Kind::Regex { literal: is_literal } => {
                let text = |at: usize| match operands.get(at) {
                    Some(Operand::Text(text)) => Some(text.as_str()),
                    _ => None,
                };
                let pattern = text(0).map(Pattern::new).transpose()?.map(RefCell::new);
                Ok(Function::Regex(Box::new(Regex { pattern, replacement: text(2).map(Template::parse), is_literal })))
            }
            Kind::Printf => match operands.first() {
                Some(Operand::Text(format)) => pieces(format).map(Function::Printf),
                _ => Err("printf is supported with a string as its format only".into()),
            },
        }
    }
}

/// What a function is called with.
pub struct Arguments<'a, 'm> {
    operands: slice::Iter<'a, Operand>,
    /// What stood before the `|`.
    last: Option<Value<'a>>,
    data: &'m Data<'a>,
    pub memory: &'m mut Memory,
}

/// The greatest number of arguments of what takes no more than some.
const ARGUMENTS_MAX: usize = 4;

impl<'a> Arguments<'a, '_> {
    /// The next one; `None` behind the last one.
    pub fn next(&mut self) -> Option<Result<Value<'a>, Failed>> {
        match self.operands.next() {
            Some(operand) => Some(operand.value(self.data, self.memory)),
            None => self.last.take().map(Ok),
        }
    }

    /// All of them; `Missing` stands for what is not given.
    fn all(&mut self) -> Result<[Value<'a>; ARGUMENTS_MAX], Failed> {
        let mut values = [const { Value::Missing }; ARGUMENTS_MAX];
        for value in &mut values {
            let Some(next) = self.next() else { break };
            *value = next?;
        }
        Ok(values)
    }
}

impl Function {
    /// `last` is what stood before the `|`.
    pub fn call<'a>(
        &'a self,
        operands: &'a [Operand],
        last: Option<Value<'a>>,
        data: &Data<'a>,
        memory: &mut Memory,
    ) -> Result<Value<'a>, Failed> {
        let mut arguments = Arguments { operands: operands.iter(), last, data, memory };
        match self {
            Self::Plain(name @ (Name::And | Name::Or)) => first_that_decides(*name, arguments),
            Self::Plain(name @ (Name::Eq | Name::Ne)) => {
                let is_any = is_any_equal(arguments)?;
                Ok(Value::Bool(is_any == (*name == Name::Eq)))
            }
            Self::Printf(pieces) => {
                // The format is known.
                let _ = arguments.next();
                let mut text = arguments.memory.take();
                let printed = printf(pieces, &mut arguments, &mut text);
                memory.made(text, printed)
            }
            Self::Plain(name) => {
                let values = arguments.all()?;
                let result = plain(*name, &values, memory);
                values.into_iter().for_each(|value| memory.give(value));
                result
            }
            Self::Regex(regex) => {
                let values = arguments.all()?;
                let mut text = memory.take();
                let replaced = regex.replace(&values, &mut text);
                values.into_iter().for_each(|value| memory.give(value));
                memory.made(text, replaced)
            }
        }
    }
}

/// `and` and `or` stop at the first argument that decides.
fn first_that_decides<'a>(name: Name, mut arguments: Arguments<'a, '_>) -> Result<Value<'a>, Failed> {
    let mut value = Value::Missing;
    while let Some(next) = arguments.next() {
        arguments.memory.give(std::mem::replace(&mut value, next?));
        if value.is_true() == (name == Name::Or) {
            break;
        }
    }
    Ok(value)
}

/// Whether the first argument equals one of the others. All are evaluated, those behind an equal one are not compared.
fn is_any_equal(mut arguments: Arguments<'_, '_>) -> Result<bool, Failed> {
    let first = arguments.next().ok_or(Failed)??;
    let mut is_any = false;
    while let Some(other) = arguments.next() {
        let other = other?;
        is_any = is_any
            || match (&first, &other) {
                (Value::Missing, _) | (_, Value::Missing) => first == other,
                (Value::Text(one), Value::Text(other)) => one == other,
                (Value::Whole(one), Value::Whole(other)) => one == other,
                (Value::Bool(one), Value::Bool(other)) => one == other,
                _ => return Err(Failed),
            };
        arguments.memory.give(other);
    }
    arguments.memory.give(first);
    Ok(is_any)
}

impl Regex {
    fn replace(&self, values: &[Value<'_>; ARGUMENTS_MAX], to: &mut Vec<u8>) -> Result<(), Failed> {
        let [expression, text, replacement, ..] = values;
        let (text, replacement) = (bytes(text)?, bytes(replacement)?);
        let parsed;
        let replacement = match &self.replacement {
            _ if self.is_literal => Replacement::Literal(replacement),
            Some(template) => Replacement::Expanded(template),
            None => {
                parsed = Template::parse(&lossy(replacement));
                Replacement::Expanded(&parsed)
            }
        };
        match &self.pattern {
            Some(pattern) => pattern.borrow_mut().replace_all(text, &replacement, to),
            None => {
                let expression = std::str::from_utf8(bytes(expression)?).map_err(|_| Failed)?;
                Pattern::new(expression).map_err(|_| Failed)?.replace_all(text, &replacement, to);
            }
        }
        Ok(())
    }
}

fn bytes<'v>(value: &'v Value<'_>) -> Result<&'v [u8], Failed> {
    match value {
        Value::Text(text) => Ok(text),
        _ => Err(Failed),
    }
}

fn whole(value: &Value<'_>) -> Result<i64, Failed> {
    match value {
        Value::Whole(number) => Ok(*number),
        _ => Err(Failed),
    }
}

/// The functions of a fixed number of values.
fn plain<'a>(name: Name, values: &[Value<'a>; ARGUMENTS_MAX], memory: &mut Memory) -> Result<Value<'a>, Failed> {
    let [first, second, ..] = values;
    match name {
        Name::Contains => Ok(Value::Bool(memchr::memmem::find(bytes(second)?, bytes(first)?).is_some())),
        Name::HasPrefix => Ok(Value::Bool(bytes(second)?.starts_with(bytes(first)?))),
        Name::HasSuffix => Ok(Value::Bool(bytes(second)?.ends_with(bytes(first)?))),
        Name::Not => Ok(Value::Bool(!first.is_true())),
        Name::Default => Ok(if second.is_true() { second } else { first }.clone_into(memory)),
        _ => {
            let mut text = memory.take();
            let written = write_text(name, values, &mut text);
            memory.made(text, written)
        }
    }
}

/// Those of them that make texts.
fn write_text(name: Name, values: &[Value<'_>; ARGUMENTS_MAX], to: &mut Vec<u8>) -> Result<(), Failed> {
    let [first, second, third, fourth] = values;
    match name {
        Name::ToLower => lower(&lossy(bytes(first)?), to),
        Name::ToUpper => upper(&lossy(bytes(first)?), to),
        Name::TrimSpace => to.extend_from_slice(lossy(bytes(first)?).trim().as_bytes()),
        Name::Trim | Name::TrimLeft | Name::TrimRight => {
            let (of, cut) = (String::from_utf8_lossy(bytes(first)?), String::from_utf8_lossy(bytes(second)?));
            to.extend_from_slice(trimmed(name, &of, &cut).as_bytes());
        }
        Name::TrimPrefix => {
            let (of, prefix) = (bytes(first)?, bytes(second)?);
            to.extend_from_slice(of.strip_prefix(prefix).unwrap_or(of));
        }
        Name::TrimSuffix => {
            let (of, suffix) = (bytes(first)?, bytes(second)?);
            to.extend_from_slice(of.strip_suffix(suffix).unwrap_or(of));
        }
        Name::Sha2Hash => {
            write_hex(&sha2::Sha256::new().chain_update(bytes(first)?).chain_update(bytes(second)?).finalize(), to)
        }
        Name::Hash => {
            write_hex(&sha3::Sha3_256::new().chain_update(bytes(first)?).chain_update(bytes(second)?).finalize(), to)
        }
        Name::Replace => replace(bytes(first)?, bytes(second)?, bytes(third)?, whole(fourth)?, to)?,
        Name::Trunc => to.extend_from_slice(trunc(bytes(second)?, whole(first)?)),
        _ => return Err(Failed),
    }
    Ok(())
}

/// The text without any of the characters of `cut` at the ends that the function looks at.
fn trimmed<'t>(name: Name, text: &'t str, cut: &str) -> &'t str {
    let text = if name == Name::TrimRight { text } else { text.trim_start_matches(|c| cut.contains(c)) };
    if name == Name::TrimLeft { text } else { text.trim_end_matches(|c| cut.contains(c)) }
}

/// A negative `count` is all.
fn replace(of: &[u8], old: &[u8], new: &[u8], count: i64, to: &mut Vec<u8>) -> Result<(), Failed> {
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Failed);
    let (of, old) = (text(of)?, text(old)?);
    let mut copied = 0;
    for (at, _) in of.match_indices(old).take(usize::try_from(count).unwrap_or(usize::MAX)) {
        to.extend_from_slice(&of.as_bytes()[copied..at]);
        to.extend_from_slice(new);
        copied = at + old.len();
    }
    to.extend_from_slice(&of.as_bytes()[copied..]);
    Ok(())
}

/// That number of first bytes, or for a negative number of last ones; characters stay whole.
fn trunc(text: &[u8], count: i64) -> &[u8] {
    let bytes = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if bytes >= text.len() {
        return text;
    }
    let is_inside = |at: usize| text.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
    if count >= 0 {
        let mut end = bytes;
        while end > 0 && is_inside(end) {
            end -= 1;
        }
        &text[..end]
    } else {
        let mut begin = text.len() - bytes;
        while is_inside(begin) {
            begin += 1;
        }
        &text[begin..]
    }
}

fn write_hex(bytes: &[u8], to: &mut Vec<u8>) {
    for byte in bytes {
        // Writing to memory cannot fail.
        let _ = write!(to, "{byte:02x}");
    }
}
