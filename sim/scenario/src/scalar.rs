//! The single values of the language: numbers, shares, sizes, durations, yes and no.

use crate::decision::{between, nanos_between, unit};
use crate::field::{Dice, Field, Scalar, Setting, Spread, draw_setting, read_setting, setting_schema};
use crate::read::Cx;
use crate::time::Nanos;
use crate::tree::{Node, Tree};
use serde_json::{Value, json};

fn bad_number(text: &str, kind: &str) -> String {
    format!("bad end of a range \"{text}\": expected {kind}")
}

impl Scalar for u64 {
    const KIND: &'static str = "a whole number";
    const END: Option<&'static str> = Some(r"\+?[0-9]+");
    fn single() -> Value {
        json!({ "type": "integer", "minimum": 0 })
    }
    fn read_one(cx: &mut Cx<'_>, node: &Node) -> Option<u64> {
        match &node.tree {
            Tree::Integer(number) => match u64::try_from(*number) {
                Ok(number) => Some(number),
                Err(_) => {
                    cx.problem(node.span.clone(), format!("{number} is below 0"));
                    None
                }
            },
            _ => cx.wrong_type(node, Self::KIND),
        }
    }
    fn range_end(text: &str) -> Option<Result<u64, String>> {
        Some(text.parse().map_err(|_| bad_number(text, Self::KIND)))
    }
    fn between(drawn: u64, low: &u64, high: &u64) -> u64 {
        between(drawn, *low, *high)
    }
    fn in_order(low: &u64, high: &u64) -> bool {
        low <= high
    }
    fn toml(&self) -> String {
        self.to_string()
    }
}

impl Scalar for f64 {
    const KIND: &'static str = "a number";
    const END: Option<&'static str> = Some(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?");
    fn single() -> Value {
        json!({ "type": "number" })
    }
    fn read_one(cx: &mut Cx<'_>, node: &Node) -> Option<f64> {
        match &node.tree {
            Tree::Integer(number) => Some(*number as f64),
            Tree::Float(number) => Some(*number),
            _ => cx.wrong_type(node, Self::KIND),
        }
    }
    fn range_end(text: &str) -> Option<Result<f64, String>> {
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        Some(number.ok_or_else(|| bad_number(text, Self::KIND)))
    }
    fn between(drawn: u64, low: &f64, high: &f64) -> f64 {
        (low + unit(drawn) * (high - low)).clamp(*low, *high)
    }
    fn in_order(low: &f64, high: &f64) -> bool {
        low <= high
    }
    fn toml(&self) -> String {
        format!("{self:?}")
    }
}

impl Scalar for Nanos {
    const KIND: &'static str = "a duration such as \"10ms\"";
    const END: Option<&'static str> = Some(r"-?[0-9]+(\.[0-9]{1,9})?(ns|us|µs|ms|s|m|h)");
    fn single() -> Value {
        json!({ "type": "string", "pattern": format!("^{}$", Self::END.unwrap_or_default()) })
    }
    fn read_one(cx: &mut Cx<'_>, node: &Node) -> Option<Nanos> {
        let text = cx.text(node, Self::KIND)?;
        Nanos::parse(text).map_err(|message| cx.problem(node.span.clone(), message)).ok()
    }
    fn range_end(text: &str) -> Option<Result<Nanos, String>> {
        Some(Nanos::parse(text))
    }
    fn between(drawn: u64, low: &Nanos, high: &Nanos) -> Nanos {
        nanos_between(drawn, *low, *high)
    }
    fn in_order(low: &Nanos, high: &Nanos) -> bool {
        low <= high
    }
    fn toml(&self) -> String {
        format!("\"{self}\"")
    }
}

impl Scalar for bool {
    const KIND: &'static str = "true or false";
    fn single() -> Value {
        json!({ "type": "boolean" })
    }
    fn read_one(cx: &mut Cx<'_>, node: &Node) -> Option<bool> {
        match &node.tree {
            Tree::Bool(value) => Some(*value),
            _ => cx.wrong_type(node, Self::KIND),
        }
    }
    fn toml(&self) -> String {
        self.to_string()
    }
}

