//! The gallery of planted bugs as a table: a line of `mutants --format json` becomes a row.

use serde_json::{Value, json};

/// Heads and rows, everything as text.
pub fn table(gallery: &[Value]) -> Value {
    let heads = [
        "bug",
        "kind",
        "as it must",
        "reached",
        "differs",
        "found",
        "mostly by",
        "per run",
        "95 %",
        "core time",
        "black box: found",
        "mostly by",
        "per run",
        "95 %",
        "core time",
        "shrunk to",
        "black box: shrunk to",
        "what it is",
    ];
    let rows: Vec<Vec<String>> = gallery.iter().map(row).collect();
    assert!(rows.iter().all(|row| row.len() == heads.len()), "a row has as many cells as there are heads");
    json!({ "heads": heads, "rows": rows })
}

fn row(mutant: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).unwrap_or("–").to_owned();
    let holds = if mutant["holds"] == true { "yes" } else { "NO" };
    let (white, black) = (&mutant["white_box"], &mutant["black_box"]);
    let share = |part: &Value| match (part.as_f64(), white["runs"].as_f64()) {
        (Some(part), Some(runs)) if 0.0 < runs => percent(part / runs),
        _ => "–".to_owned(),
    };
    let mut row = vec![text(&mutant["name"]), text(&mutant["kind"]), holds.to_owned()];
    row.extend([share(&white["reached"]), share(&white["diverged"])]);
    row.extend(found(white).into_iter().chain(found(black)));
    row.extend([shrunk(&mutant["shrunk"]), shrunk(&mutant["shrunk_black_box"]), text(&mutant["about"])]);
    row
}

/// What one kind of judge found: in how many trials, mostly by what, in what share of runs, how sure that is, how soon.
fn found(score: &Value) -> [String; 5] {
    let Some(trials) = score["trials"].as_array() else { return std::array::from_fn(|_| "–".to_owned()) };
    let found = trials.iter().filter(|trial| trial["found"] == true).count();
    let by = score["by"].as_object().and_then(|by| by.iter().max_by_key(|(_, count)| count.as_u64()));
    let p = |name: &str| score[name].as_f64().map_or("–".to_owned(), percent);
    let median = score["median_core_seconds"].as_f64();
    [
        format!("{found} of {}", trials.len()),
        by.map_or("–".to_owned(), |(by, _)| by.clone()),
        p("p"),
        format!("{}..{}", p("p_low"), p("p_high")),
        median.map_or("–".to_owned(), |seconds| format!("{seconds:.1} s")),
    ]
}

fn shrunk(shrunk: &Value) -> String {
    match (shrunk["from"].as_u64(), shrunk["to"].as_u64(), shrunk["seconds"].as_f64()) {
        (Some(from), Some(to), Some(seconds)) => format!("{to} of {from} events in {seconds:.0} s"),
        _ => "–".to_owned(),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_json() {
        let score = json!({
            "runs": 40, "reached": 40, "diverged": 10, "hits": 2, "p": 0.05, "p_low": 0.01, "p_high": 0.2,
            "by": {"raft": 1, "ledger": 3}, "median_core_seconds": 1.25, "errors": [],
            "trials": [{"found": true}, {"found": false}],
        });
        let mutant = json!({
            "name": "x", "kind": "known", "about": "is wrong", "holds": true, "white_box": score, "black_box": score,
            "shrunk": {"from": 800, "to": 9, "seconds": 41.2}, "shrunk_black_box": null,
        });
        let table = table(&[mutant, json!({"name": "y"})]);
        let cells = |row: usize| table["rows"][row].as_array().unwrap().iter().map(|cell| cell.as_str().unwrap());
        let known: Vec<&str> = cells(0).collect();
        let judged = ["1 of 2", "ledger", "5.0 %", "1.0 %..20.0 %", "1.2 s"];
        assert_eq!(known[..5], ["x", "known", "yes", "100.0 %", "25.0 %"]);
        assert_eq!((&known[5..10], &known[10..15]), (&judged[..], &judged[..]));
        assert_eq!(known[15..], ["9 of 800 events in 41 s", "–", "is wrong"]);
        assert!(cells(0).chain(cells(1)).all(|cell| !cell.contains('{')));
    }
}
