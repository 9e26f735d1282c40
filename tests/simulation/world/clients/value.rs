//! Values of records: who produced them, where to, and the how-manieth they are, so that whoever reads one knows what
//! it is; and a word that gives them away where they should not be readable.

/// What a value says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Value {
    /// The producer's number.
    pub(crate) producer: u32,
    pub(crate) partition: i32,
    /// Counts up for each producer and partition, from 0 on.
    pub(crate) number: u64,
}

/// Whether what is produced to `topic` reaches brokers as it is.
pub(crate) fn is_passed(topic: &str) -> bool {
    topic.starts_with("pass")
}

/// Whether no rule names `topic`.
pub(crate) fn is_refused(topic: &str) -> bool {
    topic.starts_with("unruled")
}

/// The word that values of `topic` are full of.
pub(crate) fn word(topic: &str) -> &'static str {
    if is_passed(topic) { "open" } else { "sesame" }
}

/// Producers from this number on make long values.
pub(crate) const HEAVY_FROM: u32 = 100;
const HEAVY: u64 = 60;

impl Value {
    pub(crate) fn text(&self, topic: &str) -> String {
        let Self {
            producer,
            partition,
            number,
        } = self;
        let word = word(topic);
        // Some are short, some long, and any change is noticed.
        let words = 1 + number.wrapping_mul(7) % 20;
        let words = if *producer >= HEAVY_FROM {
            words * HEAVY
        } else {
            words
        };
        format!("{producer} {partition} {number} {}", word.repeat(words as usize))
    }

    /// The opposite of [`Value::text`]; a panic where it was altered on the way.
    pub(crate) fn read(topic: &str, bytes: &[u8]) -> Self {
        let text = str::from_utf8(bytes).expect("a value is text");
        let mut numbers = text.split(' ').map_while(|number| number.parse::<u64>().ok());
        let mut next = || {
            numbers
                .next()
                .unwrap_or_else(|| panic!("no value of ours: {text}"))
        };
        let value = Self {
            producer: next() as u32,
            partition: next() as i32,
            number: next(),
        };
        assert_eq!(value.text(topic), text, "a value was altered");
        value
    }
}

#[test]
fn what_is_written_is_read_and_what_was_altered_is_not() {
    let value = Value {
        producer: 3,
        partition: 1,
        number: 12,
    };
    let text = value.text("sealed-a");
    assert_eq!(Value::read("sealed-a", text.as_bytes()), value);
    assert!(text.contains("sesame"));
    let altered = text.replacen("sesame", "sesamE", 1);
    assert!(std::panic::catch_unwind(|| Value::read("sealed-a", altered.as_bytes())).is_err());
}
