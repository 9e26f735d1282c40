//! What an error says, with all that stands behind it: crates for HTTP say little themselves.

use std::error::Error;

/// In one line, nothing said twice.
pub(crate) fn in_words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !words.ends_with(&more) {
            words = format!("{words}: {more}");
        }
        source = error.source();
    }
    words
}
