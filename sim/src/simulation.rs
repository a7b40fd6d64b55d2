//! A run: clients and faults, then healing, then the last judgement.

use std::collections::BTreeMap;
use std::time::Duration;

use henge::config::Config;
use henge_client::Request;
use henge_types::{Key, Zone};

use crate::checker::{Checker, Kind, Violation};
use crate::client::{Client, Next};
use crate::features;
use crate::history::{History, Read};
use crate::mutations;
use crate::nemesis::{self, Fault};
use crate::rng::Rng;
use crate::scenario::Scenario;
use crate::trace::Watch;
use crate::world::{Crash, Pid, Setup, Step, World};
use operator::Errand;

mod ending;
mod operator;

/// Peers that may be in a world at all.
const PEERS_MAX: usize = 110;
/// A peer that ended is started again after this, if nothing else was planned.
const RESTART_AFTER: Duration = Duration::from_millis(500);

/// What became of a run.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// The hash of all that happened.
    pub hash: u64,
    /// How much happened.
    pub events: u64,
    /// How long it took, in the time of the simulation.
    pub time: Duration,
    /// Writes begun.
    pub writes: u64,
    /// Writes acknowledged.
    pub acked: u64,
    /// Gets answered.
    pub reads: u64,
    /// Gets that failed.
    pub reads_failed: u64,
    /// The promise that was broken, if one was.
    pub violation: Option<Violation>,
    /// What was written down.
    pub lines: Vec<String>,
}

/// One run under way.
#[derive(Debug)]
pub struct Simulation<'a> {
    scenario: &'a Scenario,
    world: World,
    clients: Vec<Client>,
    // Wake-ups of clients that are still meant.
    woken: BTreeMap<usize, u64>,
    history: History,
    tokens: BTreeMap<u64, Wake>,
    token: u64,
    rng: Rng,
    healing: bool,
    // Who is to go from the ring.
    errands: BTreeMap<Pid, Errand>,
}

#[derive(Debug, Clone, Copy)]
enum Wake {
    Client { client: usize },
    Fault { at: usize },
    FaultEnds { at: usize },
    Start { pid: Pid },
    Errand { pid: Pid },
    Look,
}

impl<'a> Simulation<'a> {
    /// Before the beginning.
    #[must_use]
    pub fn new(scenario: &'a Scenario, watch: Option<Watch>) -> Self {
        let world = World::new(Setup {
            seed: scenario.seed,
            network: scenario.network.clone(),
            disk: scenario.disk.clone(),
            drift_ppm: scenario.drift_ppm,
            seam: mutations::seam(scenario.mutation),
            watch,
        });
        let mut rng = Rng::new(scenario.seed, "simulation");
        let clients = (0..scenario.workload.clients)
            .map(|client| Client::new(Rng::new(scenario.seed ^ rng.draw(), &format!("client {client}"))))
            .collect();
        Self {
            scenario,
            world,
            clients,
            woken: BTreeMap::new(),
            history: History::default(),
            tokens: BTreeMap::new(),
            token: 0,
            rng,
            healing: false,
            errands: BTreeMap::new(),
        }
    }

    /// To the end.
    #[must_use]
    pub fn run(mut self) -> Report {
        let violation = self.live().and_then(|()| self.end()).err();
        if let Some(violation) = &violation {
            let now = self.world.now();
            self.world.trace().tell(now, None, || format!("VIOLATION {violation}"));
        }
        let (writes, acked) = self.history.counts();
        Report {
            seed: self.scenario.seed,
            hash: self.world.trace().hash(),
            events: self.world.trace().events(),
            time: self.world.now(),
            writes,
            acked,
            reads: self.history.reads,
            reads_failed: self.history.reads_failed,
            violation,
            lines: self.world.trace().lines().map(str::to_owned).collect(),
        }
    }

