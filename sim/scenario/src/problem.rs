//! What is wrong with a file, said so that the reader can mend it: file, line, column, message, the line itself with
//! a mark under the offending part, and the nearest name that would have been right.

use std::fmt;
use std::ops::Range;

/// One reason why a scenario file is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named by the caller.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, in one sentence.
    pub message: String,
    /// The text of the line.
    pub source_line: String,
    /// How many characters to mark, at least 1.
    pub width: usize,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        writeln!(f, " {number} | {}", self.source_line)?;
        write!(f, " {margin} | {}{}", " ".repeat(self.column - 1), "^".repeat(self.width))
    }
}

/// A file's text and name, to turn byte positions into lines and columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The name used in messages.
    pub file: String,
    /// The whole text.
    pub text: String,
}

impl Source {
    /// The problem `message` at the bytes `span`.
    pub fn problem(&self, span: Range<usize>, message: impl Into<String>) -> Problem {
        let start = floor_boundary(&self.text, span.start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        let end = floor_boundary(&self.text, span.end).clamp(start, line_end);
        Problem {
            file: self.file.clone(),
            line: self.line_of(start),
            column: self.text[line_start..start].chars().count() + 1,
            message: message.into(),
            source_line: self.text[line_start..line_end].trim_end().replace('\t', " "),
            width: self.text[start..end].trim_end().chars().count().max(1),
        }
    }

    /// The line, from 1, of a byte position.
    pub fn line_of(&self, at: usize) -> usize {
        self.text[..floor_boundary(&self.text, at)].matches('\n').count() + 1
    }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// At most this many valid names are listed when none is near.
const LISTED_NAMES_MAX: usize = 16;

/// `unknown verb "restrat", did you mean "restart"?`, or the list of valid names when none is near.
pub fn unknown<'a>(what: &str, name: &str, valid: impl IntoIterator<Item = &'a str>) -> String {
    let valid: Vec<&str> = valid.into_iter().collect();
    match nearest(name, valid.iter().copied()) {
        Some(near) => format!("unknown {what} \"{name}\", did you mean \"{near}\"?"),
        None if valid.is_empty() => format!("unknown {what} \"{name}\": there is none in this file"),
        None if valid.len() <= LISTED_NAMES_MAX => {
            format!("unknown {what} \"{name}\", expected one of: {}", valid.join(", "))
        }
        None => format!("unknown {what} \"{name}\""),
    }
}

/// The valid name with the smallest edit distance, when it is near enough to be a slip.
pub fn nearest<'a>(name: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = match name.chars().count() {
        // One number is not a slip for another.
        _ if !name.contains(char::is_alphabetic) => 0,
        0..=1 => 0,
        2..=4 => 1,
        5..=8 => 2,
        _ => 3,
    };
    valid
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours; upper and lower case count as equal.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut rows = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_name_that_was_meant() {
        let verbs = ["restart", "reorder", "cut", "slow"];
        for (typed, near) in [
            ("restrat", Some("restart")),
            ("Cut", Some("cut")),
            ("slwo", Some("slow")),
            ("teleport", None),
            ("x", None),
        ] {
            assert_eq!(nearest(typed, verbs), near, "{typed}");
        }
    }

    #[test]
    fn positions_count_characters_and_marks_stay_on_the_line() {
        let source = Source { file: "f".into(), text: "é = 1\nab = 'x\ny'".into() };
        let problem = source.problem(7..20, "m");
        assert_eq!((problem.line, problem.column, problem.width), (2, 1, 7));
        assert_eq!(source.problem(3..4, "m").column, 3);
        assert_eq!(problem.to_string(), "f:2:1: m\n 2 | ab = 'x\n   | ^^^^^^^");
    }
}
