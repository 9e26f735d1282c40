//! The page that `report` writes, as a real browser shows it.
#![cfg(feature = "measurements")]

#[path = "report/browser.rs"]
mod browser;
#[expect(dead_code, reason = "other tests use more of it")]
#[path = "../../tests/support/cache.rs"]
mod cache;
#[path = "../../tests/support/debian.rs"]
mod debian;

use std::process::Command;

use serde_json::{Value, json};

use self::browser::Browser;

/// A name that would be a script if it were not escaped.
const PEER: &str = "<script>alert('peer')</script>";

fn spread(median: f64) -> Value {
    let values = [median * 0.95, median, median * 1.08];
    json!({ "median": median, "min": values[0], "max": values[2], "values": values })
}

/// A point; `changed` are its fields that are not as usual.
fn point(changed: &Value) -> Value {
    let mut point = json!({
        "what": "seal", "direction": "produce", "frame_kib": 64, "record_bytes": 1024, "codec": "none",
        "stored_codec": "lz4", "connections": 16, "topics": 1, "rules": 1, "keks": 1, "deks": 1, "idle_connections": 0,
        "rate_mb_per_s": null
    });
    for (name, value) in changed.as_object().unwrap() {
        point[name] = value.clone();
    }
    point
}

/// One system at one point.
fn row(scenario: &str, changed: &Value, system: &str, cpu: f64) -> Value {
    let latencies = ["p50", "p90", "p99", "p999", "p9999"].iter().enumerate();
    let mut measures: serde_json::Map<String, Value> = latencies
        .map(|(place, name)| {
            (
                format!("latency_{name}_ms"),
                spread(0.1 * 2.0_f64.powi(place as i32)),
            )
        })
        .collect();
    measures.insert("mb_per_s".to_owned(), spread(1234.0));
    if scenario == "cold" {
        measures.insert("first_frame_ms".to_owned(), spread(3.0));
        measures.insert("start_ms".to_owned(), spread(30.0));
    }
    let mut comparisons = Vec::new();
    if system != "direct" {
        measures.insert("cpu_s_per_gb".to_owned(), spread(cpu));
        measures.insert("peak_mb".to_owned(), spread(41.0));
    }
    let of_broker = (scenario == "stored-codecs").then_some("broker_cpu_s_per_gb");
    for of in ["cpu_s_per_gb"].into_iter().chain(of_broker) {
        if ["direct", "haproxy-64k"].contains(&system) {
            continue;
        }
        comparisons.push(json!({
            "of": of, "with": "haproxy-64k", "how": "ratio", "spread": spread(cpu),
            "interval": { "low": cpu * 0.95, "high": cpu * 1.08 }
        }));
    }
    json!({
        "schema": 1, "kind": "row", "run": "2026-01-31T23:59:59Z", "scenario": scenario, "point": point(changed),
        "label": format!("{scenario} {changed}"), "system": system, "load_saturated": true, "rate_missed": false,
        "cipher_s_per_gb": null, "measures": measures, "comparisons": comparisons
    })
}

/// Every kind of section: sizes of frames, a curve, combinations of what are no numbers, latency, starts, a
/// file of somebody's.
fn lines() -> Vec<Value> {
    let mut points: Vec<(&str, Value)> = Vec::new();
    points.extend([1, 16, 64, 512, 1024].map(|frame| ("seal", json!({ "frame_kib": frame }))));
    points.extend([1, 10, 100, 1000, 5000].map(|some| ("connections", json!({ "connections": some }))));
    points.extend([0, 1000, 4000].map(|idle| ("idle", json!({ "idle_connections": idle }))));
    points.extend([100, 1000].map(|bytes| {
        (
            "stored-codecs",
            json!({ "record_bytes": bytes, "client": "java" }),
        )
    }));
    for codec in ["none", "lz4", "zstd"] {
        points.extend(
            ["none", "lz4"].map(|stored| ("codecs", json!({ "codec": codec, "stored_codec": stored }))),
        );
    }
    points.extend([16, 64].map(|frame| ("latency", json!({ "frame_kib": frame, "rate_mb_per_s": 5.0 }))));
    points.extend(["cold", "<i>mine"].map(|scenario| (scenario, json!({}))));
    let mut scenarios: Vec<&str> = points.iter().map(|(scenario, _)| *scenario).collect();
    scenarios.dedup();
    let run = json!({
        "schema": 1, "kind": "run", "run": "2026-01-31T23:59:59Z", "started": "2026-01-31T23:59:59Z",
        "scenarios": scenarios, "seed": 7, "commit": "0123456789ab",
        "machine": {
            "cpu": "A CPU & more", "cores": 2, "memory_mb": 1000, "kernel": "6.1", "cpu_features": ["aes"],
            "cpu_kind": "avx512"
        },
        "versions": [{ "of": "haproxy", "version": "2.6" }], "skipped": [{ "what": "perf", "why": "not \"here\"" }],
        "envelope": { "seal_ns": 300.0, "open_ns": 310.0 }, "allocations": { "seal_1_kib_records": 7 }
    });
    let limit = |kept: bool, close: bool| {
        json!({
            "schema": 1, "kind": "limit", "run": "2026-01-31T23:59:59Z", "scenario": "seal",
            "label": format!("seal {}", json!({ "frame_kib": if close { 16 } else { 64 } })), "system": "sealwire",
            "limit": "cpu_s_per_gb at most 1.5 times haproxy-64k", "value": 1.7, "kept": kept, "close": close,
            "edge": { "of": "cpu_s_per_gb", "divided_by": "haproxy-64k", "less": null, "at": 1.5 },
            "interval": { "low": 1.6, "high": 1.8 }
        })
    };
    let failure = json!({
        "schema": 1, "kind": "failure", "run": "2026-01-31T23:59:59Z", "scenario": "seal", "label": "seal 2 KiB",
        "point": point(&json!({})), "why": "it <fell> over\nand its log says so"
    });
    let mut lines = vec![run, limit(true, true), limit(false, false), failure];
    let systems = [
        ("direct", 0.0),
        ("haproxy-64k", 0.9),
        ("sealwire-pass", 1.0),
        ("sealwire", 1.7),
        (PEER, 14.0),
    ];
    for (scenario, changed) in &points {
        lines.extend(systems.map(|(system, cpu)| row(scenario, changed, system, cpu)));
    }
    lines
}