    // Phase 1: clients and faults.
    fn live(&mut self) -> Result<(), Violation> {
        for pid in 0..self.scenario.peers {
            self.add_peer(pid);
            let at =
                if pid == 0 { Duration::ZERO } else { self.rng.time(Duration::ZERO, Duration::from_secs(2)) };
            self.wake_at(at, Wake::Start { pid });
        }
        for client in 0..self.clients.len() {
            let at = self.rng.time(Duration::ZERO, Duration::from_secs(2));
            self.wake_client(client, at);
        }
        for (at, planned) in self.scenario.faults.iter().enumerate() {
            self.wake_at(planned.at, Wake::Fault { at });
        }
        self.run_until(self.scenario.duration)
    }

    fn add_peer(&mut self, pid: Pid) {
        // Now and then without parameters of its own: it takes those of the ring that it joins.
        let params = (pid == 0 || self.rng.chance(800)).then_some(self.scenario.params);
        let config = params.map_or_else(Config::new, |params| Config::new().with_params(params));
        let zone =
            pid.checked_rem(self.scenario.zones).and_then(|zone| Zone::new(format!("zone-{zone}")).ok());
        let config = config.with_zone(zone).with_evict_after(self.scenario.evict_after);
        let config = self.scenario.lease.iter().fold(config, |config, lease| config.with_lease(*lease));
        let config = self.scenario.gc_grace.iter().fold(config, |config, grace| config.with_gc_grace(*grace));
        let join: Vec<Pid> = match pid {
            0 => Vec::new(),
            _ if self.rng.chance(700) => vec![0],
            // Whoever comes later may be asked as well, as long as one of them is a member.
            _ => vec![0, self.rng.index(pid)],
        };
        self.world.add_peer(config, &join);
    }

    pub(crate) fn run_until(&mut self, end: Duration) -> Result<(), Violation> {
        let look = self.wake_at(end, Wake::Look);
        while let Some(step) = self.world.step() {
            if let Some(what) = self.world.failure() {
                return Err(Violation { kind: Kind::Contract, key: None, what });
            }
            if let Step::External(token) = step {
                if token == look {
                    self.tokens.remove(&token);
                    return Ok(());
                }
                self.on_token(token)?;
            }
            for (call, response) in self.world.take_replies() {
                let Some(client) = self.clients.iter().position(|c| c.waits_for(call)) else { continue };
                let (load, params) = (&self.scenario.workload, &self.scenario.params);
                if let Some(one) = self.clients.get_mut(client) {
                    let next = one.answered(&mut self.world, &mut self.history, load, params, response);
                    self.go_on(client, next)?;
                }
            }
        }
        Ok(())
    }

    fn wake_at(&mut self, at: Duration, wake: Wake) -> u64 {
        self.token += 1;
        self.tokens.insert(self.token, wake);
        self.world.schedule(at, self.token);
        self.token
    }

    fn wake_client(&mut self, client: usize, after: Duration) {
        let at = self.world.now() + after;
        let token = self.wake_at(at, Wake::Client { client });
        if let Some(old) = self.woken.insert(client, token) {
            self.tokens.remove(&old);
        }
    }

    fn on_token(&mut self, token: u64) -> Result<(), Violation> {
        match self.tokens.remove(&token) {
            None | Some(Wake::Look) => {}
            Some(Wake::Client { client }) => {
                let (load, params) = (&self.scenario.workload, &self.scenario.params);
                let more = !self.healing;
                if let Some(one) = self.clients.get_mut(client) {
                    let next = one.wake(&mut self.world, &mut self.history, load, params, more);
                    self.go_on(client, next)?;
                }
            }
            Some(Wake::Start { pid }) => self.start(pid),
            Some(Wake::Errand { pid }) => self.run_errand(pid),
            Some(Wake::Fault { at }) if !self.healing => self.begin_fault(at)?,
            Some(Wake::FaultEnds { at }) if !self.healing => self.end_fault(at),
            Some(Wake::Fault { .. } | Wake::FaultEnds { .. }) => {}
        }
        Ok(())
    }

    fn go_on(&mut self, client: usize, next: Next) -> Result<(), Violation> {
        match next {
            Next::Wake(after) => self.wake_client(client, after),
            Next::Judge(read, after) => {
                self.judge(&read)?;
                self.wake_client(client, after);
            }
            Next::Wronged(key, what) => {
                return Err(Violation { kind: Kind::Contract, key: Some(key), what });
            }
        }
        Ok(())
    }

