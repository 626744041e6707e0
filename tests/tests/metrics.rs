//! What a real agent serves for Prometheus, read by the real one: the figures are those of what happened, and every query that is shipped means
//! something.

#![allow(
    clippy::float_cmp,
    reason = "figures are whole numbers, of which floating point holds each exactly"
)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tests::agent::Options;
use tests::prometheus::{Prometheus, check_rules, faults, free_address, get, names, names_in_query, value};
use tests::runtime::Kind;
use tests::service::Service;
use tests::stage::{IMAGE, Stage};

const DOCUMENT: &str = include_str!("../../docs/metrics.md");
const DASHBOARD: &str = include_str!("../../deploy/grafana/driftlock.json");
const RULES: &str = "../deploy/prometheus/alerts.yaml";

/// An agent that serves metrics, with an image that it has learned and now monitors, and a container of it that has drifted.
fn drifted(name: &str) -> anyhow::Result<(Stage, Service, SocketAddr)> {
    let address = free_address()?;
    let options = Options {
        config: format!("metrics: {{ listen: '{address}' }}\ncanary: {{ interval_s: 1 }}\n"),
        ..Options::named(name)
    };
    let stage = Stage::learned(Kind::Docker, &options)?;
    stage.agent.set_mode("monitor", IMAGE)?;
    let service = stage.service("shop-7", &[])?;
    let mark = stage.agent.mark();
    let copied = service.start(&["/bin/cp", "/bin/fetch", "/tmp/implant"])?;
    assert!(copied.all_succeeded() && service.start(&["/tmp/implant"])?.all_succeeded());
    let alert = stage.expect_alert(mark, &service);
    assert_eq!(alert["kind"], "exec.drift", "{alert:#}");
    Ok((stage, service, address))
}

fn page(address: SocketAddr) -> anyhow::Result<String> {
    // What was asked a moment ago is answered as it was then.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let (code, page) = get(address, "/metrics")?;
    ensure!(code == 200, "{code}: {page}");
    Ok(page)
}

#[test]
fn figures_are_those_of_what_happened() -> anyhow::Result<()> {
    let (stage, service, address) = drifted("figures")?;
    let page = page(address)?;
    assert_eq!(faults(&page)?, "", "{page}");
    let text = |name: &str, labels: &[(&str, &str)]| {
        value(&page, name, labels).with_context(|| format!("no {name} {labels:?} in {page}"))
    };
    let figure =
        |name: &str, labels: &[(&str, &str)]| -> anyhow::Result<f64> { Ok(text(name, labels)?.parse()?) };
    let drift = |action| [("kind", "exec.drift"), ("action", action)];
    assert_eq!(text("driftlock_engine_answers", &[])?, "1.0");
    assert!(figure("driftlock_alerts_raised_total", &drift("none"))? >= 1.0);
    assert_eq!(text("driftlock_alerts_raised_total", &drift("killed"))?, "0");
    assert!(figure("driftlock_alerts_by_severity_total", &[("severity", "high")])? >= 1.0);
    assert_eq!(text("driftlock_containers", &[("mode", "monitor")])?, "1.0");
    assert_eq!(text("driftlock_profiles", &[])?, "1.0");
    assert_eq!(
        text("driftlock_store_failures_total", &[("operation", "learn")])?,
        "0"
    );
    let stdout = [("sink", "stdout"), ("kind", "stdout")];
    assert!(figure("driftlock_sink_delivered_total", &stdout)? >= 1.0);
    assert!(figure("driftlock_kernel_memory_bytes", &[])? > 1e6);
    assert!(figure("process_cpu_seconds_total", &[])? > 0.0);
    assert!(figure("process_resident_memory_bytes", &[])? > 1e6);
    // What the operator is shown at the same time.
    let status = stage.agent.json(&["status"])?;
    for (name, field) in [
        ("driftlock_records_generated_total", "generated"),
        ("driftlock_records_submitted_total", "submitted"),
    ] {
        for domain in status["domain_counters"].as_array().context("no counters")? {
            let labels = [("domain", domain["domain"].as_str().unwrap_or_default())];
            assert_eq!(
                text(name, &labels)?,
                domain[field].to_string(),
                "{name} {labels:?}"
            );
        }
    }
    for tier in status["tiers"].as_array().context("no tiers")? {
        let word = |name: &str| tier[name].as_str().unwrap_or_default();
        let labels = [("domain", word("domain")), ("can", word("can"))];
        assert_eq!(text("driftlock_tier", &labels)?, "1.0", "{labels:?}");
    }
    // Nothing of the container stands in the page.
    for text in [
        service.container.id.as_str(),
        &service.container.name,
        IMAGE,
        "implant",
    ] {
        assert!(!page.contains(text), "{text}");
    }
    for name in names(&page) {
        assert!(
            DOCUMENT.contains(&format!("| `{name}` |")),
            "docs/metrics.md lacks {name}"
        );
    }
    assert_eq!(get(address, "/readyz")?.0, 200);
    assert_eq!(get(address, "/healthz")?.0, 200);
    Ok(())
}

