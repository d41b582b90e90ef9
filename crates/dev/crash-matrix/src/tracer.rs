//! Runs a program under `ptrace(2)`: each of its operations on the node is counted, and the chosen ones go wrong.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::sync::watch;

use crate::operation::{Call, Caller, Kind, Operation, operation};

/// What goes wrong at an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The process is killed; the call is not made.
    Kill,
    /// The call is not made and gives this error.
    Fail(Errno),
}

/// Which operations go wrong, and how.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// These only; they are counted from 1.
    pub(crate) concerns: fn(Kind) -> bool,
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) effect: Effect,
}

/// How closely a program is watched.
#[derive(Debug, Clone)]
pub(crate) enum Watch {
    /// It runs as ever.
    Not,
    /// Its operations are seen.
    See,
    /// And some of them go wrong.
    Inject(Fault),
}

/// What was seen so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) operations: Vec<Operation>,
    /// What went wrong.
    pub(crate) injected_at: Vec<Operation>,
    /// The process has ended.
    pub(crate) ended: bool,
}

#[derive(Debug)]
struct Shared {
    seen: watch::Sender<Seen>,
    fault: Mutex<Option<Fault>>,
}

impl Shared {
    fn fault(&self) -> MutexGuard<'_, Option<Fault>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A program that runs under observation; it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Tracee {
    pid: Pid,
    shared: Arc<Shared>,
}

impl Tracee {
    /// Starts a program, of which what it does below `root` counts.
    pub(crate) fn start(command: &Command, log: File, root: PathBuf, watch: Watch) -> anyhow::Result<Self> {
        // The shell waits until it is traced, and then becomes the program.
        let mut held = Command::new("/bin/sh");
        held.env_clear().args(["-c", "read -r go && exec \"$@\"", "sh"]);
        held.arg(command.get_program()).args(command.get_args());
        held.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        let (is_traced, fault) = match watch {
            Watch::Not => (false, None),
            Watch::See => (true, None),
            Watch::Inject(fault) => (true, Some(fault)),
        };
        let shared = Arc::new(Shared { seen: watch::Sender::default(), fault: Mutex::new(fault) });
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let watched = Arc::clone(&shared);
        // Whoever traces a process has to be one and the same thread all the time.
        std::thread::spawn(move || {
            let begun = held.spawn().context("cannot run /bin/sh").and_then(|child| begin(child, &root, is_traced));
            match begun {
                Ok(mut trace) => {
                    drop(sender.send(Ok(trace.main)));
                    if is_traced {
                        trace.follow(&watched);
                    }
                    drop(trace.child.wait());
                }
                Err(error) => drop(sender.send(Err(error))),
            }
            watched.seen.send_modify(|seen| seen.ended = true);
        });
        let pid = receiver.recv().context("the tracer has ended")??;
        Ok(Self { pid, shared })
    }

    /// What it has done so far.
    pub(crate) fn seen(&self) -> watch::Receiver<Seen> {
        self.shared.seen.subscribe()
    }

    /// From now on nothing goes wrong.
    pub(crate) fn lift(&self) {
        *self.shared.fault() = None;
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(&self) {
        // It may have ended by itself.
        let _gone = kill(self.pid, Signal::SIGTERM);
        drop(self.seen().wait_for(|seen| seen.ended).await);
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        if !self.shared.seen.borrow().ended {
            let _gone = kill(self.pid, Signal::SIGKILL);
        }
    }
}

fn begin(mut child: Child, root: &Path, is_traced: bool) -> anyhow::Result<Trace> {
    let main = Pid::from_raw(i32::try_from(child.id())?);
    if is_traced {
        let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL;
        ptrace::seize(main, options).context("cannot trace the agent")?;
        ptrace::interrupt(main)?;
    }
    child.stdin.take().context("the shell has no input")?.write_all(b"go\n")?;
    Ok(Trace { child, main, root: root.display().to_string(), threads: BTreeMap::new() })
}

/// Where a thread is.
#[derive(Debug, Clone, Copy, Default)]
struct Thread {
    in_call: bool,
    /// The call is not made; this is what it gives.
    gives: Option<Errno>,
}

#[derive(Debug)]
struct Trace {
    child: Child,
    main: Pid,
    root: String,
    threads: BTreeMap<Pid, Thread>,
}

impl Trace {
    /// Until the process has ended.
    fn follow(&mut self, shared: &Shared) {
        loop {
            // Not the children of other threads: somebody else waits for those.
            let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
            let (thread, signal) = match waitpid(None, Some(flags)) {
                Ok(WaitStatus::PtraceSyscall(thread)) => {
                    // A thread that was killed meanwhile has no registers any more.
                    let _gone = self.call(thread, shared);
                    (thread, None)
                }
                Ok(WaitStatus::Stopped(thread, signal)) => (thread, Some(signal)),
                Ok(WaitStatus::PtraceEvent(thread, ..)) => (thread, None),
                Ok(WaitStatus::Exited(thread, _) | WaitStatus::Signaled(thread, ..)) if thread == self.main => return,
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(_no_child) => return,
            };
            let _gone = ptrace::syscall(thread, signal);
        }
    }

