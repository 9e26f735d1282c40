//! No circle of modules, and no arrow back up: what the modules of one folder `use` of each other, each with all that
//! is below it, never leads back to where it began. A module and those below it may know each other.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::sources;

/// What modules of the program `use` of others, tests apart; by path, such as `keys/ledger`.
type Uses = BTreeMap<String, BTreeSet<String>>;

#[test]
fn no_circle_of_modules() {
    let uses = uses();
    assert!(uses.values().flatten().count() > 500, "{uses:#?}");
    if let Some(circle) = circle(&uses) {
        panic!("these use each other, or what is below each other: {circle:#?}");
    }
}

pub(crate) fn uses() -> Uses {
    let sources = sources();
    let texts = sources.iter().filter_map(|source| {
        let module = source.path.strip_prefix("src/")?.strip_suffix(".rs")?;
        let is_module = source.tests_from > 0 && !["lib", "main"].contains(&module);
        is_module.then_some((module, source.text.as_str()))
    });
    uses_of(&texts.collect())
}

fn uses_of(texts: &BTreeMap<&str, &str>) -> Uses {
    let used_by = |(module, text): (&&str, &&str)| {
        let used = imports(text)
            .iter()
            .filter_map(|path| target(module, path, texts))
            .filter(|used| used != module)
            .collect();
        ((*module).to_owned(), used)
    };
    texts.iter().map(used_by).collect()
}

/// The paths after `use`, one of each name. What is indented belongs to the tests at a file's end.
fn imports(text: &str) -> Vec<String> {
    let statement = Regex::new(r"(?m)^(#\[cfg\(.*test.*\n)?(?:pub(?:\([^)]*\))? )?use ([^;]+);");
    let statement = statement.expect("a pattern");
    let statements = statement
        .captures_iter(text)
        .filter(|found| found.get(1).is_none());
    statements.flat_map(|found| paths(&found[2])).collect()
}

/// `a::{b, c::D}` is `a::b` and `a::c::D`.
fn paths(tree: &str) -> Vec<String> {
    let Some((path, group)) = tree.trim().split_once('{') else {
        return vec![tree.trim().to_owned()];
    };
    let mut depth = 0;
    let ends = |character: char| {
        depth += i32::from(character == '{') - i32::from(character == '}');
        character == ',' && depth == 0
    };
    let names = group
        .trim_end_matches('}')
        .split(ends)
        .filter(|name| !name.trim().is_empty());
    names
        .flat_map(paths)
        .map(|name| format!("{path}{name}"))
        .collect()
}

/// The module that a path of `module`'s leads to, as far as it names modules.
fn target(module: &str, path: &str, texts: &BTreeMap<&str, &str>) -> Option<String> {
    let mut at: Vec<&str> = module.split('/').collect();
    let mut names = path.split("::");
    match names.next()? {
        "crate" => at.clear(),
        "self" => {}
        "super" => at.truncate(at.len() - 1),
        _ => return None,
    }
    for name in names {
        if name == "super" {
            at.pop();
            continue;
        }
        at.push(name);
        if !texts.contains_key(at.join("/").as_str()) {
            at.pop();
            break;
        }
    }
    (!at.is_empty()).then(|| at.join("/"))
}

/// Modules of one folder, each of which uses the next one or something of it, and the last the first.
fn circle(uses: &Uses) -> Option<Vec<String>> {
    let mut arrows = Uses::new();
    for (module, used) in uses
        .iter()
        .flat_map(|(module, used)| used.iter().map(move |used| (module, used)))
    {
        let (from, to): (Vec<&str>, Vec<&str>) = (module.split('/').collect(), used.split('/').collect());
        let common = from.iter().zip(&to).take_while(|(from, to)| from == to).count();
        if common < from.len() && common < to.len() {
            let (from, to) = (from[..=common].join("/"), to[..=common].join("/"));
            arrows.entry(from).or_default().insert(to);
        }
    }
    // Whatever leads only to where no arrow begins is in no circle.
    loop {
        let known: BTreeSet<String> = arrows.keys().cloned().collect();
        arrows.retain(|_, to| {
            to.retain(|module| known.contains(module));
            !to.is_empty()
        });
        if arrows.len() == known.len() {
            break;
        }
    }
    let mut way = vec![arrows.keys().next()?.clone()];
    loop {
        let next = arrows[&way[way.len() - 1]].first()?;
        if let Some(start) = way.iter().position(|module| module == next) {
            return Some(way.split_off(start));
        }
        way.push(next.clone());
    }
}

#[test]
fn circles_are_found() {
    let circle = |texts: &[(&'static str, &'static str)]| circle(&uses_of(&texts.iter().copied().collect()));
    let line = [
        ("a", "\nuse std::io;\nuse crate::b::x::X;\n"),
        (
            "b",
            "\nmod x;\npub(crate) use self::x::X;\nuse crate::{\n    c::{C, D},\n    e,\n};\n",
        ),
        ("b/x", "\nuse super::B;\nuse super::y::Y;\n"),
        (
            "b/y",
            "\n#[cfg(test)]\nuse crate::a::A;\n\nmod tests {\n    use crate::a::A;\n",
        ),
        ("c", ""),
        ("e", ""),
    ];
    assert_eq!(uses_of(&line.iter().copied().collect())["b"].len(), 3);
    assert_eq!(circle(&line), None);
    let with = |module: &'static str, text: &'static str| circle(&[&line[..], &[(module, text)]].concat());
    assert_eq!(with("b/y", "\nuse super::x::X;\n").expect("a circle").len(), 2);
    assert_eq!(
        with("e", "\nuse crate::{f, a};\n").expect("a circle"),
        ["a", "b", "e"]
    );
}
