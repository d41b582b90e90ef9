//! tera templates to parsed objects to Secret and ManagedResource.
//!
//! Nothing that a user wrote can change the structure of a manifest: templates write every value as a quoted scalar
//! ([`template`]), and what was rendered is parsed again and checked ([`objects`]) before it travels ([`bundle`]).

pub mod bundle;
pub mod objects;
mod quoting;
pub mod template;

pub use bundle::Bundle;
pub use objects::Object;
pub use template::Templates;
