//! One round of the agent, driven like the daemon's loop: input events, one commit, effects.
//!
//! A kill may come between any two of these steps. A round killed before its commit has no effect;
//! one killed after it has its full effect, but no client received a reply.

use crate::model::{Known, Model};
use crate::people::{Wish, wish};
use crate::tills::Told;
use crate::upstream::{Fate, Meaning, header};
use crate::vfs::machine::on;
use crate::world::{HOUR, Happening, Life, MINUTE, SECOND, Waiting, World};
use resyncd::agent::questions::{Answer, answer};
use resyncd::agent::{ClientId, Dispatch, Effect, Event, Notification, Peer, ReaderRequest, Step, StepKind};
use resyncd::ids::Seq;
use resyncd::io::queue::Following;
use resyncd::policy::ending::Ending;
use resyncd::policy::ending::Target;
use resyncd::policy::probe::ProbeEnd;
use resyncd::store::reader::Reader;
use resyncd::wire::request::Socket;
use serde_json::{Value, json};
use std::time::Duration;

/// The reason of an operation in the audit, by which its lines are found again.
fn reason_of(asked: u64) -> String {
    format!("wish {asked}")
}

/// The whole file is compared once in this many rounds.
const LOOK_EVERY: u64 = 40;

impl World {
    /// Ends the round: the agent's own work, the commit, and its effects.
    pub(crate) fn round(&mut self) {
        let now = self.now();
        if self.life.is_none() {
            return;
        }
        // As often as the daemon reports it.
        if self.time - self.told_free_at >= SECOND {
            self.tell_free_space();
        }
        let may_miss = self.is_troubled() || self.disk_low || self.commits_broken;
        self.model.archives = !self.config.retention.delivered.is_zero() && !may_miss;
        let before = self.before_the_round();
        let Some(life) = &mut self.life else { return };
        life.agent.tick(now);
        if self.kill_perhaps(300) {
            return;
        }
        let Some(life) = &mut self.life else { return };
        let effects = life.agent.finish_round(now);
        if on(|machine| machine.is_dead()) {
            self.died_in_the_round(before);
            return;
        }
        on(|machine| machine.dies_at = None);
        self.rounds += 1;
        self.see_retries(&effects);
        if before.is_some() || self.is_troubled() {
            self.ended_in_trouble(before);
        } else {
            let table = self.take_table();
            self.model.committed(&table, &self.upstream, self.commits_broken);
            self.keep_table(table);
        }
        let healthy = self.time > self.troubled_until;
        promise!(
            !healthy || self.model.unwritten_outcomes() == 0,
            "progress",
            "outcomes are not written: {:?}",
            self.model
        );
        self.outcomes_are_written();
        if self.kill_perhaps(300) {
            return;
        }
        for effect in effects {
            if self.kill_perhaps(1000) {
                return;
            }
            self.carry_out(effect);
        }
        if self.rounds.is_multiple_of(LOOK_EVERY) && !self.is_troubled() {
            self.with_table(Model::compare_all);
        }
        self.close_if_stopped();
    }

    // ---- input events

    /// Applications record, one or several lines at once.
    pub(crate) fn record_some(&mut self) {
        let count = if self.random.bool() { 1 } else { self.random.usize(1..7) };
        let mut last: Option<(u32, ClientId)> = None;
        for _ in 0..count {
            let n = self.tills.next(&mut self.random);
            let submission = &self.tills.submissions[n];
            let (uid, request) = (submission.uid, submission.request.clone());
            let client = match last {
                Some((same, client)) if same == uid && self.random.bool() => client,
                _ => self.new_client(),
            };
            last = Some((uid, client));
            let socket = if request["op"] == "import" { Socket::Admin } else { Socket::App };
            if self.life.is_some() && !self.kill_perhaps(1000) {
                self.say(client, socket, uid, request, Waiting::Record(n));
            }
        }
    }

    pub(crate) fn ask_something(&mut self) {
        if self.life.is_some() {
            if !self.config.retention.delivered.is_zero() && self.random.u8(0..8) == 0 {
                return self.replay_something();
            }
            let (request, socket, wish) = wish(&self.model, &mut self.random);
            self.wish(request, socket, wish);
        }
    }

