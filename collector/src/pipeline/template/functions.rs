//! The functions of templates: Promtail's own, the few of sprig's that are used, and text/template's comparisons.

use std::{borrow::Cow, fmt::Write};

use sha2::Digest;

use super::{Data, Failed, Operand, Value};
use crate::pipeline::{go::text::lossy, pattern::Pattern};

/// A function with what is known when it is compiled.
#[derive(Debug)]
pub enum Function {
    /// Of texts, and whole numbers where the name says so.
    Plain(Name),
    Regex {
        pattern: Option<Pattern>,
        literal: bool,
    },
    Printf(Vec<Piece>),
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
            Kind::Regex { literal } => {
                let pattern = match operands.first() {
                    Some(Operand::Text(text)) => Some(Pattern::new(text)?),
                    _ => None,
                };
                Ok(Function::Regex { pattern, literal })
            }
            Kind::Printf => match operands.first() {
                Some(Operand::Text(format)) => pieces(format).map(Function::Printf),
                _ => Err("printf is supported with a string as its format only".into()),
            },
        }
    }
}

impl Function {
    /// `last` is what stood before the `|`.
    pub fn call<'a>(
        &'a self,
        operands: &'a [Operand],
        last: Option<Value<'a>>,
        data: &Data<'a>,
    ) -> Result<Value<'a>, Failed> {
        // These stop at the first argument that decides.
        if let Self::Plain(name @ (Name::And | Name::Or)) = self {
            let mut value = Value::Missing;
            let all = operands.iter().map(|operand| operand.value(data)).chain(last.map(Ok));
            for next in all {
                value = next?;
                if value.is_true() == (*name == Name::Or) {
                    break;
                }
            }
            return Ok(value);
        }
        let mut values = Vec::with_capacity(operands.len() + 1);
        for operand in operands {
            values.push(operand.value(data)?);
        }
        values.extend(last);
        match self {
            Self::Plain(name) => plain(*name, values),
            Self::Printf(pieces) => Ok(Value::Text(printf(pieces, values.get(1..).unwrap_or_default())?.into())),
            Self::Regex { pattern, literal } => {
                let [expression, text, replacement] = &values[..] else { return Err(Failed) };
                let (text, replacement) = (bytes(text)?, bytes(replacement)?);
                let replaced = match pattern {
                    Some(pattern) => pattern.replace_all(text, replacement, *literal),
                    None => {
                        let expression = std::str::from_utf8(bytes(expression)?).map_err(|_| Failed)?;
                        Pattern::new(expression).map_err(|_| Failed)?.replace_all(text, replacement, *literal)
                    }
                };
                Ok(Value::Text(replaced.into()))
            }
        }
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

/// The text without any of the characters of `cut` at the ends that the function looks at.
fn trimmed<'t>(name: Name, text: &'t str, cut: &str) -> &'t str {
    let text = if name == Name::TrimRight { text } else { text.trim_start_matches(|c| cut.contains(c)) };
    if name == Name::TrimLeft { text } else { text.trim_end_matches(|c| cut.contains(c)) }
}

fn plain<'a>(name: Name, values: Vec<Value<'a>>) -> Result<Value<'a>, Failed> {
    let mut values = values.into_iter();
    let (first, second) = (values.next().ok_or(Failed)?, values.next());
    let two = || Ok((bytes(&first)?, bytes(second.as_ref().ok_or(Failed)?)?));
    let text = |text: &[u8]| Ok(Value::Text(text.to_vec().into()));
    match name {
        Name::ToLower => Ok(Value::Text(changed(bytes(&first)?, str::to_lowercase))),
        Name::ToUpper => Ok(Value::Text(changed(bytes(&first)?, str::to_uppercase))),
        Name::TrimSpace => text(changed(bytes(&first)?, |text| text.trim().to_owned()).as_ref()),
        Name::Trim | Name::TrimLeft | Name::TrimRight => {
            let (of, cut) = two()?;
            text(trimmed(name, &String::from_utf8_lossy(of), &String::from_utf8_lossy(cut)).as_bytes())
        }
        Name::TrimPrefix => two().and_then(|(of, prefix)| text(of.strip_prefix(prefix).unwrap_or(of))),
        Name::TrimSuffix => two().and_then(|(of, suffix)| text(of.strip_suffix(suffix).unwrap_or(of))),
        Name::Contains => two().map(|(part, of)| Value::Bool(memchr::memmem::find(of, part).is_some())),
        Name::HasPrefix => two().map(|(part, of)| Value::Bool(of.starts_with(part))),
        Name::HasSuffix => two().map(|(part, of)| Value::Bool(of.ends_with(part))),
        Name::Sha2Hash => {
            let (salt, of) = two()?;
            text(hex(&sha2::Sha256::new().chain_update(salt).chain_update(of).finalize()).as_bytes())
        }
        Name::Hash => {
            let (salt, of) = two()?;
            text(hex(&sha3::Sha3_256::new().chain_update(salt).chain_update(of).finalize()).as_bytes())
        }
        Name::Replace => {
            let (of, old) = two()?;
            let new = values.next().ok_or(Failed)?;
            let count = whole(&values.next().ok_or(Failed)?)?;
            replace(of, old, bytes(&new)?, count).map(|replaced| Value::Text(replaced.into_bytes().into()))
        }
        Name::Trunc => {
            let count = whole(&first)?;
            let of = second.as_ref().ok_or(Failed)?;
            text(trunc(bytes(of)?, count))
        }
        Name::Default => Ok(match second {
            Some(given) if given.is_true() => given,
            _ => first,
        }),
        Name::Not => Ok(Value::Bool(!first.is_true())),
        Name::Eq | Name::Ne => {
            let mut equal = false;
            for other in second.into_iter().chain(values) {
                equal = match (&first, &other) {
                    (Value::Missing, _) | (_, Value::Missing) => first == other,
                    (Value::Text(one), Value::Text(other)) => one == other,
                    (Value::Whole(one), Value::Whole(other)) => one == other,
                    (Value::Bool(one), Value::Bool(other)) => one == other,
                    _ => return Err(Failed),
                };
                if equal {
                    break;
                }
            }
            Ok(Value::Bool(equal == (name == Name::Eq)))
        }
        Name::And | Name::Or => Err(Failed),
    }
}

