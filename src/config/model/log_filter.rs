//! `log.filter`: which log lines are written.
//!
//! ```text
//! filter      directive ("," directive)*
//! directive   LEVEL | TARGET "=" LEVEL | TARGET        (a target alone: every line of it)
//! ```
//!
//! - LOG-FILTER-1: what names no level and no part of the program that writes lines is refused: a misspelt level would
//!   be taken for the name of a part, and silence everything else.
//! - LOG-FILTER-2: no filter leaves the audit log out.

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use crate::config::problem::did_you_mean;

/// A filter that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter {
    /// Without a target: of everything that no directive names.
    directives: Vec<(Option<String>, LevelFilter)>,
}

/// What is wrong with a filter, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::config) struct FilterProblem {
    pub(in crate::config) problem: String,
    pub(in crate::config) fix: String,
}

impl LogFilter {
    pub(in crate::config) fn parse(text: &str) -> Result<Self, FilterProblem> {
        let directives = text.split(',').map(|directive| parse_directive(directive.trim()));
        let mut filter = Self {
            directives: directives.collect::<Result<_, _>>()?,
        };
        if !filter.targets().would_enable(AUDIT_TARGET, &Level::WARN) {
            let written = |(target, _): &(Option<String>, _)| target.as_deref() == Some(AUDIT_TARGET);
            if filter.directives.iter().any(written) {
                return Err(FilterProblem {
                    problem: "this leaves the audit log out, which is always written".to_owned(),
                    fix: format!("remove {AUDIT_TARGET}, or write {AUDIT_TARGET}=warn"),
                });
            }
            let audit = (Some(AUDIT_TARGET.to_owned()), LevelFilter::WARN);
            filter.directives.push(audit);
        }
        Ok(filter)
    }

    /// The filter, for whoever writes the lines.
    pub fn targets(&self) -> Targets {
        let mut targets = Targets::new();
        for (target, level) in &self.directives {
            targets = match target {
                Some(target) => targets.with_target(target.as_str(), *level),
                None => targets.with_default(*level),
            };
        }
        targets
    }
}

fn parse_directive(directive: &str) -> Result<(Option<String>, LevelFilter), FilterProblem> {
    if let Some((target, level)) = directive.split_once('=') {
        let level = parse_level(level.trim()).ok_or_else(|| no_level(level.trim()))?;
        return Ok((Some(parse_target(target.trim())?), level));
    }
    match parse_level(directive) {
        Some(level) => Ok((None, level)),
        None => Ok((Some(parse_target(directive)?), LevelFilter::TRACE)),
    }
}

/// A level by its name, in any case.
fn parse_level(text: &str) -> Option<LevelFilter> {
    let level = LEVELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    level.map(|(_, level)| *level)
}

fn parse_target(text: &str) -> Result<String, FilterProblem> {
    let is_it = |target: &&str| {
        let rest = target.strip_prefix(text);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    if !text.is_empty() && TARGETS.iter().any(is_it) {
        return Ok(text.to_owned());
    }
    Err(if text.contains("::") {
        FilterProblem {
            problem: format!("no part of the program that writes lines is called {text:?}"),
            fix: match meant_target(text) {
                Some(meant) => format!("did you mean {PROGRAM}{meant}?"),
                None => format!("name one of {}", TARGETS.join(", ")),
            },
        }
    } else {
        no_level(text)
    })
}

/// The part that was probably meant, without the program's name.
fn meant_target(text: &str) -> Option<&'static str> {
    let parts = TARGETS.iter().filter_map(|target| target.strip_prefix(PROGRAM));
    // `server::names` is a part, and so is `server`.
    let whole_and_head = parts.flat_map(|part| [Some(part), part.split_once("::").map(|(head, _)| head)]);
    did_you_mean(text.strip_prefix(PROGRAM)?, whole_and_head.flatten())
}

fn no_level(text: &str) -> FilterProblem {
    let lower = text.to_ascii_lowercase();
    let other = OTHER_NAMES.iter().find(|(name, _)| *name == lower);
    let names = || LEVELS.iter().map(|(name, _)| *name);
    let meant = other.map_or_else(|| did_you_mean(&lower, names()), |(_, level)| Some(*level));
    FilterProblem {
        problem: format!("there is no level {text:?}"),
        fix: match meant {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!(
                "write one of {}, and after commas levels of parts, such as \"info,sealwire::keys=debug\"",
                names().collect::<Vec<_>>().join(", ")
            ),
        },
    }
}

const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

/// What other programs call them.
const OTHER_NAMES: [(&str, &str); 10] = [
    ("all", "trace"),
    ("crit", "error"),
    ("critical", "error"),
    ("err", "error"),
    ("fatal", "error"),
    ("none", "off"),
    ("notice", "info"),
    ("verbose", "debug"),
    ("warning", "warn"),
    ("warnings", "warn"),
];

/// What the names of the program's own parts begin with.
const PROGRAM: &str = "sealwire::";
/// One line for each refusal.
const AUDIT_TARGET: &str = "sealwire::audit";

