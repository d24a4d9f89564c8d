//! Tokens of an Alloy file to a tree.
//!
//! In: text. Out: a [`Body`], or the first error with its place. Operators bind as in Alloy: `^` (to the right), `* / %`, `+ -`,
//! comparisons, `&&`, `||`; `!` and `-` before all of them. Nesting is bounded by [`DEPTH_MAX`], time by the length of the text.

use std::collections::HashSet;

use super::{
    lex::{Token, tokens},
    tree::{Attribute, Block, Body, DEPTH_MAX, Expression, Kind, Operator, Place, SyntaxError},
};

/// Reads a file; `file` is its index in places.
///
/// # Errors
/// The first thing that is not Alloy's language.
pub fn parse(text: &str, file: usize) -> Result<Body, SyntaxError> {
    let (tokens, end) = tokens(text, file)?;
    let mut parser = Parser { tokens: tokens.into_iter().peekable(), end, depth: 0 };
    let body = parser.body()?;
    match parser.next() {
        (None, _) => Ok(body),
        (Some(token), place) => error(place, format!("unexpected {}", token.description())),
    }
}

fn error<T>(place: Place, message: impl Into<String>) -> Result<T, SyntaxError> {
    Err(SyntaxError { place, message: message.into() })
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<(Token, Place)>>,
    /// Of the text.
    end: Place,
    /// How many blocks and expressions are open.
    depth: u16,
}

impl Parser {
    fn peek(&mut self) -> Option<&Token> {
        self.tokens.peek().map(|(token, _)| token)
    }

    fn place(&mut self) -> Place {
        self.tokens.peek().map_or(self.end, |(_, place)| *place)
    }

    fn next(&mut self) -> (Option<Token>, Place) {
        match self.tokens.next() {
            Some((token, place)) => (Some(token), place),
            None => (None, self.end),
        }
    }

    fn take(&mut self, wanted: &Token) -> bool {
        self.tokens.next_if(|(token, _)| token == wanted).is_some()
    }

    fn expect(&mut self, wanted: &Token, why: &str) -> Result<(), SyntaxError> {
        if self.take(wanted) { Ok(()) } else { self.unexpected(&format!("{} {why}", wanted.description())) }
    }

    fn unexpected<T>(&mut self, wanted: &str) -> Result<T, SyntaxError> {
        let place = self.place();
        let found = self.peek().map_or("the end of the file".into(), Token::description);
        error(place, format!("expected {wanted}, found {found}"))
    }

