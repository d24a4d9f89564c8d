//! Text of an Alloy file to tokens.
//!
//! In: text. Out: tokens with their places; comments are left out, and a newline that ends a statement is a token
//! (grafana.com/docs/alloy, configuration syntax). One pass over the text; errors have a place. Knows no grammar.

use std::{iter::Peekable, str::CharIndices};

use super::tree::{Operator, Place, SyntaxError};

#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Name(String),
    /// As it is written.
    Number(String),
    /// In double quotes, escapes replaced.
    Text(String),
    /// In backticks.
    Raw(String),
    Operator(Operator),
    /// `!`
    Not,
    /// `=`
    Assign,
    OpenBrace,
    CloseBrace,
    OpenParenthesis,
    CloseParenthesis,
    OpenBracket,
    CloseBracket,
    Comma,
    Dot,
    /// A newline, or the end of the file, behind what can end a statement.
    End,
}

impl Token {
    /// Whether a newline behind it ends the statement.
    fn ends_statement(&self) -> bool {
        use Token::{CloseBrace, CloseBracket, CloseParenthesis, Name, Number, Raw, Text};
        matches!(self, Name(_) | Number(_) | Text(_) | Raw(_) | CloseBrace | CloseParenthesis | CloseBracket)
    }

    /// How it is called in messages.
    pub fn description(&self) -> String {
        let sign = match self {
            Self::Name(name) => return format!("{name:?}"),
            Self::Number(number) => return format!("the number {number}"),
            Self::Text(_) | Self::Raw(_) => return "a string".into(),
            Self::Operator(_) => return "an operator".into(),
            Self::End => return "the end of the line".into(),
            Self::Not => "!",
            Self::Assign => "=",
            Self::OpenBrace => "{",
            Self::CloseBrace => "}",
            Self::OpenParenthesis => "(",
            Self::CloseParenthesis => ")",
            Self::OpenBracket => "[",
            Self::CloseBracket => "]",
            Self::Comma => ",",
            Self::Dot => ".",
        };
        sign.into()
    }
}

/// All tokens of a text, and the place of its end.
///
/// # Errors
/// The first thing that is no token.
pub fn tokens(text: &str, file: usize) -> Result<(Vec<(Token, Place)>, Place), SyntaxError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lexer = Lexer { text, chars: text.char_indices().peekable(), place: Place { file, line: 1, column: 1 } };
    let mut tokens: Vec<(Token, Place)> = Vec::new();
    loop {
        let newline = lexer.skip_blanks()?;
        let place = lexer.place;
        if (newline || lexer.peek().is_none()) && tokens.last().is_some_and(|(token, _)| token.ends_statement()) {
            tokens.push((Token::End, place));
        }
        if lexer.peek().is_none() {
            return Ok((tokens, place));
        }
        tokens.push((lexer.token()?, place));
    }
}

struct Lexer<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
    /// Of the next character.
    place: Place,
}

