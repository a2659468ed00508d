//! Words of an expression.

use super::At;
use crate::time::Nanos;

#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Number(f64),
    Duration(Nanos),
    Text(String),
    /// A name, with dots when it has several parts.
    Name(String),
    Symbol(&'static str),
    End,
}

/// Longer ones first.
const SYMBOLS: &[&str] =
    &["&&", "||", "==", "!=", "<=", ">=", "..", "(", ")", "[", "]", ",", ":", "<", ">", "+", "-", "*", "/", "!"];

/// Splits the text; the last token is `End`.
pub fn lex(text: &str) -> Result<Vec<(Token, At)>, (At, String)> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let start = text.len() - rest.len();
        let Some(first) = rest.chars().next() else {
            tokens.push((Token::End, At { start, end: start }));
            return Ok(tokens);
        };
        let fail = |len: usize, message: String| Err((At { start, end: start + len }, message));
        let (token, len) = if first.is_ascii_digit() {
            match number(rest) {
                Ok(found) => found,
                Err((len, message)) => return fail(len, message),
            }
        } else if first.is_ascii_alphabetic() || first == '_' {
            let len = name_len(rest);
            (Token::Name(rest[..len].to_owned()), len)
        } else if first == '\'' || first == '"' {
            match rest[1..].find(first) {
                Some(len) => (Token::Text(rest[1..=len].to_owned()), len + 2),
                None => return fail(rest.len(), "the text has no closing quote".to_owned()),
            }
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            (Token::Symbol(symbol), symbol.len())
        } else {
            let meant = match first {
                '=' => ", did you mean \"==\"?",
                '&' => ", did you mean \"&&\"?",
                '|' => ", did you mean \"||\"?",
                _ => "",
            };
            return fail(first.len_utf8(), format!("\"{first}\" means nothing here{meant}"));
        };
        tokens.push((token, At { start, end: start + len }));
        rest = &rest[len..];
    }
}

/// `5`, `0.95`, `95%`, `10s`.
fn number(text: &str) -> Result<(Token, usize), (usize, String)> {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let mut len = digits(text);
    if text[len..].starts_with('.') && text[len + 1..].starts_with(|c: char| c.is_ascii_digit()) {
        len += 1 + digits(&text[len + 1..]);
    }
    let value: f64 = text[..len].parse().map_err(|_| (len, format!("bad number \"{}\"", &text[..len])))?;
    if text[len..].starts_with('%') {
        return Ok((Token::Number(value / 100.0), len + 1));
    }
    let unit_len = text[len..].find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len() - len);
    if unit_len == 0 {
        return Ok((Token::Number(value), len));
    }
    let whole = len + unit_len;
    Nanos::parse(&text[..whole]).map(|duration| (Token::Duration(duration), whole)).map_err(|message| (whole, message))
}

fn name_len(text: &str) -> usize {
    let mut len = 0;
    loop {
        let part = text[len..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len() - len);
        len += part;
        let dotted =
            text[len..].strip_prefix('.').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()));
        if !dotted {
            return len;
        }
        len += 1;
    }
}
