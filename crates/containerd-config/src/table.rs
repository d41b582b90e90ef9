//! The table `plugins."io.containerd.nri.v1.nri"`, put together from all files.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::{Table, Value};

use crate::document::{spelled_key, wrong};
use crate::duration;
use crate::error::ConfigError;
use crate::version::{ContainerdVersion, Rules};

pub(crate) const DISABLE: &str = "disable";
pub(crate) const REGISTRATION_TIMEOUT: &str = "plugin_registration_timeout";
pub(crate) const REQUEST_TIMEOUT: &str = "plugin_request_timeout";
const KEYS: [&str; 8] = [
    DISABLE,
    "disable_connections",
    "socket_path",
    "plugin_path",
    "plugin_config_path",
    REGISTRATION_TIMEOUT,
    REQUEST_TIMEOUT,
    "default_validator",
];

/// A value and the file that it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Path of the file.
    pub file: String,
}

/// A timeout as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeout {
    /// Nanoseconds. 0 means the default, to containerd too.
    pub nanoseconds: i64,
    /// It is written as an integer, which containerd 1.7 takes for nanoseconds and 2.0 does not take.
    pub is_integer: bool,
}

impl Timeout {
    /// How long it lasts; `None` for what is below zero, with which every call would end at once.
    #[must_use]
    pub fn duration(self, default: Duration) -> Option<Duration> {
        match self.nanoseconds {
            0 => Some(default),
            nanoseconds => u64::try_from(nanoseconds).ok().map(Duration::from_nanos),
        }
    }
}

/// What the files say about NRI; `None` where they say nothing and containerd's default holds
/// (`pkg/nri/config.go` of 1.7.34, `internal/nri/config.go` of 2.0.14 to 2.4.2).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NriTable {
    /// NRI is off; the default is true on 1.7, else false.
    pub disable: Option<Setting<bool>>,
    /// Plugins that containerd has not started itself may not connect; the default is false.
    pub disable_connections: Option<Setting<bool>>,
    /// The socket; the default is `/var/run/nri/nri.sock`.
    pub socket_path: Option<Setting<String>>,
    /// Directory of the plugins that containerd starts; the default is `/opt/nri/plugins`.
    pub plugin_path: Option<Setting<String>>,
    /// Directory of their configurations; the default is `/etc/nri/conf.d`.
    pub plugin_config_path: Option<Setting<String>>,
    /// How long a plugin may take to register; the default is 5 s.
    pub registration_timeout: Option<Setting<Timeout>>,
    /// How long a plugin may take for one answer; the default is 2 s.
    pub request_timeout: Option<Setting<Timeout>>,
    /// The built-in validator of what plugins ask for, from 2.2 on; it is off by default.
    pub default_validator: BTreeMap<String, Setting<Value>>,
}

/// A table whose values know their files.
pub(crate) type Tree = BTreeMap<String, Node>;

/// A value, or a table below it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Value(Setting<Value>),
    Table(Tree),
}

/// A file's table.
pub(crate) fn tree(file: &str, table: &Table) -> Tree {
    let node = |value: &Value| match value {
        Value::Table(table) => Node::Table(tree(file, table)),
        value => Node::Value(Setting { value: value.clone(), file: file.to_owned() }),
    };
    table.iter().map(|(key, value)| (key.clone(), node(value))).collect()
}

/// Puts a table over another one: tables key by key, everything else is replaced, lists too (mergo 1.0.2 `WithOverride` for maps, with
/// which containerd 2 merges).
pub(crate) fn merge(into: &mut Tree, from: Tree) {
    for (key, node) in from {
        match (into.get_mut(&key), node) {
            (Some(Node::Table(into)), Node::Table(from)) => merge(into, from),
            (_, node) => {
                into.insert(key, node);
            }
        }
    }
}

/// The table without its files. Keys are sorted, whatever the order was.
pub(crate) fn plain(tree: &Tree) -> Table {
    let plain = |node: &Node| match node {
        Node::Value(setting) => sorted(&setting.value),
        Node::Table(tree) => Value::Table(plain(tree)),
    };
    tree.iter().map(|(key, node)| (key.clone(), plain(node))).collect()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(values) => Value::Array(values.iter().map(sorted).collect()),
        Value::Table(table) => {
            let table: BTreeMap<&String, &Value> = table.iter().collect();
            Value::Table(table.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect())
        }
        value => value.clone(),
    }
}