    /// A client's line, on its own connection.
    pub(crate) fn wish(&mut self, request: Value, socket: Socket, wish: Wish) {
        match wish {
            Wish::Edit { ref id, ref payload } => self.model.edit_wished(id, payload),
            Wish::Pause => self.model.maybe_paused = true,
            Wish::Discard { ref seqs, let_followers } => self.model.unwanted(seqs, let_followers),
            Wish::DiscardMatching => {
                let all: Vec<i64> = self.model.live().map(|(seq, _)| *seq).collect();
                self.model.unwanted(&all, false);
            }
            Wish::Resume => self.model.paused = false, // The pause may end from here on.
            _ => {}
        }
        let client = self.new_client();
        self.say(client, socket, 0, request, Waiting::Wish(wish));
    }

    fn new_client(&mut self) -> ClientId {
        self.asked += 1;
        ClientId(self.asked)
    }

    fn say(&mut self, client: ClientId, socket: Socket, uid: u32, mut request: Value, waits: Waiting) {
        self.asked += 1;
        request["ref"] = self.asked.into();
        if matches!(waits, Waiting::Wish(ref wish) if wish.is_of_many()) {
            request["reason"] = reason_of(self.asked).into();
        }
        let line = request.to_string();
        self.trace.add(|| format!("{} → {line}", client.0));
        self.waiting.entry(client).or_default().push_back((self.asked, waits));
        let peer = Peer { uid, pid: 7, name: None };
        let event = Event::Line { client, socket, peer: &peer, line: line.as_bytes() };
        let now = self.now();
        self.life.as_mut().expect("an agent").agent.handle(now, event);
    }

    /// Hands a result to the agent, if it is the agent that requested it.
    pub(crate) fn hand_in(&mut self, happening: Happening) {
        let now = self.now();
        let Some(life) = &mut self.life else { return };
        let (running, agent) = (life.number, &mut life.agent);
        match happening {
            Happening::AttemptEnded { life, seq, fate } if life == running => self.tried(life, seq, *fate),
            Happening::Probed { life, end } if life == running => {
                self.trace.add(|| format!("probed: {end:?}"));
                self.model.probed(matches!(end, ProbeEnd::Answered { .. }));
                agent.handle(now, Event::Probed { upstream: 0, end, date: Some(now.wall) });
            }
            Happening::Question { life, inquiry } if life == running => {
                if self.is_file_open() {
                    self.read(&inquiry);
                } else {
                    self.plan(SECOND, Happening::Question { life, inquiry });
                }
            }
            _ => {}
        }
    }

    /// A sender's request has ended; the sender continues with a prefetched request, or releases it.
    fn tried(&mut self, life: u32, seq: i64, fate: Fate) {
        self.trace.add(|| format!("tried {seq}: {:?}", fate.ending));
        let now = self.now();
        let next = if fate.meaning == Meaning::Accepted { self.follow() } else { None };
        if fate.meaning != Meaning::Accepted {
            self.recall();
        }
        self.model.tried(seq, &fate, now.agent.as_millis());
        let took = Duration::from_millis(fate.ends_after.unsigned_abs());
        let step = Step { kind: StepKind::Deliver, ending: fate.ending, took };
        let agent = &mut self.life.as_mut().expect("it runs").agent;
        agent.handle(now, Event::AttemptEnded { seq: Seq(seq), steps: vec![step] });
        if let Some(next) = next {
            self.begin(life, &next);
        }
    }

    /// A prefetched request follows one that was accepted.
    fn follow(&mut self) -> Option<Dispatch> {
        let now = self.now();
        let life = self.life.as_mut().expect("it runs");
        let Following::Ready(next) = life.held.follow() else { return None };
        life.agent.handle(now, Event::Begun { seq: next.seq, at: now.agent });
        Some(next)
    }

