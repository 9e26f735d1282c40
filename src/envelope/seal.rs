//! The seal.

/// What happens to a record's own headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HeaderMode {
    /// Readable at rest and unauthenticated: tools behind the proxy may add, change and remove headers.
    Free,
    /// Readable at rest, authenticated: a record whose headers were changed does not open.
    Bound,
    /// Encrypted and authenticated.
    #[default]
    Sealed,
}
