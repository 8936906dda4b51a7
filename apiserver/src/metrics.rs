//! What the server counts of itself, as Prometheus text.
//!
//! Source: the names and labels of upstream's `apiserver_request_total`, `apiserver_request_duration_seconds` and
//! `apiserver_current_inflight_requests`, so that dashboards made for Kubernetes show it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

/// The upper bounds of the latency buckets, in microseconds.
const BUCKETS_US: [u64; 14] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000, 60_000_000];

/// What requests are counted by. There are as many as there are kinds and verbs, whatever clients send.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RequestLabels {
    pub(crate) verb: &'static str,
    pub(crate) group: Arc<str>,
    pub(crate) resource: Arc<str>,
    pub(crate) subresource: &'static str,
    pub(crate) code: u16,
}

/// A number that others know: its name, its help, and its values by their labels.
pub(crate) type Gauge<'a> = (&'a str, &'a str, Vec<(String, u64)>);

/// The server's counters.
#[derive(Default)]
pub(crate) struct Metrics {
    requests: RwLock<BTreeMap<RequestLabels, Arc<Series>>>,
    pub(crate) reads_in_flight: AtomicI64,
    pub(crate) writes_in_flight: AtomicI64,
    pub(crate) streams: AtomicI64,
    /// Bytes of bodies that are not there in full.
    pub(crate) body_bytes: AtomicI64,
    pub(crate) rejected: AtomicU64,
    pub(crate) panics: AtomicU64,
}

#[derive(Default)]
struct Series {
    buckets: [AtomicU64; BUCKETS_US.len()],
    count: AtomicU64,
    sum_us: AtomicU64,
}

/// A number that goes up now and down when this is dropped.
pub(crate) struct Held<'a>(&'a AtomicI64, i64);

impl<'a> Held<'a> {
    /// Counts one more, unless there are `max` already.
    pub(crate) fn one_of(gauge: &'a AtomicI64, max: usize) -> Option<Self> {
        let mut held = Self::none_of(gauge);
        held.grow(1, max).then_some(held)
    }

    /// Counts nothing yet.
    pub(crate) fn none_of(gauge: &'a AtomicI64) -> Self {
        Self(gauge, 0)
    }

