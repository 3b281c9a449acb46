//! Orders to evenkeel itself.

use super::*;

#[test]
fn controls_decode() {
    let [by, service] = ["ada", "*"].map(str::to_owned);
    let set = Control::SetMode { event_time_us: 1_795_246_462_000_000, by, service, mode: Mode::Suggest };
    let kill = Control::KillSwitch { event_time_us: 1_795_246_463_000_000, by: "ada".into(), engaged: true };
    let [by, service, node] = ["grace", "checkout", "checkout-1"].map(str::to_owned);
    let retire = Control::RetireNode { event_time_us: 1_795_246_464_000_000, by, service, node };
    let interval = (1_795_248_000_000_000, 1_795_251_600_000_000);
    let maintenance = Control::Maintenance {
        event_time_us: 1_795_246_465_000_000,
        by: "grace".into(),
        service: "checkout".into(),
        from_us: interval.0,
        to_us: interval.1,
    };
    let exclude = Control::ExcludeFromBaseline {
        event_time_us: 1_795_255_200_000_000,
        by: "grace".into(),
        service: "*".into(),
        from_us: interval.0,
        to_us: interval.1,
    };
    let [by, caller, callee] = ["mesh", "frontend", "checkout"].map(str::to_owned);
    let [by_too, caller_too, callee_too] = [&by, &caller, &callee].map(String::clone);
    let link = Control::Link { event_time_us: 1_795_246_464_100_000, by, caller, callee };
    let (by, caller, callee) = (by_too, caller_too, callee_too);
    let unlink = Control::Unlink { event_time_us: 1_795_246_464_200_000, by, caller, callee };
    let [by, service, what, version] = ["ci", "checkout", "deploy", "1.4.3"].map(str::to_owned);
    let change = Control::Change { event_time_us: 1_795_246_464_300_000, by, service, what, version };
    let command_id = || "CMD-ae1ecac2c48a".to_owned();
    let [by, service, by_too, service_too] = ["ada", "checkout", "ada", "checkout"].map(str::to_owned);
    let (proofs, seal) = (vec![Proof::Totp], "— example.com/gate aGVsbG8=".to_owned());
    let approve = Control::Approve {
        event_time_us: 1_795_246_475_000_000,
        by,
        service,
        command_id: command_id(),
        proofs: proofs.clone(),
        seal: seal.clone(),
    };
    let (by, service) = (by_too, service_too);
    let (no_proofs, no_seal) = (Vec::new(), String::new());
    let reject = Control::Reject {
        event_time_us: 1_795_246_476_000_000,
        by,
        service,
        command_id: command_id(),
        proofs: no_proofs,
        seal: no_seal,
    };
    let [by, service, why] = ["ada", "checkout", "nobody else is awake"].map(str::to_owned);
    let break_glass =
        Control::BreakGlass { event_time_us: 1_795_246_476_500_000, by, service, for_s: 1800, why, proofs, seal };
    let sealed = break_glass.sealed_text();
    assert!(
        sealed.ends_with("\"proofs\":[\"totp\"],\"seal\":\"\"}\n") && sealed.contains("\"for_s\":1800"),
        "{sealed}"
    );
    let [by, service] = ["ada", "checkout"].map(str::to_owned);
    let resume = Control::Resume { event_time_us: 1_795_246_477_000_000, by, service };
    let documents = concat!(
        r#"[{"apiVersion":"evenkeel/v1","kind":"SLO","metadata":{"name":"checkout"},"#,
        r#""spec":{"objective":"99.9%","service":"checkout"}}]"#
    );
    let apply = Control::ApplyPolicy {
        event_time_us: 1_795_246_478_000_000,
        by: "ci".into(),
        version: 1,
        sha256: "0e9038eb665917d607a3d03d1659200386151dce7385790418b105d0f3181132".into(),
        documents: documents.into(),
        settings: r#"{"objectives":{"checkout":999000}}"#.into(),
    };
    let goldens = [
        (apply, "apply_policy", golden!("control-apply-policy.v1.json")),
        (approve, "approve", golden!("control-approve.v1.json")),
        (reject, "reject", golden!("control-reject.v1.json")),
        (break_glass, "break_glass", golden!("control-break-glass.v1.json")),
        (resume, "resume", golden!("control-resume.v1.json")),
        (link, "link", golden!("control-link.v1.json")),
        (unlink, "unlink", golden!("control-unlink.v1.json")),
        (change, "change", golden!("control-change.v1.json")),
        (set, "set_mode", golden!("control-set-mode.v1.json")),
        (kill, "kill_switch", golden!("control-kill-switch.v1.json")),
        (retire, "retire_node", golden!("control-retire-node.v1.json")),
        (maintenance, "maintenance", golden!("control-maintenance.v1.json")),
        (exclude, "exclude_from_baseline", golden!("control-exclude-from-baseline.v1.json")),
    ];
    for (control, order, bytes) in goldens {
        assert_eq!(control.order(), order);
        assert_eq!(decode(Topic::Control, bytes), Event::Control(control.clone()));
        assert_bytes(control, bytes);
    }
}
