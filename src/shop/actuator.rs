//! How the shop answers commands, and what they do to it.

use super::Shop;
use super::agenda::{Effect, Happening};
use super::faults::{REST_US, RESTART_US, SCALE_US};
use super::world::Circuit;
use evenkeel_schemas::{Command, CommandKind, CommandState, Outcome, OutcomeStatus};

/// So many command ids are remembered, so that a command that comes twice is carried out once.
const REMEMBERED_COMMANDS: usize = 4096;

impl Shop {
    /// Answers a command that came in at `now_us`; if it is accepted, it takes effect [`super::Plan::effect_delay_us`]
    /// later, and never before what was already said ([`Shop::now_us`]).
    pub fn apply(&mut self, command: &Command, now_us: i64) -> Outcome {
        let (status, detail) = match self.accept(command, now_us) {
            Ok(detail) => (OutcomeStatus::Applied, detail),
            Err((status, detail)) => (status, detail),
        };
        let (command_id, service) = (command.command_id.clone(), command.service.clone());
        Outcome { event_time_us: now_us, command_id, service, status, detail: detail.to_owned() }
    }

    fn accept(&mut self, command: &Command, now_us: i64) -> Result<&'static str, (OutcomeStatus, &'static str)> {
        if self.remembered.contains(&command.command_id) {
            return Ok("was carried out before");
        }
        if command.state != CommandState::Issued {
            return Err((OutcomeStatus::Refused, "it was not issued: it is only written down, or waits for a person"));
        }
        if now_us > command.expires_us {
            return Err((OutcomeStatus::Refused, "expired"));
        }
        if !is_known(command.kind) {
            return Err((OutcomeStatus::Failed, "the shop has no means for it"));
        }
        let effect = self.effect(command).ok_or((OutcomeStatus::Failed, "no such service or node"))?;
        if command.kind == CommandKind::RestartNode && effect.whole {
            return Err((OutcomeStatus::Failed, "a restart needs a node"));
        }
        if self.remembered.len() == REMEMBERED_COMMANDS {
            self.remembered.pop_front();
        }
        self.remembered.push_back(command.command_id.clone());
        self.agenda.enter(now_us.max(self.now_us) + self.effect_delay_us, Happening::Effect(effect));
        Ok("accepted")
    }

    /// What a command is about; `None` if the shop has no such service or node.
    fn effect(&self, command: &Command) -> Option<Effect> {
        let service = self.world.services.iter().position(|service| service.name == command.service)?;
        let whole = command.target == command.service;
        let nodes = self.world.nodes_of(&command.service, (!whole).then_some(command.target.as_str()));
        let (kind, command_id) = (command.kind, command.command_id.clone());
        (!nodes.is_empty()).then_some(Effect { kind, service, nodes, whole, command_id })
    }

    /// A command takes effect.
    pub(super) fn take_effect(&mut self, effect: &Effect, now_us: i64) {
        match effect.kind {
            CommandKind::TripCircuit => {
                self.set_circuit(effect, Circuit::Open);
                self.heal(effect, now_us + REST_US);
            }
            CommandKind::HalfOpen => self.set_circuit(effect, Circuit::HalfOpen),
            CommandKind::CloseCircuit => self.set_circuit(effect, Circuit::Closed),
            CommandKind::Scale => {
                // New replicas and connections help the service as a whole, whichever node asked.
                let service = &mut self.world.services[effect.service];
                service.scale();
                let name = service.name;
                let whole = Effect { nodes: self.world.nodes_of(name, None), ..effect.clone() };
                self.heal(&whole, now_us + SCALE_US);
            }
            CommandKind::RestartNode => {
                for node in effect.nodes.iter().copied() {
                    self.world.nodes[node].restarting = true;
                    let command_id = effect.command_id.clone();
                    self.agenda.enter(now_us + RESTART_US, Happening::Back { node, command_id });
                }
            }
            // Never accepted.
            _ => {}
        }
        self.refresh(now_us);
    }

    /// A restarted node is back, and well if it was dead.
    pub(super) fn come_back(&mut self, node: usize, command_id: &str, now_us: i64) {
        self.world.nodes[node].restarting = false;
        for status in self.faults.iter_mut().filter(|status| status.fault.expects == Some(CommandKind::RestartNode)) {
            status.leave(&[node], Some(command_id), now_us);
        }
        self.refresh(now_us);
    }

    /// A person mends a fault, by its place in the plan; it leaves every node at once.
    pub fn mend(&mut self, fault: usize) {
        let nodes = self.faults[fault].sick.clone();
        self.agenda.enter(self.now_us, Happening::Leave { fault, nodes, command_id: None });
    }

    fn set_circuit(&mut self, effect: &Effect, circuit: Circuit) {
        if effect.whole {
            self.world.services[effect.service].circuit = circuit;
        } else {
            effect.nodes.iter().for_each(|node| self.world.nodes[*node].circuit = circuit);
        }
    }

    /// Faults that this kind of command heals will leave the nodes of the effect at `at_us`.
    fn heal(&mut self, effect: &Effect, at_us: i64) {
        for (fault, status) in self.faults.iter().enumerate() {
            if status.fault.expects == Some(effect.kind) && status.sick.iter().any(|node| effect.nodes.contains(node)) {
                let (nodes, command_id) = (effect.nodes.clone(), Some(effect.command_id.clone()));
                self.agenda.enter(at_us, Happening::Leave { fault, nodes, command_id });
            }
        }
    }
}