impl Lexer<'_> {
    fn peek(&mut self) -> Option<char> {
        self.chars.peek().map(|(_, c)| *c)
    }

    fn offset(&mut self) -> usize {
        self.chars.peek().map_or(self.text.len(), |(offset, _)| *offset)
    }

    fn next(&mut self) -> Option<char> {
        let (_, c) = self.chars.next()?;
        if c == '\n' {
            self.place.line += 1;
            self.place.column = 1;
        } else {
            self.place.column += 1;
        }
        Some(c)
    }

    /// Goes on where the next character is `wanted`.
    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.next();
        }
        found
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &str {
        let start = self.offset();
        while self.peek().is_some_and(&wanted) {
            self.next();
        }
        let end = self.offset();
        &self.text[start..end]
    }

    fn error<T>(&self, place: Place, message: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError { place, message: message.into() })
    }

    /// Passes over blanks and comments; whether there was a newline among them.
    fn skip_blanks(&mut self) -> Result<bool, SyntaxError> {
        let mut newline = false;
        while let Some(c) = self.peek() {
            match c {
                '\n' => newline = true,
                ' ' | '\t' | '\r' => {}
                '/' => {
                    let rest = &self.text.as_bytes()[self.offset()..];
                    match rest.get(1) {
                        Some(b'/') => {
                            self.take_while(|c| c != '\n');
                        }
                        Some(b'*') => newline |= self.skip_block_comment()?,
                        _ => return Ok(newline),
                    }
                    continue;
                }
                _ => return Ok(newline),
            }
            self.next();
        }
        Ok(newline)
    }

    fn skip_block_comment(&mut self) -> Result<bool, SyntaxError> {
        let place = self.place;
        let mut newline = false;
        self.next();
        self.next();
        while let Some(c) = self.next() {
            newline |= c == '\n';
            if c == '*' && self.take('/') {
                return Ok(newline);
            }
        }
        self.error(place, "a comment begins here with /* and is never closed")
    }

    fn token(&mut self) -> Result<Token, SyntaxError> {
        let place = self.place;
        let Some(c) = self.peek() else { return self.error(place, "unexpected end of the file") };
        if is_letter(c) {
            return Ok(Token::Name(self.take_while(|c| is_letter(c) || c.is_numeric()).to_owned()));
        }
        if c.is_ascii_digit() {
            return self.number();
        }
        self.next();
        let two =
            |this: &mut Self, second: char, both: Token, alone: Token| if this.take(second) { both } else { alone };
        Ok(match c {
            '"' => Token::Text(self.text(place)?),
            '`' => Token::Raw(self.raw(place)?),
            '.' if self.peek().is_some_and(|c| c.is_ascii_digit()) => {
                Token::Number(format!("0.{}", self.take_while(|c| c.is_ascii_digit())))
            }
            '|' if self.take('|') => Token::Operator(Operator::Or),
            '&' if self.take('&') => Token::Operator(Operator::And),
            '!' => two(self, '=', Token::Operator(Operator::NotEqual), Token::Not),
            '=' => two(self, '=', Token::Operator(Operator::Equal), Token::Assign),
            '<' => two(self, '=', Token::Operator(Operator::LessOrEqual), Token::Operator(Operator::Less)),
            '>' => two(self, '=', Token::Operator(Operator::GreaterOrEqual), Token::Operator(Operator::Greater)),
            '+' => Token::Operator(Operator::Add),
            '-' => Token::Operator(Operator::Subtract),
            '*' => Token::Operator(Operator::Multiply),
            '/' => Token::Operator(Operator::Divide),
            '%' => Token::Operator(Operator::Modulo),
            '^' => Token::Operator(Operator::Power),
            '{' => Token::OpenBrace,
            '}' => Token::CloseBrace,
            '(' => Token::OpenParenthesis,
            ')' => Token::CloseParenthesis,
            '[' => Token::OpenBracket,
            ']' => Token::CloseBracket,
            ',' => Token::Comma,
            '.' => Token::Dot,
            '\'' => return self.error(place, "strings are written in double quotes or backticks"),
            '#' => return self.error(place, "comments begin with // in Alloy's language, not with #"),
            other => return self.error(place, format!("unexpected character {other:?}")),
        })
    }

    fn number(&mut self) -> Result<Token, SyntaxError> {
        let place = self.place;
        let mut number = self.take_while(|c| c.is_ascii_digit()).to_owned();
        if self.take('.') {
            number.push('.');
            number.push_str(self.take_while(|c| c.is_ascii_digit()));
        }
        if self.take('e') || self.take('E') {
            number.push('e');
            if self.take('-') {
                number.push('-');
            } else {
                self.take('+');
            }
            let digits = self.take_while(|c| c.is_ascii_digit()).to_owned();
            if digits.is_empty() {
                return self.error(place, "the exponent of this number has no digits");
            }
            number.push_str(&digits);
        }
        Ok(Token::Number(number))
    }

    fn raw(&mut self, place: Place) -> Result<String, SyntaxError> {
        // As in Go, carriage returns do not count.
        let text = self.take_while(|c| c != '`').replace('\r', "");
        if self.take('`') {
            Ok(text)
        } else {
            self.error(place, "a string begins here with a backtick and is never closed")
        }
    }

    fn text(&mut self, place: Place) -> Result<String, SyntaxError> {
        let mut bytes = Vec::new();
        loop {
            let escape = self.place;
            match self.next() {
                None | Some('\n') => return self.error(place, "a string begins here and is not closed on its line"),
                Some('"') => break,
                Some('\\') => self.escape(escape, &mut bytes)?,
                Some(c) => push(&mut bytes, c),
            }
        }
        String::from_utf8(bytes).or_else(|_| self.error(place, "the escapes of this string give no UTF-8"))
    }

    /// Go's escapes, and `\'`.
    fn escape(&mut self, place: Place, bytes: &mut Vec<u8>) -> Result<(), SyntaxError> {
        let Some(c) = self.next() else { return self.error(place, "the file ends within a string") };
        let alone = match c {
            'a' => Some(7),
            'b' => Some(8),
            'f' => Some(12),
            'n' => Some(b'\n'),
            'r' => Some(b'\r'),
            't' => Some(b'\t'),
            'v' => Some(11),
            '\\' => Some(b'\\'),
            '"' => Some(b'"'),
            '\'' => Some(b'\''),
            _ => None,
        };
        if let Some(byte) = alone {
            bytes.push(byte);
            return Ok(());
        }
        let (count, radix) = match c {
            'x' => (2, 16),
            'u' => (4, 16),
            'U' => (8, 16),
            '0'..='7' => (2, 8),
            _ => {
                let message = format!("unknown escape \\{c}; a backslash is written \\\\, or the string in backticks");
                return self.error(place, message);
            }
        };
        let mut value = if radix == 8 { c.to_digit(8).unwrap_or(0) } else { 0 };
        for _ in 0..count {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(radix)) else {
                return self.error(place, format!("the escape \\{c} has too few digits"));
            };
            self.next();
            value = value.wrapping_mul(radix).wrapping_add(digit);
        }
        match (c, char::from_u32(value), u8::try_from(value)) {
            ('u' | 'U', Some(decoded), _) => push(bytes, decoded),
            ('x' | '0'..='7', _, Ok(byte)) => bytes.push(byte),
            _ => return self.error(place, format!("the escape \\{c} gives no character")),
        }
        Ok(())
    }
}

fn is_letter(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

fn push(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}
