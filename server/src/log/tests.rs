use std::sync::Arc;

use super::*;

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is logged by `events` at `level`, in lines.
fn logged(format: LogFormat, level: LogLevel, events: impl FnOnce()) -> Vec<String> {
    let memory = Memory::default();
    let layer = layer(format, vec![Box::new(memory.clone())], level);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), events);
    let bytes = memory.0.lock().expect("not poisoned").clone();
    String::from_utf8(bytes).expect("text").lines().map(str::to_owned).collect()
}

#[test]
fn a_line_is_zaps_json() {
    let lines = logged(LogFormat::Json, LogLevel::Info, || {
        tracing::info!(target: "evenkeel::x", count = 3u64, took = ?Duration::from_millis(5), name = "a\"b", args = ?["--x", "y"], "ready to serve");
    });
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
    assert_eq!((&value["level"], &value["msg"]), (&json!("info"), &json!("ready to serve")));
    assert_eq!((&value["count"], &value["took"], &value["name"]), (&json!(3), &json!("5ms"), &json!("a\"b")));
    assert_eq!(value["args"], json!(["--x", "y"]));
    assert!(line.starts_with(r#"{"level":"info","ts":"20"#), "{line}");
    assert!(value["caller"].as_str().expect("text").starts_with("log/tests.rs:"), "{line}");
    assert!(value["ts"].as_str().expect("text").ends_with('Z'), "{line}");
}

#[test]
fn a_console_line_has_columns() {
    let lines = logged(LogFormat::Console, LogLevel::Info, || tracing::warn!(target: "evenkeel", peer = 7u64, "lost"));
    let columns: Vec<&str> = lines[0].split('\t').collect();
    assert_eq!((columns[1], columns[3], columns[4]), ("warn", "lost", r#"{"peer": 7}"#));
}

#[test]
fn libraries_are_quieter_than_we_are() {
    let events = || {
        tracing::debug!(target: "evenkeel", "1");
        tracing::info!(target: "evenkeel::node", "2");
        tracing::info!(target: "h2", "3");
        tracing::warn!(target: "h2", "4");
        tracing::error!(target: "evenkeel_raft", "5");
    };
    for (level, shown) in [
        (LogLevel::Debug, &["1", "2", "4", "5"][..]),
        (LogLevel::Info, &["2", "4", "5"]),
        (LogLevel::Warn, &["4", "5"]),
        (LogLevel::Error, &["5"]),
        (LogLevel::Fatal, &[]),
    ] {
        let lines = logged(LogFormat::Console, level, events);
        let messages: Vec<&str> = lines.iter().filter_map(|line| line.split('\t').nth(3)).collect();
        assert_eq!(messages, shown, "{level:?}");
    }
}

#[test]
fn timestamps_are_gos() {
    for (micros, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_400_000_000, "2000-02-29T00:00:00Z"),
        (1_700_000_000_123_400, "2023-11-14T22:13:20.1234Z"),
        (4_102_444_799_999_999, "2099-12-31T23:59:59.999999Z"),
    ] {
        assert_eq!(timestamp(Duration::from_micros(micros)), text);
    }
}
