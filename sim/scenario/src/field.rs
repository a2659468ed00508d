//! Values of keys: how each type is read, left open, drawn for a seed, and printed back.
//!
//! A key of type `u64` may be written `5`, `"3..7"` (both ends included) or `[3, 5, 7]`. The file holds the *open*
//! form (`Setting`); a seed draws the plain value. A `Spread` is different: it stays a range in a resolved file,
//! since the simulator draws from it again and again (each message's latency, each member's clock offset).

use crate::decision::Decisions;
use crate::matrix::Cell;
use crate::problem::unknown;
use crate::read::Cx;
use crate::tree::{Node, Tree};
use serde_json::{Value, json};
use std::fmt::Debug;

pub use crate::scalar::{Bytes, Share};

/// What drawing a value may depend on.
pub struct Dice<'d> {
    /// The choices of the seed.
    pub decisions: &'d mut Decisions,
    /// The cell of the matrix, which selects but never draws.
    pub cell: &'d Cell,
}

/// A type that a key can have.
pub trait Field: Clone + Debug + PartialEq + Sized {
    /// The form in the file, with ranges and choices not yet drawn.
    type Open: Clone + Debug + PartialEq;
    /// The type in words, for messages and for the reference.
    fn kind() -> String;
    /// What a file may hold, as JSON Schema.
    fn schema() -> Value;
    /// Reads the open form; problems go to `cx`.
    fn read(cx: &mut Cx<'_>, node: &Node) -> Option<Self::Open>;
    /// The open form of a fixed value.
    fn open(self) -> Self::Open;
    /// The value for one seed; `path` labels the decision.
    fn draw(open: &Self::Open, dice: &mut Dice<'_>, path: &str) -> Self;
    /// TOML that reads back as this value; `None` when the key is left out.
    fn literal(&self) -> Option<String>;
}

/// A single value that may also be given as a choice, and as a range when its type has an order.
pub trait Scalar: Clone + Debug + PartialEq + Sized {
    /// The type in words.
    const KIND: &'static str;
    /// An end of a range, as a regular expression; `None` when the type has no ranges.
    const END: Option<&'static str> = None;
    /// One value, as JSON Schema.
    fn single() -> Value;
    /// One value.
    fn read_one(cx: &mut Cx<'_>, node: &Node) -> Option<Self>;
    /// One end of a range; `None` when the type has no ranges.
    fn range_end(_text: &str) -> Option<Result<Self, String>> {
        None
    }
    /// The value that a drawn number selects between two ends.
    fn between(_drawn: u64, low: &Self, _high: &Self) -> Self {
        low.clone()
    }
    /// Whether a range from `low` to `high` holds anything.
    fn in_order(_low: &Self, _high: &Self) -> bool {
        true
    }
    /// TOML for the value.
    fn toml(&self) -> String;
}

/// A value as a file gives it.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting<T> {
    /// One value.
    Fixed(T),
    /// Between both ends, ends included.
    Range(T, T),
    /// One of these.
    Choice(Vec<T>),
}

impl<T: Scalar> Setting<T> {
    /// Every value at the edge of what may be drawn.
    pub fn extremes(&self) -> Vec<&T> {
        match self {
            Setting::Fixed(value) => vec![value],
            Setting::Range(low, high) => vec![low, high],
            Setting::Choice(values) => values.iter().collect(),
        }
    }

    fn read(cx: &mut Cx<'_>, node: &Node) -> Option<Setting<T>> {
        match &node.tree {
            Tree::List(items) if items.is_empty() => {
                cx.problem(node.span.clone(), "an empty choice: give at least one value");
                None
            }
            Tree::List(items) => {
                let values: Vec<Option<T>> = items.iter().map(|item| T::read_one(cx, item)).collect();
                Some(Setting::Choice(values.into_iter().collect::<Option<Vec<T>>>()?))
            }
            Tree::Text(text) if text.contains("..") && T::range_end("").is_some() => {
                let (low, high) = read_range::<T>(cx, node, text)?;
                Some(Setting::Range(low, high))
            }
            _ => T::read_one(cx, node).map(Setting::Fixed),
        }
    }

    fn draw(&self, dice: &mut Dice<'_>, path: &str) -> T {
        match self {
            Setting::Fixed(value) => value.clone(),
            Setting::Range(low, high) => T::between(dice.decisions.draw(path), low, high),
            Setting::Choice(values) => dice.decisions.pick(path, values).clone(),
        }
    }
}

/// Reads `LOW..HIGH`.
fn read_range<T: Scalar>(cx: &mut Cx<'_>, node: &Node, text: &str) -> Option<(T, T)> {
    let (low, high) = text.split_once("..")?;
    let mut end = |text: &str| match T::range_end(text.trim())? {
        Ok(value) => Some(value),
        Err(message) => {
            cx.problem(node.span.clone(), message);
            None
        }
    };
    let (low, high) = (end(low), end(high));
    let (low, high) = (low?, high?);
    if !T::in_order(&low, &high) {
        cx.problem(node.span.clone(), format!("empty range \"{text}\": its low end is above its high end"));
        return None;
    }
    Some((low, high))
}

/// Both ends of a distribution that the simulator draws from at each use. It stays a range when a file is resolved;
/// a choice of several spreads is drawn once per seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread<T> {
    /// The smallest value.
    pub low: T,
    /// The largest value.
    pub high: T,
}

impl<T: Scalar> Spread<T> {
    /// Always the same value.
    pub fn fixed(value: T) -> Spread<T> {
        Spread { low: value.clone(), high: value }
    }

