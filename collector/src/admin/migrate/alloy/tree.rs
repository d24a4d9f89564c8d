//! An Alloy file as blocks, attributes and expressions, each with its place.
//!
//! Knows no component and no function: what a name means is found out by [`super::scope`] and [`super::evaluate`].
//! No expression is deeper than [`DEPTH_MAX`], so that code which descends into one needs no bound of its own.

/// How deep blocks and expressions may be nested. Real files stay below 10.
pub const DEPTH_MAX: u16 = 100;

/// Where something stands in a file. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The index of the file among those that were read.
    pub file: usize,
    pub line: usize,
    pub column: usize,
}

/// What cannot be read, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    pub place: Place,
    pub message: String,
}

/// What stands in a file or between the braces of a block.
#[derive(Debug, Default)]
pub struct Body {
    pub attributes: Vec<Attribute>,
    pub blocks: Vec<Block>,
}

/// `name = value`.
#[derive(Debug)]
pub struct Attribute {
    pub name: String,
    pub place: Place,
    pub value: Expression,
}

/// `name "label" { … }`; the name may have dots.
#[derive(Debug)]
pub struct Block {
    pub name: String,
    /// Empty where there is none.
    pub label: String,
    pub place: Place,
    pub body: Body,
}

#[derive(Debug)]
pub struct Expression {
    pub place: Place,
    pub kind: Kind,
    /// How many expressions are nested in it, itself included.
    pub(super) depth: u16,
}

#[derive(Debug)]
pub enum Kind {
    Null,
    Bool(bool),
    /// As it is written, digits with an optional fraction and exponent.
    Number(String),
    /// Without quotes, escapes replaced.
    Text(String),
    /// A string in backticks, whose lines are those of the file.
    Raw(String),
    List(Vec<Expression>),
    Object(Vec<(String, Expression)>),
    /// The first part of a reference.
    Name(String),
    /// `value.name`
    Access(Box<Expression>, String),
    /// `value[index]`
    Index(Box<Expression>, Box<Expression>),
    Call(Box<Expression>, Vec<Expression>),
    Not(Box<Expression>),
    Negative(Box<Expression>),
    Binary(Operator, Box<Expression>, Box<Expression>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
}

impl Body {
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    pub fn blocks_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Block> {
        self.blocks.iter().filter(move |block| block.name == name)
    }
}

impl Block {
    /// How it is named in messages and references: `loki.write.default`.
    #[must_use]
    pub fn id(&self) -> String {
        if self.label.is_empty() { self.name.clone() } else { format!("{}.{}", self.name, self.label) }
    }
}
