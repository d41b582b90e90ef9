//! Who writes.

/// Who writes, and to which part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    pub(crate) manager: String,
    pub(crate) subresource: Option<&'static str>,
}

impl Writer {
    /// Somebody, by the name of its field manager.
    #[must_use]
    pub fn named(manager: &str) -> Self {
        Self { manager: manager.to_owned(), subresource: None }
    }

    /// The same, writing the status.
    #[must_use]
    pub fn status(self) -> Self {
        Self { subresource: Some("status"), ..self }
    }
}