/// Every part of the program that writes lines; a test compares them with the source. glommio is the one library whose
/// lines anyone has seen.
const TARGETS: &[&str] = &[
    "glommio",
    "sealwire::admin::callers",
    AUDIT_TARGET,
    "sealwire::audit::writer",
    "sealwire::keys::service",
    "sealwire::kms::file",
    "sealwire::self_check",
    "sealwire::self_check::descriptors",
    "sealwire::server",
    "sealwire::server::acceptor",
    "sealwire::server::access_files",
    "sealwire::server::control",
    "sealwire::server::followed_files",
    "sealwire::server::hidden",
    "sealwire::server::broker_tokens",
    "sealwire::server::key_sets",
    "sealwire::server::names",
    "sealwire::server::notices",
    "sealwire::server::prepared",
    "sealwire::server::spread",
    "sealwire::server::stable_keys",
    "sealwire::server::stable_keys::changes",
    "sealwire::server::state_file",
    "sealwire::server::threads",
    "sealwire::server::tls_files",
    "sealwire::server::topic_looks",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn enables(filter: &str, target: &str, level: Level) -> bool {
        let filter = LogFilter::parse(filter).unwrap_or_else(|problem| panic!("{filter}: {problem:?}"));
        filter.targets().would_enable(target, &level)
    }

    /// LOG-FILTER-1
    #[test]
    fn what_is_no_level_and_no_target_is_refused_with_what_was_meant() {
        for (filter, meant) in [
            ("WARNING", "did you mean warn?"),
            ("inof", "did you mean info?"),
            ("information,sealwire=debug", "write one of"),
            ("info,sealwire::keys=verbose", "did you mean debug?"),
            ("sealwire::audti=warn", "did you mean sealwire::audit?"),
            ("info,sealwire::kyes=debug", "did you mean sealwire::keys?"),
            (
                "info,sealwire::server::nmaes=debug",
                "did you mean sealwire::server::names?",
            ),
            ("sealwire::keys::serv", "did you mean sealwire::keys::service?"),
            ("sealwire::cipher=debug", "name one of"),
            ("info,", "write one of"),
            ("", "write one of"),
            ("=info", "write one of"),
            ("info,[span]=debug", "write one of"),
        ] {
            let problem = LogFilter::parse(filter).expect_err(filter);
            assert!(problem.fix.contains(meant), "{filter}: {problem:?}");
        }
    }

    #[test]
    fn levels_hold_for_what_they_are_written_for() {
        let keys = "sealwire::keys::service";
        assert!(enables("info", keys, Level::INFO) && !enables("info", keys, Level::DEBUG));
        assert!(enables("WARN", keys, Level::WARN) && !enables("WARN", keys, Level::INFO));
        let filter = " error , sealwire::keys = debug";
        assert!(enables(filter, keys, Level::DEBUG));
        assert!(!enables(filter, "sealwire::server", Level::WARN));
        assert!(enables("warn,sealwire::keys", keys, Level::TRACE));
        assert!(!enables("info,glommio=error", "glommio::executor", Level::WARN));
    }

    /// LOG-FILTER-2
    #[test]
    fn the_audit_log_is_written_whatever_the_filter_says() {
        for filter in [
            "off",
            "error",
            "info,sealwire=off",
            "sealwire::keys=debug",
            "info",
        ] {
            assert!(enables(filter, AUDIT_TARGET, Level::WARN), "{filter}");
        }
        assert!(enables("off,sealwire::audit=debug", AUDIT_TARGET, Level::DEBUG));
        for filter in ["info,sealwire::audit=error", "sealwire::audit=off"] {
            let problem = LogFilter::parse(filter).expect_err(filter);
            assert!(problem.fix.contains("sealwire::audit=warn"), "{problem:?}");
        }
    }

    #[test]
    fn every_part_that_writes_lines_is_known() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut found = BTreeSet::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if writes_lines(&path) {
                    found.insert(module_of(path.strip_prefix(&root).expect("below").to_path_buf()));
                }
            }
        }
        // Lines of that module have a target of their own.
        assert!(found.remove("sealwire::audit::log"));
        let known: BTreeSet<String> = TARGETS
            .iter()
            .filter(|target| !["glommio", AUDIT_TARGET].contains(*target))
            .map(|target| (*target).to_owned())
            .collect();
        assert_eq!(
            found, known,
            "TARGETS has to name what writes lines, and nothing else"
        );
    }

    fn writes_lines(path: &Path) -> bool {
        let text = fs::read_to_string(path).expect("a source file");
        ["error", "warn", "info", "debug", "trace"]
            .iter()
            .any(|level| text.contains(&format!("tracing::{level}!")))
    }

    fn module_of(path: PathBuf) -> String {
        let names = path.with_extension("");
        let names: Vec<_> = names.iter().map(|name| name.to_string_lossy()).collect();
        format!("sealwire::{}", names.join("::"))
    }
}
