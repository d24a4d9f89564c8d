//! Values of Alloy's expressions, as far as a file alone tells them.
//!
//! Texts may have environment variables in them, which stay what they are: Pilcrow's configuration expands `${NAME}` too.

use super::tree::Place;

/// A value and where it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    pub place: Place,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(Text),
    List(Vec<Located>),
    /// In the order in which it is written.
    Object(Vec<(String, Located)>),
    /// What a component exports.
    Reference(Reference),
    /// What only a running Alloy knows, and why.
    Unknown(String),
}

/// `loki.write.default.receiver`: an exported value of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The component's index.
    pub component: usize,
    /// The names behind it, `["receiver"]`.
    pub fields: Vec<String>,
}

/// A text with environment variables in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Plain(String),
    /// An environment variable, and what stands for it where it is not set or empty.
    Variable {
        name: String,
        default: Option<String>,
    },
    /// This machine's name.
    Hostname,
}

impl Text {
    #[must_use]
    pub fn piece(piece: Piece) -> Self {
        Self(vec![piece])
    }

    /// What it is, where nothing in it depends on the environment.
    #[must_use]
    pub fn plain(&self) -> Option<&str> {
        match &self.0[..] {
            [] => Some(""),
            [Piece::Plain(text)] => Some(text),
            _ => None,
        }
    }

    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    pub fn push(&mut self, piece: Piece) {
        match (self.0.last_mut(), piece) {
            (_, Piece::Plain(more)) if more.is_empty() => {}
            (Some(Piece::Plain(text)), Piece::Plain(more)) => text.push_str(&more),
            (_, piece) => self.0.push(piece),
        }
    }

    pub fn append(&mut self, other: Self) {
        for piece in other.0 {
            self.push(piece);
        }
    }

    /// The text before the first variable.
    #[must_use]
    pub fn beginning(&self) -> &str {
        match self.0.first() {
            Some(Piece::Plain(text)) => text,
            _ => "",
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|piece| if let Piece::Plain(text) = piece { text.len() } else { 1 }).sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        if text.is_empty() { Self::default() } else { Self(vec![Piece::Plain(text)]) }
    }
}

impl Located {
    /// What is in a list and the lists in it; itself where it is none.
    #[must_use]
    pub fn leaves(&self) -> Vec<&Self> {
        match &self.value {
            Value::List(items) => items.iter().flat_map(Self::leaves).collect(),
            _ => vec![self],
        }
    }
}

impl Value {
    pub fn text(text: impl Into<Text>) -> Self {
        Self::Text(text.into())
    }

    /// How it is called in messages.
    #[must_use]
    pub fn description(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
            Self::Reference(_) => "a component's export",
            Self::Unknown(_) => "a value that only a running Alloy knows",
        }
    }

    /// The text, where it is one without variables.
    #[must_use]
    pub fn plain(&self) -> Option<&str> {
        match self {
            Self::Text(text) => text.plain(),
            _ => None,
        }
    }

    /// Whether `coalesce` passes over it.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(value) => !value,
            Self::Number(number) => *number == 0.0,
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Object(fields) => fields.is_empty(),
            Self::Reference(_) | Self::Unknown(_) => false,
        }
    }

    /// About how much memory it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        1 + match self {
            Self::Text(text) => text.len(),
            Self::List(items) => items.iter().map(|item| item.value.size()).sum(),
            Self::Object(fields) => fields.iter().map(|(key, item)| key.len() + item.value.size()).sum(),
            _ => 0,
        }
    }
}