impl NriTable {
    /// The known keys of a table, with their types.
    pub(crate) fn read(containerd: ContainerdVersion, tree: &Tree) -> Result<Self, ConfigError> {
        for (key, node) in tree {
            spelled_key(first_file(node).unwrap_or_default(), key, &KEYS)?;
        }
        let boolean = |key| setting(tree, key, "a boolean", |_, value| Ok(value.as_bool()));
        let text = |key| setting(tree, key, "a text", |_, value| Ok(value.as_str().map(str::to_owned)));
        let takes_integers = containerd.rules() == Rules::Replace;
        let timeout = |key| {
            setting(tree, key, "a text such as \"2s\"", |file, value| match value {
                Value::Integer(nanoseconds) if takes_integers => {
                    Ok(Some(Timeout { nanoseconds: *nanoseconds, is_integer: true }))
                }
                Value::String(text) => match duration::parse(text) {
                    Some(nanoseconds) => Ok(Some(Timeout { nanoseconds, is_integer: false })),
                    None => Err(ConfigError::NotADuration {
                        file: file.to_owned(),
                        key: key.to_owned(),
                        value: text.clone(),
                    }),
                },
                _ => Ok(None),
            })
        };
        Ok(Self {
            disable: boolean(DISABLE)?,
            disable_connections: boolean("disable_connections")?,
            socket_path: text("socket_path")?,
            plugin_path: text("plugin_path")?,
            plugin_config_path: text("plugin_config_path")?,
            registration_timeout: timeout(REGISTRATION_TIMEOUT)?,
            request_timeout: timeout(REQUEST_TIMEOUT)?,
            default_validator: validator(containerd, tree)?,
        })
    }
}

/// One value with the type that it must have: `read` gives nothing for another one.
fn setting<T>(
    tree: &Tree,
    key: &str,
    allowed: &'static str,
    read: impl Fn(&str, &Value) -> Result<Option<T>, ConfigError>,
) -> Result<Option<Setting<T>>, ConfigError> {
    match tree.get(key) {
        None => Ok(None),
        Some(Node::Table(table)) => {
            let file = table.values().find_map(first_file).unwrap_or_default();
            Err(wrong(file, key, &Value::Table(Table::new()), allowed))
        }
        Some(Node::Value(Setting { value, file })) => match read(file, value)? {
            Some(value) => Ok(Some(Setting { value, file: file.clone() })),
            None => Err(wrong(file, key, value, allowed)),
        },
    }
}

fn first_file(node: &Node) -> Option<&str> {
    match node {
        Node::Value(setting) => Some(&setting.file),
        Node::Table(table) => table.values().find_map(first_file),
    }
}

/// The validator's settings, whose types matter to the versions that have one.
fn validator(containerd: ContainerdVersion, tree: &Tree) -> Result<BTreeMap<String, Setting<Value>>, ConfigError> {
    let has_validator = (containerd.major, containerd.minor) >= (2, 2);
    let table = match tree.get("default_validator") {
        Some(Node::Table(table)) => table,
        Some(Node::Value(Setting { value, file })) if has_validator => {
            return Err(wrong(file, "default_validator", value, "a table"));
        }
        None | Some(Node::Value(_)) => return Ok(BTreeMap::new()),
    };
    let mut settings = BTreeMap::new();
    for (key, node) in table {
        let Node::Value(setting) = node else { continue };
        let is_typed = match key.as_str() {
            "required_plugins" => setting.value.as_array().is_some_and(|names| names.iter().all(Value::is_str)),
            "tolerate_missing_plugins_annotation" => setting.value.is_str(),
            key if key == "enable" || key.starts_with("reject_") => setting.value.is_bool(),
            _ => true,
        };
        if has_validator && !is_typed {
            let key = format!("default_validator.{key}");
            return Err(wrong(&setting.file, &key, &setting.value, "what containerd documents for it"));
        }
        settings.insert(key.clone(), setting.clone());
    }
    Ok(settings)
}
