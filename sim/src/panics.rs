//! The first panic of a process, with its place in the source.

use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::Mutex;

static FIRST: Mutex<Option<String>> = Mutex::new(None);

/// From now on the first panic is noted, and every panic is one line on standard error.
pub fn note_them() {
    panic::set_hook(Box::new(|info| {
        let note = describe(info);
        // A panic while one is told would end the process at once: where nobody reads, there is nothing to say.
        let _ = writeln!(io::stderr(), "panic: {note}");
        if let Ok(mut first) = FIRST.lock() {
            first.get_or_insert(note);
        }
    }));
}

/// The first panic since the last call, as `message (file:line)`.
pub fn take_first() -> Option<String> {
    FIRST.lock().ok()?.take()
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let message = info.payload_as_str().unwrap_or("a panic without a message");
    match info.location() {
        Some(location) => format!("{message} ({}:{})", location.file(), location.line()),
        None => message.to_owned(),
    }
}