    fn call(&mut self, pid: Pid, shared: &Shared) -> nix::Result<()> {
        let thread = self.threads.entry(pid).or_default();
        thread.in_call = !thread.in_call;
        if !thread.in_call {
            if let Some(error) = thread.gives.take() {
                let mut registers = ptrace::getregs(pid)?;
                registers.rax = i64::from(error as i32).wrapping_neg().cast_unsigned();
                ptrace::setregs(pid, registers)?;
            }
            return Ok(());
        }
        let mut registers = ptrace::getregs(pid)?;
        let call = Call {
            number: registers.orig_rax.cast_signed(),
            arguments: [registers.rdi, registers.rsi, registers.rdx, registers.r10],
        };
        let Some(operation) = operation(call, &Process(pid), &self.root) else { return Ok(()) };
        match strikes(&operation, shared) {
            Some(Effect::Kill) => kill(self.main, Signal::SIGKILL)?,
            Some(Effect::Fail(error)) => {
                // No call has this number.
                registers.orig_rax = u64::MAX;
                ptrace::setregs(pid, registers)?;
                thread.gives = Some(error);
            }
            None => {}
        }
        Ok(())
    }
}

/// Counts an operation; what goes wrong with it.
fn strikes(operation: &Operation, shared: &Shared) -> Option<Effect> {
    let fault = shared.fault().clone();
    let mut effect = None;
    shared.seen.send_modify(|seen| {
        seen.operations.push(operation.clone());
        let Some(fault) = fault.filter(|fault| (fault.concerns)(operation.kind)) else { return };
        let number = seen.operations.iter().filter(|seen| (fault.concerns)(seen.kind)).count();
        if (fault.from..=fault.to).contains(&number) {
            seen.injected_at.push(operation.clone());
            effect = Some(fault.effect);
        }
    });
    effect
}

/// A thread that stands still.
struct Process(Pid);

impl Process {
    fn memory(&self, address: u64, buffer: &mut [u8]) -> Option<usize> {
        File::open(format!("/proc/{}/mem", self.0)).ok()?.read_at(buffer, address).ok()
    }
}

impl Caller for Process {
    fn descriptor(&self, descriptor: u64) -> Option<String> {
        let link = std::fs::read_link(format!("/proc/{}/fd/{descriptor}", self.0)).ok()?;
        link.into_os_string().into_string().ok()
    }

    fn text(&self, address: u64) -> Option<String> {
        // A page at a time: what is behind the string's last one may not be there.
        let (mut bytes, mut at) = (Vec::new(), address);
        while bytes.len() < 4096 {
            let mut page = vec![0; 4096 - usize::try_from(at % 4096).ok()?];
            let count = self.memory(at, &mut page)?;
            let end = page[..count].iter().position(|byte| *byte == 0);
            bytes.extend_from_slice(&page[..end.unwrap_or(count)]);
            if end.is_some() {
                break;
            }
            at += u64::try_from(count).ok()?;
        }
        String::from_utf8(bytes).ok()
    }

    fn bytes(&self, address: u64, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        let read = self.memory(address, &mut bytes)?;
        bytes.truncate(read);
        Some(bytes)
    }
}