    /// Draws one value under `label`. A spread of one value draws nothing.
    pub fn draw(&self, decisions: &mut Decisions, label: &str) -> T {
        if self.low == self.high { self.low.clone() } else { self.at(decisions.draw(label)) }
    }

    /// The value that the drawn number selects.
    pub fn at(&self, drawn: u64) -> T {
        T::between(drawn, &self.low, &self.high)
    }
}

impl<T: Scalar> Scalar for Spread<T> {
    const KIND: &'static str = T::KIND;
    fn single() -> Value {
        json!({ "anyOf": [T::single(), range_schema::<T>()] })
    }
    fn read_one(cx: &mut Cx<'_>, node: &Node) -> Option<Self> {
        match &node.tree {
            Tree::Text(text) if text.contains("..") => {
                read_range::<T>(cx, node, text).map(|(low, high)| Spread { low, high })
            }
            _ => T::read_one(cx, node).map(Spread::fixed),
        }
    }
    fn toml(&self) -> String {
        let (low, high) = (self.low.toml(), self.high.toml());
        if low == high { low } else { format!("\"{}..{}\"", low.trim_matches('"'), high.trim_matches('"')) }
    }
}

/// TOML for a text.
pub fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

impl<T: Field> Field for Option<T> {
    type Open = Option<T::Open>;
    fn kind() -> String {
        T::kind()
    }
    fn schema() -> Value {
        T::schema()
    }
    fn read(cx: &mut Cx<'_>, node: &Node) -> Option<Self::Open> {
        T::read(cx, node).map(Some)
    }
    fn open(self) -> Self::Open {
        self.map(T::open)
    }
    fn draw(open: &Self::Open, dice: &mut Dice<'_>, path: &str) -> Self {
        open.as_ref().map(|open| T::draw(open, dice, path))
    }
    fn literal(&self) -> Option<String> {
        self.as_ref().and_then(T::literal)
    }
}

/// A type that is never drawn when a file is resolved: selectors, lists of names.
pub trait Plain: Clone + Debug + PartialEq + Sized {
    /// The type in words.
    const KIND: &'static str;
    /// What a file may hold, as JSON Schema.
    fn plain_schema() -> Value;
    /// Reads the value.
    fn read_plain(cx: &mut Cx<'_>, node: &Node) -> Option<Self>;
    /// TOML for the value; `None` leaves the key out.
    fn toml_plain(&self) -> Option<String>;
}

/// Makes types that are never drawn usable as fields.
macro_rules! plain_fields {
    ($($ty:ty),*) => { $(
        impl $crate::field::Field for $ty {
            type Open = $ty;
            fn kind() -> String { <$ty as $crate::field::Plain>::KIND.to_owned() }
            fn schema() -> serde_json::Value { <$ty as $crate::field::Plain>::plain_schema() }
            fn read(cx: &mut $crate::read::Cx<'_>, node: &$crate::tree::Node) -> Option<$ty> {
                <$ty as $crate::field::Plain>::read_plain(cx, node)
            }
            fn open(self) -> $ty { self }
            fn draw(open: &$ty, _dice: &mut $crate::field::Dice<'_>, _path: &str) -> $ty { open.clone() }
            fn literal(&self) -> Option<String> { $crate::field::Plain::toml_plain(self) }
        }
    )* };
}
pub(crate) use plain_fields;

/// A closed set of words, one of which a key may have (or a choice of several).
pub trait Word: Copy + Debug + PartialEq + 'static {
    /// What the word names, for messages.
    const WHAT: &'static str;
    /// All of them.
    const ALL: &'static [(&'static str, Self)];

