//! Server-sent events (WHATWG HTML §9.2), read as they pass, however they are cut into chunks.

/// Bytes of one event that are looked at. A larger one is passed on unread.
const MAX_EVENT: usize = 1024 * 1024;

/// Finds the ends of events in a stream and collects their `data`.
#[derive(Debug, Default)]
pub(super) struct EventScanner {
    /// The line under way, without its end.
    line: Vec<u8>,
    /// The event's data so far: its lines, joined by line feeds.
    data: Option<Vec<u8>>,
    /// The event is larger than what is looked at.
    is_oversized: bool,
    /// The last byte was a carriage return, so a line feed would belong to it.
    may_skip_lf: bool,
    has_begun: bool,
}

impl EventScanner {
    /// Reads up to the end of the first event that ends in `bytes`; returns where that is, the empty line included. `None`: all was
    /// read and no event ended. After an end, [`Self::take_data`] has the event's data.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if std::mem::take(&mut self.may_skip_lf) && rest.first() == Some(&b'\n') {
                at += 1;
                continue;
            }
            let Some(end) = memchr::memchr2(b'\r', b'\n', rest) else {
                self.extend_line(rest);
                return None;
            };
            self.extend_line(rest.get(..end).unwrap_or_default());
            at += end + 1;
            if rest.get(end) == Some(&b'\r') {
                match rest.get(end + 1) {
                    Some(b'\n') => at += 1,
                    Some(_) => {}
                    None => self.may_skip_lf = true,
                }
            }
            if self.end_line() {
                return Some(at);
            }
        }
        None
    }

    /// The data of the event that has just ended, if it had any and was not too large.
    pub(super) fn take_data(&mut self) -> Option<Vec<u8>> {
        let data = self.data.take();
        if std::mem::take(&mut self.is_oversized) { None } else { data }
    }

    /// The data of an event that the stream's end cut off. Some servers leave out the last empty line.
    pub(super) fn finish(&mut self) -> Option<Vec<u8>> {
        self.end_line();
        self.take_data()
    }

    /// Whether a line feed at the start of what comes next belongs to the event before.
    pub(super) fn may_skip_lf(&self) -> bool {
        self.may_skip_lf
    }

    fn extend_line(&mut self, part: &[u8]) {
        let n_bytes = self.line.len() + self.data.as_ref().map_or(0, Vec::len) + part.len();
        if self.is_oversized || n_bytes > MAX_EVENT {
            self.is_oversized = true;
            self.data = None;
            // Not empty, so that the line is not taken for the empty one that ends the event.
            self.line.truncate(1);
            if self.line.is_empty() && !part.is_empty() {
                self.line.push(b':');
            }
        } else {
            self.line.extend_from_slice(part);
        }
    }

    /// Takes in the line; true if it ended the event.
    fn end_line(&mut self) -> bool {
        let mut line = &*self.line;
        if !std::mem::replace(&mut self.has_begun, true) {
            line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        }
        if line.is_empty() {
            self.line.clear();
            return true;
        }
        let (name, value) = match memchr::memchr(b':', line) {
            Some(colon) => (line.get(..colon).unwrap_or_default(), line.get(colon + 1..).unwrap_or_default()),
            None => (line, &b""[..]),
        };
        if name == b"data" && !self.is_oversized {
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match &mut self.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => self.data = Some(value.to_vec()),
            }
        }
        self.line.clear();
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The data of all events, and the pieces between their ends.
    fn read(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut scanner = EventScanner::default();
        let mut events = Vec::new();
        for chunk in chunks {
            let mut at = 0;
            while let Some(n) = scanner.feed(&chunk[at..]) {
                assert!(n > 0);
                at += n;
                events.extend(scanner.take_data());
            }
        }
        events.extend(scanner.finish());
        events
    }

    const STREAM: &[u8] = b"\xEF\xBB\xBFdata: a\n\n: a comment\r\n\r\nevent: x\rdata:b\rdata: \rdata\rid: 7\r\rdata:  c\r\ndata: d\r\n\r\n\
                            retry: 1\n\n\n\ndata: [DONE]\n\ndata: cut off";

    #[test]
    fn data_is_joined_by_line_feeds_and_the_rest_is_left_out() {
        let expected: [&[u8]; 5] = [b"a", b"b\n\n", b" c\nd", b"[DONE]", b"cut off"];
        assert_eq!(read(&[STREAM]), expected);
    }

    #[test]
    fn an_event_that_is_too_large_is_left_out_and_the_next_is_read() {
        let large = [b"data: ", vec![b'x'; MAX_EVENT].as_slice(), b"\ndata: y\n\ndata: z\n\n"].concat();
        assert_eq!(read(&large.chunks(1000).collect::<Vec<_>>()), [b"z"]);
        let many = [b"data: 12345678\n".repeat(MAX_EVENT / 8), b"\ndata: z\n\n".to_vec()].concat();
        assert_eq!(read(&many.chunks(7777).collect::<Vec<_>>()), [b"z"]);
    }

    #[test]
    fn wherever_a_stream_is_cut_in_two_its_events_are_the_same() {
        let whole = read(&[STREAM]);
        for at in 0..=STREAM.len() {
            let (head, tail) = STREAM.split_at(at);
            assert_eq!(read(&[head, tail]), whole, "cut at {at}");
        }
    }

    proptest! {
        #[test]
        fn however_a_stream_is_cut_its_events_are_the_same(
            lines in prop::collection::vec(("(data: ?|event: |: ?|)[a-c\"]{0,4}", "\r\n|\n|\r"), 0..12),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let stream: Vec<u8> = lines.iter().flat_map(|(line, end)| [line.as_bytes(), end.as_bytes()].concat()).collect();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            at.extend([0, stream.len()]);
            at.sort_unstable();
            let chunks: Vec<&[u8]> = at.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&chunks), read(&[&stream]));
        }
    }
}