fn changed(text: &[u8], change: impl Fn(&str) -> String) -> Cow<'static, [u8]> {
    change(&lossy(text)).into_bytes().into()
}

fn replace(of: &[u8], old: &[u8], new: &[u8], count: i64) -> Result<String, Failed> {
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Failed);
    let (of, old, new) = (text(of)?, text(old)?, text(new)?);
    Ok(match usize::try_from(count) {
        Ok(count) => of.replacen(old, new, count),
        Err(_) => of.replace(old, new),
    })
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A piece of printf's format.
#[derive(Debug)]
pub enum Piece {
    Text(String),
    Verb { verb: char, left: bool, zeros: bool, width: usize },
}

fn pieces(format: &str) -> Result<Vec<Piece>, String> {
    let (mut pieces, mut text, mut rest) = (Vec::new(), String::new(), format);
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            text.push('%');
            rest = after;
            continue;
        }
        let flags = after.len() - after.trim_start_matches(['-', '0']).len();
        let digits = after[flags..].bytes().take_while(u8::is_ascii_digit).count();
        let verb = after[flags + digits..].chars().next();
        let Some(verb @ ('s' | 'v' | 'd' | 'q')) = verb else {
            let shown: String = after.chars().take(flags + digits + 1).collect();
            return Err(format!("%{shown} of printf is not supported; %s, %v, %d and %q are"));
        };
        let width: usize = if digits == 0 { 0 } else { after[flags..flags + digits].parse().unwrap_or(usize::MAX) };
        if width > 1000 {
            return Err(format!("a width of {width} in printf is not supported"));
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
        }
        let (left, zeros) = (after[..flags].contains('-'), after[..flags].contains('0'));
        pieces.push(Piece::Verb { verb, left, zeros, width });
        rest = &after[flags + digits + 1..];
    }
    text.push_str(rest);
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

fn printf(pieces: &[Piece], values: &[Value<'_>]) -> Result<Vec<u8>, Failed> {
    let (mut out, mut values) = (String::new(), values.iter());
    for piece in pieces {
        let Piece::Verb { verb, left, zeros, width } = piece else {
            let Piece::Text(text) = piece else { continue };
            out.push_str(text);
            continue;
        };
        let Some(value) = values.next() else {
            let _ = write!(out, "%!{verb}(MISSING)");
            continue;
        };
        let (kind, text) = match value {
            Value::Missing => ("nil", "<nil>".into()),
            Value::Text(text) => ("string", String::from_utf8_lossy(text)),
            Value::Whole(number) => ("int", Cow::from(number.to_string())),
            Value::Bool(value) => ("bool", Cow::from(value.to_string())),
        };
        let fits = matches!((verb, value), ('v', _) | ('s' | 'q', Value::Text(_)) | ('d', Value::Whole(_)));
        if !fits {
            let _ = match value {
                Value::Missing => write!(out, "%!{verb}(<nil>)"),
                _ => write!(out, "%!{verb}({kind}={text})"),
            };
            continue;
        }
        let text = if *verb == 'q' { Cow::from(format!("{text:?}")) } else { text };
        let missing = width.saturating_sub(text.chars().count());
        let fill = |out: &mut String, with: char| (0..missing).for_each(|_| out.push(with));
        if !*left {
            fill(&mut out, if *zeros { '0' } else { ' ' });
        }
        out.push_str(&text);
        if *left {
            fill(&mut out, ' ');
        }
    }
    if values.len() > 0 {
        return Err(Failed);
    }
    Ok(out.into_bytes())
}