    /// The word as files write it.
    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, word)| *word == self).expect("every word is listed").0
    }

    /// Finds a word; the error names the nearest.
    fn find(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, word)| *word).ok_or_else(|| unknown(Self::WHAT, text, Self::ALL.iter().map(|(name, _)| *name)))
    }
}

/// Declares an enum of words and makes it a field.
macro_rules! words {
    ($(#[doc = $doc:literal])* pub enum $name:ident, $what:literal { $($(#[doc = $wdoc:literal])* $word:ident = $text:literal,)* }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[doc = $wdoc])* $word,)* }
        impl $crate::field::Word for $name {
            const WHAT: &'static str = $what;
            const ALL: &'static [(&'static str, Self)] = &[$(($text, $name::$word),)*];
        }
        impl $crate::field::Scalar for $name {
            const KIND: &'static str = concat!("one of", $(" \"", $text, "\""),*);
            fn single() -> serde_json::Value { serde_json::json!({ "enum": [$($text),*] }) }
            fn read_one(cx: &mut $crate::read::Cx<'_>, node: &$crate::tree::Node) -> Option<Self> {
                let text = cx.text(node, <Self as $crate::field::Scalar>::KIND)?;
                <Self as $crate::field::Word>::find(text).map_err(|message| cx.problem(node.span.clone(), message)).ok()
            }
            fn toml(&self) -> String { $crate::field::quote($crate::field::Word::name(*self)) }
        }
        $crate::field::word_field!($name);
    };
}
macro_rules! word_field {
    ($name:ident) => {
        impl $crate::field::Field for $name {
            type Open = $crate::field::Setting<$name>;
            fn kind() -> String {
                <$name as $crate::field::Scalar>::KIND.to_owned()
            }
            fn schema() -> serde_json::Value {
                $crate::field::setting_schema::<$name>()
            }
            fn read(cx: &mut $crate::read::Cx<'_>, node: &$crate::tree::Node) -> Option<Self::Open> {
                $crate::field::read_setting(cx, node)
            }
            fn open(self) -> Self::Open {
                $crate::field::Setting::Fixed(self)
            }
            fn draw(open: &Self::Open, dice: &mut $crate::field::Dice<'_>, path: &str) -> Self {
                $crate::field::draw_setting(open, dice, path)
            }
            fn literal(&self) -> Option<String> {
                Some($crate::field::Scalar::toml(self))
            }
        }
    };
}
pub(crate) use {word_field, words};

/// A value, a range when the type has them, or a choice.
pub(crate) fn setting_schema<T: Scalar>() -> Value {
    let mut forms = vec![T::single()];
    if T::END.is_some() {
        forms.push(range_schema::<T>());
    }
    forms.push(json!({ "type": "array", "items": T::single(), "minItems": 1 }));
    json!({ "anyOf": forms })
}

/// `LOW..HIGH`.
fn range_schema<T: Scalar>() -> Value {
    let end = T::END.expect("the type has ranges");
    json!({ "type": "string", "pattern": format!(r"^\s*{end}\s*\.\.\s*{end}\s*$") })
}

pub(crate) fn read_setting<T: Scalar>(cx: &mut Cx<'_>, node: &Node) -> Option<Setting<T>> {
    Setting::read(cx, node)
}

pub(crate) fn draw_setting<T: Scalar>(open: &Setting<T>, dice: &mut Dice<'_>, path: &str) -> T {
    open.draw(dice, path)
}
