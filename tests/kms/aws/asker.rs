//! A process of its own that asks AWS KMS for data keys, for as long as the test wants: where credentials come from
//! stands in a process' environment. It is the test's own program, which is told to run the same test: each begins with
//! [`Asker::is_here`].

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout, Command};
use std::sync::Arc;

use sealwire::kms::Kms as _;
use sealwire::kms::aws::AwsKms;
use tokio::task::spawn_blocking;

use super::{ALIAS, Aws};
use crate::support::launch::Process;

/// The process, from the test's side. It ends with it.
pub(super) struct Asker {
    _process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Asker {
    /// Starts the test of this name anew, with these variables and no others. Of the KMS it gets the address of its
    /// layer, and no file of credentials.
    pub(super) fn start(test: &str, aws: &Aws, variables: &[(&str, &str)]) -> Self {
        let folder = aws.emulator.folder();
        let mut command = Command::new("env");
        command.arg("-i");
        command.args(variables.iter().map(|(name, value)| format!("{name}={value}")));
        command.arg(format!("{ENDPOINT}={}", aws.layer.address()));
        command.arg(format!("HOME={}", folder.display()));
        command.arg(std::env::current_exe().expect("it runs"));
        command.args(["--exact", test, "--nocapture"]);
        let (process, input, output) = Process::start_piped("the asker", &command, &folder.join("asker"));
        Self {
            _process: process,
            input,
            output: BufReader::new(output),
        }
    }

    /// What comes of a call for a data key: `good`, or the words of the error.
    pub(super) fn ask(&mut self) -> String {
        writeln!(self.input, "ask").expect("it listens");
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.output.read_line(&mut line).expect("it answers");
            assert_ne!(read, 0, "the asker has ended: {}", self._process.output_end());
            if let Some((_, said)) = line.split_once(MARK) {
                return said.trim_end().to_owned();
            }
        }
    }

    /// Whether this process is the asker; it asks then until nobody wants it any longer.
    pub(super) async fn is_here() -> bool {
        let Ok(endpoint) = std::env::var(ENDPOINT) else {
            return false;
        };
        let kms = Arc::new(AwsKms::new(super::settings_at(&endpoint, None)));
        let background = Arc::clone(&kms);
        tokio::spawn(async move { background.background().await });
        while spawn_blocking(is_asked).await.expect("it reads") {
            let said = match kms.generate_dek(ALIAS).await {
                Ok(_) => "good".to_owned(),
                Err(error) => error.to_string(),
            };
            writeln!(std::io::stdout(), "{MARK}{said}").expect("somebody listens");
        }
        true
    }
}

fn is_asked() -> bool {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).is_ok_and(|read| read > 0)
}

const ENDPOINT: &str = "SEALWIRE_TEST_KMS";
const MARK: &str = "asker: ";
