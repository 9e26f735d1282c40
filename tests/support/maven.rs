//! Jars, by Maven: a program's dependencies and theirs in one folder, fetched once.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::cache;

/// A package, as `GROUP:NAME:VERSION`.
pub(crate) fn dependency(package: &str) -> String {
    dependency_without(package, &[])
}

/// The same, without these of those that it depends on, as `GROUP:NAME`.
pub(crate) fn dependency_without(package: &str, excluded: &[&str]) -> String {
    let [group, name, version] = fields(package);
    let excluded = excluded.iter().copied().map(fields).map(|[group, name]| {
        format!("<exclusion><groupId>{group}</groupId><artifactId>{name}</artifactId></exclusion>")
    });
    let excluded: String = excluded.collect();
    format!(
        "<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version>\
         <exclusions>{excluded}</exclusions></dependency>\n"
    )
}

/// The folder of all jars that these need; or what Maven says of why they cannot be had.
pub(crate) fn jars(name: &str, dependencies: &[String]) -> Result<PathBuf, String> {
    let pom = format!(
        r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>sealwire.tests</groupId>
  <artifactId>{name}</artifactId>
  <version>1</version>
  <dependencies>
{}  </dependencies>
</project>
"#,
        dependencies.concat()
    );
    let folder = cache::try_prepare(name, &pom, |folder| {
        let file = folder.join("pom.xml");
        fs::write(&file, &pom).expect("writing pom.xml");
        let mut maven = Command::new("mvn");
        maven.args(["-B", "-ntp", "-q", "dependency:copy-dependencies"]);
        maven.arg("-DincludeScope=runtime").arg("-f").arg(&file);
        maven.arg(format!("-DoutputDirectory={}", folder.join("libs").display()));
        cache::try_run(&mut maven).map(drop)
    });
    Ok(folder?.join("libs"))
}

fn fields<const COUNT: usize>(package: &str) -> [&str; COUNT] {
    let fields: Vec<&str> = package.split(':').collect();
    fields
        .try_into()
        .unwrap_or_else(|_| panic!("{package} has another number of fields than {COUNT}"))
}
