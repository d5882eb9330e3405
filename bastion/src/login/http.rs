//! The one way out to a sign-in provider: bounded in time and size, and never led elsewhere.

use std::{fs, net::IpAddr, path::Path, pin::Pin, time::Duration};

use openidconnect::{
    AsyncHttpClient, HttpRequest, HttpResponse,
    reqwest::{Certificate, Client, redirect::Policy},
    url::{Host, Url},
};

use super::oidc::ProviderFault;

/// A provider that has not answered by then is down, as far as one waiting person is concerned.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// Discovery documents and key sets are a few KiB; more than this is a fault or an attack.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// What is said of an address that a provider names is cut here.
const ORIGIN_CHARS_MAX: usize = 100;

const BROKEN_OFF: &str = "broken off";

/// Asks a provider over HTTP.
///
/// No redirect is followed: an address that is not in the discovery document is nobody we know.
pub(super) struct Http {
    client: Client,
}

/// Why a provider could not be asked, or gave no usable answer. Never holds what was sent or received.
#[derive(Debug, thiserror::Error)]
pub enum HttpFault {
    /// The address is neither https nor on loopback.
    #[error("the address {0} is neither https nor loopback")]
    Unsafe(String),
    /// No answer: refused, timed out, broken off.
    #[error("no answer from {host}: {cause}")]
    Silent {
        /// Who was asked.
        host: String,
        /// In a few words.
        cause: &'static str,
    },
    /// The server says that it is in trouble (5xx, 429): worth another try.
    #[error("{host} answers {status}")]
    Troubled {
        /// Who was asked.
        host: String,
        /// HTTP status.
        status: u16,
        /// How long it wants to be left alone, if it says so in seconds.
        retry_after: Option<Duration>,
    },
    /// The body passes [`BODY_BYTES_MAX`].
    #[error("{0} sends more than 1 MiB")]
    Endless(String),
    /// The certificate file cannot be read or is none.
    #[error("ca_file {path}: {cause}")]
    CaFile {
        /// The file.
        path: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The request or answer is not HTTP.
    #[error("no HTTP: {0}")]
    Malformed(&'static str),
}

impl HttpFault {
    /// Whether nobody at all is answered: it cannot be reached, takes too long, or says so itself. An error within it
    /// (500) or a broken line may be about one question alone.
    pub(super) fn is_everybodys(&self) -> bool {
        match self {
            HttpFault::Silent { cause, .. } => *cause != BROKEN_OFF,
            HttpFault::Troubled { status, .. } => [429, 502, 503, 504].contains(status),
            HttpFault::Unsafe(_) | HttpFault::CaFile { .. } => true,
            HttpFault::Endless(_) | HttpFault::Malformed(_) => false,
        }
    }

    /// What it says of the provider: nothing is heard of it, or what is heard is of no use.
    pub(super) fn to_fault(&self) -> ProviderFault {
        match self {
            HttpFault::Silent { .. } | HttpFault::Troubled { .. } => ProviderFault::Silent(self.to_string()),
            HttpFault::Unsafe(_)
            | HttpFault::Endless(_)
            | HttpFault::CaFile { .. }
            | HttpFault::Malformed(_) => ProviderFault::Unfit(self.to_string()),
        }
    }
}

impl Http {
    /// A client that trusts the public roots, and `ca_file` (PEM) besides.
    pub fn new(ca_file: Option<&Path>) -> Result<Http, HttpFault> {
        let mut builder = Client::builder()
            .use_rustls_tls()
            .redirect(Policy::none())
            .connect_timeout(ANSWER_TIME_MAX)
            .timeout(ANSWER_TIME_MAX)
            .user_agent("bastion");
        if let Some(path) = ca_file {
            let fault = |cause: String| HttpFault::CaFile { path: path.display().to_string(), cause };
            let pem = fs::read(path).map_err(|e| fault(e.to_string()))?;
            let roots = Certificate::from_pem_bundle(&pem).map_err(|_| fault("no PEM certificate".into()))?;
            if roots.is_empty() {
                return Err(fault("holds no certificate".into()));
            }
            for root in roots {
                builder = builder.add_root_certificate(root);
            }
        }
        Ok(Http { client: builder.build().map_err(|_| HttpFault::Malformed("the TLS set-up fails"))? })
    }

    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, HttpFault> {
        let url =
            Url::parse(&request.uri().to_string()).map_err(|_| HttpFault::Malformed("not an address"))?;
        if !is_safe(&url) {
            let origin = url.origin().ascii_serialization();
            return Err(HttpFault::Unsafe(origin.chars().take(ORIGIN_CHARS_MAX).collect()));
        }
        let host = url.origin().ascii_serialization();
        let silent =
            |e: openidconnect::reqwest::Error| HttpFault::Silent { host: host.clone(), cause: cause(&e) };

        let request = request.try_into().map_err(|_| HttpFault::Malformed("not a request"))?;
        let mut answer = self.client.execute(request).await.map_err(silent)?;
        let status = answer.status();
        if status.is_server_error() || status.as_u16() == 429 {
            let retry_after = answer.headers().get("retry-after");
            let seconds = retry_after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
            let retry_after = seconds.map(Duration::from_secs);
            return Err(HttpFault::Troubled { host, status: status.as_u16(), retry_after });
        }
        let mut built = openidconnect::http::Response::builder().status(status);
        for (name, value) in answer.headers() {
            built = built.header(name, value);
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(silent)? {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(HttpFault::Endless(host));
            }
            body.extend_from_slice(&chunk);
        }
        built.body(body).map_err(|_| HttpFault::Malformed("not a response"))
    }
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = HttpFault;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpFault>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.ask(request))
    }
}

/// Whether an address may be used: https anywhere, http only where the wire is this machine.
pub(super) fn is_safe(url: &Url) -> bool {
    match url.scheme() {
        "https" => url.host().is_some(),
        "http" => match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
            Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
            None => false,
        },
        _ => false,
    }
}

/// reqwest's own words may quote an address with its query; these cannot.
fn cause(error: &openidconnect::reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "timed out"
    } else if error.is_connect() {
        "cannot connect"
    } else {
        BROKEN_OFF
    }
}
