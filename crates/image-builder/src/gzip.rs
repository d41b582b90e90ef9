//! gzip whose output depends on its input alone.

use std::io::{Read as _, Write as _};

use flate2::{Compression, GzBuilder, read::GzDecoder};

use crate::Error;

/// The header's operating system field: 255 is "unknown", so that the machine does not show.
const UNKNOWN_OS: u8 = 255;

/// Compresses with no name, no time and no operating system in the header.
pub fn compress(content: &[u8]) -> Result<Vec<u8>, Error> {
    let builder = GzBuilder::new().mtime(0).operating_system(UNKNOWN_OS);
    let mut encoder = builder.write(Vec::new(), Compression::best());
    encoder.write_all(content).map_err(Error::archive("to be compressed"))?;
    encoder.finish().map_err(Error::archive("to be compressed"))
}

/// Decompresses one gzip stream; `what` names it in errors.
pub fn decompress(content: &[u8], what: &str) -> Result<Vec<u8>, Error> {
    let mut plain = Vec::new();
    GzDecoder::new(content).read_to_end(&mut plain).map_err(Error::archive(what))?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_has_no_optional_header_fields_and_decompresses_to_the_content() {
        let packed = compress(b"content").unwrap();
        assert_eq!(packed[..4], [0x1f, 0x8b, 8, 0], "no optional header fields");
        assert_eq!(packed[4..8], [0; 4], "no time");
        assert_eq!(packed[9], UNKNOWN_OS);
        assert_eq!(decompress(&packed, "test").unwrap(), b"content");
    }

    #[test]
    fn a_damaged_gzip_stream_is_refused() {
        let mut packed = compress(b"content").unwrap();
        packed.truncate(packed.len() - 3);
        assert!(decompress(&packed, "damaged").is_err());
    }
}