    fn judge(&self, read: &Read) -> Result<(), Violation> {
        self.checker().judge(read)
    }

    pub(crate) fn checker(&self) -> Checker<'_> {
        Checker { history: &self.history, facts: self.world.facts(), params: &self.scenario.params }
    }

    // Starts a peer as a sensible operator would: one that lost everything is told whom to join.
    fn start(&mut self, pid: Pid) {
        if self.world.is_running(pid) || self.is_held(pid) {
            return;
        }
        let mut others = self.staying();
        others.retain(|other| *other != pid && self.world.has_saved(*other));
        if !self.world.has_saved(pid) && (pid > 0 || !others.is_empty()) {
            let join = if others.is_empty() { vec![0] } else { others };
            self.world.set_join(pid, &join);
        }
        self.world.start(pid);
    }

    fn begin_fault(&mut self, at: usize) -> Result<(), Violation> {
        let Some(planned) = self.scenario.faults.get(at) else { return Ok(()) };
        let ends = self.world.now() + planned.lasts;
        match &planned.fault {
            Fault::Join if self.world.len() < PEERS_MAX => {
                let pid = self.world.len();
                self.add_peer(pid);
                self.start(pid);
            }
            Fault::Join => {}
            Fault::Intrude { pid, key } => return self.intrude(*pid, *key),
            Fault::Rot { pid, key } => {
                if let Some(key) = self.scenario.workload.key(*key)
                    && (features::TODAY.repairs_many || !self.world.is_damaged(&key))
                {
                    self.world.damage(*pid, &key);
                }
            }
            Fault::Leave { pid } => self.ask_to_leave(*pid),
            Fault::Remove { by, pid, force, returns } => {
                self.plan_removal(*pid, *by, *force, *returns);
                self.wake_at(ends, Wake::FaultEnds { at });
            }
            // Some are told while they run, the others at their next start.
            Fault::Reweigh { pid, weight } if weight.is_multiple_of(2) => {
                let _ = self.world.call(*pid, &Request::Weight { weight: *weight });
            }
            Fault::Crash { pid, .. } | Fault::Stop { pid } | Fault::Reweigh { pid, .. } => {
                if self.world.is_running(*pid) {
                    nemesis::begin(&mut self.world, planned);
                }
                self.wake_at(ends, Wake::FaultEnds { at });
            }
            _ => {
                nemesis::begin(&mut self.world, planned);
                self.wake_at(ends, Wake::FaultEnds { at });
            }
        }
        Ok(())
    }

    fn end_fault(&mut self, at: usize) {
        let Some(planned) = self.scenario.faults.get(at) else { return };
        nemesis::end(&mut self.world, planned);
        if let Fault::Remove { pid, .. } = &planned.fault {
            self.end_removal(*pid);
        }
        if let Fault::Crash { pid, .. }
        | Fault::Stop { pid }
        | Fault::Reweigh { pid, .. }
        | Fault::Remove { pid, .. }
        | Fault::FullDisk { pid } = &planned.fault
        {
            // A peer that is still stopping is killed.
            if matches!(planned.fault, Fault::Stop { .. }) && self.world.is_running(*pid) {
                self.world.crash(*pid, Crash::Process);
            }
            let at = self.world.now() + RESTART_AFTER;
            self.wake_at(at, Wake::Start { pid: *pid });
        }
        if planned.fault == Fault::Blackout {
            for pid in 0..self.world.len() {
                let at = self.world.now() + self.rng.time(Duration::ZERO, RESTART_AFTER * 4);
                self.wake_at(at, Wake::Start { pid });
            }
        }
    }

    fn intrude(&mut self, pid: Pid, key: usize) -> Result<(), Violation> {
        let Some(key) = self.scenario.workload.key(key) else { return Ok(()) };
        match self.world.intrude(pid, &key) {
            Some(served) => Err(Violation { kind: Kind::Admitted, key: Some(key), what: served }),
            None => Ok(()),
        }
    }

    pub(crate) fn diverged(key: &Key, what: String) -> Violation {
        Violation { kind: Kind::Diverged, key: Some(key.clone()), what }
    }
}
