//! The trunk: two ttrpc connections over one socket, in frames of connection number, length (4 bytes each, big endian)
//! and content (github.com/containerd/nri v0.12.2, pkg/net/multiplex; the same in v0.11.0).

use bytes::{Buf as _, BufMut as _, BytesMut};

use crate::limits;
use crate::ttrpc;

/// Bytes of a frame's header.
pub(crate) const HEADER: usize = 8;
/// A Go plugin reads a ttrpc message's beginning into a buffer of this size, and fails with ENOMEM on a frame that is
/// larger: it then answers nothing and logs nothing. What comes after it reads straight into the message's own memory.
const FIRST_FRAME: usize = 4096;
/// Largest content of a frame: one ttrpc message.
const CONTENT: usize = ttrpc::HEADER + limits::MESSAGE_BYTES;

/// Who answers on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// The runtime asks.
    Plugin,
    /// The plugin asks.
    Runtime,
}

impl Service {
    fn connection(self) -> u32 {
        match self {
            Self::Plugin => 1,
            Self::Runtime => 2,
        }
    }
}

/// A frame's header that cannot be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("frame of {length} bytes for connection {connection}: want connection 1 or 2, and at most {max} bytes", max = CONTENT)]
pub(crate) struct BadFrame {
    connection: u32,
    length: usize,
}

/// One ttrpc message as the frames that a Go plugin can read: its first 4096 bytes, and the rest. Not in more frames
/// than that: a plugin has room for 256 that it has not checked, and gives up the connection at one more.
pub(crate) fn frames(service: Service, message: &[u8]) -> BytesMut {
    let (first, rest) = message.split_at(message.len().min(FIRST_FRAME));
    let mut out = BytesMut::with_capacity(message.len() + 2 * HEADER);
    for part in [first, rest].into_iter().filter(|part| !part.is_empty()) {
        out.put_u32(service.connection());
        // Below 5 MiB, as ttrpc's own encoding sees to.
        out.put_u32(u32::try_from(part.len()).unwrap_or(u32::MAX));
        out.put_slice(part);
    }
    out
}

/// Which connection a frame is for, and the bytes of its content.
pub(crate) fn header(bytes: [u8; HEADER]) -> Result<(Service, usize), BadFrame> {
    let mut bytes = &bytes[..];
    let connection = bytes.get_u32();
    let length = usize::try_from(bytes.get_u32()).unwrap_or(usize::MAX);
    let service = match connection {
        1 => Service::Plugin,
        2 => Service::Runtime,
        _ => return Err(BadFrame { connection, length }),
    };
    if length > CONTENT {
        return Err(BadFrame { connection, length });
    }
    Ok((service, length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What arrives at the other end, and the lengths of the frames.
    fn read(mut bytes: &[u8]) -> (Vec<Service>, Vec<u8>, Vec<usize>) {
        let (mut services, mut content, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
        while let Some((head, rest)) = bytes.split_first_chunk::<HEADER>() {
            let (service, length) = header(*head).unwrap();
            services.push(service);
            content.extend_from_slice(&rest[..length]);
            lengths.push(length);
            bytes = &rest[length..];
        }
        assert!(bytes.is_empty(), "a torn header");
        (services, content, lengths)
    }

    proptest! {
        #[test]
        fn a_message_arrives_whole_in_frames_that_a_go_plugin_can_read(
            length in 0..3 * FIRST_FRAME, seed in any::<u8>(), runtime in any::<bool>()
        ) {
            let message: Vec<u8> = (seed..=u8::MAX).cycle().take(length).collect();
            let service = if runtime { Service::Runtime } else { Service::Plugin };
            let (services, content, lengths) = read(&frames(service, &message));
            prop_assert_eq!(content, message);
            prop_assert!(services.iter().all(|found| *found == service));
            prop_assert!(lengths.len() <= 2);
            prop_assert!(lengths.first().is_none_or(|first| *first <= FIRST_FRAME));
            // The second is read only after the first was used up.
            prop_assert!(lengths.len() < 2 || lengths[0] == FIRST_FRAME);
        }

        #[test]
        fn a_header_is_read_or_refused(bytes in any::<[u8; HEADER]>()) {
            match header(bytes) {
                Ok((_, length)) => prop_assert!(length <= CONTENT),
                Err(error) => prop_assert!(error.connection == 0 || error.connection > 2 || error.length > CONTENT),
            }
        }
    }

    #[test]
    fn the_largest_message_takes_two_frames() {
        let (_, content, lengths) = read(&frames(Service::Plugin, &vec![7; CONTENT]));
        assert_eq!((content.len(), lengths), (CONTENT, vec![FIRST_FRAME, CONTENT - FIRST_FRAME]));
    }

    #[test]
    fn a_header_has_connection_and_length() {
        assert_eq!(header([0, 0, 0, 1, 0, 0, 1, 2]), Ok((Service::Plugin, 258)));
        assert_eq!(header([0, 0, 0, 2, 0, 0, 0, 0]), Ok((Service::Runtime, 0)));
        assert!(header([0, 0, 0, 0, 0, 0, 0, 1]).is_err(), "connection 0 is reserved");
        assert!(header([0, 0, 0, 1, 1, 0, 0, 0]).is_err(), "16 MiB");
    }
}
