//! What each path answers. No I/O: a request's method and path in, a whole response out.

use super::html;
use crate::observe::text;
use http_body_util::Full;
use hyper::body::{Body, Bytes};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use std::fmt::Write;

/// Where the pages get what they show. Each function runs on an async task: it reads what is in
/// memory, and neither waits nor blocks.
pub struct Pages {
    /// For `/metrics`.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// For `/readyz`.
    pub readiness: Box<dyn Fn() -> Readiness + Send + Sync>,
    /// For `/status`.
    pub status: Box<dyn Fn() -> serde_json::Value + Send + Sync>,
}

/// Whether new clients should be sent here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Decides between 200 and 503.
    pub ready: bool,
    /// Why not, each in a sentence for the operator; or, when ready, what is worth knowing all the
    /// same.
    pub reasons: Vec<String>,
}

/// One response. Small enough to be held whole: a few hundred KiB of metrics at most.
pub(super) type Page = Response<Full<Bytes>>;

const INDEX: &str = "\
/            the status page
/api/status  the same as JSON: verdict, listeners, the broker map, problems, configuration
/livez       200 as long as the process answers
/readyz      200 when new clients are welcome, else 503 and why not
/metrics     Prometheus metrics
";

const TEXT: &str = "text/plain; charset=utf-8";
/// The version of the text exposition format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

impl Pages {
    /// Answers one request. Its body is never read.
    pub(super) fn answer(&self, request: &Request<impl Body>) -> Page {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return method_not_allowed();
        }
        if !request.body().is_end_stream() {
            return refuse(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the admin port takes no request body\n",
            );
        }
        match request.uri().path() {
            "/" => status_page(&(self.status)()),
            "/style.css" => page(StatusCode::OK, CSS, html::STYLE),
            "/livez" => page(StatusCode::OK, TEXT, "ok\n"),
            "/readyz" => readyz(&(self.readiness)()),
            "/metrics" => page(StatusCode::OK, METRICS, (self.metrics)()),
            "/api/status" | "/status" => {
                let json = text::json(&(self.status)()) + "\n";
                page(StatusCode::OK, JSON, json)
            }
            _ => page(
                StatusCode::NOT_FOUND,
                TEXT,
                format!("there is no such page; these are there:\n\n{INDEX}"),
            ),
        }
    }
}

fn status_page(status: &serde_json::Value) -> Page {
    let mut page = page(StatusCode::OK, HTML, html::page(status));
    let policy = HeaderValue::from_static(html::CONTENT_SECURITY_POLICY);
    page.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    page
}

fn readyz(readiness: &Readiness) -> Page {
    let (status, verdict) = match readiness.ready {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    let mut text = format!("{verdict}\n");
    for reason in &readiness.reasons {
        // Writing to a String does not fail.
        let _ = writeln!(text, "- {reason}");
    }
    page(status, TEXT, text)
}

fn method_not_allowed() -> Page {
    let mut page = refuse(
        StatusCode::METHOD_NOT_ALLOWED,
        "the admin port only reads: use GET or HEAD\n",
    );
    page.headers_mut()
        .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    page
}

/// An answer that ends the connection, so that a body that may follow is not taken for the next
/// request, nor read.
fn refuse(status: StatusCode, why: &'static str) -> Page {
    let mut page = page(status, TEXT, why);
    page.headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    page
}

fn page(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Page {
    let mut page = Response::new(Full::new(body.into()));
    *page.status_mut() = status;
    let headers = page.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    // What a browser may not do with it: guess another type, or keep it.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    page
}
