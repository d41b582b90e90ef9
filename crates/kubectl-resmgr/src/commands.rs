//! What each command does: asks the shoot, and shows what the pure part makes of the answers.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Context as _;
use clap::CommandFactory as _;
use kube::api::DynamicObject;

use crate::cli::{
    Cli, Command, Connection, EventsArgs, ExplainArgs, HostLogArgs, MustGatherArgs, NodeArgs, StatusArgs,
};
use crate::exit::Exit;
use crate::failure::why;
use crate::limits;
use crate::rows::Row;
use crate::seed::{self, Seed};
use crate::shoot::Shoot;
use crate::status::Status;
use crate::style::Style;
use crate::text::{clean, clean_json};
use crate::{archive, events, explain, gather, in_use, node, watch};

/// Cursor to the upper left corner, and nothing below it.
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

/// Where answers go.
#[derive(Debug, Clone, Copy)]
struct Screen {
    style: Style,
    is_terminal: bool,
}

impl Screen {
    fn standard_output() -> Self {
        Self { style: Style::of_standard_output(), is_terminal: io::stdout().is_terminal() }
    }

    /// Columns of the terminal, asked for each time: it may be made larger.
    fn width(self) -> Option<usize> {
        let size = self.is_terminal.then(|| console::Term::stdout().size_checked()).flatten();
        size.map(|(_, columns)| usize::from(columns))
    }
}

/// Carries out the command.
pub(crate) async fn run(cli: Cli) -> anyhow::Result<Exit> {
    let screen = Screen::standard_output();
    let connection = &cli.connection;
    match cli.command {
        Command::Status(args) => status(&connect(connection).await?, connection, &args, screen).await,
        Command::Node(args) => one_node(&connect(connection).await?, &args, screen).await,
        Command::HostLog(args) => host_log(&connect(connection).await?, &args).await,
        Command::Explain(args) => explanation(&connect(connection).await?, &args, screen).await,
        Command::Events(args) => show_events(&connect(connection).await?, &args, screen).await,
        Command::MustGather(args) => must_gather(&connect(connection).await?, connection, &args).await,
        Command::Check(args) => Ok(Exit::Other(args.run().into())),
        Command::Convert(args) => {
            let reading = if args.shoot {
                in_use::of_shoot(&connect(connection).await?).await?
            } else {
                policy_convert::read::Reading::default()
            };
            Ok(Exit::Other(args.options.run(&args.files, reading)?))
        }
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(
                shell,
                &mut Cli::command().bin_name("kubectl-resmgr"),
                "kubectl-resmgr",
                &mut script,
            );
            print(&String::from_utf8_lossy(&script))?;
            Ok(Exit::Done)
        }
    }
}

async fn connect(connection: &Connection) -> anyhow::Result<Shoot> {
    Shoot::connect(connection.kubeconfig.as_deref(), connection.context.as_deref()).await
}

/// What the seed knows, where somebody has a kubeconfig of it.
async fn seed_of(connection: &Connection) -> anyhow::Result<Option<DynamicObject>> {
    let Some(kubeconfig) = &connection.seed_kubeconfig else { return Ok(None) };
    let (context, namespace) = (connection.seed_context.as_deref(), connection.seed_namespace.as_deref());
    seed::extension(kubeconfig, context, namespace).await.map(Some)
}

