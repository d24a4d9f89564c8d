//! From a template's text to its nodes.

use super::{Command, Field, Node, Operand, Pipe, functions};

type Fields<'a> = &'a mut dyn FnMut(&str) -> Field;

/// # Errors
/// What is wrong, or not supported.
pub fn parse(text: &str, field: Fields<'_>) -> Result<Vec<Node>, String> {
    let mut parser = Parser { rest: text, trim: false, depth: 0, field };
    let (nodes, end) = parser.nodes()?;
    match end {
        End::Text => Ok(nodes),
        End::Action => Err("end without if".into()),
        End::Else(_) => Err("else without if".into()),
    }
}

/// Where a list of nodes ended.
enum End {
    Text,
    /// The action `end`.
    Action,
    /// `else`, with the condition of an `else if`.
    Else(Option<Pipe>),
}

struct Parser<'a, 'f> {
    rest: &'a str,
    /// Whether the last action ended in `-}}`.
    trim: bool,
    /// How many conditions and parentheses are open.
    depth: usize,
    field: Fields<'f>,
}

/// Conditions and parentheses within each other: each takes stack, here and where the template runs.
const DEPTH_MAX: usize = 100;

const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

impl<'a> Parser<'a, '_> {
    /// The text up to the next action, and whether there is one.
    fn text(&mut self) -> (&'a str, bool) {
        let begin = self.rest.find("{{");
        let mut text = &self.rest[..begin.unwrap_or(self.rest.len())];
        if std::mem::take(&mut self.trim) {
            text = text.trim_start_matches(BLANKS);
        }
        let Some(begin) = begin else {
            self.rest = "";
            return (text, false);
        };
        self.rest = &self.rest[begin + 2..];
        if let Some(after) = self.rest.strip_prefix('-').filter(|after| after.starts_with(BLANKS)) {
            self.rest = after;
            text = text.trim_end_matches(BLANKS);
        }
        (text, true)
    }

    fn nodes(&mut self) -> Result<(Vec<Node>, End), String> {
        let mut nodes = Vec::new();
        loop {
            let (text, is_before_action) = self.text();
            if !text.is_empty() {
                nodes.push(Node::Text(text.to_owned()));
            }
            if !is_before_action {
                return Ok((nodes, End::Text));
            }
            if let Some(comment) = self.rest.trim_start_matches(BLANKS).strip_prefix("/*") {
                let end = comment.find("*/").ok_or("/* without */")?;
                self.rest = &comment[end + 2..];
                self.close()?;
                continue;
            }
            let first = self.peek();
            match first {
                "if" => {
                    self.word();
                    let condition = self.pipe()?;
                    self.close()?;
                    nodes.push(self.branches(condition)?);
                }
                "else" => {
                    self.word();
                    let condition = if self.peek() == "if" {
                        self.word();
                        Some(self.pipe()?)
                    } else {
                        None
                    };
                    self.close()?;
                    return Ok((nodes, End::Else(condition)));
                }
                "end" => {
                    self.word();
                    self.close()?;
                    return Ok((nodes, End::Action));
                }
                "range" | "with" | "define" | "template" | "block" | "break" | "continue" => {
                    return Err(format!("{first} is not supported in templates"));
                }
                _ => {
                    let pipe = self.pipe()?;
                    self.close()?;
                    nodes.push(Node::Print(pipe));
                }
            }
        }
    }

    fn enter(&mut self) -> Result<(), String> {
        self.depth += 1;
        match self.depth > DEPTH_MAX {
            true => Err(format!("a template may have {DEPTH_MAX} conditions and parentheses within each other")),
            false => Ok(()),
        }
    }

    /// After `{{ if … }}`.
    fn branches(&mut self, condition: Pipe) -> Result<Node, String> {
        self.enter()?;
        let mut branches = Vec::new();
        let mut condition = Some(condition);
        loop {
            let is_else = condition.is_none();
            let (nodes, end) = self.nodes()?;
            branches.push((condition, nodes));
            match end {
                End::Action => {
                    self.depth -= 1;
                    return Ok(Node::If(branches));
                }
                End::Else(_) if is_else => return Err("a second else".into()),
                End::Else(next) => condition = next,
                End::Text => return Err("if without end".into()),
            }
        }
    }

    /// The word that comes next, in whole or empty.
    fn peek(&self) -> &'a str {
        let rest = self.rest.trim_start_matches(BLANKS);
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    }

    fn word(&mut self) -> &'a str {
        let word = self.peek();
        self.rest = &self.rest.trim_start_matches(BLANKS)[word.len()..];
        word
    }

    /// The end of an action.
    fn close(&mut self) -> Result<(), String> {
        let rest = self.rest.trim_start_matches(BLANKS);
        let blank = rest.len() < self.rest.len();
        if let Some(after) = rest.strip_prefix("}}") {
            self.rest = after;
        } else if let Some(after) = rest.strip_prefix("-}}").filter(|_| blank) {
            (self.rest, self.trim) = (after, true);
        } else if rest.is_empty() {
            return Err("{{ without }}".into());
        } else {
            let end = rest.find("}}").unwrap_or(rest.len());
            return Err(format!("unexpected {:?} in a template", rest[..end].trim()));
        }
        Ok(())
    }

    fn at_end(&self) -> bool {
        let rest = self.rest.trim_start_matches(BLANKS);
        let ends = rest.starts_with("}}") || rest.starts_with("-}}") || rest.starts_with(')') || rest.starts_with('|');
        ends || rest.is_empty()
    }

    fn pipe(&mut self) -> Result<Pipe, String> {
        let mut commands = Vec::new();
        loop {
            commands.push(self.command(!commands.is_empty())?);
            let rest = self.rest.trim_start_matches(BLANKS);
            match rest.strip_prefix('|') {
                Some(after) => self.rest = after,
                None => return Ok(Pipe(commands)),
            }
        }
    }

    /// `piped`: what stands before it is its last argument.
    fn command(&mut self, piped: bool) -> Result<Command, String> {
        let name = self.peek();
        if !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && !matches!(name, "true" | "false") {
            self.word();
            // Before its arguments, which may be of kinds that are not supported either.
            let function = functions::find(name)?;
            let mut operands = Vec::new();
            while !self.at_end() {
                operands.push(self.operand()?);
            }
            return Ok(Command::Call(function.with(&operands, piped)?, operands));
        }
        if self.at_end() {
            return Err("an empty command in a template".into());
        }
        let operand = self.operand()?;
        if piped {
            return Err("only functions can stand behind a | in a template".into());
        }
        if !self.at_end() {
            return Err("a value takes no arguments in a template".into());
        }
        Ok(Command::Operand(operand))
    }

    fn operand(&mut self) -> Result<Operand, String> {
        let rest = self.rest.trim_start_matches(BLANKS);
        match rest.chars().next() {
            Some('.') => self.field(rest),
            Some('"') => {
                let end = end_of_string(&rest[1..]).ok_or("a string without its closing quote in a template")?;
                let text =
                    unquote(&rest[1..=end]).ok_or("a string in a template has an escape that Go does not know")?;
                self.rest = &rest[end + 2..];
                Ok(Operand::Text(text))
            }
            Some('`') => {
                let end = rest[1..].find('`').ok_or("a string without its closing ` in a template")?;
                self.rest = &rest[end + 2..];
                Ok(Operand::Text(rest[1..=end].to_owned()))
            }
            Some('(') => {
                self.rest = &rest[1..];
                self.enter()?;
                let pipe = self.pipe()?;
                self.depth -= 1;
                let after =
                    self.rest.trim_start_matches(BLANKS).strip_prefix(')').ok_or("( without ) in a template")?;
                if after.starts_with('.') {
                    return Err("a value has no fields in a template".into());
                }
                self.rest = after;
                Ok(Operand::Pipe(pipe))
            }
            Some('$') => Err("variables ($) are not supported in templates".into()),
            Some('-' | '+' | '0'..='9') => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && !"+-._".contains(c)).unwrap_or(rest.len());
                let number = rest[..end].parse().map_err(|_| format!("{} is not a whole number", &rest[..end]))?;
                self.rest = &rest[end..];
                Ok(Operand::Whole(number))
            }
            _ => match self.word() {
                "true" => Ok(Operand::Bool(true)),
                "false" => Ok(Operand::Bool(false)),
                "" => Err(format!("unexpected {:?} in a template", rest.chars().take(8).collect::<String>())),
                // A function without arguments, and all that are supported have some.
                name => functions::find(name)?
                    .with(&[], false)
                    .and_then(|_| Err(format!("{name} needs ( ) around it here"))),
            },
        }
    }

    fn field(&mut self, rest: &'a str) -> Result<Operand, String> {
        let end = rest[1..].find(|c: char| !c.is_alphanumeric() && c != '_').map_or(rest.len(), |end| end + 1);
        let name = &rest[1..end];
        if name.is_empty() {
            return Err("the point alone is not supported in templates".into());
        }
        if rest[end..].starts_with('.') {
            let more = rest[end + 1..].find(|c: char| !c.is_alphanumeric() && c != '_');
            let end = more.map_or(rest.len(), |more| end + 1 + more);
            return Err(format!("a value has no fields: {}", &rest[..end]));
        }
        self.rest = &rest[end..];
        Ok(Operand::Field((self.field)(name)))
    }
}

/// Where the quote is that ends a string.
fn end_of_string(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(i, c)| match c {
        _ if escaped => {
            escaped = false;
            None
        }
        '\\' => {
            escaped = true;
            None
        }
        '"' => Some(i),
        _ => None,
    })
}

/// The text that Go's `strconv.Unquote` gives for what stands between double quotes; `None` where that is an error or no UTF-8.
pub(in super::super) fn unquote(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match characters.next()? {
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            '\\' => '\\',
            '"' => '"',
            'x' => code(&mut characters, "", 2, 16).filter(char::is_ascii)?,
            'u' => code(&mut characters, "", 4, 16)?,
            'U' => code(&mut characters, "", 8, 16)?,
            first @ '0'..='7' => code(&mut characters, first.encode_utf8(&mut [0; 4]), 2, 8).filter(char::is_ascii)?,
            _ => return None,
        });
    }
    Some(out)
}

/// A character by its number: `first`, and so many further digits.
fn code(characters: &mut std::str::Chars<'_>, first: &str, digits: usize, radix: u32) -> Option<char> {
    let mut text = first.to_owned();
    for _ in 0..digits {
        text.push(characters.next()?);
    }
    u32::from_str_radix(&text, radix).ok().and_then(char::from_u32)
}