    fn recall(&mut self) {
        let now = self.now();
        let life = self.life.as_mut().expect("it runs");
        let back: Vec<Seq> = life.held.recall().into_iter().map(|dispatch| dispatch.seq).collect();
        self.trace.add(|| format!("given back: {back:?}"));
        self.model.given_up(&back);
        life.agent.handle(now, Event::Unsent(back));
    }

    /// Some of the prefetched requests are sent now.
    fn advance(&mut self, life: u32, most: usize) {
        let now = self.now();
        let Life { held, agent, .. } = self.life.as_mut().expect("it runs");
        held.advance(most, |dispatch| {
            agent.handle(now, Event::Begun { seq: dispatch.seq, at: now.agent });
        });
        while let Some(next) = self.life.as_mut().expect("it runs").held.take() {
            self.begin(life, &next);
        }
    }

    /// The reader answers from committed data.
    fn read(&mut self, inquiry: &ReaderRequest) {
        let reader = Reader::open(&self.settings).expect("the file can be read");
        let now = self.now();
        match answer(&reader, inquiry) {
            Answer::Line(line) => self.told(inquiry.client, &line),
            Answer::Damaged(_, error) => panic!("disk: {error}"),
            Answer::MeanRetries(mean) => {
                self.life.as_mut().expect("an agent").agent.handle(now, Event::MeanRetries(mean));
            }
            Answer::Selected(found) => {
                let seqs: Vec<i64> = found.as_ref().expect("a selection").iter().map(|seq| seq.0).collect();
                let wish =
                    self.waiting.get(&inquiry.client).and_then(|all| all.front()).map(|(_, waits)| waits.clone());
                match wish {
                    Some(Waiting::Wish(Wish::RetryMatching { reset })) => self.model.retried(&seqs, reset),
                    Some(Waiting::Wish(Wish::Flush)) => self.model.flushed(&seqs),
                    Some(Waiting::Wish(Wish::Release | Wish::DiscardMatching)) => {}
                    other => panic!("protocol: a selection of {seqs:?} for {other:?}"),
                }
                let event = Event::Selected { client: inquiry.client, found };
                self.life.as_mut().expect("an agent").agent.handle(now, event);
            }
        }
    }

    pub(crate) fn tell_free_space(&mut self) {
        self.told_free_at = self.time;
        let free = if self.disk_low { 1 } else { 1 << 40 };
        let now = self.now();
        if let Some(life) = &mut self.life {
            life.agent.handle(now, Event::DiskFree(free));
        }
    }

    /// SIGTERM.
    pub(crate) fn stop(&mut self) {
        let now = self.now();
        if let Some(life) = &mut self.life {
            self.trace.add(|| "stop".to_owned());
            self.stopping = true;
            life.agent.handle(now, Event::Stop);
        }
    }

    fn close_if_stopped(&mut self) {
        let done = |life: &mut crate::world::Life| life.agent.in_flight() == 0 && life.agent.unwritten_outcomes() == 0;
        if !self.stopping || !self.life.as_mut().is_some_and(done) {
            return;
        }
        let life = self.life.take().expect("it runs");
        let closed = life.agent.close();
        promise!(closed.is_ok() || self.disk.is_faulty(), "shutdown", "the store does not close: {closed:?}");
        self.trace.add(|| "closed".to_owned());
        self.buried();
        self.model.killed();
        self.plan_within(MINUTE, Happening::Start);
    }

    // ---- effects

    fn carry_out(&mut self, effect: Effect) {
        let life = self.life.as_ref().expect("it runs").number;
        match effect {
            Effect::Reply { client, line } => self.told(client, &line),
            Effect::Tell(telling) => self.hear(&telling),
            Effect::Ask(inquiry) => {
                let after = self.random.i64(0..200);
                self.plan(after, Happening::Question { life, inquiry });
            }
            Effect::Send(dispatch) if dispatch.ahead => {
                self.trace.add(|| format!("held ready: {}", dispatch.seq));
                self.model.held_ready(dispatch.seq.0);
                self.life.as_mut().expect("it runs").held.hold(*dispatch);
            }
            Effect::Send(dispatch) => self.begin(life, &dispatch),
            Effect::Advance { most, .. } => self.advance(life, most),
            Effect::Recall { .. } => self.recall(),
            Effect::Probe { upstream } => {
                promise!(upstream == 0, "probe", "there is no upstream {upstream}");
                self.trace.add(|| "probe".to_owned());
                self.model.probe_begins();
                let (ending, after) = self.upstream.probe(self.wall(), &mut self.random);
                let target = Target::of(&self.config.upstreams[0].probe.url);
                let took = Duration::from_millis(after.unsigned_abs());
                let end = ProbeEnd::of(ending, took, &target, self.wall());
                self.plan(after, Happening::Probed { life, end });
                self.meanwhile(4, after, Happening::OneMoreSale);
            }
            // The configuration does not change here, and no upstream needs a login.
            Effect::LogInAgain { .. } | Effect::Reread(_) | Effect::Reconfigured { .. } => {}
        }
    }

