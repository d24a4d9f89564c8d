//! What Alloy's expressions give, as far as the files tell it.
//!
//! In: an expression and its scope. Out: a [`Value`]; what depends on a running Alloy becomes [`Value::Unknown`] with the reason.
//! Never fails, and does a bounded amount of work ([`FUEL`]) for all expressions of a configuration together.

use std::cell::Cell;

use super::{
    functions,
    scope::World,
    tree::{Expression, Kind, Operator, Place},
    value::{Located, Piece, Reference, Text, Value},
};

/// Steps for a whole configuration: an honest one takes a few thousand.
const FUEL: usize = 500_000;

/// How deep expressions may be nested, those that arguments and exports stand for included.
const DEPTH_MAX: usize = 200;

pub struct Evaluator<'w, 'a> {
    pub world: &'w World<'a>,
    fuel: Cell<usize>,
    depth: Cell<usize>,
}

impl<'w, 'a> Evaluator<'w, 'a> {
    pub fn new(world: &'w World<'a>) -> Self {
        Self { world, fuel: Cell::new(FUEL), depth: Cell::new(0) }
    }

    /// What an expression gives where the names of a scope count.
    pub fn evaluate(&self, expression: &Expression, scope: usize) -> Located {
        let depth = self.depth.get();
        if depth >= DEPTH_MAX {
            let why = "nested too deep, or arguments and exports refer to each other without end";
            return located(expression.place, unknown(why));
        }
        self.depth.set(depth + 1);
        let value = if self.spend(1) { self.value(expression, scope) } else { too_much() };
        self.depth.set(depth);
        if !self.spend(value.size()) {
            return located(expression.place, too_much());
        }
        located(expression.place, value)
    }

    /// Takes fuel; whether there was enough.
    pub fn spend(&self, steps: usize) -> bool {
        let left = self.fuel.get();
        self.fuel.set(left.saturating_sub(steps));
        left >= steps
    }

    fn value(&self, expression: &Expression, scope: usize) -> Value {
        let evaluate = |inner: &Expression| self.evaluate(inner, scope);
        match &expression.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Number(number) => number.parse().map_or_else(|_| unknown("this number is too large"), Value::Number),
            Kind::Text(text) | Kind::Raw(text) => Value::text(text.as_str()),
            Kind::List(items) => Value::List(items.iter().map(evaluate).collect()),
            Kind::Object(fields) => {
                Value::Object(fields.iter().map(|(key, value)| (key.clone(), evaluate(value))).collect())
            }
            Kind::Name(_) | Kind::Access(..) => match path(expression) {
                Some(parts) => self.named(&parts, scope),
                None => match &expression.kind {
                    Kind::Access(inner, field) => field_of(evaluate(inner).value, field),
                    _ => unknown("not a name"),
                },
            },
            Kind::Index(inner, index) => index_of(evaluate(inner).value, &evaluate(index).value),
            Kind::Call(function, arguments) => match path(function) {
                Some(parts) => {
                    functions::call(&parts.join("."), arguments.iter().map(evaluate).collect(), expression.place)
                }
                None => unknown("only functions of Alloy's library can be called"),
            },
            Kind::Not(inner) => match evaluate(inner).value {
                Value::Bool(value) => Value::Bool(!value),
                other => operands("!", &other),
            },
            Kind::Negative(inner) => match evaluate(inner).value {
                Value::Number(number) => Value::Number(-number),
                other => operands("-", &other),
            },
            Kind::Binary(operator, left, right) => binary(*operator, evaluate(left).value, evaluate(right).value),
        }
    }

    /// What a name with dots stands for.
    fn named(&self, parts: &[&str], id: usize) -> Value {
        let scope = &self.world.scopes[id];
        match parts {
            ["constants", "hostname"] => return Value::Text(Text::piece(Piece::Hostname)),
            ["constants", "os"] => return Value::text("linux"),
            ["argument", name, "value", rest @ ..] if scope.is_custom => {
                return match scope.arguments.get(name) {
                    Some(Some((home, expression))) => fields_of(self.evaluate(expression, *home).value, rest),
                    Some(None) => Value::Null,
                    None => unknown(format!("there is no argument {name}")),
                };
            }
            _ => {}
        }
        for count in (1..=parts.len()).rev() {
            let (name, rest) = parts.split_at(count);
            let name = name.join(".");
            if let Some(component) = scope.components.get(&name) {
                let fields = rest.iter().map(ToString::to_string).collect();
                return Value::Reference(Reference { component: *component, fields });
            }
            if let Some(instance) = scope.instances.get(&name) {
                let Some((export, rest)) = rest.split_first() else { return unknown("a custom component is no value") };
                return match self.world.scopes[*instance].exports.get(export) {
                    Some(expression) => fields_of(self.evaluate(expression, *instance).value, rest),
                    None => unknown(format!("{name} exports no {export}")),
                };
            }
        }
        unknown(format!("there is no {}", parts.join(".")))
    }
}

