//! What a proxy's admin listener says.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::HOST;

/// Status and body; `None` while nobody answers.
pub(crate) fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let request = Request {
        method: "GET",
        path,
        body: "",
    };
    ask(port, &request)
}

/// Of a page, or of whatever else speaks HTTP here.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    /// JSON, if there is one.
    pub(crate) body: &'a str,
}

/// Status and body; `None` while nobody answers.
pub(crate) fn ask(port: u16, request: &Request<'_>) -> Option<(u16, String)> {
    let Request { method, path, body } = request;
    let mut socket = TcpStream::connect((HOST, port)).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(
        socket,
        "{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// The text of `/metrics`.
pub(crate) fn metrics(port: u16) -> String {
    let (status, text) = get(port, "/metrics").expect("the admin listener answers");
    assert_eq!(status, 200, "/metrics: {text}");
    text
}

/// The sum of all series of a metric in `text` whose labels contain all of `labels` (as `name="value"`).
pub(crate) fn metric(text: &str, name: &str, labels: &[&str]) -> f64 {
    text.lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with(['{', ' ']))
        .filter(|rest| labels.iter().all(|label| rest.contains(label)))
        .filter_map(|rest| rest.rsplit(' ').next())
        .map(|value| {
            value
                .parse::<f64>()
                .unwrap_or_else(|error| panic!("{name} {value}: {error}"))
        })
        .fold(0.0, |sum, value| sum + value)
}
