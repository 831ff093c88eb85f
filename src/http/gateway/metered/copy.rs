//! A bounded copy of an answer.

/// Bytes up to which an answer is kept whole.
const MAX_WHOLE: usize = 1024 * 1024;
/// Bytes of its end that are kept of a longer one.
const MAX_TAIL: usize = 64 * 1024;

/// An answer as far as it is kept: all of it, or its end. Embeddings may be very long and say their usage last.
#[derive(Debug, Default)]
pub(super) struct Copy {
    bytes: Vec<u8>,
    is_cut: bool,
    n_bytes: usize,
}

/// What was kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kept<'a> {
    /// Everything.
    Whole(&'a [u8]),
    /// The end.
    Tail(&'a [u8]),
}

impl Copy {
    /// Adds a chunk.
    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.n_bytes = self.n_bytes.saturating_add(chunk.len());
        if !self.is_cut && self.bytes.len() + chunk.len() > MAX_WHOLE {
            self.is_cut = true;
        }
        self.bytes.extend_from_slice(chunk);
        // Not with each chunk: moving the end to the front would cost more than the copy.
        if self.is_cut && self.bytes.len() > MAX_WHOLE.min(4 * MAX_TAIL) {
            self.bytes.drain(..self.bytes.len() - MAX_TAIL);
        }
    }

    /// What was kept.
    pub(super) fn kept(&self) -> Kept<'_> {
        if self.is_cut { Kept::Tail(&self.bytes) } else { Kept::Whole(&self.bytes) }
    }

    /// Bytes of the answer so far.
    pub(super) fn n_bytes(&self) -> usize {
        self.n_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_answer_is_kept_whole_and_a_long_one_by_its_end() {
        let mut copy = Copy::default();
        copy.push(b"ab");
        copy.push(b"c");
        assert_eq!(copy.kept(), Kept::Whole(b"abc"));
        for n in 0..300_u32 {
            copy.push(&[b'x'; 9_999]);
            copy.push(format!("<{n}>").as_bytes());
            assert!(copy.bytes.len() <= MAX_WHOLE + 10_000);
        }
        let Kept::Tail(tail) = copy.kept() else { panic!("it is too long to be kept whole") };
        assert!(tail.ends_with(b"x<299>") && tail.len() >= MAX_TAIL && tail.len() <= 4 * MAX_TAIL);
        assert!(copy.n_bytes() > 2_999_700);
    }
}
