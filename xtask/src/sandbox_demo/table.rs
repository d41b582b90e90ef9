//! The nodes as a table that redraws on a terminal, and as lines of what changed elsewhere.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::Instant;

use sandbox::{Node, Sandbox};

/// Longest text in the last column of the table; a line that wraps could not be redrawn.
const MESSAGE: usize = 70;

/// What is shown of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    stage: String,
    runtime: &'static str,
    restarts: u64,
    message: String,
}

impl Row {
    fn shortened(&self) -> String {
        self.message.chars().take(MESSAGE).collect()
    }

    fn of(sandbox: &Sandbox, node: &Node) -> Self {
        let mut report = sandbox.report(node.name()).unwrap_or_default();
        // Its probe tells what an agent does while its report still tells how the last work ended.
        match sandbox.unready(node.name()).as_deref().map(|why| why.split_once(": ").ok_or(why)) {
            Some(Ok((stage, message))) if stage.chars().all(char::is_alphabetic) => {
                stage.clone_into(&mut report.stage);
                message.clone_into(&mut report.message);
            }
            Some(Ok((why, _)) | Err(why)) => why.clone_into(&mut report.message),
            None => {}
        }
        let stage = if report.stage.is_empty() { "–".to_owned() } else { report.stage };
        let runtime = if node.is_on_proxy() { "cri-resmgr" } else { "containerd" };
        Self { stage, runtime, restarts: report.restarts, message: report.message }
    }
}

/// What was shown last.
#[derive(Debug)]
pub(super) struct Table {
    start: Instant,
    redraws: bool,
    rows: BTreeMap<String, (Row, Instant)>,
    drawn: usize,
}

impl Table {
    pub(super) fn begin() -> Self {
        Self { start: Instant::now(), redraws: std::io::stderr().is_terminal(), rows: BTreeMap::new(), drawn: 0 }
    }

    pub(super) fn show(&mut self, sandbox: &Sandbox) {
        let mut news = Vec::new();
        for node in sandbox.nodes() {
            let row = Row::of(sandbox, node);
            let known = self.rows.get(node.name());
            if known.is_none_or(|(known, _)| *known != row) {
                news.push(self.line(node.name(), &row));
            }
            let since =
                known.filter(|(known, _)| known.stage == row.stage).map_or_else(Instant::now, |(_, since)| *since);
            self.rows.insert(node.name().to_owned(), (row, since));
        }
        let text = if self.redraws { self.drawing() } else { news.concat() };
        // That nobody looks is no reason to stop.
        let _nobody_looks = write!(std::io::stderr(), "{text}");
    }

    fn line(&self, name: &str, row: &Row) -> String {
        let Row { stage, runtime, restarts, .. } = row;
        let message = row.shortened();
        let elapsed = self.start.elapsed().as_secs_f64();
        format!("[{elapsed:>5.1}s] {name:<8} {stage:<10} kubelet on {runtime:<10} restarts {restarts} {message}\n")
    }

    /// The whole table, over the one before.
    fn drawing(&mut self) -> String {
        let up = if self.drawn > 0 { format!("\x1b[{}A", self.drawn) } else { String::new() };
        let head =
            format!("  {:<8} {:<10} {:>6} {:<11} {:>8} message", "node", "stage", "since", "kubelet on", "restarts");
        let row = |(name, (row, since)): (&String, &(Row, Instant))| {
            let Row { stage, runtime, restarts, .. } = row;
            let message = row.shortened();
            let since = since.elapsed().as_secs_f64();
            format!("  {name:<8} {stage:<10} {since:>5.1}s {runtime:<11} {restarts:>8} {message}")
        };
        let lines = std::iter::once(head).chain(self.rows.iter().map(row));
        self.drawn = self.rows.len() + 1;
        lines.fold(up, |text, line| text + "\x1b[2K" + &line + "\n")
    }
}
