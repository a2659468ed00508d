//! Repro files as a JSON Schema, for editors: made of the very types that read and write them.
//!
//! What stands in `run.scenario` is a scenario as a text, and beyond what a schema can look into.

use schemars::generate::SchemaSettings;

use super::file::Repro;

/// The schema as the file that editors are pointed to. Draft 7, which is what they understand for TOML.
pub fn text() -> String {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<Repro>();
    schema.insert("title".to_owned(), "A kept failure of the simulator".into());
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;

    #[test]
    fn the_schema_of_repro_files_is_up_to_date() {
        expect_file!["../../../scenarios/regressions/schema.json"].assert_eq(&super::text());
    }
}
