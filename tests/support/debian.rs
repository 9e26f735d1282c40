//! Programs from Debian's packages.

use std::process::Command;

use super::cache;

/// A machine without it is given it, or the test fails: skipping would prove nothing.
pub(crate) fn installed(program: &'static str, version: &str, packages: &[&str]) -> &'static str {
    let present = || {
        Command::new(program)
            .arg(version)
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if !present() {
        let _lock = cache::lock("apt");
        if !present() {
            let user = cache::run(Command::new("id").arg("-u"));
            assert_eq!(
                user.trim(),
                "0",
                "{program} is missing and only root may install it: apt-get install {}",
                packages.join(" ")
            );
            cache::run(Command::new("apt-get").args(["update", "-qq"]));
            let mut install = Command::new("apt-get");
            install.env("DEBIAN_FRONTEND", "noninteractive");
            install.args(["install", "-y", "-qq", "--no-install-recommends"]);
            cache::run(install.args(packages));
        }
    }
    program
}
