//! Timers: starting a unit a while after the timer's own start, and after each end of that unit.

use std::time::Duration;

use tokio::sync::oneshot;

use super::manager::{JobKind, Manager};

impl Manager {
    pub(super) fn start_timer(&self, name: &str) -> &'static str {
        if self.with(name, |unit| unit.active == "active") {
            return "done";
        }
        let settings = self.with(name, |unit| unit.files.settings.clone());
        let seconds = |setting: &str| settings.seconds("Timer", setting).map(Duration::from_secs_f64);
        let first = seconds("OnActiveSec").or_else(|| seconds("OnBootSec"));
        let then = seconds("OnUnitInactiveSec");
        let target = settings.last("Timer", "Unit").map_or_else(|| name.replace(".timer", ".service"), str::to_owned);
        let (stop, mut stopped) = oneshot::channel::<oneshot::Sender<()>>();
        self.turn(name, |unit| {
            unit.run += 1;
            (unit.active, unit.sub, unit.stop) = ("active", "waiting", Some(stop));
        });
        self.spawn(|manager| async move {
            let ticking = async {
                let mut pause = first;
                while let Some(time) = pause {
                    tokio::time::sleep(time).await;
                    let mut signals = manager.signals();
                    drop(manager.queue(&target, JobKind::Start));
                    while !manager.with(&target, |unit| unit.is_down()) || is_queued(&manager, &target) {
                        match signals.recv().await {
                            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
                            // Any other is as good a moment to look.
                            Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                        }
                    }
                    pause = then;
                }
            };
            tokio::select! {
                () = ticking => {}
                // Stopped, or forgotten.
                _ = &mut stopped => {}
            }
        });
        "done"
    }

    pub(super) fn stop_timer(&self, name: &str) {
        self.turn(name, |unit| {
            // Dropping the sender ends the task.
            unit.stop = None;
            (unit.active, unit.sub) = ("inactive", "dead");
        });
    }
}

fn is_queued(manager: &Manager, name: &str) -> bool {
    manager.jobs().iter().any(|(_, unit, _)| unit == name)
}
