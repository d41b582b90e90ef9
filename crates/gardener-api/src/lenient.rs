//! Decoding that tolerates what other writers leave out.

use serde::{Deserialize, Deserializer};

/// Reads `null` as the default value; together with `#[serde(default)]` absent and null mean the same.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