    /// A request is sent.
    fn begin(&mut self, life: u32, dispatch: &Dispatch) {
        let now = self.now();
        self.trace.add(|| format!("send {} try {}", dispatch.seq, header(dispatch, "Resync-Attempt")));
        if self.time <= self.troubled_until {
            self.adopt(); // A failed commit may have recorded or edited it, if the file was reopened in this round.
        }
        self.model.sends(dispatch, now.agent.as_millis());
        let fate = self.upstream.fate(dispatch, now.wall, &mut self.random);
        if let Some(after) = fate.taken_after {
            let (failure, key) = (header(dispatch, "Resync-Id"), header(dispatch, "Idempotency-Key"));
            self.plan(after, Happening::Taken { failure, key });
        }
        let timed_out = matches!(fate.ending, Ending::Broken(..)) && fate.ends_after > 30 * SECOND;
        promise!(!timed_out, "simulation", "a sender is never stuck longer than its time-out");
        if !self.calm {
            let often = if fate.ends_after > 2 * SECOND { 5 } else { 30 };
            self.meanwhile(often, fate.ends_after, Happening::OneMoreSale);
            self.meanwhile(often, fate.ends_after, Happening::OneMoreWish);
            self.meanwhile(often, fate.ends_after, Happening::MoodTurns);
            if self.random.u8(0..50) == 0 {
                let fault = Happening::some_fault(&mut self.random);
                self.plan(fate.ends_after, fault); // Just when the response arrives.
            }
        }
        self.plan(fate.ends_after, Happening::AttemptEnded { life, seq: dispatch.seq.0, fate: Box::new(fate) });
    }

    /// An alert of one kind is notified at most once an hour.
    fn hear(&mut self, telling: &Notification) {
        let now = self.now().agent.as_millis();
        let told = &mut self.life.as_mut().expect("it runs").told;
        for notice in &telling.notices {
            let notice: Value = serde_json::from_slice(notice).expect("a notice is JSON");
            let kind = notice["kind"].as_str().expect("a kind").to_owned();
            let last = told.insert(kind, now);
            promise!(last.is_none_or(|last| now - last >= HOUR), "alerts", "two notices within an hour: {notice}");
            self.trace.add(|| format!("told {notice}"));
        }
    }

    /// The agent reports operators' retries that this round applied, delivered or not.
    fn see_retries(&mut self, effects: &[Effect]) {
        for effect in effects {
            let Effect::Reply { client, line } = effect else { continue };
            let front = self.waiting.get(client).and_then(|all| all.front());
            if let Some((_, Waiting::Wish(Wish::Retry { seqs, reset }))) = front
                && line.starts_with(b"{\"ok\":true")
            {
                let alone = seqs.len() == 1 && self.model.is_in_flight(seqs[0]);
                promise!(!alone, "protocol", "{seqs:?} is in flight, and its retry is no conflict");
                self.model.retried(seqs, *reset);
            }
        }
    }

    // ---- replies to clients