    fn enter(&mut self) -> Result<(), SyntaxError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return error(self.place(), format!("nested more than {DEPTH_MAX} deep"));
        }
        Ok(())
    }

    fn name(&mut self, wanted: &str) -> Result<(String, Place), SyntaxError> {
        match self.tokens.next_if(|(token, _)| matches!(token, Token::Name(_))) {
            Some((Token::Name(name), place)) => Ok((name, place)),
            _ => self.unexpected(wanted),
        }
    }

    /// Statements, to a closing brace or the end of the file.
    fn body(&mut self) -> Result<Body, SyntaxError> {
        self.enter()?;
        let mut body = Body::default();
        let mut known = HashSet::new();
        while !matches!(self.peek(), None | Some(Token::CloseBrace)) {
            self.statement(&mut body, &mut known)?;
            // `a { b = 1 }` needs no newline before the brace.
            if !matches!(self.peek(), None | Some(Token::CloseBrace)) {
                self.expect(&Token::End, "behind the statement")?;
            }
        }
        self.depth -= 1;
        Ok(body)
    }

    fn statement(&mut self, body: &mut Body, known: &mut HashSet<String>) -> Result<(), SyntaxError> {
        let (mut name, place) = self.name("the name of a block or an attribute")?;
        while self.take(&Token::Dot) {
            name.push('.');
            name.push_str(&self.name("the rest of the name")?.0);
        }
        let label = match self.tokens.next_if(|(token, _)| matches!(token, Token::Text(_))) {
            Some((Token::Text(label), _)) => Some(label),
            _ => None,
        };
        if self.take(&Token::Assign) {
            if label.is_some() || name.contains('.') {
                return error(place, format!("an attribute's name is one word, and has no label: {name}"));
            }
            if !known.insert(name.clone()) {
                return error(place, format!("{name} is set twice"));
            }
            let value = self.expression()?;
            body.attributes.push(Attribute { name, place, value });
            return Ok(());
        }
        if !self.take(&Token::OpenBrace) {
            return self.unexpected(&format!("= or {{ behind {name}"));
        }
        let inner = self.body()?;
        if !self.take(&Token::CloseBrace) {
            return self.unexpected(&format!("}} at the end of {name}, which begins in line {}", place.line));
        }
        body.blocks.push(Block { name, label: label.unwrap_or_default(), place, body: inner });
        Ok(())
    }

    fn expression(&mut self) -> Result<Expression, SyntaxError> {
        self.enter()?;
        let expression = self.binary(1)?;
        self.depth -= 1;
        Ok(expression)
    }

    /// Operators that bind at least as strongly as `least`.
    fn binary(&mut self, least: u8) -> Result<Expression, SyntaxError> {
        let mut left = self.unary()?;
        while let Some(Token::Operator(operator)) = self.peek() {
            let operator = *operator;
            let strength = strength(operator);
            if strength < least {
                break;
            }
            self.next();
            // The depth of what is to the right is bounded by the number of strengths, but for `^`.
            self.enter()?;
            let right = self.binary(if operator == Operator::Power { strength } else { strength + 1 })?;
            self.depth -= 1;
            let (place, depth) = (left.place, left.depth.max(right.depth));
            left = node(place, Kind::Binary(operator, Box::new(left), Box::new(right)), depth)?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expression, SyntaxError> {
        let place = self.place();
        let negative = match self.peek() {
            Some(Token::Not) => false,
            Some(Token::Operator(Operator::Subtract)) => true,
            _ => return self.postfix(),
        };
        self.next();
        self.enter()?;
        let inner = self.unary()?;
        self.depth -= 1;
        let depth = inner.depth;
        let inner = Box::new(inner);
        node(place, if negative { Kind::Negative(inner) } else { Kind::Not(inner) }, depth)
    }

    fn postfix(&mut self) -> Result<Expression, SyntaxError> {
        let mut value = self.primary()?;
        loop {
            let (place, depth) = (value.place, value.depth);
            value = if self.take(&Token::Dot) {
                let name = self.name("a name behind the dot")?.0;
                node(place, Kind::Access(Box::new(value), name), depth)?
            } else if self.take(&Token::OpenBracket) {
                let index = self.expression()?;
                self.expect(&Token::CloseBracket, "behind the index")?;
                let depth = depth.max(index.depth);
                node(place, Kind::Index(Box::new(value), Box::new(index)), depth)?
            } else if self.take(&Token::OpenParenthesis) {
                let arguments = self.list(&Token::CloseParenthesis)?;
                let depth = depth.max(deepest(&arguments));
                node(place, Kind::Call(Box::new(value), arguments), depth)?
            } else {
                return Ok(value);
            };
        }
    }

    fn primary(&mut self) -> Result<Expression, SyntaxError> {
        let wanted = "a value";
        if !matches!(
            self.peek(),
            Some(
                Token::Name(_)
                    | Token::Number(_)
                    | Token::Text(_)
                    | Token::Raw(_)
                    | Token::OpenParenthesis
                    | Token::OpenBracket
                    | Token::OpenBrace
            )
        ) {
            return self.unexpected(wanted);
        }
        let (token, place) = self.next();
        let mut depth = 0;
        let kind = match token {
            Some(Token::Name(name)) => match name.as_str() {
                "null" => Kind::Null,
                "true" => Kind::Bool(true),
                "false" => Kind::Bool(false),
                _ => Kind::Name(name),
            },
            Some(Token::Number(number)) => Kind::Number(number),
            Some(Token::Text(text)) => Kind::Text(text),
            Some(Token::Raw(text)) => Kind::Raw(text),
            Some(Token::OpenBracket) => {
                let items = self.list(&Token::CloseBracket)?;
                depth = deepest(&items);
                Kind::List(items)
            }
            Some(Token::OpenBrace) => {
                let fields = self.fields()?;
                depth = fields.iter().map(|(_, value)| value.depth).max().unwrap_or(0);
                Kind::Object(fields)
            }
            _ => {
                let inner = self.expression()?;
                self.expect(&Token::CloseParenthesis, "behind the value")?;
                return Ok(inner);
            }
        };
        node(place, kind, depth)
    }

    /// Values with commas between them, to the closing sign.
    fn list(&mut self, close: &Token) -> Result<Vec<Expression>, SyntaxError> {
        let mut items = Vec::new();
        while !self.take(close) {
            items.push(self.expression()?);
            if !self.comma(close)? {
                break;
            }
        }
        Ok(items)
    }

    fn fields(&mut self) -> Result<Vec<(String, Expression)>, SyntaxError> {
        let mut fields = Vec::new();
        while !self.take(&Token::CloseBrace) {
            let key = match self.next() {
                (Some(Token::Name(key) | Token::Text(key) | Token::Raw(key)), _) => key,
                (_, place) => return error(place, "expected a key, a word or a string, or }"),
            };
            self.expect(&Token::Assign, "behind the key")?;
            fields.push((key, self.expression()?));
            if !self.comma(&Token::CloseBrace)? {
                break;
            }
        }
        Ok(fields)
    }

    /// What follows an item: whether there may be another.
    fn comma(&mut self, close: &Token) -> Result<bool, SyntaxError> {
        if self.take(&Token::Comma) {
            return Ok(true);
        }
        if self.take(close) {
            return Ok(false);
        }
        if self.peek() == Some(&Token::End) {
            let place = self.place();
            return error(place, format!("expected , or {} before the end of the line", close.description()));
        }
        self.unexpected(&format!(", or {}", close.description()))
    }
}

fn node(place: Place, kind: Kind, depth: u16) -> Result<Expression, SyntaxError> {
    if depth >= DEPTH_MAX {
        return error(place, format!("an expression of more than {DEPTH_MAX} steps"));
    }
    Ok(Expression { place, kind, depth: depth + 1 })
}

fn deepest(items: &[Expression]) -> u16 {
    items.iter().map(|item| item.depth).max().unwrap_or(0)
}

fn strength(operator: Operator) -> u8 {
    use Operator::{
        Add, And, Divide, Equal, Greater, GreaterOrEqual, Less, LessOrEqual, Modulo, Multiply, NotEqual, Or, Power,
        Subtract,
    };
    match operator {
        Or => 1,
        And => 2,
        Equal | NotEqual | Less | LessOrEqual | Greater | GreaterOrEqual => 3,
        Add | Subtract => 4,
        Multiply | Divide | Modulo => 5,
        Power => 6,
    }
}