fn text(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The same as two recorded runs, of which the older one has only the first scenario.
fn history(lines: &[Value]) -> String {
    let of_kind = |kind| {
        let of_kind = lines.iter().filter(move |line| line["kind"] == kind);
        of_kind.cloned().collect::<Vec<Value>>()
    };
    let mut newer = json!({
        "schema": 1, "kind": "recorded", "run": of_kind("run")[0], "rows": of_kind("row"), "limits": of_kind("limit"),
        "failures": of_kind("failure")
    });
    let mut older = newer.clone();
    older["run"]["scenarios"] = json!(["seal"]);
    older["run"]["started"] = json!("2025-01-31T23:59:59Z");
    older["run"]["commit"] = json!("fedcba987654");
    older["rows"]
        .as_array_mut()
        .unwrap()
        .retain(|row| row["scenario"] == "seal");
    newer["run"]["machine"] = older["run"]["machine"].clone();
    text(&[older, newer])
}

/// REPORT-1, REPORT-2.
#[test]
fn a_browser_shows_all_of_it_and_asks_nobody_for_more() {
    let directory = tempfile::tempdir().unwrap();
    let [of_run, of_history, page] =
        ["run.jsonl", "history.jsonl", "report.html"].map(|name| directory.path().join(name));
    let lines = lines();
    std::fs::write(&of_run, text(&lines)).unwrap();
    std::fs::write(&of_history, history(&lines)).unwrap();
    for file in [of_run, of_history] {
        let mut harness = Command::new(env!("CARGO_BIN_EXE_bench-harness"));
        harness.arg("report").arg("--json").arg(&file);
        let written = harness.arg("--out").arg(&page).output().unwrap();
        assert!(written.status.success(), "{written:?}");
    }
    let mut browser = Browser::start(directory.path());
    browser.open(&page);
    shows_everything(&mut browser);
    let mut papers = Vec::new();
    for theme in ["light", "dark"] {
        browser.call(
            "Emulation.setEmulatedMedia",
            json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] }),
        );
        papers.push(browser.value("getComputedStyle(document.body).backgroundColor"));
        for width in [360, 768, 1280] {
            let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
            browser.call("Emulation.setDeviceMetricsOverride", size);
            assert_eq!(browser.value(OUTSIDE), json!([]), "{theme}, {width} pixels wide");
        }
    }
    assert_ne!(papers[0], papers[1], "dark is as light");
    browser.call(
        "Emulation.setEmulatedMedia",
        json!({ "media": "print", "features": [] }),
    );
    assert_eq!(
        browser.value("[...document.querySelectorAll('td')].filter(cell => !cell.offsetHeight).length"),
        0
    );
    let printed = browser.call(
        "Page.printToPDF",
        json!({ "preferCSSPageSize": true, "printBackground": true }),
    );
    let printed = printed["data"].as_str().unwrap();
    // `%PDF-`, in base64.
    assert!(
        printed.starts_with("JVBERi0") && printed.len() > 20_000,
        "{} bytes",
        printed.len()
    );
    let asked = browser.asked();
    assert_eq!(asked.len(), 1, "more than the page itself: {asked:?}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    browser.close();
}