/// Whether the shop can carry out commands of this kind.
const fn is_known(kind: CommandKind) -> bool {
    use CommandKind::{CloseCircuit, HalfOpen, RestartNode, Scale, TripCircuit};
    matches!(kind, TripCircuit | HalfOpen | CloseCircuit | RestartNode | Scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shop::{Fault, FaultKind, Plan};
    use evenkeel_schemas::{Coordinates, Event, Mode, Topic};

    fn command(kind: CommandKind, service: &str, target: &str) -> Command {
        Command {
            command_id: format!("CMD-{kind:?}-{target}"),
            kind,
            target: target.to_owned(),
            service: service.to_owned(),
            incident_id: "INC-1".to_owned(),
            mode: Mode::Auto,
            reason: String::new(),
            at_us: 0,
            expires_us: i64::MAX,
            state: CommandState::Issued,
            detail: String::new(),
            decided_us: 0,
            fence: 1,
            by: String::new(),
            params: Default::default(),
            undo: false,
        }
    }

    #[test]
    fn what_no_command_helps_lasts_until_a_person_mends_it() {
        for kind in FaultKind::ALL.into_iter().filter(|kind| *kind != FaultKind::Jitter) {
            for expects in [None, kind.remedy()] {
                let plan = Plan { requests_per_s: 0, ..Plan::default() };
                let fault = Fault { expects, ..Fault::new(kind, "cart", Some("cart-2"), plan.start_us) };
                let (start_us, mut shop) = (plan.start_us, Shop::new(Plan { faults: vec![fault], ..plan }));
                let advance = |shop: &mut Shop, to_s: i64| {
                    shop.advance(start_us + to_s * 1_000_000, &mut |_, _, _: &[u8], _: &[u8]| {});
                };
                advance(&mut shop, 5);
                shop.apply(&command(kind.remedy().expect("it has one"), "cart", "cart-2"), start_us + 5_000_000);
                advance(&mut shop, 30);
                assert_eq!(shop.faults()[0].healed_us.is_some(), expects.is_some(), "{kind:?}");
                shop.mend(0);
                advance(&mut shop, 31);
                let status = &shop.faults()[0];
                assert!(status.healed_us.is_some() && status.healed_by.is_some() == expects.is_some(), "{status:?}");
            }
        }
    }

    #[test]
    fn a_command_is_carried_out_once_in_time_and_only_if_it_can_be() {
        let plan = Plan::default();
        let now_us = plan.start_us;
        let mut shop = Shop::new(plan);
        let scale = command(CommandKind::Scale, "mail", "mail");
        assert_eq!(shop.apply(&scale, now_us).detail, "accepted");
        assert_eq!(shop.apply(&scale, now_us).detail, "was carried out before");
        let refused = [
            (Command { expires_us: now_us - 1, ..command(CommandKind::Scale, "cart", "cart") }, OutcomeStatus::Refused),
            (
                Command { state: CommandState::Proposed, ..command(CommandKind::Scale, "cart", "cart") },
                OutcomeStatus::Refused,
            ),
            (command(CommandKind::RestartNode, "cart", "cart"), OutcomeStatus::Failed),
            (command(CommandKind::TripCircuit, "cart", "mail-1"), OutcomeStatus::Failed),
            (command(CommandKind::TripCircuit, "bakery", "bakery"), OutcomeStatus::Failed),
        ];
        for (command, status) in refused {
            let outcome = shop.apply(&command, now_us);
            assert_eq!(outcome.status, status, "{outcome:?}");
            let bytes = serde_json::to_vec(&outcome).expect("an outcome is JSON");
            let at = Coordinates { topic: Topic::Outcomes, partition: 0, offset: 0 };
            assert_eq!(Event::decode(at, &bytes), Event::Outcome(outcome));
        }
    }
}
