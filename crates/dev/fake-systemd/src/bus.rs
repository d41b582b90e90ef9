//! One client's connection: what a message bus answers, and what systemd answers behind it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::StreamExt as _;
use tokio::net::UnixStream;
use tokio::sync::broadcast::error::RecvError;
use zbus::message::{Header, Message, Type};
use zbus::{Connection, Guid, MessageStream, OwnedObjectPath, OwnedVariant, Variant, connection};

use super::manager::{JobKind, Manager, Refusal, Signal, no_such_unit};
use super::properties;
use faults::Fault;

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const UNIT_PREFIX: &str = "/org/freedesktop/systemd1/unit/";
/// systemd's own name on the bus.
const OWN_NAME: &str = ":1.0";

static CLIENTS: AtomicU32 = AtomicU32::new(0);

/// Of a unit without a file.
type Properties = Vec<(String, OwnedVariant)>;
/// Further units, which nobody here asks for.
type Auxiliary = Vec<(String, Properties)>;

/// Serves one client until it goes.
pub(super) async fn serve(stream: UnixStream, manager: Arc<Manager>) {
    let Ok(connection) = connect(stream).await else { return };
    let mut messages = MessageStream::from(&connection);
    let mut signals = manager.signals();
    let mut subscribed = false;
    loop {
        let sent = tokio::select! {
            // Signals first: what happened before an answer is sent before it.
            biased;
            signal = signals.recv() => match signal {
                Ok(signal) if subscribed => emit(&connection, &manager, &signal).await,
                Err(RecvError::Closed) => return,
                _ => Ok(()),
            },
            message = messages.next() => match message {
                Some(Ok(message)) if message.message_type() == Type::MethodCall => {
                    let header = message.header();
                    subscribed |= header.member().is_some_and(|member| member.as_str() == "Subscribe");
                    let answered = match manager.faults.at(&describe(&message, &header)) {
                        Some(Fault::Break) => return,
                        Some(Fault::Refuse(name)) => Err(scripted(name)),
                        Some(Fault::Delay(time)) => {
                            tokio::time::sleep(time).await;
                            answer(&connection, &manager, &message, &header).await
                        }
                        None => answer(&connection, &manager, &message, &header).await,
                    };
                    match answered {
                        Ok(()) => Ok(()),
                        Err(Trouble::Refused(refusal)) => {
                            connection.reply_error(&header, refusal.name.as_str(), &refusal.message).await
                        }
                        Err(Trouble::Bus(error)) => Err(error),
                    }
                }
                Some(Ok(_)) => Ok(()),
                Some(Err(_)) | None => return,
            },
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn connect(stream: UnixStream) -> zbus::Result<Connection> {
    let builder = connection::Builder::unix_stream(stream.into_std()?).server(Guid::generate()).p2p();
    let connection = builder.build().await?;
    connection.set_unique_name(OWN_NAME)?;
    Ok(connection)
}

enum Trouble {
    Refused(Refusal),
    Bus(zbus::Error),
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<zbus::Error> for Trouble {
    fn from(error: zbus::Error) -> Self {
        Self::Bus(error)
    }
}

async fn answer(
    connection: &Connection,
    manager: &Manager,
    message: &Message,
    header: &Header<'_>,
) -> Result<(), Trouble> {
    let interface = header.interface().map_or_else(String::new, ToString::to_string);
    let member = header.member().map_or_else(String::new, ToString::to_string);
    let path = header.path().map_or_else(String::new, ToString::to_string);
    match interface.as_str() {
        "org.freedesktop.DBus" => as_bus(connection, message, header, &member).await,
        PROPERTIES => properties_of(connection, manager, message, header, &path, &member).await,
        MANAGER => as_manager(connection, manager, message, header, &member).await,
        _ => Err(unknown(&member)),
    }
}

/// Method and first argument: of properties the unit whose they are.
fn describe(message: &Message, header: &Header<'_>) -> String {
    let member = header.member().map_or_else(String::new, ToString::to_string);
    let path = header.path().map_or_else(String::new, ToString::to_string);
    if let Some(escaped) = path.strip_prefix(UNIT_PREFIX) {
        return format!("{member} {}", unescape(escaped));
    }
    let body = message.body();
    let two = body.deserialize::<(String, String)>().map(|(first, _)| first);
    let first = two.or_else(|_| body.deserialize::<String>()).unwrap_or_default();
    format!("{member} {first}")
}

fn scripted(name: String) -> Trouble {
    Trouble::Refused(Refusal { name, message: "the fault script wants it so".to_owned() })
}

fn unknown(member: &str) -> Trouble {
    let message = format!("Unknown method {member}.");
    Trouble::Refused(Refusal { name: "org.freedesktop.DBus.Error.UnknownMethod".to_owned(), message })
}

async fn as_bus(connection: &Connection, message: &Message, header: &Header<'_>, member: &str) -> Result<(), Trouble> {
    match member {
        "Hello" => {
            let number = CLIENTS.fetch_add(1, Ordering::Relaxed) + 1;
            connection.reply(header, &format!(":1.{number}")).await?;
        }
        // Every signal is sent to everybody who subscribed; clients sort them out themselves.
        "AddMatch" | "RemoveMatch" => connection.reply(header, &()).await?,
        "GetNameOwner" | "NameHasOwner" => {
            let name: String = message.body().deserialize()?;
            let is_here = name == SYSTEMD || name == OWN_NAME;
            match (member, is_here) {
                ("NameHasOwner", _) => connection.reply(header, &is_here).await?,
                (_, true) => connection.reply(header, &OWN_NAME).await?,
                _ => {
                    let text = format!("Could not get owner of name '{name}': no such name");
                    return Err(Refusal {
                        name: "org.freedesktop.DBus.Error.NameHasNoOwner".to_owned(),
                        message: text,
                    }
                    .into());
                }
            }
        }
        _ => return Err(unknown(member)),
    }
    Ok(())
}

async fn properties_of(
    connection: &Connection,
    manager: &Manager,
    message: &Message,
    header: &Header<'_>,
    path: &str,
    member: &str,
) -> Result<(), Trouble> {
    let none = HashMap::<&str, Variant<'_>>::new();
    match (path.strip_prefix(UNIT_PREFIX), member) {
        (None, "Get") => {
            let (_, name): (String, String) = message.body().deserialize()?;
            let value = if name == "Version" { Variant::from("252-sandbox") } else { return Err(unknown(&name)) };
            connection.reply(header, &value).await?;
        }
        (Some(escaped), "GetAll") => {
            let interface: String = message.body().deserialize()?;
            let name = unescape(escaped);
            let root = &manager.root;
            let values = manager.with(&name, |unit| match interface.as_str() {
                UNIT => properties::unit(root, &name, unit),
                SERVICE => properties::service(&name, unit),
                _ => none,
            });
            connection.reply(header, &values).await?;
        }
        _ => return Err(unknown(member)),
    }
    Ok(())
}

async fn as_manager(
    connection: &Connection,
    manager: &Manager,
    message: &Message,
    header: &Header<'_>,
    member: &str,
) -> Result<(), Trouble> {
    let body = message.body();
    let job = match member {
        "StartUnit" => Some(JobKind::Start),
        "StopUnit" => Some(JobKind::Stop),
        "RestartUnit" => Some(JobKind::Restart),
        _ => None,
    };
    if let Some(kind) = job {
        let (name, _mode): (String, String) = body.deserialize()?;
        let id = manager.queue(&name, kind)?;
        return Ok(connection.reply(header, &job_path(id)?).await?);
    }
    match member {
        "StartTransientUnit" => {
            let (name, _mode, properties, _auxiliary): (String, String, Properties, Auxiliary) = body.deserialize()?;
            let id = manager.start_transient(&name, properties)?;
            connection.reply(header, &job_path(id)?).await?;
        }
        "Subscribe" | "Unsubscribe" => connection.reply(header, &()).await?,
        "Reload" => {
            manager.reload();
            connection.reply(header, &()).await?;
        }
        "LoadUnit" | "GetUnit" => {
            let name: String = body.deserialize()?;
            if member == "GetUnit" && !manager.knows(&name) {
                return Err(no_such_unit(&name).into());
            }
            manager.with(&name, |_| ());
            connection.reply(header, &unit_path(&name)?).await?;
        }
        "ResetFailedUnit" => {
            let name: String = body.deserialize()?;
            manager.reset_failed(&name)?;
            connection.reply(header, &()).await?;
        }
        "ListJobs" => {
            let mut jobs = Vec::new();
            for (id, unit, kind) in manager.jobs() {
                let path = unit_path(&unit)?;
                jobs.push((id, unit, kind.word(), "running", job_path(id)?, path));
            }
            connection.reply(header, &jobs).await?;
        }
        "GetUnitProcesses" => {
            let name: String = body.deserialize()?;
            if !manager.knows(&name) {
                return Err(no_such_unit(&name).into());
            }
            let main = manager.with(&name, |unit| (unit.main_pid, unit.command_line.clone()));
            let processes: Vec<(String, u32, String)> =
                (main.0 != 0).then(|| (properties::control_group(&name), main.0, main.1)).into_iter().collect();
            connection.reply(header, &processes).await?;
        }
        "EnableUnitFiles" => {
            let (names, _runtime, _force): (Vec<String>, bool, bool) = body.deserialize()?;
            connection.reply(header, &manager.link(&names, true)?).await?;
        }
        "DisableUnitFiles" => {
            let (names, _runtime): (Vec<String>, bool) = body.deserialize()?;
            connection.reply(header, &manager.link(&names, false)?.1).await?;
        }
        "GetUnitFileState" => {
            let name: String = body.deserialize()?;
            let files = super::unit::Files::load(&manager.root, &name);
            match files.unit_file_state(&manager.root, &name) {
                "" => return Err(no_such_unit(&name).into()),
                state => connection.reply(header, &state).await?,
            }
        }
        _ => return Err(unknown(member)),
    }
    Ok(())
}

async fn emit(connection: &Connection, manager: &Manager, signal: &Signal) -> zbus::Result<()> {
    let to_all = None::<&str>;
    match signal {
        Signal::JobNew { id, unit } => {
            connection.emit_signal(to_all, MANAGER_PATH, MANAGER, "JobNew", &(*id, job_path(*id)?, unit.as_str())).await
        }
        Signal::JobRemoved { id, unit, result } => {
            let body = (*id, job_path(*id)?, unit.as_str(), *result);
            connection.emit_signal(to_all, MANAGER_PATH, MANAGER, "JobRemoved", &body).await
        }
        Signal::Reloading(begins) => connection.emit_signal(to_all, MANAGER_PATH, MANAGER, "Reloading", begins).await,
        Signal::UnitFilesChanged => {
            connection.emit_signal(to_all, MANAGER_PATH, MANAGER, "UnitFilesChanged", &()).await
        }
        Signal::Changed { unit } => {
            let states = manager.with(unit, |unit| {
                HashMap::from([("ActiveState", Variant::from(unit.active)), ("SubState", Variant::from(unit.sub))])
            });
            let body = (UNIT, states, Vec::<&str>::new());
            connection.emit_signal(to_all, unit_path(unit)?, PROPERTIES, "PropertiesChanged", &body).await
        }
    }
}

fn job_path(id: u32) -> zbus::Result<OwnedObjectPath> {
    OwnedObjectPath::try_from(format!("/org/freedesktop/systemd1/job/{id}"))
}

/// As systemd escapes names in paths: what is not a letter or a digit becomes `_` and two hexadecimal digits.
fn unit_path(name: &str) -> zbus::Result<OwnedObjectPath> {
    let escape =
        |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("_{byte:02x}") };
    OwnedObjectPath::try_from(UNIT_PREFIX.to_owned() + &name.bytes().map(escape).collect::<String>())
}

fn unescape(escaped: &str) -> String {
    let mut name = String::new();
    let mut rest = escaped;
    while let Some((before, after)) = rest.split_once('_') {
        name.push_str(before);
        let code = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        name.push(char::from(code.unwrap_or(b'_')));
        rest = after.get(2..).unwrap_or_default();
    }
    name + rest
}
