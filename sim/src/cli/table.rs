//! Aligned columns, and numbers for people.

use std::time::Duration;

/// Lines of columns: the first column to the left, the others as they were asked for.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<bool>,
}

impl Table {
    /// A table with these headings; a heading that starts with `>` has its column to the right.
    pub fn new(headings: &[&str]) -> Table {
        let right = headings.iter().map(|heading| heading.starts_with('>')).collect();
        let heads = headings.iter().map(|heading| heading.trim_start_matches('>').to_owned()).collect();
        Table { rows: vec![heads], right }
    }

    /// Adds a line.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let row: Vec<String> = cells.into_iter().collect();
        assert_eq!(row.len(), self.right.len(), "a table has as many cells as headings");
        self.rows.push(row);
    }

    /// The text, one line per row.
    pub fn render(&self) -> String {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.right.len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, width), right) in row.iter().zip(&widths).zip(&self.right) {
                let pad = " ".repeat(width - cell.chars().count());
                let cell = if *right { pad + cell } else { cell.clone() + &pad };
                line.push_str(&cell);
                line.push_str("  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// `950ms`, `12.3s`, `4m05s`, `2h03m`, `3d04h`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{}ms", duration.as_millis()),
        1..60 => format!("{:.1}s", (duration.as_millis() / 100) as f64 / 10.0),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// `950`, `12.3k`, `4.5M`, `2.0G`.
pub fn count(count: u64) -> String {
    match count {
        0..1000 => count.to_string(),
        1000..1_000_000 => format!("{:.1}k", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1}M", count as f64 / 1e6),
        _ => format!("{:.1}G", count as f64 / 1e9),
    }
}

/// `0`, `0.35`, `12.3`, `950`, and as [`count`] from a thousand on.
pub fn average(value: f64) -> String {
    match value.abs() {
        magnitude if magnitude < 1e-9 => "0".to_owned(),
        magnitude if magnitude < 10.0 => format!("{value:.2}"),
        magnitude if magnitude < 100.0 => format!("{value:.1}"),
        magnitude if magnitude < 1000.0 => format!("{value:.0}"),
        _ if 0.0 < value => count(value.round() as u64),
        _ => format!("-{}", count(-value.round() as u64)),
    }
}

/// How much faster than real time: `870x`.
pub fn speed_up(simulated: Duration, cpu: Duration) -> String {
    let ratio = simulated.as_secs_f64() / cpu.as_secs_f64().max(1e-9);
    if ratio < 10.0 { format!("{ratio:.1}x") } else { format!("{ratio:.0}x") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["scenario", ">seeds", "verdict"]);
        table.row(["a".into(), "7".into(), "ok".into()]);
        table.row(["längere".into(), "1000".into(), "2 of 9 failed".into()]);
        expect![[r#"
            scenario  seeds  verdict
            a             7  ok
            längere    1000  2 of 9 failed
        "#]]
        .assert_eq(&table.render());
    }

    #[test]
    fn numbers_are_short() {
        for (millis, text) in
            [(0, "0ms"), (950, "950ms"), (12_345, "12.3s"), (59_999, "59.9s"), (245_000, "4m05s"), (7_380_000, "2h03m")]
        {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(
            [0.0, 0.351, 12.34, 950.2, 12_345.0, -2_000.0].map(average),
            ["0", "0.35", "12.3", "950", "12.3k", "-2.0k"]
        );
        assert_eq!([count(999), count(12_345), count(4_500_000)], ["999", "12.3k", "4.5M"]);
        assert_eq!(speed_up(Duration::from_secs(870), Duration::from_secs(1)), "870x");
    }
}
