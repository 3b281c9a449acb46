//! Policies as documents: what is wrong is said with its place and what to write instead, and the examples that ship hold.

use evenkeel::policy::import::import;
use evenkeel::policy::{Policies, Spec, play};
use evenkeel_dataflows::Tuning;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policies").join(name)
}

/// Each broken document says in its first line where it is broken, and how its fix begins.
#[test]
fn every_broken_policy_is_told_where_and_what_to_write_instead() {
    let files = folder("broken").read_dir().expect("the folder").map(|file| file.expect("a file").path());
    let mut files = files.collect::<Vec<_>>();
    files.sort();
    assert!(files.len() >= 102, "{} files", files.len());
    let mut wrong = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).expect("UTF-8");
        let first = text.lines().next().and_then(|line| line.strip_prefix("# expect ")).expect("what is expected");
        let (place, fix) = first.split_once(' ').expect("a place and a fix");
        let policies = Policies::read(std::slice::from_ref(&path), &Tuning::default()).expect("readable");
        let found = policies.faults.iter().map(|fault| (format!("{}:{}", fault.at.line, fault.at.column), &fault.fix));
        let found = found.collect::<Vec<_>>();
        let [(at, said)] = found.as_slice() else {
            wrong.push(format!("{}: one fault, not {found:?}", path.display()));
            continue;
        };
        if at != place || !said.starts_with(fix) {
            wrong.push(format!("{}: expected {place} {fix}, found {at} {said}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_policies_that_ship_have_no_fault_and_their_scenarios_hold() {
    let base = Tuning::default();
    let policies = Policies::read(&[folder("shop")], &base).expect("readable");
    assert_eq!(policies.faults, Vec::new());
    let mut played = 0;
    for document in &policies.documents {
        let Spec::Scenario(scenario) = &document.spec else { continue };
        let names = scenario.policies.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let policy = if names.is_empty() { policies.compile(&base) } else { policies.only(&names).compile(&base) };
        let came = play(scenario, &policy.expect("it compiles"), &base).expect("it is played");
        assert_eq!(came.missed, Vec::new(), "{}", document.name);
        // Without the policies the first two are not met: it is they that are tested.
        let nothing = policies.only(&[]).compile(&base).expect("it compiles");
        let without = play(scenario, &nothing, &base).expect("it is played");
        assert_eq!(without.missed.is_empty(), document.name == "calm-traffic-wakes-nobody", "{}", document.name);
        played += 1;
    }
    assert_eq!(played, 3);
}

/// What others wrote, as documents of ours: without a fault, and what cannot be said is named with its place.
#[test]
fn objectives_and_rules_of_others_become_documents_without_a_fault() {
    let cases: [(&str, &[&str], &[&str]); 3] = [
        ("openslo.yaml", &["SLO/checkout-availability", "SLO/search"], &["47:7: only objectives of a ratio"]),
        ("sloth.yaml", &["SLO/myservice-requests-availability"], &["22:22: an objective for latencies"]),
        (
            "rules.yaml",
            &[
                "Detector/imported-errors",
                "Scenario/checkouterrors",
                "Scenario/higherrorrate",
                "Scenario/notraffic",
                "Scenario/slowcheckout",
            ],
            &[
                "20:15: InstanceDown: `up`",
                "23:15: DiskFull: `predict_linear`",
                "24:17: `job:http_requests:rate5m` records",
            ],
        ),
    ];
    for (name, expected, refused) in cases {
        let text = std::fs::read_to_string(folder("import").join(name)).expect("UTF-8");
        let imported = import(name, &text);
        let faults = imported.faults.iter().map(ToString::to_string).collect::<Vec<_>>();
        let is_expected = |(fault, start): (&String, &&str)| fault.starts_with(&format!("{name}:{start}"));
        assert!(faults.len() == refused.len() && faults.iter().zip(refused).all(is_expected), "{faults:#?}");
        let mut policies = Policies::default();
        policies.add(name, imported.text().as_bytes());
        policies.check(&Tuning::default());
        assert_eq!(policies.faults, Vec::new(), "{}", imported.text());
        assert_eq!(policies.documents.iter().map(|it| it.id()).collect::<Vec<_>>(), expected, "{name}");
        let settings = policies.compile(&Tuning::default()).expect("it compiles").settings;
        let wanted = match name {
            "openslo.yaml" => r#"{"objectives":{"checkout":999500,"search":990000}}"#,
            "sloth.yaml" => r#"{"objectives":{"myservice":999000}}"#,
            _ => r#"{"detection":{"error_guard_per_mille":50}}"#,
        };
        assert_eq!(settings, wanted);
    }
}

/// The rules that were imported hold with the defaults: evenkeel speaks no later than they would have.
#[test]
fn what_fires_an_imported_rule_opens_an_incident_no_later() {
    let text = std::fs::read_to_string(folder("import").join("rules.yaml")).expect("UTF-8");
    let mut policies = Policies::default();
    policies.add("rules.yaml", import("rules.yaml", &text).text().as_bytes());
    let base = Tuning::default();
    let policy = policies.compile(&base).expect("it compiles");
    for document in &policies.documents {
        let Spec::Scenario(scenario) = &document.spec else { continue };
        let came = play(scenario, &policy, &base).expect("it is played");
        assert_eq!(came.missed, Vec::new(), "{}", document.name);
    }
}
