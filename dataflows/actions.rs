//! `actions`: what the findings of detectors are answered with, and what a command has to say for that.
//!
//! Policies name, by service and detector, the actions that may help, in their order: the first that can be done is asked
//! for. A drain cannot be done where no replica can be spared, a rollback not where nothing was deployed; a circuit can
//! always be opened. What moves a share of traffic does so by steps, each a command of its own.

use crate::deploys::Deploy;
use evenkeel_schemas::{Cause, CommandKind, Detector};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Actions for one detector at most.
pub const MAX_ACTIONS: usize = 4;

/// Services with actions of their own at most.
pub const MAX_ANSWERING_SERVICES: usize = 1_000;

/// Arguments of a script at most.
pub const MAX_ARGUMENTS: usize = 8;

/// Longest text of an action, bytes.
pub const MAX_TEXT_BYTES: usize = 256;

/// What a command needs to know, see [`CommandKind`].
pub(crate) type Params = BTreeMap<String, String>;

/// Actions by service (`*`: every service without its own for a detector) and detector, those to be tried first in front.
pub type Answers = BTreeMap<String, BTreeMap<Detector, Vec<Action>>>;

/// Something that may be done; the fields are those of [`CommandKind`]'s params.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Open the circuit of the node that fails or, where it cannot be spared, of the service.
    TripCircuit,
    /// Restart the nodes.
    RestartNode,
    /// One more replica.
    Scale,
    /// Traffic to a cache or region.
    Reroute {
        /// Where.
        to: String,
        /// How much in the end, 1 to 100.
        #[serde(default = "all")]
        percent: u32,
        /// By how much at a time, 1 to 100.
        #[serde(default = "quarter")]
        step: u32,
    },
    /// Errors answered by a fallback.
    LimitErrors {
        /// So many may go through, 0 to 99.
        percent: u32,
    },
    /// Requests turned away.
    Throttle {
        /// How many in the end, 1 to 99.
        percent: u32,
        /// By how much at a time, 1 to 100.
        #[serde(default = "quarter")]
        step: u32,
    },
    /// Take the nodes out, gently.
    Drain,
    /// Cut the nodes off.
    Isolate,
    /// Another one serves.
    Failover {
        /// Which.
        to: String,
        /// How long the one before may go on unasked, s, 1 to 3600.
        #[serde(default = "ten")]
        lease_s: u32,
    },
    /// Take back the deploy that may have caused it.
    Rollback,
    /// Traffic to a version: of two that run.
    SplitTraffic {
        /// Which; if it is empty, the one before the deploy that may have caused it.
        #[serde(default)]
        to: String,
        /// How much in the end, 1 to 100.
        #[serde(default = "all")]
        percent: u32,
        /// By how much at a time, 1 to 100.
        #[serde(default = "quarter")]
        step: u32,
    },
    /// A flag on or off.
    SetFlag {
        /// Its name.
        flag: String,
        /// How it is to be.
        on: bool,
    },
    /// Deploy an image anew.
    Redeploy {
        /// `sha256:` and 64 hexadecimal digits.
        digest: String,
    },
    /// Run a script that the actuator allows.
    RunScript {
        /// Its name there.
        script: String,
        /// One that is `{service}`, `{node}` or `{incident}` stands for what it is about.
        #[serde(default)]
        args: Vec<String>,
    },
}

const fn all() -> u32 {
    100
}

const fn quarter() -> u32 {
    25
}

const fn ten() -> u32 {
    10
}

/// What was known when an action was chosen.
pub(crate) struct Facts<'a> {
    pub service: &'a str,
    pub incident_id: &'a str,
    pub cause: &'a Cause,
    pub replicas: usize,
    /// The deploy that may have caused it.
    pub deploy: Option<Deploy<'a>>,
    /// The share of traffic that was moved already, percent.
    pub share: u32,
}

impl Action {
    /// The kind of its commands.
    pub const fn kind(&self) -> CommandKind {
        match self {
            Self::TripCircuit => CommandKind::TripCircuit,
            Self::RestartNode => CommandKind::RestartNode,
            Self::Scale => CommandKind::Scale,
            Self::Reroute { .. } => CommandKind::Reroute,
            Self::LimitErrors { .. } => CommandKind::LimitErrors,
            Self::Throttle { .. } => CommandKind::Throttle,
            Self::Drain => CommandKind::Drain,
            Self::Isolate => CommandKind::Isolate,
            Self::Failover { .. } => CommandKind::Failover,
            Self::Rollback => CommandKind::Rollback,
            Self::SplitTraffic { .. } => CommandKind::SplitTraffic,
            Self::SetFlag { .. } => CommandKind::SetFlag,
            Self::Redeploy { .. } => CommandKind::Redeploy,
            Self::RunScript { .. } => CommandKind::RunScript,
        }
    }

