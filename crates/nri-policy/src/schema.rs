//! The tree of keys below `spec`, with the kind of each value: the CRDs `balloonspolicies.config.nri` and
//! `topologyawarepolicies.config.nri` of nri-plugins v0.14.0 (config/crd/bases), and what their binaries ask for beyond them.
//!
//! `tests/upstream.rs` compares it with the module's CRDs key by key.

mod balloons;
mod shared;
mod topology_aware;

pub(crate) use balloons::BALLOONS;
pub(crate) use topology_aware::TOPOLOGY_AWARE;

/// What a value must be.
#[derive(Debug)]
pub enum Schema {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Integer(Integer),
    /// A text.
    Text(Text),
    /// A list of such items.
    List {
        /// What each of them must be.
        item: &'static Schema,
        /// Whether no two may be equal (`x-kubernetes-list-type: set`).
        is_set: bool,
    },
    /// A map with free keys and such values.
    Map(&'static Schema),
    /// A map with these keys.
    Object(&'static [Field]),
}

/// A key of a map.
#[derive(Debug)]
pub struct Field {
    /// The key, exactly so.
    pub name: &'static str,
    /// Its value.
    pub schema: Schema,
    /// Whether it must be there.
    pub is_required: bool,
    /// What the API server writes when it is absent. Without an API server nobody does, so a document has it written out.
    pub default: Option<Default>,
}

/// A value that is written when the author wrote none.
#[derive(Debug)]
pub enum Default {
    /// A switch.
    Bool(bool),
    /// A text.
    Text(&'static str),
    /// A list of texts.
    Texts(&'static [&'static str]),
    /// A map.
    Object(&'static [(&'static str, Default)]),
}

/// Bounds of a whole number.
#[derive(Debug)]
pub struct Integer {
    /// The CRD's own lower bound.
    pub minimum: Option<i64>,
    /// The CRD's format.
    pub format: Option<&'static str>,
    /// What is allowed; within the CRD's bound. Many of the CRD's integers are unsigned in the binary, and a negative one fails to load.
    pub allowed: (i64, i64),
}

/// Bounds of a text.
#[derive(Debug)]
pub struct Text {
    /// Which words are allowed.
    pub words: Words,
    /// The CRD's format.
    pub format: Option<&'static str>,
    /// A grammar that the CRD does not have: the test, and what is allowed.
    pub grammar: Option<Grammar>,
}

/// A test of a text, and what is allowed.
pub type Grammar = (fn(&str) -> bool, &'static str);

/// Words of which a text is one, and who says so.
#[derive(Debug)]
pub enum Words {
    /// Any text.
    Any,
    /// The CRD's `enum`.
    Enum(&'static [&'static str]),
    /// The CRD's rule in CEL (`x-kubernetes-validations`).
    Rule(&'static [&'static str]),
    /// The CRD's `enum`, which stands at the list instead of its items: the API server would refuse any list.
    EnumOfList(&'static [&'static str]),
    /// Only the binary, which ignores any other word.
    Binary(&'static [&'static str]),
}

impl Words {
    /// The words; none for any text.
    #[must_use]
    pub fn list(&self) -> Option<&'static [&'static str]> {
        match self {
            Self::Any => None,
            Self::Enum(words) | Self::Rule(words) | Self::EnumOfList(words) | Self::Binary(words) => Some(words),
        }
    }
}

const fn field(name: &'static str, schema: Schema) -> Field {
    Field { name, schema, is_required: false, default: None }
}

const fn required(name: &'static str, schema: Schema) -> Field {
    Field { name, schema, is_required: true, default: None }
}

const fn defaulted(name: &'static str, schema: Schema, default: Default) -> Field {
    Field { name, schema, is_required: false, default: Some(default) }
}

const fn text(words: Words) -> Schema {
    Schema::Text(Text { words, format: None, grammar: None })
}

const fn grammar(test: fn(&str) -> bool, expected: &'static str) -> Schema {
    Schema::Text(Text { words: Words::Any, format: None, grammar: Some((test, expected)) })
}

const fn integer(low: i64, high: i64) -> Schema {
    Schema::Integer(Integer { minimum: None, format: None, allowed: (low, high) })
}

/// A whole number for which the CRD has the bound 0.
const fn not_negative(high: i64) -> Schema {
    Schema::Integer(Integer { minimum: Some(0), format: None, allowed: (0, high) })
}

/// A whole number of 64 bits, which the binary reads without a sign.
const INT64: Schema = Schema::Integer(Integer { minimum: None, format: Some("int64"), allowed: (0, i64::MAX) });

const fn list(item: &'static Schema) -> Schema {
    Schema::List { item, is_set: false }
}

const fn set(item: &'static Schema) -> Schema {
    Schema::List { item, is_set: true }
}

const ANY: Schema = text(Words::Any);
