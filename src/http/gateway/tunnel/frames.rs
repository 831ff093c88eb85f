//! Where a frame ends (RFC 6455 §5.2): only there may something of the gateway's own be said. Nothing else of the frames is read.

use bytes::{BufMut as _, Bytes, BytesMut};

/// Longest head of a frame: two bytes, eight of length, four of mask.
const MAX_HEAD: usize = 14;
/// Opcode of a close frame.
const CLOSE: u8 = 0x8;

/// How far one direction has come in its present frame.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; MAX_HEAD],
    n_head: usize,
    /// Bytes of the payload that are still to come, once the head is whole.
    left: u64,
    has_closed: bool,
}

impl Frames {
    /// Whether the last frame is whole.
    pub(super) fn is_between(&self) -> bool {
        self.n_head == 0 && self.left == 0
    }

    /// Whether a close frame has passed; nothing may follow it.
    pub(super) fn has_closed(&self) -> bool {
        self.has_closed
    }

    /// Takes note of bytes up to the end of the present frame, or of all; returns how many.
    pub(super) fn pass_one(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while let Some((byte, after)) = rest.split_first() {
            if self.left > 0 {
                let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
                self.left -= n as u64;
                rest = rest.get(n..).unwrap_or_default();
            } else {
                self.take_head(*byte);
                rest = after;
            }
            if self.is_between() {
                break;
            }
        }
        bytes.len() - rest.len()
    }

    /// Takes note of all these bytes.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let n = self.pass_one(bytes);
            bytes = bytes.get(n..).unwrap_or_default();
        }
    }

    fn take_head(&mut self, byte: u8) {
        if let Some(slot) = self.head.get_mut(self.n_head) {
            *slot = byte;
        }
        self.n_head += 1;
        let [first, second, ..] = self.head;
        if self.n_head < 2 {
            return;
        }
        let n_length = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let n_mask = if second & 0x80 == 0 { 0 } else { 4 };
        if self.n_head < 2 + n_length + n_mask {
            return;
        }
        let long = self.head.iter().skip(2).take(n_length).fold(0_u64, |length, byte| (length << 8) | u64::from(*byte));
        self.left = if n_length == 0 { u64::from(second & 0x7f) } else { long };
        self.has_closed |= first & 0x0f == CLOSE;
        self.n_head = 0;
    }
}

/// A close frame. What a client says is masked (§5.1); a mask of zeros hides nothing and leaves the bytes as they are.
pub(super) fn close_frame(code: u16, reason: &str, is_clients: bool) -> Bytes {
    // Control frames carry at most 125 bytes (§5.5), and ours are constants that are much shorter.
    let reason = reason.as_bytes().get(..123.min(reason.len())).unwrap_or_default();
    let n = u8::try_from(2 + reason.len()).unwrap_or(2);
    let mut frame = BytesMut::with_capacity(8 + reason.len());
    frame.put_u8(0x80 | CLOSE);
    frame.put_u8(n | if is_clients { 0x80 } else { 0 });
    if is_clients {
        frame.put_u32(0);
    }
    frame.put_u16(code);
    frame.put_slice(reason);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(opcode: u8, n: usize, is_masked: bool) -> Vec<u8> {
        let mask = if is_masked { 0x80 } else { 0 };
        let mut bytes = vec![0x80 | opcode];
        match n {
            0..=125 => bytes.push(u8::try_from(n).expect("short") | mask),
            126..=0xffff => {
                bytes.push(126 | mask);
                bytes.extend(u16::try_from(n).expect("middling").to_be_bytes());
            }
            _ => {
                bytes.push(127 | mask);
                bytes.extend((n as u64).to_be_bytes());
            }
        }
        bytes.extend(vec![0xff; if is_masked { n + 4 } else { n }]);
        bytes
    }

    #[test]
    fn a_close_frame_is_one_frame_and_is_noticed() {
        for is_clients in [false, true] {
            let close = close_frame(1012, "restarting", is_clients);
            let mut frames = Frames::default();
            assert_eq!(frames.pass_one(&close), close.len());
            assert!(frames.is_between() && frames.has_closed());
        }
    }

    proptest! {
        #[test]
        fn however_bytes_are_cut_every_frame_ends_where_it_ends(
            lengths in prop::collection::vec((prop_oneof![0_usize..130, 65_530_usize..65_540], any::<bool>()), 1..6),
            cuts in prop::collection::vec(1_usize..70_000, 1..20),
        ) {
            let mut bytes = Vec::new();
            let mut ends = Vec::new();
            for (n, is_masked) in lengths {
                bytes.extend(frame(2, n, is_masked));
                ends.push(bytes.len());
            }
            let (mut frames, mut found, mut at) = (Frames::default(), Vec::new(), 0);
            for cut in cuts.iter().cycle() {
                let mut piece = &bytes[at..(at + cut).min(bytes.len())];
                while !piece.is_empty() {
                    let n = frames.pass_one(piece);
                    (at, piece) = (at + n, &piece[n..]);
                    if frames.is_between() {
                        found.push(at);
                    }
                }
                if at == bytes.len() {
                    break;
                }
            }
            prop_assert_eq!(found, ends);
            prop_assert!(!frames.has_closed());
        }
    }
}