fn located(place: Place, value: Value) -> Located {
    Located { place, value }
}

pub(super) fn unknown(why: impl Into<String>) -> Value {
    Value::Unknown(why.into())
}

fn too_much() -> Value {
    unknown("this configuration takes too many steps to evaluate")
}

/// The parts of a name with dots.
fn path(expression: &Expression) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let mut rest = expression;
    loop {
        match &rest.kind {
            Kind::Access(inner, name) => {
                parts.push(name.as_str());
                rest = inner;
            }
            Kind::Name(name) => {
                parts.push(name);
                parts.reverse();
                return Some(parts);
            }
            _ => return None,
        }
    }
}

fn fields_of(value: Value, fields: &[&str]) -> Value {
    fields.iter().fold(value, |value, field| field_of(value, field))
}

fn field_of(value: Value, field: &str) -> Value {
    match value {
        Value::Object(fields) => match fields.into_iter().find(|(key, _)| key == field) {
            Some((_, value)) => value.value,
            None => unknown(format!("there is no key {field}")),
        },
        Value::Reference(mut reference) => {
            reference.fields.push(field.to_owned());
            Value::Reference(reference)
        }
        Value::Unknown(why) => Value::Unknown(why),
        other => unknown(format!("{} has no key {field}", other.description())),
    }
}

fn index_of(value: Value, index: &Value) -> Value {
    match (value, index) {
        (value, Value::Text(key)) => match key.plain() {
            Some(key) => field_of(value, key),
            None => unknown("a key that depends on the environment"),
        },
        (Value::List(items), Value::Number(number)) => {
            match items.into_iter().enumerate().find(|(at, _)| usize_eq(*at, *number)) {
                Some((_, item)) => item.value,
                None => unknown(format!("a list has no item {number}")),
            }
        }
        (Value::Reference(_), Value::Number(_)) => unknown("one target of many, which only a running Alloy knows"),
        (Value::Unknown(why), _) => Value::Unknown(why),
        (value, index) => unknown(format!("{} cannot be read at {}", value.description(), index.description())),
    }
}

/// Whether a number is this index.
fn usize_eq(index: usize, number: f64) -> bool {
    number >= 0.0 && number.fract() == 0.0 && number < 1e9 && index == number as usize
}

fn operands(operator: &str, value: &Value) -> Value {
    match value {
        Value::Unknown(why) => unknown(why.as_str()),
        other => unknown(format!("{operator} cannot be applied to {}", other.description())),
    }
}

fn binary(operator: Operator, left: Value, right: Value) -> Value {
    use Operator::{
        Add, And, Divide, Equal, Greater, GreaterOrEqual, Less, LessOrEqual, Modulo, Multiply, NotEqual, Or, Power,
        Subtract,
    };
    match (operator, left, right) {
        (_, Value::Unknown(why), _) | (_, _, Value::Unknown(why)) => Value::Unknown(why),
        (Add, Value::Text(mut left), Value::Text(right)) => {
            left.append(right);
            Value::Text(left)
        }
        (Or, Value::Bool(left), Value::Bool(right)) => Value::Bool(left || right),
        (And, Value::Bool(left), Value::Bool(right)) => Value::Bool(left && right),
        (Add, Value::Number(left), Value::Number(right)) => Value::Number(left + right),
        (Subtract, Value::Number(left), Value::Number(right)) => Value::Number(left - right),
        (Multiply, Value::Number(left), Value::Number(right)) => Value::Number(left * right),
        (Divide, Value::Number(left), Value::Number(right)) => Value::Number(left / right),
        (Modulo, Value::Number(left), Value::Number(right)) => Value::Number(left % right),
        (Power, Value::Number(left), Value::Number(right)) => Value::Number(left.powf(right)),
        (Less, Value::Number(left), Value::Number(right)) => Value::Bool(left < right),
        (LessOrEqual, Value::Number(left), Value::Number(right)) => Value::Bool(left <= right),
        (Greater, Value::Number(left), Value::Number(right)) => Value::Bool(left > right),
        (GreaterOrEqual, Value::Number(left), Value::Number(right)) => Value::Bool(left >= right),
        (Equal | NotEqual, left, right) => {
            let (left, right) = (known(&left), known(&right));
            match left.zip(right) {
                Some((left, right)) => Value::Bool((left == right) == (operator == Equal)),
                None => unknown("a comparison that only a running Alloy can decide"),
            }
        }
        (_, left, right) => {
            unknown(format!("an operator that does not fit {} and {}", left.description(), right.description()))
        }
    }
}

/// A value that can be compared: one alone that does not depend on the environment.
fn known(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("null".into()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Text(text) => text.plain().map(|text| format!("{text:?}")),
        _ => None,
    }
}