/// A probability.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Share(pub f64);

impl Share {
    fn check(number: f64) -> Result<Share, String> {
        if (0.0..=1.0).contains(&number) {
            Ok(Share(number))
        } else {
            Err(format!("{number} is not a share between 0 and 1"))
        }
    }
}

impl Scalar for Share {
    const KIND: &'static str = "a share between 0 and 1";
    const END: Option<&'static str> = f64::END;
    fn single() -> Value {
        json!({ "type": "number", "minimum": 0, "maximum": 1 })
    }
    fn read_one(cx: &mut Cx<'_>, node: &Node) -> Option<Share> {
        match &node.tree {
            Tree::Integer(_) | Tree::Float(_) => {
                let number = f64::read_one(cx, node)?;
                Share::check(number).map_err(|message| cx.problem(node.span.clone(), message)).ok()
            }
            _ => cx.wrong_type(node, Self::KIND),
        }
    }
    fn range_end(text: &str) -> Option<Result<Share, String>> {
        Some(f64::range_end(text)?.and_then(Share::check))
    }
    fn between(drawn: u64, low: &Share, high: &Share) -> Share {
        Share(f64::between(drawn, &low.0, &high.0))
    }
    fn in_order(low: &Share, high: &Share) -> bool {
        low.0 <= high.0
    }
    fn toml(&self) -> String {
        self.0.toml()
    }
}

/// A number of bytes, written as a number or as text with `KiB` or `MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Bytes {
    fn parse(text: &str) -> Result<Bytes, String> {
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let scale = match text[split..].trim() {
            "" | "B" => Some(1),
            "KiB" => Some(1 << 10),
            "MiB" => Some(1 << 20),
            _ => None,
        };
        let size = scale.and_then(|scale: u64| text[..split].parse::<u64>().ok()?.checked_mul(scale));
        size.map(Bytes)
            .ok_or_else(|| format!("bad size \"{text}\": write a number of bytes, or such as \"64KiB\" or \"1MiB\""))
    }
}

impl Scalar for Bytes {
    const KIND: &'static str = "a size such as 4096 or \"64KiB\"";
    const END: Option<&'static str> = Some(r"[0-9]+\s*(B|KiB|MiB)?");
    fn single() -> Value {
        let text = format!(r"^{}\s*$", Self::END.unwrap_or_default());
        json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": text }] })
    }
    fn read_one(cx: &mut Cx<'_>, node: &Node) -> Option<Bytes> {
        match &node.tree {
            Tree::Integer(_) => u64::read_one(cx, node).map(Bytes),
            Tree::Text(text) => Bytes::parse(text).map_err(|message| cx.problem(node.span.clone(), message)).ok(),
            _ => cx.wrong_type(node, Self::KIND),
        }
    }
    fn range_end(text: &str) -> Option<Result<Bytes, String>> {
        Some(Bytes::parse(text))
    }
    fn between(drawn: u64, low: &Bytes, high: &Bytes) -> Bytes {
        Bytes(between(drawn, low.0, high.0))
    }
    fn in_order(low: &Bytes, high: &Bytes) -> bool {
        low <= high
    }
    fn toml(&self) -> String {
        self.0.to_string()
    }
}

macro_rules! scalar_fields {
    ($($ty:ty),*) => { $(
        impl Field for $ty {
            type Open = Setting<$ty>;
            fn kind() -> String { <$ty as Scalar>::KIND.to_owned() }
            fn schema() -> Value { setting_schema::<$ty>() }
            fn read(cx: &mut Cx<'_>, node: &Node) -> Option<Self::Open> { read_setting(cx, node) }
            fn open(self) -> Self::Open { Setting::Fixed(self) }
            fn draw(open: &Self::Open, dice: &mut Dice<'_>, path: &str) -> Self { draw_setting(open, dice, path) }
            fn literal(&self) -> Option<String> { Some(self.toml()) }
        }
    )* };
}
scalar_fields!(u64, f64, bool, Nanos, Share, Bytes, Spread<Nanos>, Spread<f64>, Spread<Bytes>);
