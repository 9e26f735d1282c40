//! Programs out of Debian's packages that are not installed, since installing them would start a server.

use std::path::PathBuf;
use std::process::Command;

use super::cache;

/// The file of this package. Lists of packages that are too old, or not there, are fetched first, which takes root.
pub(crate) fn taken_out(package: &str, file: &str) -> PathBuf {
    let folder = cache::prepare(package, file, |folder| {
        let _lock = cache::lock("apt");
        let mut download = Command::new("apt-get");
        download.args(["download", "-qq", package]).current_dir(folder);
        if cache::try_run(&mut download).is_err() {
            cache::run(Command::new("apt-get").args(["update", "-qq"]));
            cache::run(&mut download);
        }
        let mut unpack = Command::new("sh");
        let script =
            "dpkg-deb --fsys-tarfile \"$1\"_*.deb | tar --extract --file - \"./$2\" && rm \"$1\"_*.deb";
        unpack
            .args(["-c", script, "sh", package, file])
            .current_dir(folder);
        cache::run(&mut unpack);
    });
    folder.join(file)
}