/// The dashboard's queries, by the panel that they are of, with Grafana's variables as it would fill them in.
fn dashboard_queries() -> anyhow::Result<Vec<(String, String)>> {
    let dashboard: Value = serde_json::from_str(DASHBOARD)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let mut queries = Vec::new();
    for panel in panels {
        let title = panel["title"].as_str().context("a panel without title")?;
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().context("a target without query")?;
            let filled = query.replace("$__rate_interval", "1m").replace("$instance", ".*");
            ensure!(
                !filled.contains('$'),
                "{title}: a variable that nobody fills in: {filled}"
            );
            queries.push((title.to_owned(), filled));
        }
    }
    Ok(queries)
}

/// The alerting rules' queries, by their names.
fn rule_queries() -> anyhow::Result<Vec<(String, String)>> {
    let rules: Value = serde_saphyr::from_str(&std::fs::read_to_string(RULES)?)?;
    let groups = rules["groups"].as_array().context("no groups")?;
    let rules = groups
        .iter()
        .filter_map(|group| group["rules"].as_array())
        .flatten();
    rules
        .map(|rule| {
            let text = |name: &str| rule[name].as_str().map(str::to_owned);
            text("alert")
                .zip(text("expr"))
                .context("a rule without name or query")
        })
        .collect()
}

#[test]
fn what_is_shipped_asks_for_what_is_served() -> anyhow::Result<()> {
    check_rules(Path::new(RULES))?;
    let (mut stage, _service, address) = drifted("dashboard")?;
    let prometheus = Prometheus::start(stage.runtime.place().directory(), address, Path::new(RULES))?;
    // A rate needs two readings.
    prometheus.wait_until("there are rates", || {
        let rate = prometheus.query("rate(process_cpu_seconds_total[1m])")?;
        Ok(rate["data"]["result"][0].is_object())
    })?;
    let page = page(address)?;
    let served: BTreeSet<_> = names(&page).into_iter().chain(["up"]).collect();
    let queries = dashboard_queries()?;
    assert!(queries.len() > 10, "{queries:?}");
    for (title, query) in &queries {
        let result = prometheus.query(query).with_context(|| title.clone())?;
        let found = result["data"]["result"].as_array().context("no result")?;
        assert!(!found.is_empty(), "{title}: {query} shows nothing");
    }
    for (title, query) in queries.iter().chain(&rule_queries()?) {
        let names = names_in_query(query);
        assert!(
            !names.is_empty(),
            "{title}: {query} asks for nothing of the agent's"
        );
        for name in names {
            assert!(served.contains(name), "{title}: nobody serves {name}");
        }
    }
    // All rules are understood, and none of them fires at an agent that is well.
    prometheus.wait_until("all rules are well", || {
        let rules = prometheus.rules()?;
        Ok(!rules.is_empty() && rules.iter().all(|(_, health)| health == "ok"))
    })?;
    let firing = prometheus.query("ALERTS")?;
    assert_eq!(firing["data"]["result"], serde_json::json!([]), "{firing:#}");
    stage.agent.stop()?;
    prometheus.wait_until("the agent is gone", || {
        let gone = prometheus.query("ALERTS{alertname=\"DriftlockAgentGone\"}")?;
        Ok(gone["data"]["result"][0].is_object())
    })
}
