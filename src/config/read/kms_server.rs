//! What a KMS in a network has to have said of it, whatever its provider.

use reqwest::Url;

use super::node::Node;

/// The address of a server, in plain HTTP where `node` allows that.
pub(super) fn read_server(place: &Node<'_>, node: &Node<'_>) -> Option<Url> {
    let is_plaintext_allowed = node.flag("allow_plaintext")?;
    let url = Url::parse(&place.as_text()?).ok();
    let url = url.filter(|url| {
        let is_bare = url.username().is_empty() && url.password().is_none();
        let ends = url.query().is_none() && url.fragment().is_none();
        matches!(url.scheme(), "https" | "http") && url.host().is_some() && is_bare && ends
    });
    let Some(url) = url else {
        // What stands before an @ may be a password.
        place.complain_of_the_name("this is not the address of a server", &place.example());
        return None;
    };
    if url.path() != "/" {
        place.complain(
            "this is more than the address of a server: it has a path",
            "write scheme, host and port, and nothing behind them",
        );
        return None;
    }
    if url.scheme() == "http" && !is_plaintext_allowed {
        place.complain(
            "data keys would be sent as they are",
            "write https://, or allow_plaintext = true",
        );
        return None;
    }
    Some(url)
}

/// Text with something in it.
pub(super) fn not_empty(place: &Node<'_>) -> Option<String> {
    let text = place.as_text()?;
    if text.is_empty() {
        place.complain("this is empty", &place.example());
        return None;
    }
    Some(text)
}
