//! The nodes as a table that redraws on a terminal, and as lines of what changed elsewhere.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use console::{Term, truncate_str};
use extension_config::names::node::KUBELET_UNIT;
use sandbox::{Node, Sandbox};

/// Columns before the message.
const BEFORE_MESSAGE: usize = 51;

/// What is shown of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) stage: String,
    pub(super) runtime: &'static str,
    pub(super) restarts: u64,
    pub(super) message: String,
}

impl Row {
    fn of(sandbox: &Sandbox, node: &Node) -> Self {
        let mut report = sandbox.report(node.name()).unwrap_or_default();
        // Its probe says what an agent does while its report still says how the last work ended.
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
        // Not the report's: it goes at the end, and its count with it.
        Self { stage, runtime, restarts: kubelet_restarts(node), message: report.message }
    }

    /// For a table `width` columns wide; a message that is cut ends with `…`.
    pub(super) fn line(&self, name: &str, since: Duration, width: usize) -> String {
        let Self { stage, runtime, restarts, message } = self;
        let message = truncate_str(message, width.saturating_sub(BEFORE_MESSAGE), "…");
        let since = since.as_secs_f64();
        format!("  {name:<8} {stage:<10} {since:>5.1}s {runtime:<11} {restarts:>8}  {message}")
    }
}

/// The table's first line.
pub(super) fn head() -> String {
    format!("  {:<8} {:<10} {:>6} {:<11} {:>8}  message", "node", "stage", "since", "kubelet on", "restarts")
}

/// The table at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scene {
    pub(super) title: String,
    pub(super) at: Duration,
    pub(super) rows: Vec<(String, Row, Duration)>,
}

/// Moments worth a picture.
#[derive(Debug, Default)]
pub(super) struct Film {
    start: Option<Instant>,
    scenes: Vec<Scene>,
}

impl Film {
    pub(super) fn scenes(&self) -> &[Scene] {
        &self.scenes
    }
}

/// What was shown last.
#[derive(Debug)]
pub(super) struct Table<'a> {
    film: &'a mut Film,
    title: &'static str,
    start: Instant,
    redraws: bool,
    rows: BTreeMap<String, (Row, Instant)>,
    drawn: usize,
    pictured: bool,
}

impl<'a> Table<'a> {
    pub(super) fn begin(film: &'a mut Film, title: &'static str) -> Self {
        film.start.get_or_insert_with(Instant::now);
        let redraws = Term::stderr().is_term();
        Self { film, title, start: Instant::now(), redraws, rows: BTreeMap::new(), drawn: 0, pictured: false }
    }

    /// Shows the nodes while something is under way.
    pub(super) async fn until<T>(
        &mut self,
        sandbox: &Sandbox,
        pause: Duration,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::pin!(work);
        let done = loop {
            self.show(sandbox);
            tokio::select! {
                done = &mut work => break done,
                () = tokio::time::sleep(pause) => {}
            }
        };
        self.show(sandbox);
        // Whatever is said now stands below; the next drawing begins anew.
        self.drawn = 0;
        done
    }

    /// The last moment is one for the picture.
    pub(super) fn end(mut self) {
        self.picture(self.title.to_owned());
    }

    fn show(&mut self, sandbox: &Sandbox) {
        let mut lines = Vec::new();
        for node in sandbox.nodes() {
            let row = Row::of(sandbox, node);
            let known = self.rows.get(node.name());
            if known.is_none_or(|(known, _)| *known != row) {
                lines.push(self.lines(node.name(), &row));
            }
            let since =
                known.filter(|(known, _)| known.stage == row.stage).map_or_else(Instant::now, |(_, since)| *since);
            self.rows.insert(node.name().to_owned(), (row, since));
        }
        let text = if self.redraws { self.drawing() } else { lines.concat() };
        // That nobody looks is no reason to stop.
        let _nobody_looks = write!(std::io::stderr(), "{text}");
        if !self.pictured && self.rows.values().all(|(row, _)| row.stage == "Working") {
            self.picture(format!("{} …", self.title));
        }
    }

    fn picture(&mut self, title: String) {
        self.pictured = true;
        let at = self.film.start.map_or(Duration::ZERO, |start| start.elapsed());
        let rows = self.rows.iter().map(|(name, (row, since))| (name.clone(), row.clone(), since.elapsed())).collect();
        self.film.scenes.push(Scene { title, at, rows });
    }

    fn lines(&self, name: &str, row: &Row) -> String {
        let Row { stage, runtime, restarts, message } = row;
        let elapsed = self.start.elapsed().as_secs_f64();
        format!("[{elapsed:>5.1}s] {name:<8} {stage:<10} kubelet on {runtime:<10} restarts {restarts} {message}\n")
    }

    /// The whole table, over the one before.
    fn drawing(&mut self) -> String {
        let up = if self.drawn > 0 { format!("\x1b[{}A", self.drawn) } else { String::new() };
        // A line that wraps could not be redrawn.
        let width = usize::from(Term::stderr().size().1).saturating_sub(1);
        let row = |(name, (row, since)): (&String, &(Row, Instant))| row.line(name, since.elapsed(), width);
        let lines = std::iter::once(head()).chain(self.rows.iter().map(row));
        self.drawn = self.rows.len() + 1;
        lines.fold(up, |text, line| text + "\x1b[2K" + &truncate_str(&line, width, "…") + "\n")
    }
}

/// Of the whole demo.
pub(super) fn kubelet_restarts(node: &Node) -> u64 {
    node.unit(KUBELET_UNIT).starts.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_does_not_fit_ends_with_an_ellipsis() {
        let row = |message: &str| Row {
            stage: "Working".into(),
            runtime: "cri-resmgr",
            restarts: 1,
            message: message.to_owned(),
        };
        let width = BEFORE_MESSAGE + 10;
        let line = |message: &str| row(message).line("node-1", Duration::from_secs(1), width);
        assert!(line("2 steps ok").ends_with("  2 steps ok"), "{}", line("2 steps ok"));
        let cut = line("2 steps to do");
        assert!(cut.ends_with("  2 steps t…") && cut.chars().count() == width, "{cut}");
    }
}