/// Two runs of the same scenarios on one page: nothing is called the same, in the contents, heads, captions or rows.
#[test]
fn runs_of_one_scenario_are_named_apart() {
    let directory = tempfile::tempdir().unwrap();
    let lines = lines();
    let [started, earlier] = ["2026-01-31T23:59:59Z", "2025-01-31T23:59:59Z"];
    let page = directory.path().join("report.html");
    let mut harness = Command::new(env!("CARGO_BIN_EXE_bench-harness"));
    harness.current_dir(directory.path());
    harness.args([
        "report",
        "--json",
        "later.jsonl,earlier.jsonl",
        "--out",
        "report.html",
    ]);
    std::fs::write(directory.path().join("later.jsonl"), text(&lines)).unwrap();
    let of_earlier = text(&lines).replace(started, earlier);
    std::fs::write(directory.path().join("earlier.jsonl"), of_earlier).unwrap();
    let written = harness.output().unwrap();
    assert!(written.status.success(), "{written:?}");
    let page = std::fs::read_to_string(page).unwrap();
    for tag in ["<a href=\"#scenario", "<h2", "<caption", "<figcaption"] {
        let mut names: Vec<&str> = page.split(tag).skip(1).filter_map(named).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert!(all > 8 && names.len() == all, "{tag}: {names:?}");
        let of = |run: &str| {
            names
                .iter()
                .filter(|name| name.contains(&format!("seal, run {run}")))
                .count()
        };
        assert!(of(started) > 0 && of(started) == of(earlier), "{tag}: {names:?}");
    }
    for run in [started, earlier] {
        assert!(
            page.contains(&format!("seal, run {run}: seal 2 KiB")),
            "the failure of {run}"
        );
    }
}

/// What stands in an element, behind the rest of its tag.
fn named(element: &str) -> Option<&str> {
    Some(element.split_once('>')?.1.split_once("</")?.0)
}

fn shows_everything(browser: &mut Browser) {
    let titles = browser.value(
        "[...document.querySelectorAll('figure')].map(figure => \
         [figure.querySelector('figcaption').textContent, figure.querySelector('svg > title').textContent, \
         figure.querySelectorAll('rect, .point').length])",
    );
    let titles = titles.as_array().unwrap();
    assert!(titles.len() >= 11, "{titles:?}");
    let mut seen = Vec::new();
    for title in titles {
        assert_eq!(title[0], title[1]);
        assert!(
            !title[0].as_str().unwrap().is_empty() && title[2].as_u64() > Some(0),
            "{title}"
        );
        assert!(!seen.contains(&&title[0]), "two plots are called {}", title[0]);
        seen.push(&title[0]);
    }
    for (nothing, of) in [
        ("document.scripts.length", "scripts"),
        (
            "[...document.querySelectorAll('table')].filter(table => !table.caption).length",
            "tables without a caption",
        ),
        (
            "document.querySelectorAll('th:not([scope])').length",
            "heads without a scope",
        ),
        ("document.querySelectorAll('i').length", "names taken for markup"),
        (
            "[...document.querySelectorAll('td.number')] \
             .filter(cell => getComputedStyle(cell).textAlign != 'right').length",
            "numbers that are not right aligned",
        ),
        (
            "[...document.querySelectorAll('nav a')].filter(link => !document.querySelector(link.hash)).length",
            "links to nowhere",
        ),
    ] {
        assert_eq!(browser.value(nothing), 0, "{of}");
    }
    // In bars and in lines, at both points that have a limit.
    assert_eq!(
        browser.value("document.querySelectorAll('figure .limit').length"),
        4
    );
    let run_by_run = "[...document.querySelectorAll('#trends ~ .plots figure')].map(figure => \
                      [...figure.querySelectorAll('.point')].length)";
    assert_eq!(browser.value(run_by_run), json!([10]), "two runs at five points");
    let text = browser.value("document.body.textContent");
    let text = text.as_str().unwrap();
    for part in [
        PEER,
        "<i>mine",
        "A CPU & more",
        "not \"here\"",
        "0123456789ab",
        "2026-01-31",
        "MISSED",
        "within noise",
        "it <fell> over",
        "seal 1 kib records 7",
    ] {
        assert!(text.contains(part), "{part}");
    }
}

/// What is wider than the window, is cut off by its plot, or lies over what stands beside it on the axis.
const OUTSIDE: &str = "(() => {
  const found = [];
  const page = document.documentElement;
  if (page.scrollWidth > page.clientWidth) found.push('page ' + page.scrollWidth);
  for (const figure of document.querySelectorAll('figure')) {
    const edge = figure.querySelector('svg').getBoundingClientRect();
    if (figure.getBoundingClientRect().right > page.clientWidth) found.push('figure');
    const inside = (box) => box.left >= edge.left - 1 && box.right <= edge.right + 1
      && box.top >= edge.top - 1 && box.bottom <= edge.bottom + 1;
    for (const text of figure.querySelectorAll('text'))
      if (!inside(text.getBoundingClientRect())) found.push('outside: ' + text.textContent);
    const ticks = [...figure.querySelectorAll('text.tick[text-anchor=middle]')]
      .map(tick => tick.getBoundingClientRect());
    ticks.forEach((tick, place) => {
      if (place && ticks[place - 1].right > tick.left) found.push('over: ' + figure.textContent.slice(0, 80));
    });
  }
  return found;
})()";
