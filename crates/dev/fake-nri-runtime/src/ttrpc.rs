//! ttrpc's messages: a header of length, stream (4 bytes each, big endian), kind and flags, and a protobuf payload
//! (github.com/containerd/ttrpc v1.2.7, channel.go and request.proto). NRI makes plain calls only: one request, one
//! response. The crate `ttrpc` owns its socket and listener, so it cannot be put on a trunk.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::limits;

/// Bytes of a message's header.
pub(crate) const HEADER: usize = 10;
/// Nothing follows on this stream; so it is in every plain request.
pub(crate) const REMOTE_CLOSED: u8 = 1;

/// Codes of `google.rpc.Code` that matter here.
pub(crate) mod code {
    pub(crate) const UNKNOWN: i32 = 2;
    pub(crate) const UNIMPLEMENTED: i32 = 12;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) stream: u32,
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    pub(crate) payload: Bytes,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadMessage {
    #[error("a message of {0} bytes: at most {max} are allowed", max = limits::MESSAGE_BYTES)]
    TooLong(usize),
    #[error("a message of kind {0}: want 1 (request) or 2 (response), NRI has no streams")]
    Kind(u8),
}

impl Message {
    pub(crate) fn encode(&self) -> Result<BytesMut, BadMessage> {
        let length = self.payload.len();
        let short = u32::try_from(length).ok().filter(|_| length <= limits::MESSAGE_BYTES);
        let mut out = BytesMut::with_capacity(HEADER + length);
        out.put_u32(short.ok_or(BadMessage::TooLong(length))?);
        out.put_u32(self.stream);
        out.put_u8(match self.kind {
            Kind::Request => 1,
            Kind::Response => 2,
        });
        out.put_u8(self.flags);
        out.put_slice(&self.payload);
        Ok(out)
    }
}

/// Messages out of the bytes of one connection, however they are cut.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    buffer: BytesMut,
}

impl Assembler {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.put_slice(bytes);
    }

    /// The next whole message.
    pub(crate) fn next_message(&mut self) -> Result<Option<Message>, BadMessage> {
        let Some(mut head) = self.buffer.get(..HEADER) else { return Ok(None) };
        let length = usize::try_from(head.get_u32()).unwrap_or(usize::MAX);
        let stream = head.get_u32();
        let (kind, flags) = (head.get_u8(), head.get_u8());
        if length > limits::MESSAGE_BYTES {
            return Err(BadMessage::TooLong(length));
        }
        let kind = match kind {
            1 => Kind::Request,
            2 => Kind::Response,
            other => return Err(BadMessage::Kind(other)),
        };
        if self.buffer.len() < HEADER + length {
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        Ok(Some(Message { stream, kind, flags, payload: self.buffer.split_to(length).freeze() }))
    }
}

/// `ttrpc.Request`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Request {
    #[prost(string, tag = "1")]
    pub(crate) service: String,
    #[prost(string, tag = "2")]
    pub(crate) method: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) payload: Bytes,
    /// Nanoseconds in which the other end shall answer; 0 is no limit.
    #[prost(int64, tag = "4")]
    pub(crate) timeout_nano: i64,
}

/// `ttrpc.Response`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Response {
    #[prost(message, optional, tag = "1")]
    pub(crate) status: Option<Status>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) payload: Bytes,
}

/// `google.rpc.Status`; code 0 is success.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Status {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message() -> impl Strategy<Value = Message> {
        (any::<u32>(), any::<bool>(), any::<u8>(), 0_usize..6000).prop_map(|(stream, request, flags, length)| Message {
            stream,
            kind: if request { Kind::Request } else { Kind::Response },
            flags,
            payload: (flags..=u8::MAX).cycle().take(length).collect(),
        })
    }

    proptest! {
        #[test]
        fn messages_arrive_however_their_bytes_are_cut(
            messages in prop::collection::vec(message(), 0..5), cuts in prop::collection::vec(1_usize..5000, 1..20)
        ) {
            let bytes: Vec<u8> = messages.iter().flat_map(|message| message.encode().unwrap().to_vec()).collect();
            let (mut assembler, mut found, mut rest) = (Assembler::default(), Vec::new(), bytes.as_slice());
            for cut in cuts.iter().cycle() {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                assembler.push(now);
                while let Some(message) = assembler.next_message().unwrap() {
                    found.push(message);
                }
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(found, messages);
            prop_assert!(assembler.buffer.is_empty());
        }

        #[test]
        fn bytes_of_anybody_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut assembler = Assembler::default();
            assembler.push(&bytes);
            while let Ok(Some(message)) = assembler.next_message() {
                prop_assert!(message.payload.len() <= bytes.len());
            }
        }
    }

    #[test]
    fn a_message_over_the_limit_is_refused_at_both_ends() {
        let payload = Bytes::from(vec![0; limits::MESSAGE_BYTES + 1]);
        let long = Message { stream: 1, kind: Kind::Request, flags: 0, payload };
        assert_eq!(long.encode(), Err(BadMessage::TooLong(limits::MESSAGE_BYTES + 1)));
        let mut assembler = Assembler::default();
        assembler.push(&[0, 0x40, 0, 1, 0, 0, 0, 1, 1, 0]);
        assert_eq!(assembler.next_message(), Err(BadMessage::TooLong(limits::MESSAGE_BYTES + 1)));
    }

    #[test]
    fn a_stream_is_refused() {
        let mut assembler = Assembler::default();
        assembler.push(&[0, 0, 0, 0, 0, 0, 0, 1, 3, 0]);
        assert_eq!(assembler.next_message(), Err(BadMessage::Kind(3)));
    }

    #[test]
    fn a_request_is_encoded_as_go_has_it() {
        let message =
            Message { stream: 3, kind: Kind::Request, flags: REMOTE_CLOSED, payload: Bytes::from_static(b"ab") };
        assert_eq!(message.encode().unwrap()[..], [0, 0, 0, 2, 0, 0, 0, 3, 1, 1, b'a', b'b']);
    }
}
