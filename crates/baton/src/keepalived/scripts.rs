//! `vrrp_script`: run again and again, or answered in this process when what they find out is recognised.
//!
//! Each script is a task that tells the result of every run; what it means is decided elsewhere. What cannot be run has
//! failed, and says so once.

use std::collections::BTreeMap;
use std::time::Duration;

use baton_config::keepalived::model::Script;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::native;
use super::program::{Ended, Program, Terms};

/// What is answered in this process costs little, so it is looked at so often at least.
const NATIVE: Duration = Duration::from_millis(250);

/// Results that wait to be handed on; a task waits when there are more.
const RESULTS: usize = 64;

/// One run is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ran {
    pub(super) script: String,
    pub(super) well: bool,
}

/// The running scripts.
pub(super) struct Scripts {
    running: BTreeMap<String, (Script, Terms, JoinHandle<()>)>,
    told: mpsc::Sender<Ran>,
}

impl Scripts {
    /// None yet, and where their results come out.
    pub(super) fn new() -> (Scripts, mpsc::Receiver<Ran>) {
        let (told, results) = mpsc::channel(RESULTS);
        (Scripts { running: BTreeMap::new(), told }, results)
    }

    /// Starts what is new, ends what is gone. What did not change goes on with what it knows.
    pub(super) fn configure(&mut self, scripts: &[Script], terms: &Terms) {
        let same = |(script, before, _): &(Script, Terms, JoinHandle<()>)| scripts.contains(script) && before == terms;
        self.running.retain(|_, running| {
            let stays = same(running);
            if !stays {
                running.2.abort();
            }
            stays
        });
        for script in scripts {
            if self.running.contains_key(&script.name) {
                continue;
            }
            let task = tokio::spawn(watch(script.clone(), terms.clone(), self.told.clone()));
            self.running.insert(script.name.clone(), (script.clone(), terms.clone(), task));
        }
    }
}

impl Drop for Scripts {
    fn drop(&mut self) {
        for (_, _, task) in self.running.values() {
            task.abort();
        }
    }
}

async fn watch(script: Script, terms: Terms, told: mpsc::Sender<Ran>) {
    let every = match &script.native {
        Some(native) => {
            info!("VRRP_Script({}) is answered without running it: {}", script.name, native::describe(native));
            script.interval.min(NATIVE)
        }
        None => script.interval,
    };
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut last = None;
    loop {
        ticks.tick().await;
        let result = check(&script, &terms).await;
        if result != last.clone().unwrap_or(Ok(()))
            && let Err(why) = &result
        {
            warn!("VRRP_Script({}): {why}", script.name);
        }
        if told.send(Ran { script: script.name.clone(), well: result.is_ok() }).await.is_err() {
            return;
        }
        last = Some(result);
    }
}

async fn check(script: &Script, terms: &Terms) -> Result<(), String> {
    if let Some(native) = &script.native {
        return match tokio::time::timeout(script.timeout, native::ask(native)).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {:?}", script.timeout)),
        };
    }
    // Looked up each time: it may come later.
    match Program::find(&script.command, terms)?.run(script.timeout).await {
        Ended::Code(0) => Ok(()),
        Ended::Code(code) => Err(format!("exited with status {code}")),
        Ended::Signal => Err("ended by a signal".to_owned()),
        Ended::TimedOut => Err(format!("ended: it took longer than {:?}", script.timeout)),
        Ended::NotStarted(why) => Err(why),
    }
}
