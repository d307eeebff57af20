//! Has whole messages of a link come twice: it reads WebSocket frames as they pass, and says a message again right after
//! its end. The first message of each way, by which both sides greet each other, comes once.

/// One way of a connection, as far as it was read. What passes is passed on at once; only a copy is kept.
#[derive(Default)]
pub struct Stutter {
    /// What was read and is not understood yet.
    unread: Vec<u8>,
    /// The handshake is over.
    talks: bool,
    /// The frames of the message that has begun.
    message: Vec<u8>,
    messages: u64,
}

/// A WebSocket frame at the beginning of some bytes.
struct Frame {
    length: usize,
    /// The first byte of what it carries.
    first: u8,
    is_binary: bool,
}

const BINARY: u8 = 2;
/// What the first byte of a frame of ours says if it ends its message.
const LAST: u8 = 0;

impl Stutter {
    /// What goes out for these bytes; `twice` is asked at the end of each message.
    pub fn take(&mut self, bytes: &[u8], mut twice: impl FnMut() -> bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        // Where in `bytes` the next one stands that was not handed out.
        let mut next = 0;
        let before = self.unread.len();
        self.unread.extend_from_slice(bytes);
        let mut read = 0;
        if !self.talks {
            let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") else {
                out.extend_from_slice(bytes);
                return out;
            };
            (self.talks, read) = (true, end + 4);
        }
        while let Some(frame) = Frame::read(&self.unread[read..]) {
            let end = read + frame.length;
            if frame.is_binary {
                self.message.extend_from_slice(&self.unread[read..end]);
            }
            read = end;
            if frame.is_binary && frame.first == LAST {
                let message = std::mem::take(&mut self.message);
                self.messages += 1;
                if self.messages > 1 && twice() {
                    out.extend_from_slice(&bytes[next..end - before]);
                    out.extend_from_slice(&message);
                    next = end - before;
                }
            }
        }
        self.unread.drain(..read);
        out.extend_from_slice(&bytes[next..]);
        out
    }
}

impl Frame {
    fn read(bytes: &[u8]) -> Option<Frame> {
        let (&[head, second], rest) = bytes.split_first_chunk::<2>()?;
        let (payload, wide) = match second & 0x7f {
            126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 2),
            127 => (usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?, 8),
            short => (usize::from(short), 0),
        };
        let rest = &rest[wide..];
        let (mask, masked) = if second & 0x80 == 0 { (0, 0) } else { (*rest.first()?, 4) };
        let first = if payload == 0 { LAST } else { rest.get(masked)? ^ mask };
        let length = 2 + wide + masked + payload;
        (bytes.len() >= length).then_some(Frame { length, first, is_binary: head & 0x0f == BINARY })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame that carries these bytes.
    fn frame(payload: &[u8], masked: bool) -> Vec<u8> {
        let mut bytes = vec![0x80 | BINARY];
        let mask = [7, 1, 2, 3];
        let flag = if masked { 0x80 } else { 0 };
        if payload.len() < 126 {
            bytes.push(flag | payload.len() as u8);
        } else {
            bytes.push(flag | 126);
            bytes.extend((payload.len() as u16).to_be_bytes());
        }
        if masked {
            bytes.extend(mask);
            bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        } else {
            bytes.extend(payload);
        }
        bytes
    }

    #[test]
    fn messages_of_any_number_of_frames_come_twice_as_wholes_however_the_bytes_are_cut() {
        for masked in [false, true] {
            let (hello, long) = (frame(&[LAST, 1], masked), frame(&[1; 300], masked));
            let (end, ping) = (frame(&[LAST, 9], masked), vec![0x89, 0]);
            let first: Vec<u8> = [b"HTTP/1.1 101 ok\r\n\r\n".to_vec(), hello].concat();
            let whole = [first.clone(), long.clone(), ping.clone(), end.clone(), end.clone()].concat();
            let expected =
                [first, long.clone(), ping, end.clone(), long, end.clone(), end.clone(), end].concat();
            for cut in [1, 2, 3, 7, 100, whole.len()] {
                let mut stutter = Stutter::default();
                let mut out = Vec::new();
                for piece in whole.chunks(cut) {
                    out.extend(stutter.take(piece, || true));
                }
                assert_eq!(out, expected, "masked: {masked}, cut into {cut}");
            }
            assert_eq!(Stutter::default().take(&whole, || false), whole);
        }
    }
}
