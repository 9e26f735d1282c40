//! Chromium without a window, driven by the DevTools protocol over two pipes: JSON, ended by a zero byte.
//!
//! It never outlives the test: it ends when its pipe is closed, and by itself after a minute.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::debian;

/// One browser with one page.
pub(crate) struct Browser {
    process: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    calls: u64,
    /// All that it told without being asked.
    events: Vec<Value>,
}

impl Browser {
    pub(crate) fn start(directory: &Path) -> Self {
        let packages = ["chromium-headless-shell", "fonts-dejavu-core"];
        let program = debian::installed("chromium-headless-shell", "--version", &packages);
        let mut command = Command::new("timeout");
        // The protocol is spoken on descriptors 3 and 4; nothing else is to be said there.
        command.args([
            "--kill-after=1",
            "60",
            "sh",
            "-c",
            "exec \"$@\" 3<&0 4>&1 </dev/null >&2",
            "sh",
            program,
        ]);
        // Root has no sandbox; what is shown is our own.
        command.args([
            "--remote-debugging-pipe",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ]);
        command.arg(format!("--user-data-dir={}", directory.join("browser").display()));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let mut browser = Self {
            to: process.stdin.take(),
            from: BufReader::new(process.stdout.take().unwrap()),
            process,
            session: None,
            calls: 0,
            events: Vec::new(),
        };
        let page = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", attach);
        browser.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Network", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Loads a file to its end.
    pub(crate) fn open(&mut self, file: &Path) {
        self.call(
            "Page.navigate",
            json!({ "url": format!("file://{}", file.display()) }),
        );
        while !self
            .events
            .iter()
            .any(|event| event["method"] == "Page.loadEventFired")
        {
            let event = self.read();
            self.events.push(event);
        }
    }

    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let mut call = json!({ "id": self.calls, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            call["sessionId"] = json!(session);
        }
        let to = self.to.as_mut().unwrap();
        to.write_all(format!("{call}\0").as_bytes()).unwrap();
        to.flush().unwrap();
        loop {
            let mut answer = self.read();
            if answer["id"] == self.calls {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].take();
            }
            self.events.push(answer);
        }
    }

    /// What an expression is in the page.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let mut answer = self.call(
            "Runtime.evaluate",
            json!({ "expression": expression, "returnByValue": true }),
        );
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// What stands in the console.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let of_console = [
            "Runtime.consoleAPICalled",
            "Runtime.exceptionThrown",
            "Log.entryAdded",
        ];
        let events = self.events.iter();
        let complaints = events.filter(|event| of_console.iter().any(|method| event["method"] == *method));
        complaints.map(Value::to_string).collect()
    }

    /// The addresses that it asked for something, but for what they hold themselves.
    pub(crate) fn asked(&self) -> Vec<String> {
        let requests = self
            .events
            .iter()
            .filter(|event| event["method"] == "Network.requestWillBeSent");
        let addresses = requests.filter_map(|event| event["params"]["request"]["url"].as_str());
        addresses
            .filter(|address| !address.starts_with("data:"))
            .map(str::to_owned)
            .collect()
    }

    pub(crate) fn close(mut self) {
        self.session = None;
        self.call("Browser.close", json!({}));
        self.to = None;
        assert!(self.process.wait().unwrap().success());
    }

    fn read(&mut self) -> Value {
        let mut message = Vec::new();
        self.from.read_until(0, &mut message).unwrap();
        assert_eq!(message.pop(), Some(0), "the browser is gone");
        serde_json::from_slice(&message).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.to = None;
        let _ = self.process.wait();
    }
}