    /// What is out of its bounds, and what it may be.
    pub fn fault(&self) -> Option<&'static str> {
        let is_text = |text: &String| (1..=MAX_TEXT_BYTES).contains(&text.len());
        let is_share = |percent: &u32| (1..=100).contains(percent);
        let rules = match self {
            Self::Reroute { to, percent, step } => vec![
                ("to: 1 to 256 bytes", is_text(to)),
                ("percent: 1 to 100", is_share(percent)),
                ("step: 1 to 100", is_share(step)),
            ],
            Self::SplitTraffic { to, percent, step } => vec![
                ("to: 1 to 256 bytes", to.is_empty() || is_text(to)),
                ("percent: 1 to 100", is_share(percent)),
                ("step: 1 to 100", is_share(step)),
            ],
            Self::LimitErrors { percent } => vec![("percent: 0 to 99", *percent < 100)],
            Self::Throttle { percent, step } => {
                vec![("percent: 1 to 99", (1..100).contains(percent)), ("step: 1 to 100", is_share(step))]
            }
            Self::Failover { to, lease_s } => {
                vec![("to: 1 to 256 bytes", is_text(to)), ("lease: 1s to 3600s", (1..=3600).contains(lease_s))]
            }
            Self::SetFlag { flag, .. } => vec![("flag: 1 to 256 bytes", is_text(flag))],
            Self::Redeploy { digest } => vec![("digest: sha256: and 64 hexadecimal digits", is_digest(digest))],
            Self::RunScript { script, args } => vec![
                ("script: 1 to 256 bytes", is_text(script)),
                ("args: at most 8 of at most 256 bytes", args.len() <= MAX_ARGUMENTS && args.iter().all(is_text)),
            ],
            Self::TripCircuit | Self::RestartNode | Self::Scale | Self::Drain | Self::Isolate | Self::Rollback => {
                vec![]
            }
        };
        rules.into_iter().find(|(_, holds)| !holds).map(|(rule, _)| rule)
    }

    /// What its command has to say; `None` if it cannot be done.
    pub(crate) fn params(&self, facts: &Facts<'_>) -> Option<Params> {
        let stepped = |goal: u32, step: u32| {
            let percent = facts.share.saturating_add(step).min(goal);
            [("percent", percent), ("goal", goal), ("step", step)].map(|(name, value)| (name, value.to_string()))
        };
        let said = match self {
            Self::Scale if facts.replicas > 0 => vec![("replicas", (facts.replicas + 1).to_string())],
            Self::TripCircuit | Self::RestartNode | Self::Scale | Self::Drain | Self::Isolate => vec![],
            Self::Reroute { to, percent, step } => {
                [("to", to.clone())].into_iter().chain(stepped(*percent, *step)).collect()
            }
            Self::LimitErrors { percent } => vec![("percent", percent.to_string())],
            Self::Throttle { percent, step } => stepped(*percent, *step).to_vec(),
            Self::Failover { to, lease_s } => vec![("to", to.clone()), ("lease_s", lease_s.to_string())],
            Self::Rollback => {
                let Deploy { version, before } = facts.deploy?;
                let known = Some(("to", before.to_owned())).filter(|_| !before.is_empty());
                [("version", version.to_owned())].into_iter().chain(known).collect()
            }
            Self::SplitTraffic { to, percent, step } => {
                let before = || facts.deploy.map(|deploy| deploy.before).filter(|before| !before.is_empty());
                let to = if to.is_empty() { before()?.to_owned() } else { to.clone() };
                [("to", to)].into_iter().chain(stepped(*percent, *step)).collect()
            }
            Self::SetFlag { flag, on } => vec![("flag", flag.clone()), ("on", on.to_string())],
            Self::Redeploy { digest } => vec![("digest", digest.clone())],
            Self::RunScript { script, args } => return Some(script_params(script, args, facts)),
        };
        Some(said.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

fn script_params(script: &str, args: &[String], facts: &Facts<'_>) -> Params {
    let filled = |text: &String| match text.as_str() {
        "{service}" => facts.service.to_owned(),
        "{node}" => facts.cause.nodes.first().cloned().unwrap_or_default(),
        "{incident}" => facts.incident_id.to_owned(),
        _ => text.clone(),
    };
    let args = args.iter().enumerate().map(|(at, text)| (format!("arg{at}"), filled(text)));
    args.chain([("script".to_owned(), script.to_owned())]).collect()
}

fn is_digest(text: &str) -> bool {
    let is_hex = |digits: &str| digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.strip_prefix("sha256:").is_some_and(is_hex)
}

/// The answers of a run that was told of none.
pub(crate) fn default_answers() -> Answers {
    let answers = [
        (Detector::NodeSilent, Action::RestartNode),
        (Detector::ErrorBurst, Action::TripCircuit),
        (Detector::ErrorRate, Action::TripCircuit),
        (Detector::Saturation, Action::Scale),
        (Detector::Latency, Action::Scale),
        (Detector::Forecast, Action::Scale),
    ];
    // What to do about the others is for a person to decide.
    let answers = answers.map(|(detector, action)| (detector, vec![action]));
    [("*".to_owned(), answers.into())].into()
}

/// Whether all of them are within their bounds.
pub(crate) fn is_sound(answers: &Answers) -> bool {
    let is_sound =
        |actions: &Vec<Action>| actions.len() <= MAX_ACTIONS && actions.iter().all(|action| action.fault().is_none());
    answers.len() <= MAX_ANSWERING_SERVICES && answers.values().flat_map(BTreeMap::values).all(is_sound)
}

/// The share of traffic that a command moves, percent; all of it unless it says so.
pub(crate) fn share(params: &Params) -> u32 {
    number(params, "percent").unwrap_or(100)
}

fn number(params: &Params, name: &str) -> Option<u32> {
    params.get(name)?.parse().ok()
}

/// The params of the next step towards the goal; `None` if it is reached.
pub(crate) fn next_step(params: &Params) -> Option<Params> {
    let (share, step, goal) = (share(params), number(params, "step")?, number(params, "goal")?);
    (share < goal).then(|| with(params, "percent", share.saturating_add(step).min(goal).to_string()))
}

/// The params of the next step back.
pub(crate) fn step_back(params: &Params) -> Params {
    if let Some(step) = number(params, "step") {
        return with(params, "percent", share(params).saturating_sub(step).to_string());
    }
    match params.get("on").map(String::as_str) {
        Some("true") => with(params, "on", "false".to_owned()),
        Some(_) => with(params, "on", "true".to_owned()),
        None => params.iter().filter(|(name, _)| *name != "percent").map(|(a, b)| (a.clone(), b.clone())).collect(),
    }
}

/// Whether nothing is left to be taken back after a step back with these params.
pub(crate) fn is_all_back(params: &Params) -> bool {
    number(params, "step").is_none() || share(params) == 0
}

fn with(params: &Params, name: &str, value: String) -> Params {
    let mut params = params.clone();
    params.insert(name.to_owned(), value);
    params
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_schemas::{Dimension, Key};

    fn cause() -> Cause {
        let key = Key::new([(Dimension::Service, "shop")]);
        let (detector, nodes, evidence) = (Detector::ErrorRate, Vec::new(), String::new());
        Cause { detector, key, nodes, since_us: 0, evidence, verdicts: 1 }
    }

    #[test]
    fn shares_go_up_and_down_by_steps() {
        let action = Action::Reroute { to: "cache".to_owned(), percent: 60, step: 25 };
        let cause = cause();
        let facts = Facts { service: "shop", incident_id: "INC-1", cause: &cause, replicas: 3, deploy: None, share: 0 };
        let mut params = action.params(&facts).expect("it can be done");
        let mut shares = vec![share(&params)];
        while let Some(next) = next_step(&params) {
            shares.push(share(&next));
            params = next;
        }
        assert_eq!(shares, [25, 50, 60]);
        let mut back = Vec::new();
        while !is_all_back(&params) {
            params = step_back(&params);
            back.push(share(&params));
        }
        assert_eq!(back, [35, 10, 0]);
        let flag = Action::SetFlag { flag: "new-cart".to_owned(), on: false }.params(&facts).expect("it can be done");
        assert_eq!((step_back(&flag)["on"].as_str(), is_all_back(&flag)), ("true", true));
    }

    #[test]
    fn names_in_arguments_are_filled_in_and_nothing_else() {
        let args = ["{service}", "--node={node}", "{incident}"].map(str::to_owned).to_vec();
        let cause = cause();
        let facts =
            Facts { service: "{incident}", incident_id: "INC-1", cause: &cause, replicas: 0, deploy: None, share: 0 };
        let params = Action::RunScript { script: "x".to_owned(), args }.params(&facts).expect("it can be done");
        let texts = params.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        assert_eq!(texts, ["arg0={incident}", "arg1=--node={node}", "arg2=INC-1", "script=x"]);
    }
}
