//! `recovery`: verdicts and what they amount to in; incidents and commands out. What concerns one service is kept by one
//! worker, in one operator.

use crate::Output;
use crate::active::CauseChange;
use crate::bursts::bursts;
use crate::chain::Draft;
use crate::commands::{Commands, Said, Word};
use crate::epochs::{Epochs, Moment};
use crate::incidents::{Incidents, News as IncidentNews, Situation};
use crate::known::Known;
use crate::minutes::Minute;
use crate::operators::epochwise::epochwise;
use crate::operators::fold::{Keys, route_of};
use crate::policy::{Order, Policy};
use crate::rules::Rules;
use crate::state::output;
use crate::topology::{Seen, Topology};
use crate::worker::Start;
use evenkeel_schemas::{Coordinates, Dataset, Dimension, Incident, Outcome, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;

/// What recovery hears of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum News {
    Verdict(Verdict),
    /// A verdict that stood before a restart, or begins or ends to stand and is no news.
    Standing(Verdict),
    Joined {
        service: String,
        node: String,
    },
    Left {
        service: String,
        node: String,
    },
    Outcome(Coordinates, Outcome),
    /// What a minute of a key showed.
    Minute(Minute),
    /// An order; every worker gets it, this is for one of them.
    Order(u64, Order),
    /// A request showed that one service calls another; every worker gets it.
    Called {
        worker: u64,
        caller: String,
        callee: String,
        until_us: i64,
    },
    /// A service is counted at a value of a dimension, or not any more; every worker gets it.
    Known {
        worker: u64,
        service: String,
        dimension: Dimension,
        came: bool,
    },
}

impl News {
    /// The minute it speaks of, if it does.
    pub fn minute(self) -> Option<Minute> {
        match self {
            Self::Minute(minute) => Some(minute),
            _ => None,
        }
    }

    /// Where it goes.
    pub fn route(&self) -> u64 {
        match self {
            Self::Verdict(verdict) | Self::Standing(verdict) => route_of(verdict.key.service()),
            Self::Joined { service, .. } | Self::Left { service, .. } => route_of(service),
            Self::Minute(minute) => route_of(minute.key.service()),
            Self::Outcome(_, outcome) => route_of(&outcome.service),
            Self::Order(worker, _) | Self::Known { worker, .. } | Self::Called { worker, .. } => *worker,
        }
    }
}

/// Decides what is done.
pub(crate) fn recovery<'s>(
    causes: Stream<'s, u64, Vec<CauseChange>>,
    news: Stream<'s, u64, Vec<News>>,
    epochs: &Epochs,
    start: &Start,
) -> Stream<'s, u64, Vec<Draft>> {
    let place = (news.scope().index() as u64, news.scope().peers() as u64);
    let mut services = Services::recovered(place, start);
    let causes = (causes, Exchange::new(|((_, (worker, _)), _, _): &CauseChange| *worker));
    let news = (news, Exchange::new(News::route));
    epochwise("recovery", causes, Some(news), epochs, move |now, causes, news, drafts, put| {
        let situations = services.situations(now, causes.into_iter().flatten());
        if !now.warm {
            services.step(now, situations, news.into_iter().flatten(), drafts, put);
        }
    })
}

/// The services of one worker, and what every worker knows.
struct Services {
    incidents: Incidents,
    topology: Topology,
    known: Known,
    commands: Keys<Commands>,
    /// Whether this worker keeps what was ordered for a restart, and says what became of it: one does.
    keeps: bool,
    /// Situations by epoch: differential may tell of several epochs at once.
    situations: BTreeMap<u64, BTreeMap<String, Situation>>,
}

impl Services {
    fn recovered(place @ (index, peers): (u64, u64), start: &Start) -> Self {
        let (tuning, state) = (&start.tuning, &start.recovered.state);
        let policy = Policy::recovered(state);
        let rules = Rules::recovered(tuning, state);
        let incidents = Incidents::recovered(rules.tuning(), state, place);
        let machine = Commands { rules, policy };
        Self {
            incidents,
            topology: Topology::recovered(state, place),
            known: Known::recovered(state),
            commands: Keys::recovered(machine, state, place),
            keeps: route_of("all") % peers == index,
            situations: BTreeMap::new(),
        }
    }

    /// What changed in this epoch, by service.
    fn situations(&mut self, now: Moment, changes: impl Iterator<Item = CauseChange>) -> Vec<(String, Situation)> {
        for ((service, (_, found)), at, sign) in changes {
            let situation = self.situations.entry(at).or_default().entry(service).or_insert(None);
            if sign > 0 {
                *situation = Some(found);
            }
        }
        // What was so before the first epoch is known already.
        self.situations = self.situations.split_off(&now.epoch.0);
        self.situations.remove(&now.epoch.0).unwrap_or_default().into_iter().collect()
    }

