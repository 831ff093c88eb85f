//! Passing a stream of events on without some of them.

use bytes::{Bytes, BytesMut};

use super::sse::EventScanner;

/// Bytes of an unfinished event that are held back at most. What is hidden is far smaller, so a larger event passes as it comes.
const MAX_HELD: usize = 64 * 1024;

/// Whether an event is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is.
    Pass,
    /// It is not.
    Hide,
}

/// A stream of events on its way. Whole events pass at once and uncopied; of the last, unfinished one nothing passes before it is
/// known what it is, which costs a reader nothing: it can do nothing with half an event.
#[derive(Debug, Default)]
pub(super) struct Hider {
    scanner: EventScanner,
    held: BytesMut,
    /// The present event is passed as it comes, because it is too large to be held.
    is_passing: bool,
    /// What became of the event that ended with the last chunk. If it ended in a carriage return, a line feed that follows is its.
    ended: Option<Verdict>,
}

impl Hider {
    /// Takes a chunk and returns what passes of it. `judge` gets the data of each event that ends in it.
    pub(super) fn push(&mut self, chunk: &Bytes, mut judge: impl FnMut(&[u8]) -> Verdict) -> Bytes {
        let mut out = Out::new(chunk);
        let mut start = 0;
        if let Some(verdict) = self.ended.take_if(|_| !chunk.is_empty())
            && self.scanner.may_skip_lf()
            && chunk.first() == Some(&b'\n')
        {
            start = 1;
            if verdict == Verdict::Pass {
                out.add(0, start);
            }
        }
        let mut at = 0;
        while let Some(n) = chunk.get(at..).and_then(|rest| self.scanner.feed(rest)) {
            at += n;
            let verdict = self.scanner.take_data().map_or(Verdict::Pass, |data| judge(&data));
            // What has begun to pass goes on.
            let verdict = if self.is_passing { Verdict::Pass } else { verdict };
            match verdict {
                Verdict::Hide => self.held.clear(),
                Verdict::Pass => {
                    out.add_held(self.held.split());
                    out.add(start, at);
                }
            }
            self.ended = Some(verdict).filter(|_| at == chunk.len());
            self.is_passing = false;
            start = at;
        }
        let rest = chunk.get(start..).unwrap_or_default();
        if self.is_passing || self.held.len() + rest.len() > MAX_HELD {
            self.is_passing = true;
            out.add_held(self.held.split());
            out.add(start, chunk.len());
        } else {
            self.held.extend_from_slice(rest);
        }
        out.finish()
    }

    /// Reads a chunk that passes as it is.
    pub(super) fn watch(&mut self, chunk: &[u8], mut see: impl FnMut(&[u8])) {
        let mut at = 0;
        while let Some(n) = chunk.get(at..).and_then(|rest| self.scanner.feed(rest)) {
            at += n;
            if let Some(data) = self.scanner.take_data() {
                see(&data);
            }
        }
    }

    /// The stream has ended: what is still held, unless it is an event that the end cut off and that is hidden.
    pub(super) fn finish(&mut self, judge: impl FnOnce(&[u8]) -> Verdict) -> Bytes {
        let verdict = self.scanner.finish().map_or(Verdict::Pass, |data| judge(&data));
        let held = self.held.split().freeze();
        if verdict == Verdict::Pass || self.is_passing { held } else { Bytes::new() }
    }
}

/// What passes of a chunk: one piece of it, until something makes copying necessary.
struct Out<'a> {
    chunk: &'a Bytes,
    piece: (usize, usize),
    copied: BytesMut,
}

impl<'a> Out<'a> {
    fn new(chunk: &'a Bytes) -> Self {
        Self { chunk, piece: (0, 0), copied: BytesMut::new() }
    }

    fn add_held(&mut self, held: BytesMut) {
        if !held.is_empty() {
            self.copy_piece();
            self.copied.extend_from_slice(&held);
        }
    }

    fn add(&mut self, start: usize, end: usize) {
        match self.piece {
            (from, to) if from == to => self.piece = (start, end),
            (from, to) if to == start => self.piece = (from, end),
            _ => {
                self.copy_piece();
                self.piece = (start, end);
            }
        }
    }

