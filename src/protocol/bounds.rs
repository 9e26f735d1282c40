//! How much one message may name, and how much memory is kept or reserved for it (`WIRE-2`).

/// Partitions that one Fetch response may name. A broker leads a few thousand partitions; the bound keeps
/// the memory of a layout (about 100 bytes a partition, from 6 bytes on the wire) below 16 MiB.
pub const PARTITIONS_MAX: usize = 131_072;
/// Partitions, and topics, in one Produce request or response: a broker leads some thousands. The response is worked
/// off in one step.
pub const PRODUCE_PARTITIONS_MAX: usize = 32_768;

/// Brokers that one response may name: as many as a proxy remembers of a cluster, and ten times what the largest have.
pub const BROKERS_MAX: usize = 10_000;
/// Java writes and reads strings of at most this many bytes, in both forms.
pub(super) const STRING_BYTES_MAX: usize = 0x7fff;
/// Tagged fields in one section: no message has more than five, and a section costs time for each, two bytes long as it
/// may be.
pub(super) const TAGS_MAX: usize = 16;

/// The most elements that are reserved because a count announced them (`WIRE-2`); beyond it vectors grow with what is
/// parsed.
pub(super) const RESERVED_ELEMENTS_MAX: usize = 1024;

/// Layouts that are reused give memory back after a frame that needed more elements than this.
pub(super) const RETAINED_ELEMENTS_MAX: usize = 4096;

/// Empties a reused vector, and shrinks it when an unusual frame has blown it up.
pub(super) fn recycle<T>(elements: &mut Vec<T>) {
    elements.clear();
    elements.shrink_to(RETAINED_ELEMENTS_MAX);
}
