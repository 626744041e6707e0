//! The page for readers of Prometheus' older text format (version 0.0.4), made from the newer one (`OpenMetrics` 1.0).
//!
//! Input: a page that the library wrote. Output: the same figures. Failure: none. Pure.
//!
//! They differ in what a counter's description is called by (its sample's name, `_total` included), in `# UNIT` and in the last line.

/// The type of the newer format.
pub(super) const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The type of the older one.
pub(super) const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Rewrites a page.
pub(super) fn to_prometheus(page: &str) -> String {
    let mut lines = page.lines().peekable();
    let mut out = String::with_capacity(page.len() + 1024);
    while let Some(line) = lines.next() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        let Some(help) = line.strip_prefix("# HELP ") else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        // The type follows its description.
        let kind = lines.next_if(|line| line.starts_with("# TYPE ")).unwrap_or("");
        let (name, help) = help.split_once(' ').unwrap_or((help, ""));
        let (suffix, kind) = match kind.rsplit(' ').next().unwrap_or("") {
            "counter" => ("_total", "counter"),
            "info" => ("_info", "gauge"),
            "unknown" => ("", "untyped"),
            other => ("", other),
        };
        out.extend(["# HELP ", name, suffix, " ", help, "\n"]);
        out.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_described_by_their_samples_name() {
        let page = "# HELP a Things.\n# TYPE a counter\na_total{b=\"c\"} 3\n\
                    # HELP d_seconds Time.\n# TYPE d_seconds gauge\n# UNIT d_seconds seconds\nd_seconds 1.5\n\
                    # HELP e What.\n# TYPE e info\ne_info{f=\"g\"} 1\n# EOF\n";
        let expected = "# HELP a_total Things.\n# TYPE a_total counter\na_total{b=\"c\"} 3\n\
                        # HELP d_seconds Time.\n# TYPE d_seconds gauge\nd_seconds 1.5\n\
                        # HELP e_info What.\n# TYPE e_info gauge\ne_info{f=\"g\"} 1\n";
        assert_eq!(to_prometheus(page), expected);
    }
}