    fn copy_piece(&mut self) {
        let (from, to) = std::mem::take(&mut self.piece);
        self.copied.extend_from_slice(self.chunk.get(from..to).unwrap_or_default());
    }

    fn finish(mut self) -> Bytes {
        if self.copied.is_empty() {
            let (from, to) = self.piece;
            return self.chunk.slice(from..to);
        }
        self.copy_piece();
        self.copied.freeze()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Hides events whose data begin with `x`.
    fn judge(data: &[u8]) -> Verdict {
        if data.first() == Some(&b'x') { Verdict::Hide } else { Verdict::Pass }
    }

    fn pass(chunks: &[&[u8]]) -> Vec<u8> {
        let mut hider = Hider::default();
        let mut out = Vec::new();
        for chunk in chunks {
            out.extend_from_slice(&hider.push(&Bytes::copy_from_slice(chunk), judge));
        }
        out.extend_from_slice(&hider.finish(judge));
        out
    }

    const STREAM: &[u8] = b": hi\n\ndata: a\n\ndata: x\n\ndata: b\r\n\r\nevent: e\r\ndata: x1\r\n\r\ndata: c\r\rdata: x2\r\rdata: [DONE]\n\ndata: half";
    const PASSED: &[u8] = b": hi\n\ndata: a\n\ndata: b\r\n\r\ndata: c\r\rdata: [DONE]\n\ndata: half";

    #[test]
    fn wherever_a_stream_is_cut_the_same_passes() {
        for first in 0..=STREAM.len() {
            for second in first..=STREAM.len() {
                let chunks = [&STREAM[..first], &STREAM[first..second], &STREAM[second..]];
                assert_eq!(
                    pass(&chunks).escape_ascii().to_string(),
                    PASSED.escape_ascii().to_string(),
                    "{first} {second}"
                );
            }
        }
    }

    #[test]
    fn whole_events_pass_at_once_and_uncopied() {
        let mut hider = Hider::default();
        let chunk = Bytes::from_static(b"data: a\n\ndata: b\n\n");
        assert_eq!(hider.push(&chunk, judge).as_ptr(), chunk.as_ptr());
        let chunk = Bytes::from_static(b"data: c\n\ndata:");
        assert_eq!(&hider.push(&chunk, judge)[..], b"data: c\n\n");
        assert_eq!(&hider.push(&Bytes::from_static(b" d\n\n"), judge)[..], b"data: d\n\n");
    }

    #[test]
    fn an_event_that_is_too_large_to_be_held_passes_as_it_comes() {
        let large = [b"data: x", vec![b'-'; MAX_HELD].as_slice(), b"\n\n"].concat();
        let mut hider = Hider::default();
        let (held, rest) = large.split_at(MAX_HELD);
        let (too_much, end) = rest.split_at(1);
        let mut push = |bytes: &[u8]| hider.push(&Bytes::copy_from_slice(bytes), judge);
        assert!(push(held).is_empty());
        assert!(push(too_much) == large[..=MAX_HELD]);
        assert!(push(end) == end);
        assert_eq!(&hider.push(&Bytes::from_static(b"data: x\n\ndata: y\n\n"), judge)[..], b"data: y\n\n");
    }

    proptest! {
        #[test]
        fn however_a_stream_is_cut_the_same_passes(
            events in prop::collection::vec(("[ax][a-c]{0,3}", "\r\n\r\n|\n\n|\r\r|\n\r\n"), 0..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        ) {
            let text = |data: &str, end: &str| format!("data: {data}{end}").into_bytes();
            let stream: Vec<u8> = events.iter().flat_map(|(data, end)| text(data, end)).collect();
            let expected: Vec<u8> =
                events.iter().filter(|(data, _)| !data.starts_with('x')).flat_map(|(data, end)| text(data, end)).collect();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            at.extend([0, stream.len()]);
            at.sort_unstable();
            let chunks: Vec<&[u8]> = at.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
            prop_assert_eq!(pass(&chunks), expected);
        }
    }
}
