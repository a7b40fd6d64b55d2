//! What a benchmark tells.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::table::{Align, Table};

/// One kind of request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Summary {
    count: u64,
    errors: u64,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
}

impl Summary {
    /// From latencies in microseconds.
    pub(super) fn new(micros: &Histogram<u64>, errors: u64, over: Duration) -> Self {
        let ms = |micros: u64| micros as f64 / 1000.0;
        Self {
            count: micros.len(),
            errors,
            per_second: micros.len() as f64 / over.as_secs_f64(),
            p50_ms: ms(micros.value_at_quantile(0.5)),
            p99_ms: ms(micros.value_at_quantile(0.99)),
            p999_ms: ms(micros.value_at_quantile(0.999)),
            max_ms: ms(micros.max()),
        }
    }

    pub(super) fn as_json(&self) -> Value {
        json!({
            "count": self.count,
            "errors": self.errors,
            "per_second": self.per_second,
            "p50_ms": self.p50_ms,
            "p99_ms": self.p99_ms,
            "p999_ms": self.p999_ms,
            "max_ms": self.max_ms,
        })
    }

    fn row(&self, name: &str) -> [String; 8] {
        let ms = |value: f64| format!("{value:.2}");
        [
            name.to_owned(),
            self.count.to_string(),
            format!("{:.0}", self.per_second),
            ms(self.p50_ms),
            ms(self.p99_ms),
            ms(self.p999_ms),
            ms(self.max_ms),
            self.errors.to_string(),
        ]
    }
}

/// Both kinds as a table; one that was not asked for is left out.
pub(super) fn as_text(puts: &Summary, gets: &Summary) -> String {
    let right = Align::Right;
    let mut table = Table::new([
        ("", Align::Left),
        ("DONE", right),
        ("PER SECOND", right),
        ("P50 MS", right),
        ("P99 MS", right),
        ("P99.9 MS", right),
        ("MAX MS", right),
        ("ERRORS", right),
    ]);
    for (name, summary) in [("put", puts), ("get", gets)] {
        if summary.count + summary.errors > 0 {
            table.add(summary.row(name));
        }
    }
    table.render()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

    use super::*;

    #[test]
    fn a_summary_counts_per_second_and_takes_quantiles() {
        let mut micros = Histogram::new_with_bounds(1, 1_000_000, 3).unwrap();
        for n in 1..=1000 {
            micros.record(n * 10).unwrap();
        }
        let summary = Summary::new(&micros, 2, Duration::from_secs(4));
        assert_eq!((summary.count, summary.errors), (1000, 2));
        assert!((summary.per_second - 250.0).abs() < 1e-9);
        assert!((summary.p50_ms - 5.0).abs() < 0.02);
        assert!((summary.p99_ms - 9.9).abs() < 0.02);
    }
}