    fn told(&mut self, client: ClientId, line: &[u8]) {
        let text = std::str::from_utf8(line).expect("UTF-8");
        self.trace.add(|| format!("{} ← {}", client.0, text.trim_end()));
        promise!(text.ends_with('\n') && text.matches('\n').count() == 1, "protocol", "not one line: {text:?}");
        let reply: Value = serde_json::from_str(text).expect("JSON");
        let waits = self.waiting.get_mut(&client).and_then(std::collections::VecDeque::pop_front);
        let Some((reference, waits)) = waits else { panic!("protocol: no client waits for {text}") };
        promise!(reply["ref"] == reference, "protocol", "the reply to {reference} is {text}");
        match waits {
            Waiting::Record(n) => self.recorded(n, &reply),
            Waiting::Wish(wish) => {
                if wish.is_of_many() {
                    self.counted_right(&reason_of(reference), &reply);
                }
                self.answered(&wish, &reply);
            }
        }
    }

    /// Replies describe what is on disk: the audit has as many lines of an operation as its reply
    /// says. After a `storage` reply, the last chunk may have been applied anyway.
    fn counted_right(&mut self, reason: &str, reply: &Value) {
        if !self.is_file_open() {
            return;
        }
        let found = self.with_table(|_, table| table.audited_for(reason));
        let told = if reply["ok"] == true { &reply["changed"] } else { &reply["error"]["changed"] };
        let said = told.as_u64().unwrap_or(0);
        let in_doubt = reply["error"]["code"] == "storage";
        let right = found == said || (in_doubt && found > said);
        promise!(right, "replies", "{found} were changed for {reason}, and the reply is {reply}");
    }

    fn recorded(&mut self, n: usize, reply: &Value) {
        let mut reply = reply.clone();
        if let Some(result) = reply["result"].as_str() {
            let present = result == "present";
            (reply["duplicate"], reply["status"]) = (present.into(), "pending".into());
        }
        let (reply, submission) = (&reply, &mut self.tills.submissions[n]);
        if reply["ok"] == true {
            promise!(
                submission.faulty.is_none(),
                "refused means absent",
                "a faulty record was accepted: {submission:?}"
            );
            let undelivered = reply["status"] == "discarded" || reply["status"] == "cleaned";
            if let (Told::Recorded(first), true) = (submission.told, undelivered) {
                let known = &self.model.known[&first];
                promise!(known.left && reply["id"] == known.id, "durability", "{first} again is {reply}: {known:?}");
                return;
            }
            let (id, seq) = (reply["id"].as_str().expect("an id"), reply["seq"].as_i64().expect("a number"));
            if let Told::Recorded(first) = submission.told {
                promise!(
                    seq == self.model.now(first) && reply["duplicate"] == true,
                    "durability",
                    "{first} again is {reply}"
                );
                let known = &self.model.known[&seq];
                promise!(known.id == id, "durability", "{seq} was {}, the same again is {reply}", known.id);
                let left = reply["status"] == "delivered";
                promise!(
                    left <= (known.left || self.model.is_in_flight(seq)),
                    "durability",
                    "{reply} was never accepted"
                );
                return;
            }
            promise!(reply["duplicate"] == false, "durability", "the first one got no reply: {reply}, {submission:?}");
            submission.told = Told::Recorded(seq);
            let key = submission.key.as_deref();
            let known = Known::new(id, &submission.order, &submission.raw, key, &submission.entity_id);
            self.model.learn(seq, known);
            return;
        }
        let code = reply["error"]["code"].as_str().expect("a code");
        let expected = match code {
            "storage" => self.time <= self.troubled_until,
            "disk_full" => self.disk_low || self.time <= self.troubled_until,
            "full" => self.config.limits.max_failures < 1000,
            "shutting_down" => self.stopping,
            other => submission.faulty == Some(other),
        };
        promise!(expected, "protocol", "a record is rejected without a reason: {reply}");
        if !matches!(submission.told, Told::Recorded(_)) {
            // (Earlier doubts remain: an agent that refuses everything has not checked.)
            let in_doubt = code == "storage" || self.disk.doubts.contains(&n);
            if in_doubt {
                self.disk.doubts.insert(n);
            }
            submission.told = if in_doubt { Told::Nothing } else { Told::Rejected };
        }
    }