async fn status(shoot: &Shoot, connection: &Connection, args: &StatusArgs, screen: Screen) -> anyhow::Result<Exit> {
    let is_json = args.form.is_json();
    let show = |status: &Status, is_compact: bool| -> anyhow::Result<String> {
        if is_json {
            return status.json(is_compact).context("write the answer");
        }
        Ok(status.text(now(), screen.style, screen.width()))
    };
    if !args.watch {
        let mut status = Status::of(&shoot.facts().await?);
        match seed_of(connection).await {
            Ok(extension) => status.seed = extension.as_ref().map(Seed::of),
            Err(error) => status.notes.push(clean(&why(&error), limits::PARAGRAPH)),
        }
        print(&show(&status, false)?)?;
        return Ok(status.exit());
    }
    let mut last = Exit::Failed;
    let watching = watch::watch(shoot, |facts| {
        let status = Status::of(facts);
        last = status.exit();
        let text = show(&status, true)?;
        let before = match (is_json, screen.is_terminal) {
            (true, _) => String::new(),
            (false, true) => CLEAR.to_owned(),
            (false, false) => format!("{}\n", jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ")),
        };
        print(&format!("{before}{text}"))
    });
    tokio::select! {
        watched = watching => watched?,
        interrupted = tokio::signal::ctrl_c() => interrupted.context("wait for an interrupt")?,
    }
    Ok(last)
}

async fn one_node(shoot: &Shoot, args: &NodeArgs, screen: Screen) -> anyhow::Result<Exit> {
    let (status, row) = row_of(shoot, &args.name).await?;
    let agent_status = match &row.pod {
        Some(pod) => match shoot.agent_status(pod).await {
            Ok(printed) => node::parse(&printed).map_err(anyhow::Error::msg),
            Err(error) => Err(error),
        },
        None => Err(anyhow::anyhow!("there is no pod of the agent on it")),
    };
    match agent_status {
        Ok(agent_status) if args.form.is_json() => {
            let json = serde_json::to_string_pretty(&agent_status).context("write the answer")?;
            print(&(clean_json(&json) + "\n"))?;
        }
        Ok(agent_status) => print(&node::text(&agent_status, now(), screen.style))?,
        Err(error) => {
            say(&format!("The agent cannot be asked: {}", clean(&why(&error), limits::PARAGRAPH)));
            say("What its report and Events say:");
            if args.form.is_json() {
                let json = serde_json::to_string_pretty(&row).context("write the answer")?;
                print(&(clean_json(&json) + "\n"))?;
            } else {
                let explanation = explain::one(&row, now(), screen.style);
                let events = events_of(shoot, Some(&args.name)).await.map_or_else(
                    |error| clean(&why(&error), limits::PARAGRAPH) + "\n",
                    |all| events::text(&all, now(), screen.style, screen.width()),
                );
                print(&format!("{explanation}\n{events}"))?;
            }
        }
    }
    Ok(Status { nodes: vec![row], ..status }.exit())
}

/// The lines as they are, but for control characters: they are what others have written.
async fn host_log(shoot: &Shoot, args: &HostLogArgs) -> anyhow::Result<Exit> {
    let (_, row) = row_of(shoot, &args.name).await?;
    let pod = row.pod.context("there is no pod of the agent on it, which alone can read its journal")?;
    let printed = shoot.host_log(&pod, args.lines).await?;
    let text = String::from_utf8_lossy(&printed);
    let lines: String = text.lines().flat_map(|line| [clean(line, limits::PARAGRAPH), "\n".to_owned()]).collect();
    if lines.is_empty() {
        say("The journal of the node has no lines of the extension's units.");
    }
    print(&lines)?;
    Ok(Exit::Done)
}

async fn explanation(shoot: &Shoot, args: &ExplainArgs, screen: Screen) -> anyhow::Result<Exit> {
    let (text, exit) = if let Some(name) = &args.node {
        let (status, row) = row_of(shoot, name).await?;
        let text = explain::one(&row, now(), screen.style);
        (text, Status { nodes: vec![row], ..status }.exit())
    } else {
        let status = Status::of(&shoot.facts().await?);
        (explain::all(&status, now(), screen.style), status.exit())
    };
    print(&text)?;
    Ok(exit)
}

/// What is known of a node of this name.
async fn row_of(shoot: &Shoot, name: &str) -> anyhow::Result<(Status, Row)> {
    let mut status = Status::of(&shoot.facts().await?);
    let nodes = std::mem::take(&mut status.nodes);
    let row = nodes.into_iter().find(|row| row.node == name);
    let row = row.with_context(|| format!("there is no Node {}", clean(name, limits::OBJECT_NAME)))?;
    Ok((status, row))
}

async fn show_events(shoot: &Shoot, args: &EventsArgs, screen: Screen) -> anyhow::Result<Exit> {
    let all = events_of(shoot, args.node.as_deref()).await?;
    if args.form.is_json() {
        let json = serde_json::to_string_pretty(&all).context("write the answer")?;
        print(&(clean_json(&json) + "\n"))?;
    } else {
        print(&events::text(&all, now(), screen.style, screen.width()))?;
    }
    Ok(Exit::Done)
}

async fn events_of(shoot: &Shoot, node: Option<&str>) -> anyhow::Result<Vec<events::EventRow>> {
    let wanted = node.map(|node| format!("Node/{node}"));
    let mut all = Vec::new();
    shoot
        .each_event(|event| {
            let reported = events::event_row(event);
            if wanted.as_ref().is_none_or(|wanted| reported.object == *wanted) {
                all.push(reported);
            }
        })
        .await?;
    Ok(events::last(all))
}

async fn must_gather(shoot: &Shoot, connection: &Connection, args: &MustGatherArgs) -> anyhow::Result<Exit> {
    // First, before minutes are spent on what cannot be written.
    let file = archive::create(&args.file).with_context(|| format!("make {}", args.file.display()))?;
    let gathered = async {
        let mut files = gather::gather(shoot, args.with_configuration, now()).await?;
        match seed_of(connection).await {
            Ok(None) => {}
            Ok(Some(extension)) => files.add_json("extension.json", &seed::shown(&extension, args.with_configuration)),
            Err(error) => files.missing.push(format!("extension.json: {}", why(&error))),
        }
        let reported = (files.count(), files.missing.len());
        anyhow::Ok((files.pack(now()).context("pack the archive")?, reported))
    };
    let (archive, (count, missing)) = match gathered.await {
        Ok(gathered) => gathered,
        Err(error) => {
            // It is empty.
            drop(std::fs::remove_file(&args.file));
            return Err(error);
        }
    };
    archive::write(file, &args.file, &archive).with_context(|| format!("write {}", args.file.display()))?;
    let configuration = if args.with_configuration {
        "with the texts of configurations"
    } else {
        "without the texts of configurations"
    };
    print(&format!(
        "{}: {count} files, {configuration}; {missing} things are missing (missing.txt in it says which)\n",
        args.file.display()
    ))?;
    Ok(Exit::Done)
}

/// Seconds since 1970.
fn now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default()
}

/// To standard output. That nobody reads it any more is an end like any other.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("write to standard output")
}

/// To standard error, for people; that it cannot be written is nobody's concern.
fn say(line: &str) {
    drop(writeln!(io::stderr(), "{line}"));
}