    fn step(
        &mut self,
        now: Moment,
        situations: Vec<(String, Situation)>,
        news: impl Iterator<Item = News>,
        drafts: &mut Vec<Draft>,
        put: &mut Vec<Output>,
    ) {
        let (mut verdicts, mut orders, mut words, mut seen) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for news in news {
            match news {
                News::Verdict(verdict) => verdicts.push(verdict),
                News::Standing(_) | News::Minute(_) => {}
                News::Joined { service, node } => words.push((service, Word::Joined(node))),
                News::Left { service, node } => words.push((service, Word::Left(node))),
                News::Outcome(at, outcome) => words.push((outcome.service.clone(), Word::Outcome(at, outcome))),
                News::Order(_, order) => orders.push(order),
                News::Called { caller, callee, until_us, .. } => seen.push(Seen { caller, callee, until_us }),
                News::Known { service, dimension, came, .. } => self.known.hear(&service, dimension, came),
            }
        }
        // Several detectors speak about one key, on workers of their own: here their words get an order.
        verdicts.sort_by(|a, b| (a.at_us, a).cmp(&(b.at_us, b)));
        orders.sort();
        self.obey(now, &orders, drafts, put);
        // Who judges heard the policies of this epoch before.
        let (epoch, policy) = (now.epoch.0, self.commands.machine.rules.version());
        verdicts.iter_mut().for_each(|it| (it.epoch, it.policy) = (epoch, policy));
        for verdict in &verdicts {
            let said = output(Dataset::Verdicts, verdict.key.to_json(), verdict);
            drafts.extend(Draft::of_verdict(verdict, &said));
            put.push(said);
        }

        let roster = &self.commands.machine.rules.tuning().roster;
        let decided = orders.iter().filter_map(|order| Word::ordered(order, roster));
        words.extend(decided.filter(|(service, _)| self.incidents.owns(service)));
        // What is wrong with a service may be the same as before, and no news; whether a trial fails, its node alone tells.
        let back = verdicts.iter().filter_map(|it| Some((it.key.service().to_owned(), bursts(it)?.to_owned())));
        words.extend(back.map(|(service, target)| (service, Word::Errors(target))));
        let touched = self.topology.step(now, seen, orders.iter().map(|order| &order.control), put);

        let news = IncidentNews { situations, touched, topology: &self.topology, known: &self.known };
        let said = self.incidents.step(now, news, put);
        said.incidents.iter().for_each(|incident| say_incident(incident, drafts, put));
        words.extend(said.words);

        let mut all = Vec::new();
        self.commands.step(now, words, &mut all, put);
        for said in &all {
            match said {
                Said::Command(it) => {
                    let said = output(Dataset::Commands, it.command_id.clone(), it);
                    drafts.push(Draft::of_command(it, &said));
                    put.push(said);
                }
                Said::Refused(it) => drafts.push(Draft::of_refused_word(it, now.now_us)),
            }
        }
    }

    /// Hears orders, in their order; one worker keeps what holds then, and says what became of a policy and of a broken glass.
    fn obey(&mut self, now: Moment, orders: &[Order], drafts: &mut Vec<Draft>, put: &mut Vec<Output>) {
        let Commands { rules, policy } = &mut self.commands.machine;
        if orders.is_empty() && !policy.glasses.is_due(now.now_us) {
            return;
        }
        let before = policy.clone();
        let mut glasses = policy.glasses.over(now.now_us);
        for order in orders {
            policy.hear(&order.control);
            match policy.glasses.hear(&order.control, &rules.tuning().roster, now) {
                Some(Ok(glass)) => glasses.push(glass),
                Some(Err(why)) if self.keeps => drafts.push(Draft::of_refused(order, now.now_us, why)),
                _ => {}
            }
            let Some(decided) = rules.hear(order, now) else { continue };
            if let Ok((old, _)) = &decided {
                policy.give_way(old, rules.tuning());
                self.incidents.follow(rules.tuning());
            }
            if self.keeps {
                drafts.push(Draft::of_policy(order, now.now_us, decided.as_ref().err()));
                put.extend(decided.ok().map(|(_, applied)| applied.kept()));
            }
        }
        if self.keeps {
            for glass in &glasses {
                drafts.push(Draft::of_glass(glass, now.now_us));
                say_incident(&glass.incident(now.now_us), drafts, put);
            }
            put.extend((*policy != before).then(|| policy.kept()));
        }
    }
}

fn say_incident(incident: &Incident, drafts: &mut Vec<Draft>, put: &mut Vec<Output>) {
    let said = output(Dataset::Incidents, incident.incident_id.clone(), incident);
    drafts.push(Draft::of_incident(incident, &said));
    put.push(said);
}