    fn answered(&mut self, wish: &Wish, reply: &Value) {
        let ok = reply["ok"] == true;
        if ok {
            self.reserve_is_for_outcomes(wish);
        }
        let code = reply["error"]["code"].as_str().unwrap_or_default();
        if code == "storage" || code == "disk_full" {
            let reserved = code == "disk_full" && self.disk_low;
            promise!(reserved || self.time <= self.troubled_until, "protocol", "{wish:?} got {reply}");
            self.in_doubt(wish, reply);
            return;
        }
        match wish {
            // The requested failures may have left, or been sent, in the same round.
            Wish::Retry { .. } | Wish::Discard { .. } => {
                promise!(ok || ["conflict", "not_found"].contains(&code), "protocol", "{reply}");
            }
            // A later one of its order may be under way, or it was discarded in a later life.
            Wish::Replay { seq } => {
                promise!(ok || code == "shutting_down", "protocol", "{reply}");
                if ok {
                    self.is_back(*seq, &reply["rows"][0]);
                }
            }
            Wish::ReplayPart { order, seqs } => self.part_is_back(order, seqs, reply),
            Wish::Edit { id, .. } => {
                promise!(ok || ["conflict", "not_found"].contains(&code), "protocol", "{reply}");
                if ok {
                    self.model.edit_acknowledged(id);
                }
            }
            Wish::Get { seq } => {
                let known = &self.model.known[&self.model.now(*seq)];
                promise!(ok != known.left, "durability", "{seq} is {reply}, and {known:?}");
                if ok {
                    let failure = &reply["failure"];
                    let critical = failure["status"] == "critical";
                    promise!(critical == known.critical, "budget", "{reply} is {known:?}");
                    promise!(failure["retry_count"] == known.retry_count, "budget", "{reply} is {known:?}");
                }
            }
            Wish::Unsent => {
                let live = self.model.live().count();
                promise!(reply["unsent"] == live, "durability", "{live} are live, the agent says {reply}");
            }
            Wish::Pause => {
                promise!(ok, "protocol", "{reply}");
                self.model.paused = true;
            }
            Wish::Resume => {
                promise!(ok, "protocol", "{reply}");
                (self.model.paused, self.model.maybe_paused) = (false, false);
            }
            Wish::RetryMatching { .. } | Wish::DiscardMatching | Wish::Release | Wish::Flush | Wish::Look => {
                promise!(ok || code == "not_found", "protocol", "{wish:?} got {reply}");
            }
        }
    }

    // ---- after all faults

    /// An operator ends the pause, if there may be one; otherwise no operator action is needed.
    pub(crate) fn resume(&mut self) {
        if self.model.maybe_paused {
            self.wish(json!({"op": "resume"}), Socket::Admin, Wish::Resume);
            self.round();
        }
    }

    /// Resets the budget of all failures, also of held ones.
    pub(crate) fn retry_all(&mut self) {
        let line = json!({"op": "release", "filter": {"status": "held"}});
        self.wish(line, Socket::Admin, Wish::Release);
        self.round();
        self.calm_for(MINUTE);
        let line = json!({"op": "retry", "all": true, "reset": true});
        self.wish(line, Socket::Admin, Wish::RetryMatching { reset: true });
        self.round();
    }

    /// A sale that nothing blocks. Returns its number when it was recorded.
    pub(crate) fn sell(&mut self) -> Option<i64> {
        let n = self.tills.last_sale();
        let client = self.new_client();
        self.say(client, Socket::App, 1000, self.tills.submissions[n].request.clone(), Waiting::Record(n));
        self.round();
        match self.tills.submissions[n].told {
            Told::Recorded(seq) => Some(seq),
            Told::Nothing | Told::Rejected => None,
        }
    }

    /// On a quiet terminal with a good upstream, an unsent sale is delivered within 3 s, or with the next
    /// canary where only poisoned failures are left.
    pub(crate) fn record_last_sale(&mut self) {
        let patience = if self.model.only_needs_persons(&self.upstream) { HOUR } else { 3 * SECOND };
        let Some(seq) = self.sell() else { return };
        self.calm_for(patience);
        promise!(self.model.known[&seq].left, "progress", "{seq} is not there in time: {:?}", self.life);
    }
}
