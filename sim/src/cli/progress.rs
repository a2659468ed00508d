//! How far a long command is: one line that renews itself on a terminal, a plain line now and then elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::table::duration;

/// A terminal's line is renewed at most this often.
const REDRAW_EVERY: Duration = Duration::from_millis(100);

/// Without a terminal, a line comes at most this often.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The progress of a command, on standard error.
pub struct Progress {
    what: String,
    /// 0 when nobody knows.
    total: u64,
    done: u64,
    failed: u64,
    start: Instant,
    shown: Option<Instant>,
    terminal: bool,
    drawn: bool,
}

impl Progress {
    /// Begins with nothing done, of so many; 0 when nobody knows.
    pub fn new(what: &str, total: u64) -> Progress {
        let terminal = io::stderr().is_terminal();
        let what = what.to_owned();
        Progress { what, total, done: 0, failed: 0, start: Instant::now(), shown: None, terminal, drawn: false }
    }

    /// One more is done.
    pub fn step(&mut self, failed: bool) {
        self.done += 1;
        self.failed += u64::from(failed);
        let every = if self.terminal { REDRAW_EVERY } else { LINE_EVERY };
        let last = self.shown.unwrap_or(self.start);
        if every <= last.elapsed() {
            self.shown = Some(Instant::now());
            self.show();
        }
    }

    fn show(&mut self) {
        let line = line(&self.what, self.done, self.total, self.failed, self.start.elapsed());
        let mut out = io::stderr().lock();
        // Progress is a courtesy: a closed standard error must not end the run.
        let _ = if self.terminal { write!(out, "\r\x1b[K{line}") } else { writeln!(out, "{line}") };
        let _ = out.flush();
        self.drawn = self.terminal;
    }

    /// Clears the line, so that something else can be printed.
    pub fn clear(&mut self) {
        if self.drawn {
            let mut out = io::stderr().lock();
            let _ = write!(out, "\r\x1b[K");
            let _ = out.flush();
            self.drawn = false;
        }
    }
}

fn line(what: &str, done: u64, total: u64, failed: u64, passed: Duration) -> String {
    let of = if total == 0 { String::new() } else { format!(" of {total}") };
    let mut line = format!("{what}: {done}{of} runs, {}", duration(passed));
    if 0 < done && done < total {
        let left = passed.as_secs_f64() / done as f64 * (total - done) as f64;
        line.push_str(&format!(", about {} left", duration(Duration::from_secs_f64(left))));
    }
    if 0 < failed {
        line.push_str(&format!(", {failed} failed"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_how_long_and_what_failed() {
        let at = Duration::from_secs(30);
        assert_eq!(line("disk", 0, 10, 0, at), "disk: 0 of 10 runs, 30.0s");
        assert_eq!(line("disk", 5, 20, 2, at), "disk: 5 of 20 runs, 30.0s, about 1m30s left, 2 failed");
        assert_eq!(line("disk", 20, 20, 0, at), "disk: 20 of 20 runs, 30.0s");
        assert_eq!(line("disk", 7, 0, 1, at), "disk: 7 runs, 30.0s, 1 failed");
    }
}
