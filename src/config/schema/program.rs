//! `[runtime]`, `[log]`, `[audit]`, `[keyring]` and `[admin]`.

use super::Preset::{Absent, Required, Value};
use super::{Key, flag, other, table};

pub(super) const KEYS: &[Key] = &[
    table(
        "runtime",
        Absent("all defaults"),
        "How the program runs.",
        "[runtime]",
    ),
    other(
        "runtime.executors",
        "`\"auto\"` or 1 to 1024",
        Value("\"auto\""),
        "How many executors run, each a pinned thread with its own io_uring. `auto` is one for each core of the \
         process' affinity mask.",
        "\"auto\"",
    ),
    flag(
        "runtime.self_check",
        "true",
        "Whether the program compares the configuration with what is there, once after it has started, and writes what \
         it finds to the log: KMSs, KEKs, brokers and their ids and addresses, limits of topics and of the process. \
         Serving does not wait for it. `sealwire check-config --probe` does the same.",
        "false",
    ),
    table(
        "log",
        Absent("all defaults"),
        "Log lines, written to standard error.",
        "[log]",
    ),
    other(
        "log.format",
        "`\"text\"` or `\"json\"`",
        Value("\"text\""),
        "`text` is for people, `json` is one object a line.",
        "\"json\"",
    ),
    other(
        "log.filter",
        "filter text",
        Value("\"info\""),
        "Which lines are written: a level (`error`, `warn`, `info`, `debug`, `trace`), and after commas levels of \
         parts of the program. What is neither is refused. The audit log is written whatever the filter says. No level \
         writes record contents or key material.",
        "\"info,sealwire::keys=debug\"",
    ),
    table(
        "audit",
        Absent("refusals are lines of the log, and nobody is told who logs in"),
        "The audit log as JSON lines: who logs in, what is refused and why. See `docs/audit.md`.",
        "[audit]",
    ),
    other(
        "audit.to",
        "path, or `\"stdout\"`",
        Required,
        "The file that lines are appended to, or standard output. The file is made where there is none (mode 0600), \
         and again where it was moved away. Its folder must exist and be writable, and no other key may name the file, \
         by whatever link or spelling.",
        "\"/var/log/sealwire/audit.jsonl\"",
    ),
    other(
        "audit.on_full",
        "`\"hold\"` or `\"drop\"`",
        Absent("`hold`"),
        "What happens while it cannot be written, or is written more slowly than events come. `hold`: nothing is \
         sealed, opened or let in; producers get error 19 after `limits.seal_wait`, consumers no records yet, \
         logins no answer, and `/readyz` says why. `drop`: everything goes on; events that find no room are lost and \
         counted.",
        "\"drop\"",
    ),
    table(
        "keyring",
        Absent("no record keys are sealed"),
        "The stable keys that record keys are sealed under, wrapped by KMSs of this configuration. All instances have \
         the same file; the program follows it, and never writes it. See `docs/keyring.md`.",
        "[keyring]",
    ),
    other(
        "keyring.path",
        "path",
        Required,
        "The keyring, which `sealwire keyring` makes and changes. It has to be there, and every key that one of its \
         domains has must open, or the program does not start.",
        "\"keyring.json\"",
    ),
    table(
        "admin",
        Absent("no admin port"),
        "Admin HTTP: `/metrics`, `/livez`, `/readyz`.",
        "[admin]",
    ),
    other(
        "admin.listen",
        "`\"IP:PORT\"`",
        Required,
        "Where admin HTTP is served. It has no authentication: keep it on loopback or on a network of your own.",
        "\"127.0.0.1:9190\"",
    ),
];
