//! Labels that a selection may ask for.

/// Whether a label can exist at all (Kubernetes' rules); a selection by an impossible one would select nothing for ever.
pub(crate) fn check(key: &str, value: &str) -> Result<(), String> {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let prefix_is_good = prefix.is_none_or(|prefix| {
        !prefix.is_empty()
            && prefix.len() <= 253
            && prefix.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
    });
    if !prefix_is_good || name.is_empty() || !is_qualified(name) {
        return Err("is not a label that a node can have".into());
    }
    if !is_qualified(value) {
        return Err(format!("{value:?} is not a value that a label can have"));
    }
    Ok(())
}

/// Whether a worker pool's name can stand in a node's label at all.
pub(crate) fn can_be_pool(name: &str) -> bool {
    !name.is_empty() && is_qualified(name)
}

/// At most 63 letters, digits, '-', '_', '.', with a letter or digit at both ends; the empty string passes.
fn is_qualified(text: &str) -> bool {
    let ends = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    text.len() <= 63
        && ends(text.as_bytes().first())
        && ends(text.as_bytes().last())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}