    /// Counts `more`; whether there are no more than `max` now.
    pub(crate) fn grow(&mut self, more: usize, max: usize) -> bool {
        let more = i64::try_from(more).unwrap_or(i64::MAX);
        self.1 += more;
        let before = self.0.fetch_add(more, Ordering::Relaxed);
        usize::try_from(before + more).unwrap_or_default() <= max
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// Counts a request that was answered after `took`.
    pub(crate) fn request(&self, labels: RequestLabels, took: Duration) {
        let series = self.series(labels);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = BUCKETS_US.iter().position(|bound| micros <= *bound) {
            series.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        }
        series.count.fetch_add(1, Ordering::Relaxed);
        series.sum_us.fetch_add(micros, Ordering::Relaxed);
    }

    fn series(&self, labels: RequestLabels) -> Arc<Series> {
        const HELD: &str = "nothing panics while it holds the counters";
        if let Some(series) = self.requests.read().expect(HELD).get(&labels) {
            return series.clone();
        }
        self.requests.write().expect(HELD).entry(labels).or_default().clone()
    }

    /// Everything as text, with `gauges` that others know.
    pub(crate) fn render(&self, gauges: &[Gauge<'_>]) -> String {
        let mut out = String::with_capacity(16 * 1024);
        self.render_requests(&mut out);
        let in_flight = [("readOnly", &self.reads_in_flight), ("mutating", &self.writes_in_flight)];
        head(&mut out, "apiserver_current_inflight_requests", "gauge", "Requests in progress.");
        for (kind, gauge) in in_flight {
            line(
                &mut out,
                "apiserver_current_inflight_requests",
                &format!("request_kind=\"{kind}\""),
                gauge.load(Ordering::Relaxed),
            );
        }
        head(&mut out, "apiserver_longrunning_requests", "gauge", "Watches and logs in progress.");
        line(&mut out, "apiserver_longrunning_requests", "", self.streams.load(Ordering::Relaxed));
        let counters = [
            ("apiserver_rejected_requests_total", "Requests that were answered 429.", &self.rejected),
            ("apiserver_request_panics_total", "Handlers that panicked.", &self.panics),
        ];
        for (name, help, counter) in counters {
            head(&mut out, name, "counter", help);
            line(&mut out, name, "", counter.load(Ordering::Relaxed));
        }
        for (name, help, values) in gauges {
            head(&mut out, name, "gauge", help);
            for (labels, value) in values {
                line(&mut out, name, labels, value);
            }
        }
        out
    }

    fn render_requests(&self, out: &mut String) {
        const TOTAL: &str = "apiserver_request_total";
        const DURATION: &str = "apiserver_request_duration_seconds";
        let requests = self.requests.read().expect("nothing panics while it holds the counters");
        head(out, TOTAL, "counter", "Requests by what was asked and how it was answered.");
        for (labels, series) in requests.iter() {
            line(out, TOTAL, &labels.render(), series.count.load(Ordering::Relaxed));
        }
        head(out, DURATION, "histogram", "Time from a request's headers to the start of its answer.");
        for (labels, series) in requests.iter() {
            series.render(out, DURATION, &labels.render());
        }
    }
}

impl RequestLabels {
    fn render(&self) -> String {
        let Self { verb, group, resource, subresource, code } = self;
        format!(
            "verb=\"{verb}\",group=\"{group}\",resource=\"{resource}\",subresource=\"{subresource}\",code=\"{code}\""
        )
    }
}

impl Series {
    fn render(&self, out: &mut String, name: &str, labels: &str) {
        let mut below = 0;
        for (bound, bucket) in BUCKETS_US.iter().zip(&self.buckets) {
            below += bucket.load(Ordering::Relaxed);
            let bound = Duration::from_micros(*bound).as_secs_f64();
            line(out, &format!("{name}_bucket"), &format!("{labels},le=\"{bound}\""), below);
        }
        let count = self.count.load(Ordering::Relaxed);
        line(out, &format!("{name}_bucket"), &format!("{labels},le=\"+Inf\""), count);
        let sum = Duration::from_micros(self.sum_us.load(Ordering::Relaxed)).as_secs_f64();
        line(out, &format!("{name}_sum"), labels, sum);
        line(out, &format!("{name}_count"), labels, count);
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = match labels {
        "" => writeln!(out, "{name} {value}"),
        labels => writeln!(out, "{name}{{{labels}}} {value}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_once_and_in_its_bucket() {
        let metrics = Metrics::default();
        let labels =
            RequestLabels { verb: "LIST", group: "".into(), resource: "pods".into(), subresource: "", code: 200 };
        metrics.request(labels.clone(), Duration::from_micros(300));
        metrics.request(labels, Duration::from_micros(90));
        let text = metrics.render(&[("store_size_bytes", "Bytes.", vec![(String::new(), 7)])]);
        let labels = r#"verb="LIST",group="",resource="pods",subresource="",code="200""#;
        for expected in [
            format!("apiserver_request_total{{{labels}}} 2"),
            format!("apiserver_request_duration_seconds_bucket{{{labels},le=\"0.0001\"}} 1"),
            format!("apiserver_request_duration_seconds_bucket{{{labels},le=\"0.0005\"}} 2"),
            "store_size_bytes 7".to_owned(),
        ] {
            assert!(text.contains(&expected), "{expected} is not in\n{text}");
        }
    }

    #[test]
    fn no_more_than_the_most_are_held() {
        let gauge = AtomicI64::new(0);
        let first = Held::one_of(&gauge, 1);
        assert!(first.is_some() && Held::one_of(&gauge, 1).is_none());
        drop(first);
        assert!(Held::one_of(&gauge, 1).is_some());
        assert_eq!(gauge.load(Ordering::Relaxed), 0);
    }
}
