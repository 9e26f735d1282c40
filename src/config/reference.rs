//! The table of all keys in `docs/configuration.md`, written from the schema.

use super::scalars::{write_duration, write_size};
use super::schema::{Kind, Preset, keys, spelled};

/// Markdown: one section for each table, one entry for each key.
pub fn reference() -> String {
    let mut text = String::new();
    for key in keys() {
        let name = spelled(key.path);
        let preset = match key.preset {
            Preset::Value(value) => format!("default `{value}`"),
            Preset::Absent(meaning) => format!("without it: {meaning}"),
            Preset::Required => "required".to_owned(),
        };
        let kind = match key.kind {
            Kind::Table => "table".to_owned(),
            Kind::Tables => "list of tables".to_owned(),
            Kind::Count { min, max } => format!("number, {min} to {max}"),
            Kind::Size { min, max } => {
                format!("bytes, {} to {}", write_size(min), write_size(max)).replace('"', "")
            }
            Kind::Time { min, max } => {
                format!("duration, {} to {}", write_duration(min), write_duration(max))
            }
            Kind::Flag => "`true` or `false`".to_owned(),
            Kind::Other(kind) => kind.to_owned(),
        };
        let is_section = matches!(key.kind, Kind::Table | Kind::Tables) && key.example.starts_with('[');
        if is_section {
            let title = match key.kind {
                Kind::Tables => format!("[[{}]]", name.trim_end_matches("[]")),
                _ => format!("[{name}]"),
            };
            text.push_str(&format!(
                "### `{title}`\n\n{} ({kind}; {preset})\n\n",
                key.meaning
            ));
        } else {
            text.push_str(&format!("- **`{name}`** ({kind}; {preset}): {}\n", key.meaning));
        }
    }
    // A section starts after an empty line.
    text.replace("\n### ", "\n\n### ").replace("\n\n\n", "\n\n")
}
